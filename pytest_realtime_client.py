"""Fixtures for pytest: a feed server, a client that follows it, a clock and a network in memory, a check of threads.

pytest loads this module in every environment that has the package installed, for suites too that never use it. So it is
no part of the package, imports nothing of it before a test asks for a fixture, and does nothing by itself: nobody's
tests start more slowly, and coverage sees whatever of the package they import.

Each fixture takes its arguments from the marker of its own name::

    @pytest.mark.realtime_client(reconnect_delay=0.01)
    def test_that_it_comes_back(realtime_client, realtime_server): ...
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from realtime_client import RealtimeClient, StatusChange
    from realtime_client.testing import FakeClock, FakeServer, MemoryTransport

__all__ = [
    "assert_no_leaked_threads",
    "realtime_client",
    "realtime_clock",
    "realtime_network",
    "realtime_server",
]

CONNECTING = 10.0
"""Seconds, of real time, that the client of a test has to connect."""

MARKERS = (
    "realtime_server(script=, then=, poll_answer=, ...): arguments of FakeServer for the fixture of that name",
    "realtime_client(connect=True, url=, token=, ...): options of RealtimeClient for the fixture of that name;"
    " connect=False leaves connecting to the test",
    "realtime_clock(start=): arguments of FakeClock for the fixture of that name",
    "assert_no_leaked_threads(timeout=, ignore=): arguments of the check for the fixture of that name",
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def realtime_server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """A feed server on this machine that works until a test says otherwise: `realtime_client.testing.FakeServer`.

    At the end it is closed, and what went wrong in its threads, a step of a script for instance, fails the test.
    """
    from realtime_client.testing import FakeServer

    with FakeServer(**_arguments(request, "realtime_server")) as server:
        yield server


@pytest.fixture
def realtime_network() -> MemoryTransport:
    """A network in memory, over which `realtime_client` goes if a test asks for it: `testing.MemoryTransport`."""
    from realtime_client.testing import MemoryTransport

    return MemoryTransport()


@pytest.fixture
def realtime_clock(request: pytest.FixtureRequest) -> FakeClock:
    """A clock that a test advances, by which `realtime_client` lives if a test asks for it: `testing.FakeClock`."""
    from realtime_client.testing import FakeClock

    return FakeClock(**_arguments(request, "realtime_clock"))


@pytest.fixture
def realtime_client(request: pytest.FixtureRequest) -> Iterator[RealtimeClient]:
    """A `realtime_client.RealtimeClient` that is connected, and closed at the end.

    It follows `realtime_server`, or whatever comes over `realtime_network` if the test asks for that, and lives by
    `realtime_clock` if the test asks for that. Its options are the usual ones, but for those that the marker gives.
    """
    from realtime_client import RealtimeClient

    options = _arguments(request, "realtime_client")
    connect = options.pop("connect", True)
    asked = request.fixturenames
    if "realtime_clock" in asked:
        options["clock"] = request.getfixturevalue("realtime_clock")
    if "realtime_network" in asked:
        if "realtime_server" in asked:
            raise pytest.UsageError("realtime_client follows realtime_server or realtime_network; ask for one of them")
        options["link_factory"] = request.getfixturevalue("realtime_network")
    elif "url" not in options:
        options["url"] = request.getfixturevalue("realtime_server").url
    client = RealtimeClient(**options)
    try:
        if connect:
            _connect(client)
        yield client
    finally:
        client.close()


@pytest.fixture
def assert_no_leaked_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test fails if a thread that it has begun runs on: `realtime_client.testing.assert_no_leaked_threads`.

    What fixtures begin counts too, if they are set up after this one and so end before it. With
    ``@pytest.mark.usefixtures("assert_no_leaked_threads")`` it is the first of the test's own.
    """
    from realtime_client.testing import assert_no_leaked_threads

    with assert_no_leaked_threads(**_arguments(request, "assert_no_leaked_threads")):
        yield


def _arguments(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """What the markers of that name say; that of the test comes before those of its class and module."""
    arguments: dict[str, Any] = {}
    for marker in request.node.iter_markers(name):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.{name}: {marker.args[0]!r:.100} has no name; allowed: name=value")
        arguments = {**marker.kwargs, **arguments}
    return arguments


def _connect(client: RealtimeClient) -> None:
    """Connect within so much real time: the client may live by a clock that stands still."""
    settled = threading.Event()

    def tell(change: StatusChange) -> None:
        if change.current.connected or change.current.state.value in ("unavailable", "failed"):
            settled.set()

    with client.on_status(tell):
        client.connect(wait=False)
        settled.wait(CONNECTING)
    if not client.metrics().connects:
        status = client.status
        raise RuntimeError(
            f"realtime_client could not connect: it is {status.state.value} ({status.last_error}); where that is meant,"
            " use @pytest.mark.realtime_client(connect=False)"
        ) from status.last_error
