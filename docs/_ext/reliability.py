"""The tables of what was tried and what was lost, made from the files that the commands write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from proofs import (
    ALIASES,
    CLIENTS,
    NOT_MEASURED,
    NOTHING_YET,
    OURS,
    Figures,
    Proofs,
    heading,
    mib,
    number,
    ran,
    read,
    share,
    table,
)
from reliability_summary import summary
from test_tables import coverage_places, mutants_killed, mutants_survived

from realtime_client._core.handshake import parse_request, upgrade_answer
from tests.conformance.verdicts import GROUPS
from tests.faults.numbered_feed import conversation

__all__ = ["TABLES", "cuts", "reliability_tables"]

NAMES = {"none": "none", "poller": "a callable", "polling_url": "a polling address"}
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""Any; the answer is as long for every request."""
MOST_SAMPLES = 8
"""Lines of a table of a long run."""


def reliability_tables(proofs: Proofs | None = None) -> dict[str, str]:
    """Markdown by the name that the page has for it; where nothing was measured, a line that says so."""
    proofs = read() if proofs is None else proofs
    made = {"proof_summary": summary(proofs), "proof_cuts": cuts()}
    for name, (file, make) in TABLES.items():
        made[name] = make(proofs[file]) if file in proofs else NOTHING_YET
    return made


# Conformance


def conformance_groups(figures: Figures) -> str:
    """Our client, a line for each group of cases."""
    ours = figures["clients"][OURS]
    rows = [_group(f"{group}.\\* {GROUPS[group]}", found) for group, found in ours["groups"].items()]
    head = ["group", "cases", "OK", "not judged", "anything else", "close codes that were sent, and how often"]
    caption = f"`{figures['suite']}`, realtime_client {ours['version']}; {ran(ours['run'])}."
    return f"{table(head, [*rows, _group('all', ours['total'])])}\n\n{caption}"


def _group(name: str, found: Figures) -> list[str]:
    """A line; a case that is OK but badly closed is "anything else" too, so that it is counted twice, not never."""
    closed_badly = found["wrong_close_code"] + found["unclean"] + found["failed_close"]
    faults = found["cases"] - found["ok"] - found["informational"] + closed_badly
    codes = ", ".join(f"{code} ({count})" for code, count in found["close_codes"].items())
    return [name, *map(number, (found["cases"], found["ok"], found["informational"], faults)), codes]


VERDICTS = {
    "ok": "OK",
    "informational": "not judged",
    "non_strict": "not strict",
    "failed": "failed",
    "unimplemented": "not implemented",
    "wrong_close_code": "wrong close code",
    "unclean": "unclean",
    "failed_close": "failed to close",
}


def conformance_clients(figures: Figures) -> str:
    """All clients, a column for each."""
    clients = figures["clients"]
    columns = list(dict.fromkeys([*(ALIASES.get(who, who) for who in CLIENTS), *clients]))
    heads = [f"{heading(who)} {clients[who]['version']}" if who in clients else heading(who) for who in columns]
    rows = (
        [words, *(number(clients[who]["total"][key]) if who in clients else NOT_MEASURED for who in columns)]
        for key, words in VERDICTS.items()
    )
    days = dict.fromkeys(ran(client["run"]) for client in clients.values())
    return f"{table(['cases', *heads], rows)}\n\n{'; '.join(days)}."


# Hostile servers


def hostile_inputs(figures: Figures) -> str:
    """Our client, with everything that is expected of it, a line for each kind of input."""
    kinds = figures["expectations"]
    rows = [
        [
            kind,
            share(found["as_expected"], found["cases"]),
            f"{found['slowest_verdict']:g} s",
            _slow(found["slow"]),
            mib(found["most_memory_above_the_limit"]),
        ]
        for kind, found in kinds.items()
    ]
    well, cases = (sum(found[key] for found in kinds.values()) for key in ("as_expected", "cases"))
    head = [
        "input",
        "taken as the table says",
        "slowest verdict, where a second is allowed",
        "slowest of the others",
        "most memory above the limit",
    ]
    wrong = "" if well == cases else f" `python -m tests.hostile` names the {number(cases - well)} that were not."
    return f"{table(head, [*rows, ['all', share(well, cases), '', '', '']])}\n\n{ran(figures['run'])}.{wrong}"


