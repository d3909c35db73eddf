"""Polling while the stream cannot be had, the poll as it goes over HTTP, and refresh()."""

from __future__ import annotations

import email.utils
import functools
import gzip
import itertools
import json
import re
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from realtime_client import (
    ConnectError,
    ConnectionState,
    ConnectionStatus,
    MalformedMessage,
    NewAnomaly,
    Origin,
    PollError,
    RealtimeClient,
    StatsUpdate,
    SystemAlert,
    Transport,
)
from realtime_client.testing import FakeClock, FakeServer, MemoryTransport, accept, refuse
from tests.client.conftest import Make
from tests.client.recording import (
    PATIENCE,
    QUICK,
    Record,
    Stopwatch,
    Task,
    alert,
    anomaly,
    numbers,
    own_threads,
    stats,
)
from tests.outages.tunnel import TunnelProxy
from tests.outages.waiting import wait_for_plan, wait_until_ended

LONG = 3600.0
DECLARED_AT_ONCE: Mapping[str, Any] = {"max_reconnect_attempts": 0, "reconnect_delay_max": LONG, "reconnect_jitter": 0}
"""Options for a client that polls from the first failed attempt on, and does not probe."""
FREQUENT: Mapping[str, Any] = {**DECLARED_AT_ONCE, "polling_interval": 0.01}

Answer = tuple[int, Mapping[str, str], bytes]


def log(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"log-{number}", "message": f"number {number}", "isAnomaly": True, **fields}


def at(minute: int) -> str:
    return f"2024-05-01T12:{minute:02}:00Z"


class Asked:
    """A poller that keeps when it was asked, and gives what it is told to."""

    def __init__(self, clock: FakeClock, *answers: Any) -> None:
        self._clock = clock
        self._answers = list(answers)
        self.record = Record()

    def __call__(self) -> Any:
        self.record(self._clock.monotonic() - 1000)
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def pass_time(clock: FakeClock, seconds: int, *, waiters: int = 2) -> None:
    """Let time pass second by second, and whoever wakes come to rest again."""
    for _ in range(seconds):
        clock.wait_for_waiters(waiters)
        clock.advance(1.0)
    clock.wait_for_waiters(waiters)


def scripted(*answers: Answer) -> Callable[[Any], Answer]:
    """Answers in turn, the last one for ever."""
    rest = list(answers)

    def answer(_request: Any) -> Answer:
        return rest.pop(0) if len(rest) > 1 else rest[0]

    return answer


def ok(body: Any, **headers: str) -> Answer:
    return 200, headers, json.dumps(body).encode()


def source(client: RealtimeClient) -> Transport:
    return client.status.transport


def late(server: FakeServer) -> Callable[[Any], Answer]:
    """An answer that does not come before the gate is released."""

    def answer(_request: Any) -> Answer:
        server.gate("never").wait(30)
        return ok({})

    return answer


def held(client: RealtimeClient) -> list[int]:
    """The numbers of the logs in the store, oldest first."""
    return [int(entry.id.removeprefix("log-")) for entry in reversed(client.store.recent_logs)]


def test_no_poll_is_made_while_the_stream_works(server: FakeServer, make: Make) -> None:
    server.poll_answer = {}
    client = make(server.url, polling_url=server.poll_url)
    client.connect(PATIENCE)
    client.close()
    client.connect(wait=False)
    assert next(client.events("connection_established", timeout=PATIENCE))
    assert server.polls == ()


# When


