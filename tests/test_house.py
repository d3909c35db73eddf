"""The house's own rules, read from the package's source: who imports whom, who starts threads, who may wait and how."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import attrs
import pytest

import realtime_client

ROOT = Path(realtime_client.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
PUBLIC = frozenset(name.removesuffix(".py") for name in FILES if "/" not in name and not name.startswith("_"))
"""The top-level modules: what a user may import."""
PACKAGE = ""
"""The package itself, as in ``from realtime_client import RealtimeClient``."""

Finding = tuple[int, str]


@functools.cache
def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def module_of(file: str) -> str:
    """The module's name inside the package: ``_core.frames``, or ``_core`` for a subpackage, or the empty text."""
    parts = file.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place_of(module: str) -> str:
    return module.partition(".")[0]


MODULES = {module_of(file): file for file in FILES}


# 1. Who imports whom


@attrs.frozen(kw_only=True)
class Place:
    """What one place of the layout may import, besides itself and the standard library.

    Attributes:
        ours: Modules of this package; a subpackage stands for all that is in it.
        libraries: Third parties.
        never: Modules of the standard library that it must not know.
    """

    ours: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


THREADS = names("threading _thread queue concurrent multiprocessing asyncio")
SOCKETS = names("socket socketserver ssl select selectors http.client http.server urllib.request")
CLOCKS = names("time random secrets logging")
VALUES = Place(never=THREADS | SOCKETS | CLOCKS)
"""The plain classes at the bottom."""

TABLE = {
    PACKAGE: Place(ours=PUBLIC | {"_version"}),
    "__main__": Place(ours=names("cli")),
    "_version": VALUES,
    "errors": VALUES,
    "addresses": attrs.evolve(VALUES, libraries=names("attrs")),
    "redaction": attrs.evolve(VALUES, ours=names("addresses")),
    "hosts": VALUES,
    "patience": Place(),
    "redis_url": attrs.evolve(VALUES, libraries=names("attrs")),
    "events": attrs.evolve(VALUES, libraries=names("attrs")),
    "status": attrs.evolve(VALUES, ours=names("errors events"), libraries=names("attrs")),
    "options": attrs.evolve(VALUES, ours=names("addresses events redaction redis_url"), libraries=names("attrs")),
    "config": attrs.evolve(VALUES, ours=names("errors options redis_url status"), libraries=names("attrs cattrs")),
    "recording": Place(ours=names("_core addresses events"), never=SOCKETS),
    "observers": Place(ours=names("events"), libraries=names("attrs")),
    "measures": attrs.evolve(VALUES, ours=names("status"), libraries=names("attrs")),
    "store": Place(ours=names("_core.picture errors events observers patience status"), libraries=names("attrs")),
    "_core": Place(
        ours=names("config errors events status"),
        libraries=names("attrs cattrs msgspec"),
        never=THREADS | SOCKETS | CLOCKS,
    ),
    "transports": Place(
        ours=names("_core _version addresses config errors events hosts options patience redaction redis_url status"),
        libraries=names("attrs python_socks redis urllib3 websocket"),
    ),
    "_runtime": Place(
        ours=names("_core config errors events observers options patience redaction status store transports.base"),
        # attrs is how values are written everywhere in this package; no library that does anything comes in here.
        libraries=names("attrs"),
    ),
    "client": Place(
        ours=(PUBLIC - {"client", "handles"}) | names("_core _runtime transports"), libraries=names("attrs")
    ),
    "handles": Place(ours=PUBLIC | names("_core _runtime transports"), libraries=names("attrs")),
    "doctor": Place(ours=PUBLIC | names("_core transports"), libraries=names("attrs redis websocket")),
    "demo": Place(
        ours=PUBLIC | {PACKAGE, "web"} | names("_core.frames _core.handshake"), libraries=names("attrs msgspec")
    ),
    # What a relay appends and what readers make of it is one set of pure rules, and there is one way to talk to Redis.
    # A backlog waits on the client's clock, so that a test can let the time pass.
    "relay": Place(ours=PUBLIC | names("_core _runtime.clock transports"), libraries=names("attrs msgspec redis")),
    "cli": Place(ours=PUBLIC | {PACKAGE, "demo", "doctor", "relay"}, libraries=names("attrs rich")),
    # msgspec is how a page's frames are encoded: JSON without coercions, NaN as null, ten times as fast.
    "web": Place(ours=PUBLIC | {PACKAGE}, libraries=names("attrs msgspec")),
    "integrations": Place(
        ours=PUBLIC | {PACKAGE, "cli", "web"},
        libraries=names("asgiref attrs click django flask opentelemetry prometheus_client werkzeug"),
    ),
    "testing": Place(
        ours=PUBLIC | {PACKAGE} | names("_core.frames _core.handshake _runtime.clock transports.base"),
        libraries=names("attrs"),
    ),
}