def _slow(found: Sequence[Any] | None) -> str:
    if found is None:
        return "none"
    name, seconds, allowed = found
    return f"{seconds:g} s of {allowed:g} s ({name.partition(': ')[2]})"


def hostile_clients(figures: Figures) -> str:
    """How each client took the inputs that all can be compared by; what nobody did has no line."""
    found = {(row["kind"], row["client"]): row for row in figures["rows"]}
    clients = _columns(row["client"] for row in figures["rows"])
    kinds = dict.fromkeys(kind for kind, _ in found)
    rows = (row for kind in kinds for row in _hostile_kind(kind, [found.get((kind, who)) for who in clients]))
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    caption = f"{versions}; {ran(figures['run'])}. {figures['note']}"
    return f"{table(['', *map(heading, clients)], rows)}\n\n{caption}"


def _hostile_kind(kind: str, found: Sequence[Figures | None]) -> Iterator[list[str]]:
    """The lines of one kind of input: how many, the verdicts, the memory."""
    yield [f"**{kind}**", *(NOT_MEASURED if one is None else f"{number(one['cases'])} inputs" for one in found)]
    for verdict in dict.fromkeys(verdict for one in found if one for verdict in one["counts"]):
        counts = [one["counts"].get(verdict, 0) if one else None for one in found]
        if any(counts):
            yield [verdict, *("" if count is None else number(count) for count in counts)]
    yield ["most memory", *("" if one is None else mib(one["most_memory"]) for one in found)]


def hostile_faults(figures: Figures) -> str:
    """The names of the inputs that our client did not take rightly."""
    names = [
        f"- {name}: {verdict}"
        for row in figures["rows"]
        if row["client"] == OURS
        for verdict, wrong in row["wrong"].items()
        for name in wrong
    ]
    if not names:
        return "realtime_client took every one of these inputs rightly."
    return "\n".join(["What realtime_client did not take rightly:", "", *names])


# Cuts and other faults


def cuts() -> str:
    """How many cuts the tests make, which is a matter of what is sent."""
    answer = len(upgrade_answer(parse_request(REQUEST)))
    size = answer + sum(len(data) for data, _ in conversation(0))
    rows = [
        ("after every byte of the server's answer and of five frames", 2 * (size + 1)),
        ("the same with a poller, after every byte of the five frames", 2 * (size + 1 - answer)),
    ]
    return table(["cuts, half by FIN and half by RST", "how many"], ([what, number(count)] for what, count in rows))


def fault_returns(figures: Figures) -> str:
    """After how many faults of each kind each client was back."""
    clients = figures["clients"]
    columns = _columns(clients)
    tallies = {who: clients[who]["faults"] if who in clients else {} for who in columns}
    kinds = dict.fromkeys(kind for faults in tallies.values() for kind in faults)
    rows = ([kind, *(_back(tallies[who].get(kind)) for who in columns)] for kind in kinds)
    return table(["back after", *map(heading, columns)], rows)


def _back(tally: Figures | None) -> str:
    if tally is None:
        return NOT_MEASURED
    return share(tally["tried"] - tally["ended_for_good"] - tally["unnoticed"], tally["tried"])


OUTCOMES = {
    "tried": "faults",
    "ended_for_good": "ended for good",
    "unnoticed": "dead connection not noticed",
    "lost": "events lost",
    "losses_reported": "of them, covered by a report",
    "lost_without_a_word": "of them, without any word",
    "wrong": "events twice or out of order",
}


def fault_outcomes(figures: Figures) -> str:
    """What became of all faults together."""
    clients = figures["clients"]
    columns = _columns(clients)
    rows = (
        [words, *(number(clients[who]["all"][key]) if who in clients else NOT_MEASURED for who in columns)]
        for key, words in OUTCOMES.items()
    )
    versions = ", ".join(f"{who} {clients[who]['version']}" for who in columns if who in clients)
    caption = f"`{figures['command']}`: {versions}; {ran(figures['run'])}."
    return f"{table(['all faults together', *map(heading, columns)], rows)}\n\n{caption}"