def test_polling_starts_after_poll_after_without_a_declared_outage(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    network.refuse(times=None)
    asked = Asked(clock)
    client = make(
        link_factory=network, clock=clock, poller=asked, poll_after=10, polling_interval=5, max_reconnect_attempts=None
    )
    client.connect(wait=False)
    pass_time(clock, 9, waiters=1)
    assert asked.record.items == []
    assert source(client) is Transport.NONE
    pass_time(clock, 1, waiters=1)
    asked.record.wait_for(1)
    pass_time(clock, 10)
    assert asked.record.items == [10, 15, 20]
    assert client.status.state is ConnectionState.RECONNECTING
    assert source(client) is Transport.POLLING


def test_polling_starts_with_the_declared_outage_before_poll_after(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    network.refuse(times=None)
    asked = Asked(clock)
    client = make(
        link_factory=network,
        clock=clock,
        poller=asked,
        poll_after=LONG,
        max_reconnect_attempts=2,
        reconnect_jitter=0,
    )
    changes = Record()
    client.on_status(changes)
    client.connect(wait=False)
    for attempt, seconds in enumerate((1, 2)):
        wait_for_plan(changes, attempt)
        clock.wait_for_waiters(1)
        assert asked.record.items == []
        clock.advance(seconds)
    assert asked.record.wait_for(1) == [3]
    assert client.status.state is ConnectionState.UNAVAILABLE


def test_a_client_that_gave_up_does_not_poll(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    polled = Record()
    client = make(link_factory=network, poller=lambda: polled(1), give_up=True, **FREQUENT)
    with pytest.raises(ConnectError):
        client.connect(PATIENCE)
    assert client.status.state is ConnectionState.FAILED
    assert "poll" not in " ".join(own_threads(client))
    assert polled.items == []


def test_polling_interval_is_the_spacing_of_polls(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    network.refuse(times=None)
    asked = Asked(clock)
    client = make(link_factory=network, clock=clock, poller=asked, polling_interval=7, **DECLARED_AT_ONCE)
    client.connect(wait=False)
    asked.record.wait_for(1)
    pass_time(clock, 21)
    assert asked.record.items == [0, 7, 14, 21]


def test_failing_polls_are_spaced_out_and_a_good_one_ends_that(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    network.refuse(times=None)
    asked = Asked(clock, *[OSError("down")] * 6, {}, {})
    client, changes = (
        make(link_factory=network, clock=clock, poller=asked, polling_interval=5, **DECLARED_AT_ONCE),
        Record(),
    )
    client.on_status(changes)
    client.connect(wait=False)
    asked.record.wait_for(1)
    assert source(client) is Transport.NONE  # nothing comes from polls that fail
    pass_time(clock, 200)
    assert asked.record.items == [0, 5, 15, 35, 75, 135, 195, 200]
    changes.wait_until(lambda seen: seen[-1].current.transport is Transport.POLLING)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_a_poll_is_obeyed_in_seconds(
    status: int, server: FakeServer, network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    times = Record()

    def answer(_request: Any) -> Answer:
        times(clock.monotonic() - 1000)
        return status, {"Retry-After": "30"}, b""

    server.poll_answer = answer
    network.refuse(times=None)
    client = make(
        link_factory=network, clock=clock, polling_url=server.poll_url, polling_interval=5, **DECLARED_AT_ONCE
    )
    client.connect(wait=False)
    times.wait_for(1)
    pass_time(clock, 60)
    assert times.items == [0, 30, 60]


def test_retry_after_of_a_poll_is_obeyed_as_a_date(server: FakeServer, make: Make) -> None:
    date = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    server.poll_answer = lambda _: (503, {"Retry-After": date}, b"")
    client = make(server.url, polling_url=server.poll_url)
    with pytest.raises(PollError) as caught:
        client.refresh(PATIENCE)
    assert caught.value.status == 503
    assert caught.value.retry_after == pytest.approx(39, abs=2)


def test_a_retry_after_shorter_than_the_own_spacing_does_not_shorten_it(
    server: FakeServer, network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    times = Record()

    def answer(_request: Any) -> Answer:
        times(clock.monotonic() - 1000)
        return 503, {"Retry-After": "1"}, b""

    server.poll_answer = answer
    network.refuse(times=None)
    client = make(
        link_factory=network, clock=clock, polling_url=server.poll_url, polling_interval=4, **DECLARED_AT_ONCE
    )
    client.connect(wait=False)
    times.wait_for(1)
    pass_time(clock, 12)
    assert times.items == [0, 4, 12]


@pytest.mark.parametrize("after", ["9" * 14, "9" * 300])
def test_a_retry_after_past_all_reason_does_not_end_the_polling(
    after: str, server: FakeServer, network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    day = 86_400
    times = Record()

    def answer(_request: Any) -> Answer:
        times(clock.monotonic() - 1000)
        return 503, {"Retry-After": after}, b""

    server.poll_answer = answer
    network.refuse(times=None)
    client = make(
        link_factory=network, clock=clock, polling_url=server.poll_url, polling_interval=4, **DECLARED_AT_ONCE
    )
    client.connect(wait=False)
    times.wait_for(1)
    clock.wait_for_waiters(2)
    clock.advance(day + 1)
    assert times.wait_for(2)[1] <= day + 1


def test_the_polling_survives_such_an_answer_with_the_real_clock(
    server: FakeServer, network: MemoryTransport, make: Make
) -> None:
    server.poll_answer = lambda _: (503, {"Retry-After": "9" * 14}, b"")
    network.refuse(times=None)
    client, gaps = make(link_factory=network, polling_url=server.poll_url, **FREQUENT), Record()
    client.on_gap(gaps)
    client.connect(wait=False)
    server.wait_for_polls(1)
    network.accept()
    client.reconnect(PATIENCE)
    network.current.put({"type": "pong"})
    # The last poll obeys the server's word, too; its thread is still there to say so.
    assert not gaps.wait_for(1)[0].complete
    assert len(server.polls) == 1


# What is asked


def test_a_poll_asks_as_documented(server: FakeServer, make: Make) -> None:
    server.poll_answer = {}
    tokens = iter(["first", "second"])
    client = make(server.url, polling_url=server.poll_url, token=lambda: next(tokens), headers={"X-Tenant": "blue"})
    client.refresh()
    client.refresh()
    first, second = server.polls
    assert first.request.method == "GET"
    assert first.request.headers["Accept"] == "application/json"
    assert first.request.headers["Accept-Encoding"] == "gzip"
    assert first.request.headers["X-Tenant"] == "blue"
    assert first.request.headers["User-Agent"].startswith("realtime-client/")
    assert [poll.request.headers["Authorization"] for poll in (first, second)] == ["Bearer first", "Bearer second"]


def test_a_poll_sends_the_url_s_credentials_and_the_headers_of_a_callable(server: FakeServer, make: Make) -> None:
    server.poll_answer = {}
    url = server.poll_url.replace("http://", "http://user:p%40ss@")
    client = make(server.url, polling_url=url + "?view=all", headers=lambda: {"X-Tenant": "green"})
    client.refresh()
    request = server.polls[0].request
    assert request.headers["Authorization"] == "Basic dXNlcjpwQHNz"  # user:p@ss
    assert request.headers["X-Tenant"] == "green"
    assert request.target == "/poll?view=all"


def test_a_poll_asks_since_the_newest_timestamp_held(server: FakeServer, make: Make) -> None:
    server.poll_answer = {"logs": [log(1, timestamp="2024-05-01T14:30:00.250+02:00"), log(2, timestamp=at(10)), log(3)]}
    client = make(server.url, polling_url=server.poll_url + "?view=all")
    client.refresh()
    client.refresh()
    assert server.polls[0].request.target == "/poll?view=all"
    second = server.polls[1].request
    assert second.target.startswith("/poll?view=all&since=")
    assert "since=2024-05-01T12%3A30%3A00.250000Z" in second.target


def test_since_is_inclusive_and_known_logs_are_dropped(server: FakeServer, make: Make) -> None:
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on("new_anomaly", events)
    client.connect(PATIENCE)
    server.poll_answer = {"logs": [log(1, timestamp=at(1))]}
    client.refresh()
    server.poll_answer = {"logs": [log(1, timestamp=at(1)), log(2, timestamp=at(1))]}  # the same instant
    client.refresh()
    assert numbers(events.wait_for(2)) == [1, 2]
    assert client.store.stats.anomaly_count == 2


def test_etag_and_304(server: FakeServer, network: MemoryTransport, make: Make) -> None:
    first = ok({"stats": {"totalLogs": 7}}, ETag='"v1"')
    server.poll_answer = scripted(first, (304, {}, b""), (304, {"ETag": '"v1"'}, b""))
    network.refuse(times=None)
    client, changes = make(link_factory=network, polling_url=server.poll_url, **FREQUENT), Record()
    client.store.subscribe("stats", changes)
    client.connect(wait=False)
    server.wait_for_polls(4)
    assert "If-None-Match" not in server.polls[0].request.headers
    assert [poll.request.headers["If-None-Match"] for poll in server.polls[1:4]] == ['"v1"'] * 3
    assert client.store.stats.total_logs == 7
    assert client.metrics().malformed == 0
    assert source(client) is Transport.POLLING  # 304 is a good answer
    assert len(changes.wait_for(1)) == 1


def test_304_is_a_sign_of_life(server: FakeServer, network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    answered = Record()

    def answer(request: Any) -> Answer:
        answered(clock.now())
        return (304, {}, b"") if "If-None-Match" in request.headers else ok({}, ETag='"v1"')

    server.poll_answer = answer
    network.refuse(times=None)
    client = make(
        link_factory=network, clock=clock, polling_url=server.poll_url, polling_interval=5, **DECLARED_AT_ONCE
    )
    client.connect(wait=False)
    answered.wait_for(1)
    pass_time(clock, 11)
    assert len(answered.items) == 3
    assert client.store.snapshot().as_of == answered.items[-1]
    assert client.store.is_stale(0.5)
    assert not client.store.is_stale(1.5)


def test_an_etag_is_not_sent_along_with_another_question(
    server: FakeServer, network: MemoryTransport, make: Make
) -> None:
    server.poll_answer = scripted(ok({"logs": [log(1, timestamp=at(1))]}, ETag='"v1"'))
    network.refuse(times=None)
    client = make(link_factory=network, polling_url=server.poll_url, **FREQUENT)
    client.connect(wait=False)
    polls = server.wait_for_polls(3)
    assert "If-None-Match" not in polls[1].request.headers  # the first question had no since=
    assert polls[2].request.headers["If-None-Match"] == '"v1"'


# What is answered


def refused(server: FakeServer, make: Make, answer: Any, **options: Any) -> PollError:
    """The error of a poll that is answered so."""
    server.poll_answer = answer
    client = make(server.url, polling_url=server.poll_url, **options)
    with pytest.raises(PollError) as caught:
        client.refresh(PATIENCE)
    assert client.store.snapshot().as_of is None  # nothing counts as heard
    assert client.metrics().polls == 0
    return caught.value


def test_gzip(server: FakeServer, make: Make) -> None:
    body = gzip.compress(json.dumps({"stats": {"totalLogs": 3}}).encode())
    server.poll_answer = lambda _: (200, {"Content-Encoding": "gzip"}, body)
    assert make(server.url, polling_url=server.poll_url).refresh().stats.total_logs == 3


def test_a_gzip_bomb_is_refused_with_bounded_memory(server: FakeServer, make: Make) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()  # 256 MiB in 256 KiB
    server.poll_answer = lambda _: (200, {"Content-Encoding": "gzip"}, bomb)
    client = make(server.url, polling_url=server.poll_url, max_message_bytes=64 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(PollError, match="more than 1048576 bytes"):
            client.refresh(PATIENCE)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_size_limit_is_sixteen_messages(encoding: str, server: FakeServer, make: Make) -> None:
    limit = 16 * 1024
    pack = gzip.compress if encoding == "gzip" else bytes

    def padded(size: int) -> Callable[[Any], Answer]:
        body = pack(b"{}" + b" " * (size - 2))
        return lambda _: (200, {"Content-Encoding": encoding}, body)

    error = refused(server, make, padded(limit + 1), max_message_bytes=1024)
    assert str(limit) in str(error)
    server.poll_answer = padded(limit)
    make(server.url, polling_url=server.poll_url, max_message_bytes=1024).refresh()


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({"Content-Encoding": "gzip"}, b"no gzip at all", "gzip"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"stats": {}}' * 99, mtime=0)[:-12], "gzip"),
        ({"Content-Encoding": "br"}, b"{}", "'br'"),
        ({"Content-Encoding": "deflate"}, zlib.compress(b"{}"), "'deflate'"),
        ({}, b"", "not JSON"),
        ({}, b"<html>busy</html>", "not JSON"),
        ({}, b'{"stats": NaN}', "not JSON"),
        ({}, b"\xff\xfe", "UTF-8"),
        ({}, b'"text"', "neither an object nor a list"),
        ({}, b"null", "neither an object nor a list"),
        ({}, b"7", "neither an object nor a list"),
        ({}, b"[" * 100_000, "deep"),
    ],
)
def test_an_answer_that_cannot_be_understood(
    headers: dict[str, str], body: bytes, words: str, server: FakeServer, make: Make
) -> None:
    error = refused(server, make, lambda _: (200, headers, body))
    assert words in str(error)


def test_such_an_answer_is_ringed_and_reported(server: FakeServer, make: Make) -> None:
    client, errors = make(server.url, polling_url=server.poll_url), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    server.poll_answer = lambda _: (200, {}, b"<html>busy</html>")
    with pytest.raises(PollError):
        client.refresh()
    assert [rejected.payload for rejected in client.rejected] == ["<html>busy</html>"]
    assert errors.wait_for(1) == list(client.rejected)
    assert client.metrics().malformed == 1
    assert client.is_connected


@pytest.mark.parametrize("status", [201, 204, 401, 403, 404, 410, 429, 500, 502, 503])
def test_other_statuses_are_errors_that_carry_them(status: int, server: FakeServer, make: Make) -> None:
    error = refused(server, make, lambda _: (status, {}, b"" if status == 204 else b"{}"))
    assert error.status == status
    assert str(status) in str(error)
    assert error.retry_after is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, server: FakeServer, make: Make) -> None:
    with FakeServer(poll_answer={}) as other:
        error = refused(server, make, lambda _: (status, {"Location": other.poll_url}, b""), token="secret-token")
        assert error.status == status
        assert (other.attempts, other.polls) == ((), ())
    assert len(server.polls) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": lambda: 5}, "the token callable did not return text in printable ASCII"),
        ({"token": lambda: "two\nlines"}, "the token callable did not return text in printable ASCII"),
        ({"token": lambda: str}, "the token callable did not return text in printable ASCII"),
        ({"token": lambda: 1 / 0}, "the token callable raised ZeroDivisionError"),
        ({"headers": lambda: "X: 1"}, "the headers callable did not return a mapping"),
    ],
)
def test_a_callable_that_gives_nothing_usable_is_named(
    options: dict[str, Any], words: str, server: FakeServer, make: Make
) -> None:
    client = make(server.url, polling_url=server.poll_url, **options)
    with pytest.raises(PollError, match=rf"^polling {re.escape(server.poll_url)} failed: {words}"):
        client.refresh(PATIENCE)
    assert server.polls == ()


def test_no_server_is_an_error_without_a_status(make: Make) -> None:
    with FakeServer() as gone:
        url = gone.poll_url
    with pytest.raises(PollError) as caught:
        make("ws://127.0.0.1:9/ws", polling_url=url).refresh(PATIENCE)
    assert caught.value.status is None


def test_a_server_that_does_not_answer_is_given_up_in_time(server: FakeServer, make: Make) -> None:
    server.poll_answer = late(server)
    client = make(server.url, polling_url=server.poll_url)
    with Stopwatch() as took, pytest.raises(PollError, match=r"within 0\.2 s"):
        client.refresh(0.2)
    assert took.seconds < 1.5
    server.gate("never").release()
    wait_until_ended("-poll-request")


def test_close_does_not_wait_for_a_poll(server: FakeServer, network: MemoryTransport, make: Make) -> None:
    server.poll_answer = late(server)
    network.refuse(times=None)
    client = make(link_factory=network, polling_url=server.poll_url, **FREQUENT)
    client.connect(wait=False)
    server.wait_for_polls(1)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1
    assert own_threads(client) == []
    server.gate("never").release()
    wait_until_ended("-poll-request")


def test_wrong_parts_are_rejected_and_the_rest_counts(server: FakeServer, make: Make) -> None:
    server.poll_answer = {
        "stats": {"totalLogs": "many"},
        "logs": [log(1), {"id": 2, "message": "no text"}, "nothing", None, log(3)],
        "alerts": [{"severity": "error"}, {"message": "heed this"}],
        "unknown": {"part": True},
    }
    client, errors = make(server.url, polling_url=server.poll_url), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    snapshot = client.refresh()
    assert held(client) == [1, 3]
    assert [one.message for one in snapshot.alerts] == ["heed this"]
    assert snapshot.stats.total_logs == 0
    assert len(client.rejected) == client.metrics().malformed == 5
    assert all(isinstance(error, MalformedMessage) for error in errors.wait_for(5))


@pytest.mark.parametrize("part", ["logs", "alerts", "stats"])
def test_a_part_of_the_wrong_shape_spoils_no_other(part: str, server: FakeServer, make: Make) -> None:
    whole = {"stats": {"totalLogs": 5}, "logs": [log(1)], "alerts": [{"message": "heed this"}]}
    server.poll_answer = {**whole, part: "wrong"}
    client = make(server.url, polling_url=server.poll_url)
    snapshot = client.refresh()
    seen = {
        "stats": snapshot.stats.total_logs == 5,
        "logs": held(client) == [1],
        "alerts": len(snapshot.alerts) == 1,
    }
    assert [name for name, right in seen.items() if not right] == [part]
    assert len(client.rejected) == 1


def test_parts_that_are_missing_or_null_are_none(server: FakeServer, make: Make) -> None:
    client = make(server.url, polling_url=server.poll_url)
    answers: list[Any] = [{}, [], {"stats": None, "logs": None, "alerts": None}]
    for answer in answers:
        server.poll_answer = answer
        assert client.refresh().recent_logs == ()
    assert client.rejected == ()


# What becomes of it


@pytest.mark.parametrize("form", ["object", "list"])
def test_both_forms_of_an_answer_mean_the_same(form: str, server: FakeServer, make: Make) -> None:
    server.poll_answer = (
        {
            "stats": {"totalLogs": 9, "anomaly_count": 40},
            "logs": [log(2, timestamp=at(2)), log(1, timestamp=at(1))],
            "alerts": [{"message": "disk full", "severity": "critical", "timestamp": at(3)}],
        }
        if form == "object"
        else [
            {**stats(totalLogs=9, anomaly_count=40), "timestamp": at(4)},
            anomaly(2, timestamp=at(2)),
            {**alert("disk full", "critical"), "timestamp": at(3)},
            anomaly(1, timestamp=at(1)),
        ]
    )
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on(NewAnomaly, events)
    client.on(SystemAlert, events)
    client.on(StatsUpdate, events)
    client.connect(PATIENCE)
    snapshot = client.refresh()
    assert snapshot.stats.total_logs == 9
    assert snapshot.stats.anomaly_count == 40  # logs first, then the figure that the server gives
    assert held(client) == [1, 2]
    assert [one.severity for one in snapshot.alerts] == ["critical"]
    delivered = events.wait_for(4)
    assert numbers(delivered) == [1, 2]
    assert [type(event).__name__ for event in delivered] == ["NewAnomaly", "NewAnomaly", "SystemAlert", "StatsUpdate"]
    assert {event.origin for event in delivered} == {Origin.POLL}


def test_the_count_goes_up_where_the_server_gives_no_figure(server: FakeServer, make: Make) -> None:
    server.poll_answer = {"stats": {"totalLogs": 9}, "logs": [log(1), log(2)]}
    assert make(server.url, polling_url=server.poll_url).refresh().stats.anomaly_count == 2


def test_an_ordinary_log_fills_the_list_and_is_no_anomaly(server: FakeServer, make: Make) -> None:
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on("*", events)
    client.connect(PATIENCE)
    events.wait_for(1)
    server.poll_answer = {"logs": [log(1, isAnomaly=False), log(2)]}
    snapshot = client.refresh()
    assert held(client) == [1, 2]
    assert snapshot.stats.anomaly_count == 1
    assert numbers(events.wait_for(2)) == [2]


def test_what_has_no_id_is_matched_by_type_timestamp_and_data(server: FakeServer, make: Make) -> None:
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)

    def polled(*alerts: dict[str, str]) -> list[str]:
        server.poll_answer = {"alerts": list(alerts)}
        return [one.message for one in reversed(client.refresh().alerts)]

    one = {"message": "one", "timestamp": at(1)}
    assert polled(one) == ["one"]
    assert polled(one) == ["one"]
    assert polled({**one, "timestamp": at(2)}) == ["one", "one"]
    assert polled({**one, "severity": "info"}) == ["one", "one", "one"]
    assert polled(one, {**one, "timestamp": at(2)}, {**one, "severity": "info"}) == ["one"] * 3
    assert len(events.wait_for(3)) == 3


def test_without_a_timestamp_it_is_new_if_the_answer_before_did_not_have_it(server: FakeServer, make: Make) -> None:
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    for answer in (["a"], ["a"], ["a", "b"], ["b"], ["a"], []):
        server.poll_answer = {"alerts": [{"message": text} for text in answer]}
        client.refresh()
    assert [event.message for event in events.wait_for(3)] == ["a", "b", "a"]


def test_an_alert_of_the_stream_is_not_delivered_again_by_a_poll(server: FakeServer, make: Make) -> None:
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    known = {**alert("disk full", "error"), "timestamp": at(1)}
    server.send(known)
    events.wait_for(1)
    server.poll_answer = [known, {**alert("on fire"), "timestamp": at(2)}]
    assert len(client.refresh().alerts) == 2
    assert [event.message for event in events.wait_for(2)] == ["disk full", "on fire"]


def test_many_refreshes_at_once_count_nothing_twice(server: FakeServer, make: Make) -> None:
    server.poll_answer = {"logs": [log(number) for number in range(50)]}
    client, events = make(server.url, polling_url=server.poll_url), Record()
    client.on("new_anomaly", events)
    client.connect(PATIENCE)
    for task in [Task(client.refresh) for _ in range(8)]:
        task.result()
    assert client.store.stats.anomaly_count == 50
    server.send(anomaly(99))
    assert sorted(numbers(events.wait_for(51))) == [*range(50), 99]


# The way


def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    ca, path = trustme.CA(), tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context, path


def test_polls_over_tls(tmp_path: Path, make: Make) -> None:
    context, path = authority(tmp_path)
    with FakeServer(ssl_context=context, poll_answer={"stats": {"totalLogs": 4}}) as server:
        client = make(server.url, polling_url=server.poll_url, ca_file=str(path))
        assert client.refresh(PATIENCE).stats.total_logs == 4
        stranger = make(server.url, polling_url=server.poll_url)
        with pytest.raises(PollError, match="certificate"):
            stranger.refresh(PATIENCE)
        assert len(server.polls) == 1


@pytest.mark.parametrize("secure", [False, True])
def test_polls_through_a_proxy(secure: bool, tmp_path: Path, make: Make) -> None:
    context, path = authority(tmp_path)
    with (
        FakeServer(ssl_context=context if secure else None, poll_answer={"stats": {"totalLogs": 4}}) as server,
        TunnelProxy() as proxy,
    ):
        client = make(
            server.url,
            polling_url=server.poll_url,
            proxy=f"http://user:pass@127.0.0.1:{proxy.port}",
            ca_file=str(path) if secure else None,
            token="for-the-server-only",
        )
        assert client.refresh(PATIENCE).stats.total_logs == 4
        assert proxy.requests[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in proxy.requests[0]
        assert "for-the-server-only" not in proxy.requests[0]
        assert "Proxy-Authorization" not in server.polls[0].request.headers


def test_a_proxy_that_refuses(server: FakeServer, make: Make) -> None:
    with TunnelProxy("407 Proxy Authentication Required") as proxy:
        client = make(server.url, polling_url=server.poll_url, proxy=f"http://u:pass@127.0.0.1:{proxy.port}")
        with pytest.raises(PollError, match="407") as caught:
            client.refresh(PATIENCE)
    assert "pass" not in str(caught.value)
    assert server.polls == ()


# The way back


def test_the_stream_takes_over_with_its_first_message(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=3)
    polled, changes, gaps, events = Record(), Record(), Record(), Record()

    def poller() -> dict[str, Any]:
        polled(time.monotonic())
        return {"logs": [log(len(polled.items))]}

    client = make(
        link_factory=network,
        poller=poller,
        poll_after=LONG,
        polling_interval=0.01,
        max_reconnect_attempts=1,
        reconnect_delay=0.01,
        reconnect_delay_max=0.05,
        reconnect_jitter=0,
        heartbeat="none",
        backfill_timeout=LONG,
    )
    client.on_status(changes)
    client.on_gap(gaps)
    client.on("new_anomaly", events)
    client.connect(wait=False)
    link = network.wait_for_open()
    changes.wait_until(lambda seen: seen and seen[-1].current.state is ConnectionState.CONNECTED)
    # Connected, but the stream has said nothing: polling goes on.
    before = len(polled.items)
    polled.wait_for(before + 3)
    assert source(client) is Transport.POLLING
    assert gaps.items == []
    link.put(anomaly(10_000))
    gaps.wait_for(1)
    assert gaps.items[0].complete
    count = len(polled.items)
    assert source(client) is Transport.WEBSOCKET
    wait_until_ended(f"rtc-{client.config.name}-poll")  # the one that made the last poll has told it
    *rest, last = numbers(events.wait_for(count + 1))
    assert rest == list(range(1, count + 1))
    assert last == 10_000
    changes.wait_until(lambda seen: seen[-1].current.transport is Transport.WEBSOCKET)  # after the event that proved it
    transports = [change.current.transport for change in changes.items]
    told = [one for one, before_it in zip(transports, [None, *transports], strict=False) if one is not before_it]
    assert told == [Transport.NONE, Transport.POLLING, Transport.WEBSOCKET]


def test_a_poll_under_way_when_the_stream_takes_over(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    entered, leave, gaps = Record(), threading.Semaphore(0), Record()

    def poller() -> None:
        entered(1)
        assert leave.acquire(timeout=30)

    client = make(link_factory=network, poller=poller, heartbeat="none", backfill_timeout=LONG, **FREQUENT)
    client.on_gap(gaps)
    client.connect(wait=False)
    leave.release()
    entered.wait_for(2)
    network.accept()
    client.reconnect(PATIENCE)
    network.current.put(anomaly(1))
    client.store.wait_for(lambda seen: seen.transport is Transport.WEBSOCKET, PATIENCE)
    leave.release(2)
    gaps.wait_for(1)
    assert len(entered.items) == 3
    assert client.store.snapshot().transport is source(client) is Transport.WEBSOCKET


@pytest.mark.parametrize("heartbeat", ["frame", "message"])
def test_the_stream_takes_over_with_a_pong_when_it_has_nothing_to_tell(heartbeat: str, make: Make) -> None:
    script = [[refuse(503)], [refuse(503)]]
    with FakeServer(script=script, then=[accept()], poll_answer={"stats": {"totalLogs": 1}}) as server:
        client, gaps = (
            make(server.url, polling_url=server.poll_url, heartbeat=heartbeat, **QUICK, poll_after=0.0),
            Record(),
        )
        client.on_gap(gaps)
        client.connect(PATIENCE)
        gaps.wait_for(1)
        assert gaps.items[0].complete
        assert source(client) is Transport.WEBSOCKET
        assert client.store.snapshot().transport is Transport.WEBSOCKET


def test_the_stream_keeps_being_tried_while_polls_are_made(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    network.refuse(times=None)
    client = make(
        link_factory=network,
        clock=clock,
        poller=dict,
        max_reconnect_attempts=1,
        reconnect_delay=1,
        reconnect_delay_max=4,
        reconnect_jitter=0,
        polling_interval=3,
    )
    changes = Record()
    client.on_status(changes)
    client.connect(wait=False)
    for attempt, (seconds, waiters) in enumerate([(1, 1), *[(4, 2)] * 5]):
        wait_for_plan(changes, attempt)
        clock.wait_for_waiters(waiters)
        clock.advance(seconds)
        network.wait_for_links(attempt + 2)
    assert client.status.state is ConnectionState.UNAVAILABLE
    assert source(client) is Transport.POLLING
    wait_for_plan(changes, 6)
    clock.wait_for_waiters(2)
    network.accept()
    clock.advance(4)
    changes.wait_until(lambda seen: seen[-1].current.connected)


def test_the_store_says_where_it_has_its_knowledge_from(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    answers = iter([{"stats": {"totalLogs": 1}}])  # once: what a late poll says must not take the place of the stream's
    client = make(link_factory=network, poller=lambda: next(answers, {}), **FREQUENT)
    assert client.store.snapshot().transport is Transport.NONE
    before = datetime.now(UTC)
    client.connect(wait=False)
    snapshot = client.store.wait_for(lambda seen: seen.stats.total_logs == 1, PATIENCE)
    assert snapshot.transport is Transport.POLLING
    assert snapshot.as_of is not None
    assert before <= snapshot.as_of <= datetime.now(UTC)
    network.accept()
    client.reconnect(PATIENCE)
    network.current.put(stats(totalLogs=2))
    assert client.store.wait_for(lambda seen: seen.stats.total_logs == 2, PATIENCE).transport is Transport.WEBSOCKET


def test_polls_that_fail_do_not_show_as_polling(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    works = threading.Event()
    changes = Record()

    def poller() -> dict[str, Any]:
        if not works.is_set():
            raise OSError("down, too")
        return {}

    client = make(link_factory=network, poller=poller, **FREQUENT)
    client.on_status(changes)
    client.connect(wait=False)
    changes.wait_until(lambda seen: seen and seen[-1].current.state is ConnectionState.UNAVAILABLE)
    assert source(client) is Transport.NONE
    works.set()
    changes.wait_until(lambda seen: seen and seen[-1].current.transport is Transport.POLLING)
    works.clear()
    changes.wait_until(lambda seen: seen and seen[-1].current.transport is Transport.NONE)
    assert [change.current.transport for change in changes.items][-2:] == [Transport.POLLING, Transport.NONE]


# A poller of the user's


def test_a_poller_without_arguments_is_called_without(make: Make) -> None:
    assert make(poller=lambda: {"stats": {"totalLogs": 1}}).refresh().stats.total_logs == 1
    assert make(poller=lambda since=None, *rest, **more: {"logs": [] if since is None else [log(1)]}).refresh()
    assert make(poller=dict).refresh().version == 0
    assert make(poller=functools.partial(json.loads, "{}")).refresh().version == 0


class Service:
    """Pollers as people write them: a method, and an object that can be called."""

    def __init__(self) -> None:
        self.since: list[datetime | None] = []

    def fetch(self, since: datetime | None) -> dict[str, Any]:
        self.since.append(since)
        return {"logs": [log(len(self.since), timestamp=at(len(self.since)))]}

    __call__ = fetch


@pytest.mark.parametrize("kind", ["method", "object", "function"])
def test_a_poller_with_an_argument_is_given_the_newest_timestamp(kind: str, make: Make) -> None:
    service = Service()
    poller = {"method": service.fetch, "object": service, "function": functools.partial(service.fetch)}[kind]
    client = make(poller=poller)
    for _ in range(3):
        client.refresh()
    assert service.since == [None, datetime(2024, 5, 1, 12, 1, tzinfo=UTC), datetime(2024, 5, 1, 12, 2, tzinfo=UTC)]


@pytest.mark.parametrize("kind", [dict, str, bytes, list, "events"])
def test_what_a_poller_may_return(kind: Any, make: Make) -> None:
    answer: Any = {"stats": {"totalLogs": 6}}
    if kind is str:
        answer = json.dumps(answer)
    elif kind is bytes:
        answer = json.dumps(answer).encode()
    elif kind is list:
        answer = [stats(totalLogs=6)]
    elif kind == "events":
        answer = ({**stats(totalLogs=6)},)
    assert make(poller=lambda: answer).refresh().stats.total_logs == 6


def test_a_poller_that_returns_none_says_that_nothing_has_changed(make: Make) -> None:
    client = make(poller=lambda: None)
    snapshot = client.refresh()
    assert snapshot.as_of is not None
    assert snapshot.version == 0


@pytest.mark.parametrize("answer", [7, "no JSON", b"\xff", object(), {1: 2, "logs": 3}])
def test_a_poller_that_returns_nonsense(answer: Any, make: Make) -> None:
    client = make(poller=lambda: answer)
    if isinstance(answer, dict):
        client.refresh()  # one part is wrong, the rest counts
    else:
        with pytest.raises(PollError):
            client.refresh()
    assert len(client.rejected) == 1


class NobodyKnows(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize("error", [ValueError("broken"), PollError("own words", status=418), SystemExit(3)])
def test_a_poller_that_raises_is_a_poll_error(error: BaseException, make: Make) -> None:
    def poller() -> None:
        raise error

    with pytest.raises(PollError) as caught:
        make(poller=poller).refresh(PATIENCE)
    if isinstance(error, PollError):
        assert caught.value is error
    else:
        assert type(error).__name__ in str(caught.value)
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), NobodyKnows()])
def test_a_poller_that_raises_is_asked_again(error: BaseException, network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    calls = Record()

    def poller() -> dict[str, Any]:
        calls(1)
        if len(calls.items) < 3:
            raise error
        return {"stats": {"totalLogs": 5}}

    client = make(link_factory=network, poller=poller, **FREQUENT)
    client.connect(wait=False)
    assert client.store.wait_for(lambda seen: seen.stats.total_logs == 5, 3).transport is Transport.POLLING


def test_a_backfill_by_a_poller_that_raises_leaves_an_incomplete_gap(network: MemoryTransport, make: Make) -> None:
    def poller() -> None:
        raise SystemExit

    client, gaps = make(link_factory=network, poller=poller, backfill_timeout=1.0, **QUICK), Record()
    client.on_gap(gaps)
    client.connect(PATIENCE)
    network.current.lose()
    gap = gaps.wait_for(1, 3)[0]
    assert not gap.complete


def test_a_poller_that_hangs_holds_up_nothing(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    hangs, entered = threading.Event(), Record()

    def poller() -> dict[str, Any]:
        entered(1)
        hangs.wait(30)
        return {}

    client = make(link_factory=network, poller=poller, connect_timeout=0.2, **FREQUENT)
    with Stopwatch() as took, pytest.raises(PollError, match=r"within 0\.1 s"):
        client.refresh(timeout=0.1)
    assert took.seconds < 1
    client.connect(wait=False)
    entered.wait_for(4)  # each hanging poll is given up after connect_timeout, and the next one made
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1
    hangs.set()
    wait_until_ended("-poller")


def test_closing_from_inside_the_poller(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    closed = Record()

    def poller() -> None:
        client.close()
        closed(1)

    client = make(link_factory=network, poller=poller, close_timeout=1, **FREQUENT)
    client.connect(wait=False)
    closed.wait_for(1)
    assert client.status.state is ConnectionState.CLOSED
    wait_until_ended("rtc-")


# refresh()


def put_into(state: ConnectionState, client: RealtimeClient, network: MemoryTransport) -> None:
    """Bring a client into a state, in which it stays."""
    if state is ConnectionState.IDLE:
        return
    if state is ConnectionState.CONNECTING:
        network.hang()
    elif state is ConnectionState.UNAVAILABLE:
        network.refuse(times=None)
    elif state is ConnectionState.FAILED:
        network.refuse(ConnectError("a certificate, say", retryable=False), times=None)
    reached = Record()
    with client.on_status(reached):
        client.connect(wait=False)
        if state is ConnectionState.RECONNECTING:
            network.wait_for_open()
            reached.wait_until(lambda seen: seen and seen[-1].current.connected)
            network.refuse(times=None)
            network.current.lose()
        if state is ConnectionState.CLOSED:
            client.close()
        reached.wait_until(lambda seen: seen and seen[-1].current.state is state)


@pytest.mark.parametrize("state", ConnectionState)
def test_refresh_in_every_state(state: ConnectionState, network: MemoryTransport, make: Make) -> None:
    asked = Record()

    def poller() -> dict[str, Any]:
        asked(1)
        return {"logs": [log(len(asked.items))]}

    tries = 0 if state is ConnectionState.UNAVAILABLE else None
    client = make(
        link_factory=network,
        poller=poller,
        poll_after=LONG,
        polling_interval=LONG,
        max_reconnect_attempts=tries,
        reconnect_delay=LONG,
        reconnect_delay_max=LONG,
    )
    put_into(state, client, network)
    if state is ConnectionState.UNAVAILABLE:
        asked.wait_for(1)  # the first of its own
        client.store.wait_for(lambda seen: len(seen.recent_logs) == 1, PATIENCE)
    before = len(asked.items)
    status: ConnectionStatus = client.status
    snapshot = client.refresh(PATIENCE)
    assert len(asked.items) == before + 1
    assert len(snapshot.recent_logs) == before + 1
    assert snapshot.as_of is not None
    assert client.status.state is status.state is state  # asking changes nothing
    assert snapshot.transport is (Transport.NONE if state is ConnectionState.CONNECTED else Transport.POLLING)


def test_refresh_without_a_poller(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    with pytest.raises(PollError, match="polling_url"):
        client.refresh()
    client.connect(PATIENCE)
    with pytest.raises(PollError, match="poller"):
        client.refresh()


def test_refresh_within_a_callback_works(server: FakeServer, make: Make) -> None:
    server.poll_answer = {"stats": {"totalLogs": 8}}
    client, seen = make(server.url, polling_url=server.poll_url), Record()
    client.on("connection_established", lambda _: seen(client.refresh().stats.total_logs))
    client.connect(PATIENCE)
    assert seen.wait_for(1) == [8]


def test_what_a_refresh_before_connect_found_is_not_lost_without_a_word(server: FakeServer, make: Make) -> None:
    server.poll_answer = {"logs": [log(1), log(2), log(3)]}
    client, events, greeted = make(server.url, polling_url=server.poll_url), Record(), Record()
    client.on("new_anomaly", events)
    client.on("connection_established", greeted)
    client.refresh()
    client.connect(PATIENCE)
    greeted.wait_for(1)
    client.close()
    metrics = client.metrics()
    assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) == 4
    assert metrics.waiting == 0
    assert len(events.items) + sum(metrics.dropped.values()) == 3


def test_a_poll_that_takes_too_long_ends_itself_alone(server: FakeServer, network: MemoryTransport, make: Make) -> None:
    numbers_of_polls = itertools.count(1)

    def answer(_request: Any) -> Answer:
        number = next(numbers_of_polls)
        if number == 1:
            server.gate("first").wait(30)
        return ok({"logs": [log(number)]})

    server.poll_answer = answer
    network.refuse(times=None)
    client, heard = make(link_factory=network, polling_url=server.poll_url, connect_timeout=0.2, **FREQUENT), Record()
    client.on("new_anomaly", heard)
    client.connect(wait=False)
    heard.wait_for(3)
    server.gate("first").release()
    assert numbers(heard.items)[:3] == [2, 3, 4]
    assert source(client) is Transport.POLLING


def test_a_watcher_of_the_store_hears_of_a_log_that_the_stream_replaces_after_a_poll(
    network: MemoryTransport, make: Make
) -> None:
    client, seen = make(link_factory=network, poller=lambda: {"logs": [log(1, message="polled")]}), Record()
    client.connect(PATIENCE)
    client.store.subscribe("recent_logs", lambda _, logs: seen([entry.message for entry in logs]))
    client.refresh()
    seen.wait_until(lambda items: items[-1:] == [["polled"]])
    network.current.put(anomaly(1, message="streamed"))
    seen.wait_until(lambda items: items[-1:] == [["streamed"]])


@pytest.mark.parametrize("connected", [True, False])
def test_close_wakes_a_refresh_in_progress(connected: bool, network: MemoryTransport, make: Make) -> None:
    asked, leave = Record(), threading.Event()

    def hanging() -> Any:
        asked(1)
        assert leave.wait(30)
        return {}

    client = make(link_factory=network, poller=hanging)
    if connected:
        client.connect(PATIENCE)
    refreshing = Task(lambda: client.refresh(LONG))
    asked.wait_for(1)
    client.close()
    with pytest.raises(PollError):
        refreshing.result()
    leave.set()
    wait_until_ended("-poller")