@attrs.frozen
class Import:
    """One imported module.

    Attributes:
        line: Where.
        target: Its full name; for ``from a import b`` it is ``a.b`` where that is a module of ours.
        when: ``"import"`` (the module is loaded), ``"call"`` (a function is called) or ``"never"`` (for types alone).
    """

    line: int
    target: str
    when: str


def imports(tree: ast.Module) -> Iterator[Import]:
    def visit(node: ast.AST, when: str) -> Iterator[Import]:
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(node.lineno, alias.name, when)
            case ast.ImportFrom():
                start = "." * node.level + (node.module or "")
                for alias in node.names:
                    full = f"{start}.{alias.name}"
                    # A submodule, ours or another's (urllib.request), is a module of its own.
                    inside = full.removeprefix("realtime_client.")
                    own = full.startswith("realtime_client.") and inside in MODULES
                    yield Import(node.lineno, full if own or full in VALUES.never else start, when)
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                for child in node.body:
                    yield from visit(child, "never")
            case _:
                inner = "call" if isinstance(node, ast.FunctionDef | ast.Lambda) else when
                for below in ast.iter_child_nodes(node):
                    yield from visit(below, inner)

    return visit(tree, "import")


def within(module: str, allowed: frozenset[str]) -> bool:
    """Whether a module is one of the allowed, or in one of them."""
    parents = module.split(".")
    return any(".".join(parents[: n + 1]) in allowed for n in range(len(parents)))


def foreign_imports(tree: ast.Module, place: str) -> Iterator[Finding]:
    """Imports that the table does not allow in a place."""
    rule = TABLE[place]
    for found in imports(tree):
        first, _, rest = found.target.partition(".")
        if not first:
            yield found.line, f"a relative import: {found.target}"
        elif first == "importlib" and rest != "metadata":
            yield found.line, "importlib: imports are written so that they can be read"
        elif first == "realtime_client":
            if not (within(rest, rule.ours) or (place != PACKAGE and place_of(rest) == place)):
                yield found.line, f"{found.target} is not open to {place or 'the package'}"
        elif first in sys.stdlib_module_names:
            if found.when != "never" and within(found.target, rule.never):
                yield found.line, f"{found.target} has no place in {place}"
        elif first not in rule.libraries:
            yield found.line, f"the library {first} has no place in {place or 'the package'}"


def report(findings: dict[str, list[Finding]]) -> str:
    return "\n".join(f"{file}:{line}: {text}" for file, found in findings.items() for line, text in found)


def search(rule: Callable[[ast.Module], Iterator[Finding]], files: list[str]) -> dict[str, list[Finding]]:
    return {file: found for file in files if (found := list(rule(parsed(file))))}


def test_every_module_has_its_place_in_the_table() -> None:
    assert {place_of(module) for module in MODULES} <= set(TABLE)


