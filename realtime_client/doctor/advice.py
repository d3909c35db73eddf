"""What the trouble of each step is likely to come from, and what helps: a table of errors, causes and remedies."""

from __future__ import annotations

import socket
import ssl
from datetime import timedelta

from realtime_client.doctor.checks import Finding, Verdict
from realtime_client.errors import (
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    PollError,
    RealtimeError,
    RecordingError,
)

__all__ = ["of_certificate", "of_clock", "of_poll", "of_status", "of_trouble"]

EXPIRED, NOT_YET_VALID, WRONG_NAMES = 10, 9, frozenset({62, 64})
UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes (``X509_V_ERR_...``): of a certificate that signs itself, or whose authority is not known."""
MAX_SKEW = 5.0
"""Seconds that two clocks may differ before it is worth a word."""

TIMEOUTS = {
    "config": ("a callable option does not return", "mend the callable, or allow for more connect_timeout"),
    "dns": ("the name server does not answer", "check the machine's name servers: getent hosts {where}"),
    "tcp": ("a firewall drops packets on the way, or the host is down", "look whether {where} can be reached"),
    "tls": (
        "the server does not speak TLS on this port, or is overloaded",
        "check the port, and whether the URL is meant to begin with ws:// (or redis://)",
    ),
    "upgrade": (
        "something accepts connections there, and does not answer a request",
        "check the port, and whether the URL is meant to begin with wss://",
    ),
    "login": (
        "something accepts connections there, and does not answer as Redis does",
        "check the port, and whether the URL is meant to begin with rediss://",
    ),
}
"""Cause and remedy of a step that took too long."""


def of_trouble(step: str, error: BaseException, *, where: str) -> Finding:
    """What an error in a step means.

    Args:
        step: Its name.
        error: What was raised in it.
        where: Whom it was about: the server's host, or the proxy's.
    """
    words = _words(error)
    match error:
        case RecordingError(line=None):
            return _fail(words, error, "the path is wrong, or the file may not be read", "check the path in the URL")
        case RecordingError():
            return _fail(words, error, "this is no recording, or it was damaged", "record anew")
        case HandshakeRejected():
            return _fail(f"the server answered {words}", error, *of_status(error.status))
        case ConnectTimeout() | TimeoutError():
            cause, remedy = TIMEOUTS.get(step, ("it takes longer than connect_timeout", "allow for more time"))
            return _fail("no answer in time", error, cause, remedy.format(where=where))
        case socket.gaierror():
            cause = "the name is misspelt, or the name server knows nothing of it or cannot be reached"
            return _fail(words, error, cause, f"check the host in the URL; compare with: getent hosts {where}")
        case ssl.SSLCertVerificationError():
            return of_certificate(error)
        case ssl.SSLError():
            cause = "the server does not speak TLS on this port, or a kind of it that this machine refuses"
            remedy = "check the port, and whether the URL is meant to begin with ws:// (or redis://)"
            return _fail(words, error, cause, remedy)
        case ConnectionRefusedError():
            return _fail(words, error, "nothing listens there", "start the server, or check host and port in the URL")
        case ConnectionResetError() | BrokenPipeError():
            cause = "the server, or something on the way, ends such connections"
            return _fail(words, error, cause, "look at the server's log; check whether the URL needs wss://")
        case ConnectError() if step in ("proxy", "tcp"):
            return _fail(words, error, "the proxy, or what is said of it, is not right", "check proxy= and *_proxy")
        case ConnectError() if step == "tls":
            return _fail(words, error, "the TLS settings cannot be used", "check ca_file")
        case ConnectError() if step == "login":
            cause = "what listens there is no Redis, TLS is expected (rediss://) or is not, or Sentinels know no master"
            return _fail(words, error, cause, "check scheme, port and what stands behind the '?' of the URL")
        case HeartbeatTimeout():
            return _fail(words, error, "the server hangs, or something on the way holds answers back", "look at both")
        case ConnectError() if step == "config":
            return _fail(words, error, "a callable option gives nothing to go on with", "mend the callable")
        case ConnectError():
            cause = "what listens there is no WebSocket server, or TLS is expected (wss://) or is not"
            return _fail(words, error, cause, "check scheme, port and path of the URL")
        case ConnectionLost():
            return _fail(words, error, "the server ends such connections", "look at the server's log")
    return _fail(words, error, "", f"look whether {where} can be reached from this machine")


def of_status(status: int) -> tuple[str, str]:
    """Cause and remedy of an HTTP status in place of the upgrade, or of the answer to a poll."""
    match status:
        case 401 | 403:
            return "the credentials are missing, wrong or expired", "check token and headers"
        case 404 | 410:
            return "there is nothing at this path", "check the path of the URL"
        case 426:
            return "the server wants another version of the protocol", "ask whoever runs it"
        case 407:
            return "a proxy wants credentials", "put user and password into the proxy's URL"
        case 429:
            return "the server is asked too often", "use fewer clients, or shared()"
        case _ if 300 <= status < 400:
            return "it has moved; credentials are not carried to another address", "put the new address into the URL"
        case 400:
            return (
                "the server does not take this for an upgrade, or wants TLS on this port",
                "try wss://; check the path",
            )
        case _ if status >= 500:
            return "the server, or a proxy before it, is in trouble", "look at its log; the client keeps trying"
    return "what listens there is no WebSocket server at this path", "check the URL"


def of_certificate(error: ssl.SSLCertVerificationError) -> Finding:
    """What it means that a certificate is not trusted."""
    words = f"the certificate is not trusted: {error.verify_message}"
    match error.verify_code:
        case code if code == EXPIRED:
            cause, remedy = "it has expired, or this machine's clock is wrong", "renew it; check the clock"
        case code if code == NOT_YET_VALID:
            cause, remedy = "it is not valid yet, or this machine's clock is wrong", "check the clock"
        case code if code in WRONG_NAMES:
            cause, remedy = "it is for another name", "use a name in the URL that the certificate is for"
        case code if code in UNKNOWN_AUTHORITY:
            cause = "it is signed by itself, or by an authority that this machine does not know"
            remedy = "give that authority's certificate as ca_file (--ca-file, REALTIME_CA_FILE)"
        case _:
            cause, remedy = "", "look at the certificate: openssl s_client -connect HOST:PORT -servername HOST"
    wrapped = ConnectError(words, retryable=False)
    return Finding(words, Verdict.FAIL, cause, remedy, wrapped)


def of_poll(error: PollError) -> Finding:
    """What it means that a poll failed."""
    if error.status is None:
        cause, remedy = "the address cannot be reached, or its answer is no such JSON", "check polling_url"
    else:
        cause, remedy = of_status(error.status)
    return _fail(str(error), error, cause, remedy.replace("the URL", "polling_url"))


def of_clock(whose: str, ahead: float, exactness: float) -> Finding:
    """What it means that another clock shows another time.

    Args:
        whose: Who said what time it is.
        ahead: Seconds by which that is ahead of this machine.
        exactness: Seconds by which this may be wrong.
    """
    about = f"{abs(ahead):.1f} s" if abs(ahead) < 100 else str(timedelta(seconds=round(abs(ahead))))
    found = f"{whose} is {about} {'ahead of' if ahead > 0 else 'behind'} this machine's clock"
    if abs(ahead) - exactness > MAX_SKEW:
        cause = "one of the two clocks is wrong"
        remedy = "let both be set by NTP; tokens and certificates may be refused, and ages shown are wrong"
        return Finding(found, Verdict.WARN, cause, remedy)
    return Finding(found)


def _fail(found: str, error: BaseException, cause: str, remedy: str) -> Finding:
    if not isinstance(error, RealtimeError):
        timed_out = isinstance(error, TimeoutError)
        error = ConnectTimeout(found) if timed_out else ConnectError(found)
    return Finding(found, Verdict.FAIL, cause, remedy, error)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, RealtimeError):
        return str(error.strerror or error) or type(error).__name__
    return str(error) or type(error).__name__
