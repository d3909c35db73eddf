"""The Autobahn WebSocket test suite: where its Python is, how it is installed, and its server that tests clients."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

VERSION = "25.10.1"
REQUIREMENT = f"autobahntestsuite=={VERSION}"
VARIABLE = "REALTIME_PYTHON27"
IS_PYTHON27 = "import pip, sys; sys.exit(sys.version_info[:2] != (2, 7))"
ANSWER_SECONDS = 50
INSTALL_SECONDS = 540
STOP_SECONDS = 60

# For Python 2.7. It ends, and writes the report, when its standard input does: with whoever started it, at the latest.
SERVER = r"""
import json, os, socket, sys
settings = json.loads(sys.argv[1])
sys.path.insert(0, settings["suite"])
answer, sys.stdout = sys.stdout, open(os.devnull, "w")
from autobahntestsuite.fuzzing import FuzzingServerFactory
from twisted.internet import protocol, reactor, stdio

class Owner(protocol.Protocol):
    def connectionLost(self, reason):
        if factory.countConnections:  # a case that the server has not seen the end of is in no report
            reactor.callLater(0.05, self.connectionLost, reason)
            return
        factory.createReports(produceHtml=settings["html"])
        reactor.stop()

listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(64)
listening.setblocking(False)
port = listening.getsockname()[1]
factory = FuzzingServerFactory({
    "url": "ws://127.0.0.1:%d" % port, "outdir": str(settings["reports"]), "cases": settings["cases"],
})
reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, factory)
stdio.StandardIO(Owner())
answer.write(json.dumps({"port": port, "cases": factory.specCases}) + "\n")
answer.flush()
reactor.run()
"""


def find_python27(environment: Mapping[str, str] = os.environ) -> str:
    """A Python 2.7 that has pip.

    Args:
        environment: ``REALTIME_PYTHON27`` names one; set but empty, it says that none is wanted.

    Raises:
        LookupError: There is none; says where it was looked for, and what was found instead.
        ValueError: The one that is named is none.
    """
    named = environment.get(VARIABLE)
    if named:
        if fault := _fault_of(named):
            raise ValueError(f"{VARIABLE}: {named!r} is no Python 2.7 with pip: {fault}")
        return named
    if named is not None:
        raise LookupError(f"{REQUIREMENT} needs Python 2.7, and {VARIABLE} is empty: none is wanted")
    pyenv = Path(environment.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [
        shutil.which("python2.7", path=environment.get("PATH", os.defpath)),
        *map(str, sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True)),
    ]
    faults = []
    for python in candidates:
        if python is not None:
            fault = _fault_of(python)
            if not fault:
                return python
            faults.append(f"{python}: {fault}")
    found = f" ({'; '.join(faults)})" if faults else ""
    raise LookupError(
        f"{REQUIREMENT} needs Python 2.7, and there is none with pip in {VARIABLE}, on PATH or in pyenv{found}"
    )


def _fault_of(python: str) -> str:
    """Why a program is no Python 2.7 with pip; empty where it is one."""
    try:
        # A shim of pyenv's is there also where no such Python is.
        done = subprocess.run([python, "-c", IS_PYTHON27], capture_output=True, check=False, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it did not answer within {ANSWER_SECONDS} s"
    except OSError as error:
        return str(error)
    return f"it answered with {done.returncode}" if done.returncode else ""


def installed(python: str) -> Path:
    """The directory with the suite, which is kept in the user's cache; installs it where it is not there yet.

    Raises:
        RuntimeError: pip failed, with what it said.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "realtime-client"
    place = cache / f"autobahn-{VERSION}"
    if place.exists():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="autobahn-") as temporary:
        made = Path(temporary) / "suite"
        command = [python, "-m", "pip", "install", "--quiet", "--target", str(made), REQUIREMENT]
        pip = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=INSTALL_SECONDS
        )
        if pip.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed ({VARIABLE}= does without):\n{pip.stdout[-2000:]}")
        (made / "zope" / "__init__.py").touch()  # a namespace package, which Python 2.7 reads in a site directory only
        with contextlib.suppress(OSError):  # somebody else was faster
            made.rename(place)
    return place


class FuzzingServer:
    """The suite's server, on a free port of the loopback device; a context manager, which ends it.

    Args:
        python: A Python 2.7.
        cases: Which cases: their numbers, or patterns such as ``6.*``.
        reports: Where it writes its report when it ends.
        html: Whether that is to have pages for a browser, too.

    Attributes:
        port: Where it listens.
        cases: The numbers of the cases, in the suite's order.
    """

    def __init__(self, python: str, cases: Sequence[str], reports: Path, *, html: bool = False) -> None:
        self._reports = reports
        settings = {"suite": str(installed(python)), "reports": str(reports), "cases": list(cases), "html": html}
        # Errors of the suite go to a file: a pipe that nobody reads fills up.
        reports.mkdir(parents=True, exist_ok=True)
        self._log = reports / "server.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, "-E", "-u", "-W", "ignore", "-c", SERVER, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if not ready:
            self.stop()
            raise RuntimeError(f"the suite's server did not start:\n{self._log.read_text()[-2000:]}")
        told = json.loads(ready)
        self.port: int = told["port"]
        self.cases: tuple[str, ...] = tuple(told["cases"])

    def __enter__(self) -> FuzzingServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, case: str, client: str) -> str:
        """Where a client connects to be tested in a case, under a name of its own."""
        return f"ws://127.0.0.1:{self.port}/runCase?case={self.cases.index(case) + 1}&agent={client}"

    def stop(self) -> None:
        """End the server, which writes its report; may be called again."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def report(self, client: str) -> Iterator[dict[str, Any]]:
        """What the suite says about a client, case by case, once the server has ended."""
        index = json.loads((self._reports / "index.json").read_text())
        for entry in index[client].values():
            yield json.loads((self._reports / entry["reportfile"]).read_text())