@pytest.mark.parametrize("place", [place for place in TABLE if any(place_of(m) == place for m in MODULES)])
def test_imports_keep_to_the_table(place: str) -> None:
    files = [file for module, file in MODULES.items() if place_of(module) == place]
    findings = search(lambda tree: foreign_imports(tree, place), files)
    assert not findings, report(findings)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("_core", "import threading"),
        ("_core", "import time as t"),
        ("_core", "from random import uniform"),
        ("_core", "def f():\n    import ssl"),
        ("_core", "from urllib import request"),
        ("_core", "from realtime_client import store"),
        ("_core", "from realtime_client import RealtimeClient"),
        ("_core", "from realtime_client._runtime import clock"),
        ("_core", "import websocket"),
        ("_core", "from . import frames"),
        ("store", "from realtime_client._runtime.clock import Clock"),
        ("observers", "from realtime_client.transports.base import Link"),
        ("observers", "if TYPE_CHECKING:\n    from realtime_client.client import RealtimeClient"),
        ("config", "import socket"),
        ("config", "import ssl"),
        ("_runtime", "import websocket"),
        ("_runtime", "from realtime_client.transports.websocket import WebSocketDialer"),
        ("_runtime", "from realtime_client.transports import websocket"),
        ("transports", "from realtime_client._runtime.clock import Clock"),
        ("transports", "from realtime_client.store import DashboardStore"),
        ("client", "import flask"),
        ("client", "from realtime_client.testing import FakeServer"),
        ("client", "from realtime_client.handles import shared"),
        ("cli", "from realtime_client._core.frames import TEXT"),
        ("cli", "from realtime_client.testing import FakeServer"),
        ("demo", "from realtime_client._core.codec import Codec"),
        ("demo", "from realtime_client._runtime.clock import Clock"),
        ("testing", "from realtime_client._runtime.engine import Engine"),
        ("testing", "def f():\n    import pytest"),
        ("integrations", "from realtime_client._runtime.counters import Counters"),
        (PACKAGE, "from realtime_client.testing import FakeServer"),
        (PACKAGE, "import attrs"),
        ("events", "from importlib import import_module"),
    ],
)
def test_what_the_table_forbids_is_found(place: str, source: str) -> None:
    assert list(foreign_imports(ast.parse(source), place))


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("config", "if TYPE_CHECKING:\n    import ssl"),
        ("_core", "from realtime_client._core.frames import TEXT\nimport zlib, attrs, msgspec"),
        ("_core", "from urllib.parse import urlsplit"),
        ("_runtime", "from realtime_client.transports.base import Link\nimport threading"),
        ("cli", "from realtime_client import RealtimeClient\nfrom realtime_client.demo import FeedServer"),
        ("transports", "def f():\n    from python_socks.sync import Proxy"),
    ],
)
def test_what_the_table_allows_is_not_found(place: str, source: str) -> None:
    assert not list(foreign_imports(ast.parse(source), place))


def test_imports_point_one_way() -> None:
    """No two modules need each other to be loaded, and no two places need each other at all."""
    loading: dict[str, set[str]] = {}
    places: dict[str, set[str]] = {}
    for module, file in MODULES.items():
        for found in imports(parsed(file)):
            target = found.target.removeprefix("realtime_client").removeprefix(".")
            if not found.target.startswith("realtime_client") or target == module:
                continue
            if found.when == "import":
                loading.setdefault(module, set()).add(target)
            if place_of(target) != place_of(module):
                places.setdefault(place_of(module), set()).add(place_of(target))
    TopologicalSorter(loading).prepare()
    TopologicalSorter(places).prepare()


# 2. Waiting, and who owns the process


def sleeps(tree: ast.Module) -> Iterator[Finding]:
    """A sleep is a wait that nobody can end."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="sleep"):
                yield node.lineno, "a sleep"
            case ast.ImportFrom() if any(alias.name == "sleep" for alias in node.names):
                yield node.lineno, "a sleep"


def untimed_joins(tree: ast.Module) -> Iterator[Finding]:
    """A thread's join is a statement: it returns nothing. What has a value is somebody else's ``join``."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="join"), args=arguments, keywords=keywords)):
                given = [*arguments, *(keyword.value for keyword in keywords)]
                if all(isinstance(value, ast.Constant) and value.value is None for value in given):
                    yield node.lineno, "a join without a timeout"


