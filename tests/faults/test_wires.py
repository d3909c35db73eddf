"""A test is left out for the one reason that it names, and never because something else went wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import wires


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets every command fail with these words."""

    def answer(words: str) -> None:
        failed: Any = subprocess.CompletedProcess([], 2, "", words)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
        monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")

    return answer


@pytest.mark.parametrize("why", [wires.why_not, wires.why_no_tun])
def test_rights_that_are_missing_are_the_reason(
    why: Callable[[], str | None], answering: Callable[[str], None]
) -> None:
    answering("mount --make-shared /run/netns failed: Operation not permitted")
    reason = why()
    assert reason is not None
    assert reason.endswith("Operation not permitted")


@pytest.mark.parametrize("why", [wires.why_not, wires.why_no_tun, wires.why_no_netem])
def test_any_other_failure_is_an_error(why: Callable[[], str | None], answering: Callable[[str], None]) -> None:
    answering("RTNETLINK answers: File exists")
    with pytest.raises(OSError, match="File exists"):
        why()


def test_another_system_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "this is darwin" in str(wires.why_not())


def test_a_command_that_is_missing_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "iproute2" in str(wires.why_not())
    assert "iproute2" in str(wires.why_no_netem())


def test_a_driver_that_is_missing_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "TUN", "/dev/net/no-such-device")
    monkeypatch.setattr(wires, "ip", lambda *_: None)
    assert "no-such-device" in str(wires.why_no_tun())
