"""What a log line may mean and what to do about it: a small table of plain words, not an AI."""

from __future__ import annotations

import re

import attrs

__all__ = ["RULES", "Rule", "rules_for"]


@attrs.frozen
class Rule:
    """A known trouble.

    Attributes:
        pattern: What its lines say, in any letter case.
        cause: The likely root cause, a sentence without a full stop.
        recommendation: What a person should do first.
    """

    pattern: re.Pattern[str]
    cause: str
    recommendation: str


def rule(pattern: str, cause: str, recommendation: str) -> Rule:
    """A rule by its pattern's text."""
    return Rule(re.compile(pattern, re.IGNORECASE), cause, recommendation)


RULES: tuple[Rule, ...] = (
    rule(
        r"\btime(?:d[ -]|-| )?out\b|\bdeadline exceeded\b|\bETIMEDOUT\b",
        "An operation took longer than it was allowed to",
        "Look at the load and the latency of the service that was called",
    ),
    rule(
        r"\bconnection (?:was )?refused\b|\bECONNREFUSED\b",
        "The service that was called is not listening",
        "Check that it runs and that address and port are right",
    ),
    rule(
        r"\bconnection (?:was )?(?:reset|closed|aborted|lost)\b|\bbroken pipe\b|\bECONNRESET\b",
        "The other side ended the connection",
        "Look for a restart or a crash of the peer at the same time",
    ),
    rule(
        r"\bname or service not known\b|\bname resolution\b|\bno such host\b|\bcould not resolve\b|\bNXDOMAIN\b",
        "A host name could not be resolved",
        "Check the name and the DNS servers of this machine",
    ),
    rule(
        r"\bno space left\b|\bdisk (?:is )?(?:almost )?full\b|\bENOSPC\b|\bdisk quota\b",
        "The disk is full",
        "Free space or enlarge the volume, then restart what failed to write",
    ),
    rule(
        r"\bout of memory\b|\boom[- ]?kill|\bcannot allocate memory\b|\bMemoryError\b|\bOutOfMemory",
        "Memory ran out",
        "Find the process that grew and raise its limit or reduce its work",
    ),
    rule(
        r"\bpermission denied\b|\baccess denied\b|\bEACCES\b|\boperation not permitted\b",
        "The process lacks a permission",
        "Compare its user with the owner and mode of what it wanted",
    ),
    rule(
        r"\bauthentication fail|\bfailed password\b|\binvalid user\b|\blogin failed\b|\bunauthori[sz]ed\b| 40[13]$",
        "Credentials were refused",
        "Check for an expired secret, and for somebody guessing passwords",
    ),
    rule(
        r" 5\d\d$|\binternal server error\b|\bbad gateway\b|\bservice unavailable\b|\bupstream\b.*\bfailed\b",
        "A web request failed on the server's side",
        "Read the application's log at the same time",
    ),
    rule(
        r"\bcertificate\b.*\b(?:expired|invalid|verif|fail)|\b(?:ssl|tls)\b.*\b(?:error|fail)",
        "A TLS certificate was not accepted",
        "Check its dates, its host name and the chain of authorities",
    ),
    rule(
        r"\bsegfault\b|\bsegmentation fault\b|\bcore dumped\b|\bgeneral protection\b",
        "A program crashed on a memory error",
        "Keep the core dump and look for a recent update of the program or its libraries",
    ),
    rule(
        r"\bdeadlock\b|\block wait\b|\btoo many connections\b",
        "The database is contended",
        "Look for long transactions and for a leak of connections",
    ),
    rule(
        r"\btoo many (?:open files|requests)\b|\brate limit|\bEMFILE\b| 429$",
        "A limit was reached",
        "Raise the limit, or find what asks for so much",
    ),
    rule(
        r"\btraceback\b|\bunhandled\b|\buncaught\b|\bexception\b|\bpanic\b",
        "The program met a case that it does not handle",
        "Read the stack trace and report it to the program's authors",
    ),
    rule(
        r"\bstatus (?:half-installed|half-configured)\b|\bconfig-files\b",
        "A package was in the middle of its installation",
        "If it stays so, run dpkg --audit and dpkg --configure -a",
    ),
    rule(
        r"\bstatus triggers-(?:awaited|pending)\b|^trigproc\b",
        "A package waits for the triggers of another",
        "Nothing, if it is configured in the end; else run dpkg --configure -a",
    ),
    rule(
        r"^(?:remove|purge|disappear) ",
        "A package was taken off the system",
        "Check that this was meant and that nothing needed it",
    ),
    rule(
        r"\berror processing\b|\bdependency problems\b|\bunmet dependencies\b",
        "A package could not be installed",
        "Run apt --fix-broken install and read its first error",
    ),
    rule(
        r"\b(?:failed|failure|fails)\b",
        "Something reported a failure",
        "Read the lines of the same source just before this one",
    ),
)


def rules_for(message: str, limit: int = 3) -> tuple[Rule, ...]:
    """The first rules whose pattern is found in the message, the most specific first."""
    found = (known for known in RULES if known.pattern.search(message))
    return tuple(known for known, _ in zip(found, range(limit), strict=False))
