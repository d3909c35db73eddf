"""What the doctor says, in the shape in which tests look at it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

from realtime_client import ClientConfig
from realtime_client.doctor import Check, Verdict, diagnose

__all__ = ["FAIL", "OK", "SKIP", "WARN", "BriefServer", "Checks", "examined", "failed", "verdicts"]

OK, WARN, FAIL, SKIP = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.SKIP
Checks: TypeAlias = Mapping[str, Check]


def examined(url: str, **how: Any) -> Checks:
    return {check.name: check for check in diagnose(ClientConfig(url, **how))}


def verdicts(checks: Checks) -> dict[Verdict, list[str]]:
    return {verdict: [c.name for c in checks.values() if c.verdict is verdict] for verdict in Verdict}


def failed(checks: Checks, *independent: str) -> Check:
    """The only step that failed; those that need it are passed over."""
    (check,) = (check for check in checks.values() if check.verdict is FAIL)
    names = list(checks)
    later = [checks[name] for name in names[names.index(check.name) + 1 :] if name not in independent]
    assert all(c.verdict is SKIP and c.found == f"not tried, since {check.name} failed" for c in later)
    assert check.cause
    assert check.remedy
    return check


class BriefServer:
    """Answers the first client that says something with these bytes, and ends the connection."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        said = b""
        while not said:  # some only look whether it is there
            sock, _ = self._listening.accept()
            with sock:
                said = sock.recv(65536)
                if said:
                    sock.sendall(self._answer)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._listening.close()
