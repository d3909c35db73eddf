"""The fast way through the codec never disagrees with the strict one, and neither with an independent reading."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core.codec import Codec
from realtime_client._core.fast_path import REFUSED, fast_decoders
from realtime_client._core.timestamps import parse_timestamp
from realtime_client.errors import MalformedMessage
from realtime_client.events import (
    ConnectionEstablished,
    Event,
    FrozenMapping,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
)

NOW = datetime(2024, 1, 2, tzinfo=UTC)
CODEC = Codec()

DIGITS = st.text("0123456789", min_size=1, max_size=9)
TIMES = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    st.sampled_from(["2024", "2023", "0001", "9999", "0000", "99"]),
    st.sampled_from(["01", "02", "12", "00", "13", "1"]),
    st.sampled_from(["01", "29", "31", "30", "00", "32"]),
    st.sampled_from("TTTt _"),
    st.sampled_from(["00", "10", "23", "24"]),
    st.sampled_from(["00", "59", "60"]),
    st.sampled_from(["00", "59", "60", "61"]),
    st.one_of(st.just(""), st.builds(".{}".format, DIGITS), st.sampled_from([".", ",5", ".9999999"])),
    st.sampled_from(["Z", "z", "", "+01:00", "-00:00", "+23:59", "-23:59", "+24:00", "+0100", "+0000", "+01", " Z"]),
)
TEXTS = st.one_of(
    st.text(max_size=5).map(json.dumps),
    st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
)
ODD = st.sampled_from(
    [
        *("null", "true", "1", "1.0", "1.5", "01", "-0", "-0.0", "1e2", "1e999", "NaN", "[]", "[1]", "{}", ""),
        *("18446744073709551617", "9" * 309, "1" + "0" * 308, '["a", null]', '"\\u0041"', '"\\ud800"', '"\n"'),
    ]
)
TIME_VALUES = st.one_of(
    st.sampled_from(['"2024-01-01T10:00:00Z"', '"2024-01-01T10:00:00.5+01:00"']), TIMES.map(json.dumps)
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "timestamp": TIME_VALUES,
    "isAnomaly": st.sampled_from(["true", "false"]),
    "anomalyScore": st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(json.dumps), st.integers().map(json.dumps)
    ),
    "rootCauses": st.lists(TEXTS, max_size=2).map(lambda items: f"[{','.join(items)}]"),
    "recommendations": st.lists(TEXTS, max_size=2).map(lambda items: f"[{','.join(items)}]"),
    "totalLogs": st.one_of(st.integers().map(json.dumps), st.just("9" * 309)),
    "anomalyCount": st.integers(min_value=-(2**65), max_value=2**65).map(json.dumps),
    "anomalyRate": st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    "activeServices": st.integers().map(json.dumps),
    "cpuLoad": st.one_of(
        st.sampled_from(["null", "true", "0", "-1", "0.5", '"high"', "1e400"]),
        st.integers(min_value=-(2**65), max_value=2**65).map(json.dumps),
    ),
}
SNAKE = {
    "isAnomaly": "is_anomaly",
    "anomalyScore": "anomaly_score",
    "rootCauses": "root_causes",
    "totalLogs": "total_logs",
    "anomalyCount": "anomaly_count",
    "anomalyRate": "anomaly_rate",
    "activeServices": "active_services",
}


def rarely(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 14)) == 13


@st.composite
def objects(draw: st.DrawFn, required: tuple[str, ...], optional: tuple[str, ...], snake: bool) -> str:
    """The text of an object: mostly as documented, now and then with something odd, doubled, missing or unknown."""
    names = [name for name in required if not rarely(draw)]
    names += [name for name in optional if draw(st.booleans())]
    members = []
    for name in draw(st.permutations(names)):
        value = draw(ODD if rarely(draw) else VALUES.get(name, TEXTS))
        members.append((SNAKE.get(name, name) if snake != rarely(draw) else name, value))
    if members and rarely(draw):
        members.append((draw(st.sampled_from(members))[0], draw(ODD)))
    if rarely(draw):
        members.append((draw(st.sampled_from(["traceId", "type", "extra", "\\u0069d", "\\ud800"])), draw(ODD)))
    return "{" + ",".join(f'"{key}":{value}' for key, value in members) + "}"


@st.composite
def messages(draw: st.DrawFn) -> str:
    snake = draw(st.booleans())
    wire_type = draw(st.sampled_from(["new_anomaly", "stats_update", "system_alert", "connection_established", "pong"]))
    data = None
    if wire_type == "new_anomaly":
        optional = ("timestamp", "level", "source", "isAnomaly", "anomalyScore", "rootCauses", "recommendations")
        data = f'{{"log":{draw(objects(("id", "message"), optional, snake))}}}'
    elif wire_type == "stats_update":
        figures = ("totalLogs", "anomalyCount", "anomalyRate", "activeServices", "cpuLoad", "Queue length")
        data = f'{{"stats":{draw(objects((), figures, snake))}}}'
    elif wire_type == "system_alert":
        data = draw(objects(("message",), ("severity",), snake))
    members = [f'"type":{json.dumps(wire_type)}']
    if rarely(draw):
        data = draw(ODD)
    if data is not None:
        members.append(f'"data":{data}')
    if draw(st.booleans()):
        members.append(f'"timestamp":{draw(ODD if rarely(draw) else TIME_VALUES)}')
    if rarely(draw):
        members.append(draw(st.sampled_from(['"type":"pong"', '"data":null', '"v":2', '"t\\u0079pe":"x"'])))
    return "{" + ",".join(draw(st.permutations(members))) + "}"


def shape(value: Any) -> Any:
    """A value in which types count: 1 is not 1.0 is not true, -0.0 is not 0.0, a list is not a tuple."""
    if attrs.has(type(value)):
        return type(value), {a.name: shape(getattr(value, a.name)) for a in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return type(value), {key: shape(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value), [shape(item) for item in value]
    return type(value), repr(value)


def independently(text: str) -> Event | None:
    """The strict reading of what the standard library's parser gives."""

    # What is out of range is refused also where a later key of the same name would hide it.
    def in_range(kind: Callable[[str], float]) -> Callable[[str], float]:
        def read(digits: str) -> float:
            if not math.isfinite(float(digits)):
                raise ValueError(digits)
            return kind(digits)

        return read

    try:
        parsed = json.loads(text, parse_float=in_range(float), parse_int=in_range(int), parse_constant=in_range(float))
        return CODEC.decode_object(parsed, received_at=NOW, origin=Origin.STREAM)
    except (ValueError, MalformedMessage):
        return None