def signal_handlers(tree: ast.Module) -> Iterator[Finding]:
    for found in imports(tree):
        if found.target.partition(".")[0] == "signal":
            yield found.line, "signals belong to the application"


def clock_readings(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            yield node.lineno, f"reads the clock: {ast.unparse(node)}"


@pytest.mark.parametrize("rule", [sleeps, untimed_joins])
def test_no_wait_is_without_end(rule: Callable[[ast.Module], Iterator[Finding]]) -> None:
    findings = search(rule, FILES)
    assert not findings, report(findings)


def test_no_signal_handlers_are_installed() -> None:
    """A command owns its process, so the command line may; a library does not."""
    findings = search(signal_handlers, [file for file in FILES if not file.startswith("cli/")])
    assert not findings, report(findings)


def test_the_core_is_told_the_time() -> None:
    findings = search(clock_readings, [file for file in FILES if file.startswith("_core/")])
    assert not findings, report(findings)


# 3. Threads

STARTERS = (
    "_runtime/threads.py",
    "transports/errands.py",
    "relay/",
    "demo/",
    "testing/",
    "web/broadcast.py",
    "integrations/gunicorn.py",
    "integrations/prometheus.py",
)
"""Where threads are made: the client's own, the disposable ones, those of the relay, of the embedded and the scripted
server, the one that feeds the pages, the one that sees a worker stop, and the one that writes metrics to files."""


def threads_made(tree: ast.Module) -> Iterator[Finding]:
    for found in imports(tree):
        if found.target.partition(".")[0] in ("_thread", "concurrent", "multiprocessing"):
            yield found.line, f"{found.target} starts threads or processes of its own"
    for node in ast.walk(tree):
        made = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        for what in made:
            name = what.attr if isinstance(what, ast.Attribute) else what.id if isinstance(what, ast.Name) else ""
            if name in ("Thread", "Timer", "ClientThread"):
                yield what.lineno, f"makes a thread: {ast.unparse(what)}"


def test_threads_are_made_in_few_places() -> None:
    findings = search(threads_made, [file for file in FILES if not file.startswith(STARTERS)])
    assert not findings, report(findings)


# 4. Words


def described_elsewhere(function: ast.FunctionDef) -> bool:
    """An overload is described with the implementation, a setter with its property."""
    marks = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(mark.endswith(("overload", ".setter", ".deleter")) for mark in marks)


def undocumented(tree: ast.Module) -> Iterator[Finding]:
    def visit(node: ast.Module | ast.ClassDef, name: str) -> Iterator[Finding]:
        if not ast.get_docstring(node):
            yield getattr(node, "lineno", 1), f"{name} has no docstring"
        for child in node.body:
            if not isinstance(child, ast.ClassDef | ast.FunctionDef) or child.name.startswith("_"):
                continue
            if isinstance(child, ast.ClassDef):
                yield from visit(child, child.name)
            elif not ast.get_docstring(child) and not described_elsewhere(child):
                yield child.lineno, f"{child.name} has no docstring"

    return visit(tree, "the module")


def unlisted(tree: ast.Module) -> Iterator[Finding]:
    """A module that defines public names without listing them; one that defines none has nothing to list."""
    defined: list[str] = []
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                defined.append(node.name)
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                defined.append(name)
    if "__all__" not in defined and any(not name.startswith("_") for name in defined):
        yield 1, "defines public names but no __all__"


@pytest.mark.parametrize("rule", [undocumented, unlisted])
def test_every_public_thing_is_described_and_listed(rule: Callable[[ast.Module], Iterator[Finding]]) -> None:
    findings = search(rule, FILES)
    assert not findings, report(findings)


def test_what_other_modules_use_is_listed() -> None:
    """Public modules apart, which list what a user may rely on."""
    hidden = [
        f"{file}:{node.lineno}: {node.module} does not list {alias.name}"
        for file in FILES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("realtime_client.")
        for inside in [node.module.removeprefix("realtime_client.")]
        if inside not in PUBLIC
        for alias in node.names
        if f"{inside}.{alias.name}" not in MODULES and alias.name != "__version__"
        if alias.name not in listed(MODULES[inside])
    ]
    assert not hidden, "\n".join(hidden)


def listed(file: str) -> frozenset[str]:
    """What a module's ``__all__`` has."""
    for node in parsed(file).body:
        match node:
            case ast.Assign(targets=[ast.Name("__all__")], value=names_listed):
                return frozenset(ast.literal_eval(names_listed))
    return frozenset()


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (sleeps, "import time\ntime.sleep(1)"),
        (sleeps, "from time import monotonic, sleep"),
        (sleeps, "from asyncio import sleep as pause"),
        (untimed_joins, "thread.join()"),
        (untimed_joins, "self.threads[0].join(None)"),
        (untimed_joins, "for t in threads:\n    t.join(timeout=None)"),
        (signal_handlers, "import signal"),
        (signal_handlers, "def f():\n    from signal import signal, SIGTERM"),
        (clock_readings, "datetime.now(UTC)"),
        (clock_readings, "date.today()"),
        (threads_made, "threading.Thread(target=f).start()"),
        (threads_made, "t = Timer(1, f)"),
        (threads_made, "class Mine(threading.Thread): pass"),
        (threads_made, "from concurrent.futures import ThreadPoolExecutor"),
        (threads_made, "ClientThread(owner, 'name', f)"),
        (undocumented, "x = 1"),
        (undocumented, '"""Doc."""\ndef f(): pass'),
        (undocumented, '"""Doc."""\nclass A:\n    """Doc."""\n    def f(self): pass'),
        (unlisted, "def f(): pass"),
        (unlisted, "LIMIT: int = 1"),
    ],
)
def test_what_breaks_a_rule_is_found(rule: Callable[[ast.Module], Iterator[Finding]], source: str) -> None:
    assert list(rule(ast.parse(source)))


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (untimed_joins, "thread.join(1.0)"),
        (untimed_joins, "thread.join(timeout=left)"),
        (untimed_joins, "line = ','.join(words)"),
        (untimed_joins, "outbox = hub.join()"),
        (threads_made, "def f(thread: threading.Thread) -> None: thread.join(1)"),
        (undocumented, '"""Doc."""\ndef _f(): pass\nclass _A: pass'),
        (unlisted, '"""Doc."""\n__version__ = "1"'),
        (unlisted, "__all__ = ['f']\ndef f(): pass"),
    ],
)
def test_what_breaks_no_rule_is_not_found(rule: Callable[[ast.Module], Iterator[Finding]], source: str) -> None:
    assert not list(rule(ast.parse(source)))


# 5. Importing

UNWANTED = names(
    "flask django redis rich pytest requests urllib.request asyncio realtime_client.testing realtime_client.demo"
    " realtime_client.cli"
)
IMPORT = """
import json, signal, sys, threading
before = signal.getsignal(signal.SIGINT)
import realtime_client
import logging
print(json.dumps({
    "modules": sorted(sys.modules),
    "threads": [thread.name for thread in threading.enumerate()],
    "interrupt": signal.getsignal(signal.SIGINT) is before,
    "logging": len(logging.getLogger().handlers),
}))
"""


def test_importing_the_package_has_no_side_effects() -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True, check=True, timeout=50
    )
    assert answer.stderr == ""
    seen = json.loads(answer.stdout)
    assert not UNWANTED & set(seen["modules"])
    assert seen["threads"] == ["MainThread"]
    assert seen["interrupt"] is True
    assert seen["logging"] == 0


def test_every_listed_name_is_there() -> None:
    assert realtime_client.__all__ == sorted(set(realtime_client.__all__))
    for name in realtime_client.__all__:
        assert hasattr(realtime_client, name)


def test_the_version_is_said_once() -> None:
    assert realtime_client.__version__ == importlib.metadata.version("realtime-client")