# What a network does, test by test


def network_proxy(figures: Figures) -> str:
    """The faults that the proxy makes, a line for each test."""
    return _tests(figures, "proxy")


def network_kernel(figures: Figures) -> str:
    """Those that the kernel makes."""
    return _tests(figures, "kernel")


def _tests(figures: Figures, part: str) -> str:
    tests = figures[part]
    rows = [
        [words, number(found["passed"]), number(found["failed"]), "; ".join(found["reasons"])]
        for words, found in tests.items()
    ]
    passed, failed = (sum(found[key] for found in tests.values()) for key in ("passed", "failed"))
    head = ["what must hold", "cases in which it held", "in which not", "left out, because"]
    caption = f"`{figures['command']}`; {ran(figures['run'])}."
    return f"{table(head, [*rows, ['all', number(passed), number(failed), '']])}\n\n{caption}"


# Fuzzing


def fuzz_targets(figures: Figures) -> str:
    """The parts that were fuzzed with feedback from their coverage."""
    head = ["part", "seconds", "seed", "inputs to begin with", "inputs tried", "edges reached", "findings"]
    keys = ("seconds", "seed", "seeds", "executions", "edges", "findings")
    runs = {name: run for name, run in figures.items() if name != "streams"}
    if not runs:
        return NOTHING_YET
    rows = ([name, *(number({**run["run"], **run}[key]) for key in keys)] for name, run in runs.items())
    days = dict.fromkeys(f"atheris {run['atheris']}, {ran(run['run'])}" for run in runs.values())
    return f"{table(head, rows)}\n\n{'; '.join(days)}."


def fuzz_streams(figures: Figures) -> str:
    """The damaged streams, without a socket and through the whole client."""
    run = figures.get("streams")
    if run is None:
        return NOTHING_YET
    both = (run, run["through_the_client"])
    rows = [
        ["streams", *(number(one["streams"]) for one in both)],
        ["their size", *(mib(one["bytes"]) for one in both)],
        *([f"damage: {kind}", *(number(one["mutations"].get(kind, 0)) for one in both)] for kind in run["mutations"]),
        *([f"end: {end}", *(number(one["ends"].get(end, 0)) for one in both)] for end in run["ends"]),
        ["events delivered", *(number(one["events"]) for one in both)],
        ["messages counted as malformed", *(number(one["malformed"]) for one in both)],
        ["the slowest stream", *(f"{one['slowest_seconds']:g} s" for one in both)],
    ]
    caption = f"{number(run['findings'])} findings in {run['seconds']:g} s; {ran(run['run'])}."
    return f"{table(['', 'read', 'and through the whole client'], rows)}\n\n{caption}"


# State machines


def machines_driven(figures: Figures) -> str:
    """How far each state machine went."""
    machines = figures["machines"]
    rows = [[f"`{name}`", number(way["examples"]), number(way["steps"])] for name, way in machines.items()]
    sums = (sum(way[key] for way in machines.values()) for key in ("examples", "steps"))
    caption = f"{number(figures['failed'])} of them failed. `{figures['command']}`; {ran(figures['run'])}."
    return f"{table(['state machine', 'examples', 'steps'], [*rows, ['all', *map(number, sums)]])}\n\n{caption}"


# Soak and herd


def soak_result(figures: Figures) -> str:
    """What was delivered, lost and said, by what the clients had to poll; and the promises that were broken."""
    head = ["poller", "clients", "events", "delivered", "by polls", "lost, and said so", "gaps", "not complete"]
    keys = ("clients", "produced", "delivered", "delivered_by_polls", "lost_and_said_so", "gaps", "gaps_incomplete")
    rows = (
        [NAMES.get(filling, filling), *(number(sums[key]) for key in keys)]
        for filling, sums in figures["by_filling"].items()
    )
    violations = [f"- `{words}`" for words in figures["violations"]] or ["None of the promises above was broken."]
    caption = (
        f"`{figures['command']}`: {number(figures['clients'])} clients, {number(figures['faults'])} faults in "
        f"{number(figures['seconds'])} s; realtime_client {figures['version']}; {ran(figures['run'])}."
    )
    return "\n\n".join([table(head, rows), caption, "\n".join(violations)])