@settings(max_examples=800, deadline=None)
@given(messages())
def test_what_a_fast_decoder_accepts_the_strict_reading_reads_the_same(text: str) -> None:
    for decode in fast_decoders():
        try:
            event = decode(text).to_event(NOW, Origin.STREAM)
        except REFUSED:
            continue
        assert shape(event) == shape(independently(text))


@settings(max_examples=400, deadline=None)
@given(messages(), st.booleans())
def test_the_codec_and_the_independent_reading_agree(text: str, binary: bool) -> None:
    decoded = CODEC.decode_batch([text.encode() if binary else text], received_at=NOW)
    expected = independently(text)
    assert [shape(event) for event in decoded.events] == ([] if expected is None else [shape(expected)])
    assert len(decoded.malformed) == (expected is None)


LOG = {
    "id": "uuid",
    "timestamp": "2024-01-01T10:00:00Z",
    "level": "ERROR",
    "message": "Database connection failed",
    "source": "user-service",
    "isAnomaly": True,
    "anomalyScore": 0.85,
    "rootCauses": ["Database timeout"],
    "recommendations": ["Check database connectivity"],
}
DOCUMENTED: list[dict[str, Any]] = [
    {"type": "new_anomaly", "data": {"log": LOG}, "timestamp": "2024-01-01T10:00:00Z"},
    {"type": "stats_update", "data": {"stats": {"totalLogs": 10500, "anomalyCount": 155, "anomalyRate": 0.0147}}},
    {"type": "system_alert", "data": {"message": "high load", "severity": "warning"}},
    {"type": "connection_established"},
    {"type": "pong", "timestamp": "2024-01-01T10:00:00Z"},
]


@pytest.mark.parametrize("spelling", [0, 1], ids=["camelCase", "snake_case"])
@pytest.mark.parametrize("message", DOCUMENTED, ids=[str(message["type"]) for message in DOCUMENTED])
def test_documented_messages_take_the_fast_way(message: dict[str, Any], spelling: int) -> None:
    text = json.dumps(message)
    if spelling:
        text = re.sub("|".join(SNAKE), lambda match: SNAKE[match[0]], text)
    event = fast_decoders()[spelling](text).to_event(NOW, Origin.STREAM)
    assert shape(event) == shape(independently(text))


@pytest.mark.parametrize("cls", [LogEntry, NewAnomaly, StatsUpdate, SystemAlert, ConnectionEstablished, Pong])
def test_built_in_classes_have_nothing_that_filling_them_would_pass_over(cls: type[Any]) -> None:
    assert not hasattr(cls, "__attrs_post_init__")
    assert [a.name for a in attrs.fields(cls) if a.validator is not None or a.converter is not None] == []


def test_a_fast_event_has_exactly_the_fields_of_its_class() -> None:
    for message in DOCUMENTED:
        event = fast_decoders()[0](json.dumps(message)).to_event(NOW, Origin.STREAM)
        assert set(vars(event)) == {a.name for a in attrs.fields(type(event))}


@pytest.mark.parametrize(
    "figures",
    ['"cpuLoad":0.5,"queue":7,"up":true,"host":"a"', '"totalLogs":1,"cpuLoad":null', '"anomalyRate":0,"total":2'],
)
def test_further_figures_take_the_fast_way_too(figures: str) -> None:
    text = f'{{"type":"stats_update","data":{{"stats":{{{figures}}}}}}}'
    for decode in fast_decoders():
        assert decode(text).to_event(NOW, Origin.STREAM) == independently(text)


@pytest.mark.parametrize(
    "figures",
    [
        *('"totalLogs":1,"total_logs":2', '"totalLogs":true', '"totalLogs":1.5', '"totalLogs":"1"', '"disks":[1]'),
        *('"disks":{}', f'"cpuLoad":{2**63}', ",".join(f'"f{number}":{number}' for number in range(101))),
    ],
)
def test_odd_and_very_many_figures_are_for_the_strict_way(figures: str) -> None:
    text = f'{{"type":"stats_update","data":{{"stats":{{{figures}}}}}}}'
    for decode in fast_decoders():
        with pytest.raises(REFUSED):
            decode(text).to_event(NOW, Origin.STREAM)


def test_stats_without_figures_are_an_empty_mapping_either_way() -> None:
    text = '{"type":"stats_update","data":{"stats":{"totalLogs":null}}}'
    event = fast_decoders()[0](text).to_event(NOW, Origin.STREAM)
    assert event == independently(text) == StatsUpdate(FrozenMapping())


RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)


def by_the_book(text: str) -> datetime | None:
    match = RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _, sign, offset_hours, offset_minutes = match.groups()[6:]
    if second == 60:
        second = 59
    offset = timedelta()
    if sign:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            return None
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes)) * (-1 if sign == "-" else 1)
    digits = ((fraction or "") + "0000000")[:7]
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))
        moment += timedelta(microseconds=int(digits[:6]) + (digits[6] >= "5"))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@settings(max_examples=1000, deadline=None)
@given(TIMES)
def test_timestamps_read_as_by_the_book(text: str) -> None:
    try:
        moment: datetime | None = parse_timestamp(text)
    except ValueError:
        moment = None
    assert moment == by_the_book(text)
    assert moment is None or moment.tzinfo is UTC