def soak_faults(figures: Figures) -> str:
    """How often each fault came, in two columns."""
    rows = [[kind, number(count)] for kind, count in figures["faults_by_kind"].items()]
    half = (len(rows) + 1) // 2
    pairs = ([*left, *right] for left, right in zip(rows[:half], [*rows[half:], ["", ""]], strict=False))
    return table(["fault", "times", "fault", "times"], pairs)


def soak_steadiness(figures: Figures) -> str:
    """What the process held at some of the moments at which all was calm; and what has grown most."""
    samples = figures["samples"]
    last = len(samples) - 1
    shown = sorted({round(row * last / (MOST_SAMPLES - 1)) for row in range(MOST_SAMPLES)})
    rows = (
        [
            f"{sample['at']:g} s",
            number(sum(count for role, count in sample["threads"].items() if role != "others")),
            number(sample["descriptors"]),
            mib(sample["in_use"]),
            mib(sample["rss"]),
        ]
        for sample in (samples[row] for row in shown)
    )
    drift, held = figures["drift"], figures["held"]
    head = ["after", "threads of the clients", "descriptors", "in use by Python", "resident memory"]
    caption = (
        f"In the second half ({number(drift['samples'])} such moments, a straight line through them) "
        f"{drift['in_use'] / 1024**2:+.2f} MiB came to be in use, and resident memory changed by "
        f"{drift['rss'] / 1024**2:+.1f} MiB. The package's own lines held {mib(held['first'])} after the first part "
        f"and {mib(held['last'])} at the end. What grew most between:"
    )
    return "\n\n".join([table(head, rows), caption, "\n".join(["```text", *held["growth"], "```"])])


def herd_result(figures: Figures) -> str:
    """What the server saw of each kind of client."""
    head = [
        "client",
        "how it reconnects",
        "clients",
        "back",
        "attempts",
        "most in 0.1 s",
        "most in 0.1 s after its return",
        "the last one back after",
    ]
    keys = ("clients", "back", "attempts", "peak", "peak_back")
    rows = (
        [f"{who} {found['version']}", found["way"], *(number(found[key]) for key in keys), f"{found['seconds']:g} s"]
        for who, found in figures["herds"].items()
    )
    return f"{table(head, rows)}\n\n`{figures['command']}`; {ran(figures['run'])}."


# The suite, over and over


def suite_repeats(figures: Figures) -> str:
    """Each run of the whole suite: its seed, how its tests ended, how long it took."""
    runs = figures["runs"]
    keys = ("seed", "passed", "failed", "skipped", "seconds")
    rows = ([number(run[key]) for key in keys] for run in runs)
    failed = sum(run["exit_code"] != 0 for run in runs)
    missing = figures["wanted"] - len(runs)
    short = f", and {number(missing)} are still to be made" if missing else ""
    caption = f"`{figures['command']}`: {share(failed, len(runs))} runs failed{short}; {ran(figures['run'])}."
    return f"{table(['seed', 'tests passed', 'failed', 'left out', 'seconds'], rows)}\n\n{caption}"


def _columns(measured: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*CLIENTS, *measured]))


TABLES: Mapping[str, tuple[str, Callable[[Figures], str]]] = {
    make.__name__: (file, make)
    for file, makers in {
        "conformance": (conformance_groups, conformance_clients),
        "hostile": (hostile_inputs, hostile_clients, hostile_faults),
        "faults": (fault_returns, fault_outcomes),
        "network": (network_proxy, network_kernel),
        "fuzz": (fuzz_targets, fuzz_streams),
        "machines": (machines_driven,),
        "soak": (soak_result, soak_faults, soak_steadiness),
        "herd": (herd_result,),
        "repeats": (suite_repeats,),
        "coverage": (coverage_places,),
        "mutation": (mutants_killed, mutants_survived),
    }.items()
    for make in makers
}
"""Each table's name, the file that it is made from, and what makes it."""
