"""The codec: messages into events by the feed's rules, mappings into messages."""

from __future__ import annotations

import copy
import enum
import json
import pickle
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import attrs
import pytest

from realtime_client._core.codec import MAX_VALUES, Codec
from realtime_client._core.plain import MAX_DEPTH
from realtime_client.errors import MalformedMessage
from realtime_client.events import (
    ConnectionEstablished,
    Event,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
    UnknownEvent,
)

NOW = datetime(2024, 1, 2, tzinfo=UTC)
TEN = datetime(2024, 1, 1, 10, tzinfo=UTC)


@pytest.fixture
def codec() -> Codec:
    return Codec()


def decode(message: str | bytes, codec: Codec | None = None) -> Any:
    return (codec or Codec()).decode(message, received_at=NOW)


def reason(message: str | bytes, codec: Codec | None = None) -> str:
    with pytest.raises(MalformedMessage) as caught:
        decode(message, codec)
    return caught.value.reason


def anomaly(log: str, rest: str = "") -> str:
    return f'{{"type":"new_anomaly","data":{{"log":{{"id":"1","message":"m",{log}}}}}{rest}}}'


def stats(figures: str) -> str:
    return f'{{"type":"stats_update","data":{{"stats":{figures}}}}}'


# Events


def test_an_event_carries_its_envelope() -> None:
    event = Codec().decode('{"type":"pong","timestamp":"2024-01-01T10:00:00Z"}', received_at=NOW, origin=Origin.REPLAY)
    assert event == Pong(timestamp=TEN, origin=Origin.REPLAY)
    assert event.received_at == NOW


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (
            '{"type":"new_anomaly","data":{"log":{"id":"1","message":"m"}}}',
            NewAnomaly(LogEntry("1", "m")),
        ),
        ('{"type":"stats_update","data":{"stats":{}}}', StatsUpdate({})),
        ('{"type":"system_alert","data":{"message":"m"}}', SystemAlert("m", "error")),
        ('{"type":"connection_established","data":[1]}', ConnectionEstablished([1])),
        ('{"type":"connection_established","data":null}', ConnectionEstablished()),
        ('{"type":"pong","data":{"a":1}}', Pong({"a": 1})),
        ('{"type":"other","data":{"a":1}}', UnknownEvent({"a": 1}, type="other")),
        ('{"type":"other"}', UnknownEvent(None, type="other")),
        ('{"type":""}', UnknownEvent(None, type="")),
    ],
)
def test_each_type_has_its_class(message: str, event: Event) -> None:
    assert decode(message) == event
    assert type(decode(message)) is type(event)


def test_both_spellings_may_be_mixed_and_camel_case_wins() -> None:
    log = decode(anomaly('"anomaly_score":0.1,"anomalyScore":0.5,"is_anomaly":false,"rootCauses":["a"]')).log
    assert (log.anomaly_score, log.is_anomaly, log.root_causes) == (0.5, False, ("a",))
    assert log.extra == {}


def test_a_null_in_camel_case_is_missing_so_the_other_spelling_counts() -> None:
    assert decode(anomaly('"anomalyScore":null,"anomaly_score":0.1')).log.anomaly_score == 0.1


def test_unknown_keys_of_a_log_are_kept_verbatim() -> None:
    log = decode(anomaly('"trace_id":"a","k8s":{"podName":null},"extra":1')).log
    assert log.extra == {"trace_id": "a", "k8s": {"podName": None}, "extra": 1}


def test_a_log_takes_the_timestamp_of_the_envelope_only_where_it_has_none() -> None:
    rest = ',"timestamp":"2024-01-01T10:00:00Z"'
    assert decode(anomaly('"level":"E"', rest)).log.timestamp == TEN
    assert decode(anomaly('"x":1', rest)).log.timestamp == TEN
    assert decode(anomaly('"timestamp":"2024-01-01T11:00:00Z"', rest)).log.timestamp == TEN.replace(hour=11)
    assert decode(anomaly('"x":1')).log.timestamp is None


def test_figures() -> None:
    event = decode(
        stats('{"total_logs":5.0,"anomalyRate":1,"queueDepth":12,"x_y":"z","gone":null,"activeServices":null}')
    )
    assert dict(event.stats) == {"total_logs": 5, "anomaly_rate": 1.0, "queueDepth": 12, "x_y": "z"}
    assert [type(event.stats[name]) for name in ("total_logs", "anomaly_rate")] == [int, float]


def test_stats_are_read_only() -> None:
    with pytest.raises(TypeError):
        decode(stats('{"totalLogs":5}')).stats["total_logs"] = 6


def test_unknown_keys_of_envelope_and_alert_are_ignored() -> None:
    assert decode('{"v":1,"type":"system_alert","data":{"message":"m","code":7}}') == SystemAlert("m")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (anomaly('"level":5'), "log.level is not text"),
        (anomaly('"source":true'), "log.source is not text"),
        (anomaly('"isAnomaly":1'), "log.isAnomaly is not a boolean"),
        (anomaly('"is_anomaly":"false"'), "log.isAnomaly is not a boolean"),
        (anomaly('"anomalyScore":true'), "log.anomalyScore is not a number"),
        (anomaly('"anomalyScore":[]'), "log.anomalyScore is not a number"),
        (anomaly('"rootCauses":{}'), "log.rootCauses is not a list"),
        (anomaly('"rootCauses":["a",1]'), "log.rootCauses[1] is not text"),
        (anomaly('"recommendations":[null]'), "log.recommendations[0] is not text"),
        (anomaly('"timestamp":""'), "log.timestamp is not RFC 3339"),
        (anomaly('"timestamp":5'), "log.timestamp is not RFC 3339"),
        ('{"type":"new_anomaly","data":[]}', "data is not an object"),
        ('{"type":"new_anomaly","data":null}', "data missing"),
        ('{"type":"new_anomaly","data":{"log":null}}', "log missing"),
        ('{"type":"new_anomaly","data":{"log":[]}}', "log is not an object"),
        (stats("[]"), "stats is not an object"),
        (stats('{"totalLogs":1.5}'), "stats.totalLogs is not whole"),
        (stats('{"total_logs":"5"}'), "stats.totalLogs is not a number"),
        (stats('{"anomalyRate":"5"}'), "stats.anomalyRate is not a number"),
        (stats('{"activeServices":false}'), "stats.activeServices is not a number"),
        ('{"type":"stats_update"}', "data missing"),
        ('{"type":"system_alert","data":{"message":5}}', "message is not text"),
        ('{"type":"system_alert","data":{"message":"m","severity":5}}', "severity is not text"),
        ('{"type":"system_alert","data":"m"}', "data is not an object"),
        ('{"type":["pong"]}', "type is not text"),
        ('{"type":true}', "type is not text"),
    ],
)
def test_a_wrong_type_is_malformed_and_the_reason_names_the_field(message: str, why: str) -> None:
    assert reason(message) == why


# What no message may hold, wherever it stands

ANYWHERE = [
    '{{"type":"x","data":{}}}',
    '{{"type":"pong","data":[{}]}}',
    '{{"type":"pong","ignored":{}}}',
    '{{"data":{},"type":"pong"}}',
    '{{"type":"new_anomaly","data":{{"log":{{"id":"1","message":"m","extra":{}}}}}}}',
    '{{"type":"new_anomaly","data":{{"log":{{"id":"1","message":"m"}},"ignored":{}}}}}',
    '{{"type":"stats_update","data":{{"stats":{{"further":{}}}}}}}',
    '{{"type":"system_alert","data":{{"message":"m","ignored":{}}}}}',
]


@pytest.mark.parametrize("place", ANYWHERE)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("NaN", "not JSON"),
        ("Infinity", "not JSON"),
        ("-Infinity", "not JSON"),
        ("1e999", "number out of range"),
        ("-1e999", "number out of range"),
        ("9" * 309, "number out of range"),
        ("9" * 5000, "number out of range"),
        (r'"\ud800"', "lone surrogate"),
        (r'"\ud800x"', "lone surrogate"),
        (r'"\udc00"', "lone surrogate"),
        (r'"\ud800\u0041"', "lone surrogate"),
        (r'{"\udfff":1}', "lone surrogate"),
        ("'a'", "not JSON"),
        ("01", "not JSON"),
        ('"a\nb"', "not JSON"),
        ("[1,]", "not JSON"),
        ("[" * 64 + "]" * 64, "too deep"),
        ("[" * 100_000 + "]" * 100_000, "too deep"),
        ('{"a":' * 64 + "1" + "}" * 64, "too deep"),
        ("[" + "{}," * 50_000 + "{}]", "too many values"),
        ("[" + "[]," * 50_000 + "[]]", "too many values"),
        ("{" + '"a":1,' * 50_000 + '"b":1}', "too many values"),
        ("{" + '"a" :1,' * 50_000 + '"b" : 1}', "too many values"),
        ('["\\"[",' + "{}," * 50_000 + '"\\\\"]', "too many values"),
        ('"' + '\\"[' * 200_000, "not JSON"),
        ("[" + '"",' * 100_000 + "1]", "too many values"),
        ("[" + r'"\\",' * 100_000 + "1]", "too many values"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_no_message_may_hold(place: str, value: str, why: str) -> None:
    assert why in reason(place.format(value))


@pytest.mark.parametrize("place", ANYWHERE)
@pytest.mark.parametrize(
    "value",
    [r'"😀"', r'"\\ud800"', "1" + "0" * 308, '"' + "9" * 400 + '"', "1e-999", '"' + r"\"\\\"" * 150_000 + '"'],
    ids=lambda value: str(value)[:20],
)
def test_what_looks_like_it_and_is_not_may_stand_anywhere(place: str, value: str) -> None:
    assert decode(place.format(value)).received_at == NOW


def test_what_stands_in_strings_is_text_and_no_value() -> None:
    text = '{"log":{"id":"1","message":"' + '[{\\"a\\":' * 20_000 + '"}}'
    assert decode('{"type":"x","data":' + text + "}").type == "x"


@pytest.mark.parametrize(
    ("item", "most"),
    [
        ("{}", 49_995),  # beside an object, an array and two keys, and half for the type
        ("[]", 49_995),
        ('"a"', 99_991),
        ('{"a":1}', 24_997),
        ('{"a":"b"}', 19_998),
    ],
)
def test_fifty_thousand_values_are_the_most(item: str, most: int) -> None:
    def message(count: int) -> str:
        return f'{{"type":"x","data":[{",".join([item] * count)}]}}'

    assert len(decode(message(most)).data) == most
    assert "too many values" in reason(message(most + 1))


def test_sixty_four_levels_are_the_most() -> None:
    inner = MAX_DEPTH - 1
    assert decode('{"type":"x","data":' + "[" * inner + "]" * inner + "}").type == "x"
    assert decode('{"type":"x","data":' + "[" * inner + '"[{"' + "]" * inner + "}").type == "x"
    assert decode('{"type":"x","data":[' + "[[]]," * 100 + '"[[[["]}').type == "x"
    assert "too deep" in reason('{"type":"x","data":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}")


@pytest.mark.parametrize("number", ["1e999", "9" * 309, "-" + "9" * 309])
def test_a_number_out_of_range_is_refused_also_where_a_later_key_of_its_name_hides_it(number: str) -> None:
    assert reason(stats(f'{{"totalLogs":{number},"totalLogs":1}}')) == "number out of range"
    assert reason(f'{{"type":"x","data":[{{"a":{number},"a":null}}]}}') == "number out of range"


def test_what_a_later_key_hides_never_ends_in_another_error() -> None:
    """Also where one parser goes a little deeper than the other."""
    for depth in (100, *range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 20), 100_000):
        hidden = f'{{"type":"x","data":{{"a":{"[" * depth}{"]" * depth},"a":1{"0" * 308}}}}}'
        decoded = Codec().decode_batch([hidden], received_at=NOW)
        assert len(decoded.events) + len(decoded.malformed) == 1
        assert all("too deep" in error.reason for error in decoded.malformed)


def test_a_number_of_309_digits_is_found_wherever_it_begins() -> None:
    for shift in range(0, 310, 7):
        assert "number" in reason(f'{{"type":"x","data":["{"a" * shift}",{"9" * 309}]}}')


@pytest.mark.parametrize(
    "message", ["", " ", "{", '{"type":"pong"} {}', '\ufeff{"type":"pong"}', b'\xef\xbb\xbf{"type":"pong"}']
)
def test_what_is_not_json(message: str | bytes) -> None:
    assert reason(message).startswith("not JSON")


def test_a_text_that_python_could_not_encode_is_malformed() -> None:
    assert reason('{"type":"x","data":"\ud800"}') == "lone surrogate"


def test_a_binary_message_is_utf_8() -> None:
    assert decode('{"type":"system_alert","data":{"message":"é"}}'.encode()).message == "é"
    assert reason(b'{"type":"pong","ignored":"\xff"}') == "invalid UTF-8"
    assert reason(b'{"type":"system_alert","data":{"message":"\xed\xa0\x80"}}') == "invalid UTF-8"


def test_a_key_given_twice_the_last_wins() -> None:
    assert decode('{"type":"x","type":"pong"}') == Pong()
    assert decode('{"type":"pong","type":"x"}') == UnknownEvent(None, type="x")
    assert decode(anomaly('"id":5,"id":"2"')).log.id == "2"
    assert reason(anomaly('"id":"2","id":5')) == "log.id is not text"


# Batches


@pytest.mark.parametrize("characters", [10, MAX_VALUES])
def test_the_size_of_a_message_is_in_bytes_however_long_it_is(characters: int) -> None:
    text = f'{{"type":"system_alert","data":{{"message":"{"é" * characters}"}}}}'
    assert Codec().decode_batch([text], received_at=NOW).sizes == [len(text.encode())]


def test_one_malformed_message_spoils_no_other() -> None:
    messages: list[str | bytes] = [
        '{"type":"a"}',
        "nonsense",
        b'{"type":"b"}',
        b"\xff",
        '{"type":"system_alert","data":{"message":"é"}}',
    ]
    decoded = Codec().decode_batch(messages, received_at=NOW, origin=Origin.REDIS)
    assert [event.type for event in decoded.events] == ["a", "b", "system_alert"]
    assert decoded.sizes == [12, 12, 47]
    assert [error.payload for error in decoded.malformed] == ["nonsense", "\ufffd"]
    assert {event.origin for event in decoded.events} == {Origin.REDIS}


def test_a_batch_may_change_its_spelling() -> None:
    snake, camel = anomaly('"anomaly_score":1'), anomaly('"anomalyScore":2')
    decoded = Codec().decode_batch([snake, camel, camel, snake, "x", snake], received_at=NOW)
    scores = [event.log.anomaly_score for event in decoded.events if isinstance(event, NewAnomaly)]
    assert scores == [1, 2, 2, 1, 1]


def test_the_payload_of_a_malformed_message_is_cut_and_its_reason_shows_no_value() -> None:
    secret = "hunter2" * 1000
    for message in (secret, secret.encode(), anomaly(f'"level":["{secret}"]'), anomaly(f'"{secret}":{{"a":NaN}}')):
        error = Codec().decode_batch([message], received_at=NOW).malformed[0]
        assert len(error.payload) == 200
        assert "hunter2" not in error.reason
        assert len(error.reason) < 200


def test_a_malformed_message_keeps_nothing_alive() -> None:
    codec = Codec()
    codec.register("refusing", Refusing)
    for message in ("nonsense", '{"type":"refusing","data":{"version":"x"}}', anomaly('"level":5')):
        error = codec.decode_batch([message], received_at=NOW).malformed[0]
        assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


# Timestamps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00"),
        ("2024-01-01t10:00:00z", "2024-01-01T10:00:00"),
        ("2024-01-01 10:00:00", "2024-01-01T10:00:00"),
        ("2024-01-01T10:00:00.5-01:30", "2024-01-01T11:30:00.500000"),
        ("2024-01-01T10:00:00-00:00", "2024-01-01T10:00:00"),
        ("2024-01-01T10:00:00+0100", "2024-01-01T09:00:00"),
        ("2024-01-01T10:00:00-0000", "2024-01-01T10:00:00"),
        ("2024-01-01T10:00:00.1234564Z", "2024-01-01T10:00:00.123456"),
        ("2024-01-01T10:00:00.1234565Z", "2024-01-01T10:00:00.123457"),
        ("2024-12-31T23:59:59.9999999", "2025-01-01T00:00:00"),
        ("2024-02-29T23:59:59.999999999+00:01", "2024-02-29T23:59:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59"),
        ("2017-01-01T00:59:60.25+01:00", "2016-12-31T23:59:59.250000"),
        (f"2024-01-01T10:00:00.{'1' * 100}Z", "2024-01-01T10:00:00.111111"),
    ],
)
def test_timestamps_read(text: str, expected: str) -> None:
    timestamp = decode(f'{{"type":"pong","timestamp":"{text}"}}').timestamp
    assert timestamp == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert timestamp.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "60", "2024-01-01", "10:00:00Z", "1704103200", "20240101T100000Z", "2024-W01-1T10:00:00Z"),
        *("2024-01-01T10:00Z", "2024-01-01T10:00:00.Z", "2024-01-01T10:00:00,5Z", "2024-01-01_10:00:00Z"),
        *("2024-01-01T10:00:00+01", "2024-01-01T10:00:00+24:00", "2024-01-01T10:00:00+010"),
        *("2024-01-01T24:00:00Z", "2024-01-01T10:60:00Z", "2024-01-01T10:00:61Z", "2023-02-29T10:00:00Z"),
        *("2024-13-01T10:00:00Z", "0000-01-01T10:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
        *("9999-12-31T23:59:59.9999999Z", " 2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z ", "2024-01-01T10:00:00 Z"),
        "\u0662024-01-01T10:00:00Z",
    ],
)
def test_timestamps_that_are_not_rfc_3339(text: str) -> None:
    assert reason(f'{{"type":"pong","timestamp":"{text}"}}') == "timestamp is not RFC 3339"


# A server's own message types


class Stage(enum.Enum):
    TEST = "test"
    LIVE = 1


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@attrs.define
class Server:
    host_name: str
    port: int = 80


@attrs.define
class DeployFinished:
    version: str
    build_number: int = 0
    servers: list[Server] = attrs.Factory(list)


@attrs.frozen
class FrozenDeploy:
    version: str


@attrs.define(slots=False)
class LooseDeploy:
    version: str


@attrs.frozen
class DeployEvent(Event):
    version: str


@attrs.define
class Refusing:
    version: str = attrs.field(validator=attrs.validators.matches_re("[0-9]+"), on_setattr=attrs.setters.validate)


@attrs.define
class Computing:
    version: str
    major: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.major = int(self.version.split(".")[0])


@attrs.define
class Timed:
    version: str
    timestamp: datetime


@attrs.define
class Nullable:
    version: str | None


class Percent(int):
    """A number that refuses what is none of its own."""

    def __new__(cls, value: int) -> Percent:
        if not 0 <= value <= 100:
            raise ValueError(f"{value} is no percentage")
        return super().__new__(cls, value)


class Name(str):
    __slots__ = ()


class Weight(float):
    __slots__ = ()


class Share(float, enum.Enum):
    HALF = 0.5


@attrs.define
class OwnTypes:
    load: Percent = Percent(0)
    loads: list[Percent] = attrs.Factory(list)
    name: Name = Name()
    weight: Weight = Weight()
    share: Share = Share.HALF
    maybe: list[int | None] = attrs.Factory(list)


@attrs.define
class EveryType:
    stage: Stage | None = None
    colour: Colour | None = None
    level: Level | None = None
    when: datetime | None = None
    limits: dict[str, int] = attrs.Factory(dict)
    pair: tuple[int, str] | None = None
    single: tuple[int] | None = None
    names: tuple[str, ...] = ()
    codes: frozenset[int] = frozenset()
    either: int | str | None = None
    exact: int | float = 0
    word: Literal["a", 1] = "a"
    ratio: float = 0.0
    flag: bool = False
    anything: Any = None


def registered(cls: type, data: str, timestamp: str = "null") -> Any:
    codec = Codec()
    codec.register("own", cls)
    return decode(f'{{"type":"own","data":{data},"timestamp":{timestamp}}}', codec)


def refusal(cls: type, data: str) -> str:
    with pytest.raises(MalformedMessage) as caught:
        registered(cls, data)
    return caught.value.reason


@pytest.mark.parametrize("cls", [DeployFinished, FrozenDeploy, LooseDeploy, DeployEvent])
def test_a_registered_class_gives_frozen_picklable_events(cls: type) -> None:
    event = registered(cls, '{"version":"1.2","unknown":1}', '"2024-01-01T10:00:00Z"')
    assert isinstance(event, cls)
    assert isinstance(event, Event)
    assert (event.version, event.type, event.timestamp, event.received_at) == ("1.2", "own", TEN, NOW)  # type: ignore[attr-defined]
    assert event.origin is Origin.STREAM
    assert type(event).__qualname__ == cls.__qualname__
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.version = "2"  # type: ignore[attr-defined]
    for twin in (pickle.loads(pickle.dumps(event)), copy.deepcopy(event)):
        assert twin == event
        assert type(twin) is type(event)
        assert twin.received_at == NOW
    assert event.to_dict()["data"]["version"] == "1.2"


def test_fields_of_a_registered_class_come_in_both_spellings_and_nest() -> None:
    event = registered(DeployFinished, '{"version":"1","buildNumber":7,"servers":[{"host_name":"a"},{"hostName":"b"}]}')
    assert (event.build_number, event.servers) == (7, [Server("a"), Server("b")])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("stage", '"test"', Stage.TEST),
        ("stage", "1", Stage.LIVE),
        ("stage", "null", None),
        ("colour", '"red"', Colour.RED),
        ("level", "1", Level.LOW),
        ("when", '"2024-01-01T10:00:00Z"', TEN),
        ("limits", '{"a":1}', {"a": 1}),
        ("pair", '[1,"a"]', (1, "a")),
        ("single", "[1]", (1,)),
        ("names", '["a"]', ("a",)),
        ("codes", "[1,2]", frozenset((1, 2))),
        ("either", "1", 1),
        ("either", '"1"', "1"),
        ("exact", "1.0", 1.0),
        ("exact", "1", 1),
        ("word", "1", 1),
        ("ratio", "1", 1.0),
        ("flag", "true", True),
        ("flag", "null", False),
        ("anything", '{"a":[null]}', {"a": [None]}),
    ],
)
def test_the_types_of_a_registered_class(field: str, value: str, expected: Any) -> None:
    got = getattr(registered(EveryType, f'{{"{field}":{value}}}'), field)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("stage", '"1"', "stage is none of Stage"),
        ("stage", "true", "stage is none of Stage"),
        ("stage", "1.0", "stage is none of Stage"),
        ("colour", "5", "colour is none of Colour"),
        ("level", "true", "level is none of Level"),
        ("when", "5", "when is not RFC 3339"),
        ("limits", "[]", "limits is not an object"),
        ("limits", '{"a":"1"}', "limits.* is not a number"),
        ("pair", "[1]", "pair is not a list of 2"),
        ("single", "[1,2]", "single is not a list of 1"),
        ("pair", '[1,"a",2]', "pair is not a list of 2"),
        ("pair", '{"a":1}', "pair is not a list"),
        ("pair", '["a","b"]', "pair[0] is not a number"),
        ("names", '"ab"', "names is not a list"),
        ("names", "[1]", "names[0] is not text"),
        ("codes", '"12"', "codes is not a list"),
        ("either", "[]", "either is of none of the allowed types"),
        ("either", "true", "either is of none of the allowed types"),
        ("word", "true", "word is none of the allowed values"),
        ("ratio", '"1"', "ratio is not a number"),
        ("flag", "1", "flag is not a boolean"),
    ],
)
def test_the_types_of_a_registered_class_are_strict(field: str, value: str, why: str) -> None:
    assert refusal(EveryType, f'{{"{field}":{value}}}') == why


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("load", "50", Percent(50)),
        ("load", "50.0", Percent(50)),
        ("loads", "[1,2]", [Percent(1), Percent(2)]),
        ("name", '"a"', Name("a")),
        ("weight", "0.25", Weight(0.25)),
        ("weight", "2", Weight(2)),
        ("share", "0.5", Share.HALF),
        ("maybe", "[1,null]", [1, None]),
    ],
)
def test_classes_of_numbers_and_texts_are_made(field: str, value: str, expected: Any) -> None:
    got = getattr(registered(OwnTypes, f'{{"{field}":{value}}}'), field)
    assert got == expected
    assert type(got) is type(expected)
    assert [type(item) for item in got] == [type(item) for item in expected] if isinstance(expected, list) else True


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("load", "101", "load is refused (ValueError)"),
        ("load", '"50"', "load is not a number"),
        ("load", "50.5", "load is not whole"),
        ("load", "true", "load is not a number"),
        ("loads", "[1,101]", "loads[1] is refused (ValueError)"),
        ("name", "5", "name is not text"),
        ("weight", '"1"', "weight is not a number"),
        ("weight", "true", "weight is not a number"),
        ("share", "0.25", "share is none of Share"),
        ("share", '"0.5"', "share is none of Share"),
        ("maybe", '[1,"a"]', "maybe[1] is not a number"),
    ],
)
def test_classes_of_numbers_and_texts_are_strict_and_their_words_are_kept_to_themselves(
    field: str, value: str, why: str
) -> None:
    assert refusal(OwnTypes, f'{{"{field}":{value}}}') == why


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("{}", "version missing"),
        ('{"version":null}', "version missing"),
        ("null", "data missing"),
        ("[]", "data is not an object"),
        ('{"version":"1","servers":[{"hostName":"a"},{}]}', "servers[1].hostName missing"),
        ('{"version":"1","buildNumber":1.5}', "buildNumber is not whole"),
    ],
)
def test_what_a_registered_class_needs(data: str, why: str) -> None:
    assert refusal(DeployFinished, data) == why


def test_data_may_be_missing_where_no_field_is_required() -> None:
    assert registered(EveryType, "null").names == ()


def test_a_required_field_may_be_null_where_its_type_says_so() -> None:
    assert registered(Nullable, '{"version":null}').version is None
    assert refusal(Nullable, "{}") == "version missing"


def test_the_checks_of_a_registered_class_run_and_their_words_are_kept_to_themselves() -> None:
    assert registered(Refusing, '{"version":"12"}').version == "12"
    assert refusal(Refusing, '{"version":"hostile"}') == "refused by Refusing (ValueError)"


def test_a_registered_class_may_compute_fields() -> None:
    event = registered(Computing, '{"version":"3.1"}')
    assert event.major == 3
    assert pickle.loads(pickle.dumps(event)).major == 3


def test_a_timestamp_of_the_class_comes_from_data_or_else_from_the_envelope() -> None:
    sent = '"2024-01-01T10:00:00Z"'
    assert registered(Timed, '{"version":"1"}', sent).timestamp == TEN
    assert registered(Timed, '{"version":"1","timestamp":"2024-01-01T11:00:00Z"}', sent).timestamp == TEN.replace(
        hour=11
    )
    assert refusal(Timed, '{"version":"1"}') == "timestamp missing"


def test_registering_again_replaces(codec: Codec) -> None:
    codec.register("own", DeployFinished)
    codec.register("own", FrozenDeploy)
    assert isinstance(decode('{"type":"own","data":{"version":"1"}}', codec), FrozenDeploy)
    assert codec.wire_types(DeployFinished) == ()


def test_a_built_in_class_may_serve_another_type(codec: Codec) -> None:
    codec.register("warning", SystemAlert)
    assert decode('{"type":"warning","data":{"message":"m"}}', codec) == SystemAlert("m", type="warning")


def test_types_and_classes_are_found_by_each_other(codec: Codec) -> None:
    codec.register("own", DeployFinished)
    assert codec.event_class("new_anomaly") is NewAnomaly
    assert codec.event_class("nobody's") is None
    own: Any = codec.event_class("own")
    assert issubclass(own, DeployFinished)
    assert issubclass(own, Event)
    assert codec.wire_types(DeployFinished) == ("own",)
    assert codec.wire_types(Pong) == ("pong",)
    assert codec.wire_types(Event)[-1] == "own"
    assert codec.wire_types(UnknownEvent) == ()


@pytest.mark.parametrize("wire_type", ["", "*", None, 5, "new_anomaly", "stats_update", "system_alert", "pong"])
def test_register_refuses_a_wire_type(codec: Codec, wire_type: Any) -> None:
    with pytest.raises(ValueError, match=r"^wire_type: "):
        codec.register(wire_type, DeployFinished)


@pytest.mark.parametrize("cls", [int, "DeployFinished", None, DeployFinished("1")])
def test_register_refuses_what_is_no_attrs_class(codec: Codec, cls: Any) -> None:
    with pytest.raises(TypeError, match=r"^cls: "):
        codec.register("own", cls)


@pytest.mark.parametrize("name", ["type", "timestamp", "received_at", "origin"])
def test_register_refuses_a_field_that_every_event_has(codec: Codec, name: str) -> None:
    with pytest.raises(TypeError, match=rf"Own\.{name}: every event has a field of this name"):
        codec.register("own", attrs.make_class("Own", {name: attrs.field(type=str)}))


@pytest.mark.parametrize("annotation", [bytes, list[bytes], bytes | None, complex, dict[int, str], object, "Nowhere"])
def test_register_refuses_types_that_json_cannot_give(codec: Codec, annotation: Any) -> None:
    with pytest.raises(TypeError, match="Own"):
        codec.register("own", attrs.make_class("Own", {"field": attrs.field(type=annotation)}))
    assert codec.event_class("own") is None


# Parsed messages and the parts of a polling answer


def test_a_parsed_message_is_read_as_strictly(codec: Codec) -> None:
    message = {"type": "system_alert", "data": {"message": "m"}, "timestamp": "2024-01-01T10:00:00Z"}
    event = codec.decode_object(message, received_at=NOW, origin=Origin.POLL)
    assert event == SystemAlert("m", timestamp=TEN, origin=Origin.POLL)
    assert event.received_at == NOW


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        ([], "not an object"),
        ({}, "type missing"),
        ({"type": "x", "data": float("nan")}, "data is NaN or infinite"),
        ({"type": "x", "data": {"a": ["\ud800"]}}, "data.a[0] has a lone surrogate"),
        ({"type": "x", "data": 10**400}, "data is a number out of range"),
        ({"type": "x", "data": b""}, "data is of type bytes"),
        ({"type": "x", 5: 1}, "has a key of type int"),
        ({"type": "system_alert", "data": {"message": 5}}, "message is not text"),
    ],
    ids=str,
)
def test_a_parsed_message_may_be_malformed(codec: Codec, obj: Any, why: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        codec.decode_object(obj, received_at=NOW, origin=Origin.POLL)
    assert why in caught.value.reason
    assert len(caught.value.payload) <= 200


def test_a_parsed_message_is_copied(codec: Codec) -> None:
    data = {"a": [1]}
    event = codec.decode_object({"type": "x", "data": data}, received_at=NOW, origin=Origin.POLL)
    data["a"].append(2)
    assert event.to_dict()["data"] == {"a": [1]}


def test_parts_of_a_polling_answer(codec: Codec) -> None:
    assert codec.decode_log({"id": "1", "message": "m", "is_anomaly": False, "x": 1}) == LogEntry(
        "1", "m", is_anomaly=False, extra={"x": 1}
    )
    alert = codec.decode_alert({"message": "m", "timestamp": "2024-01-01T10:00:00Z"}, received_at=NOW)
    assert alert == SystemAlert("m", timestamp=TEN, origin=Origin.POLL)


def test_parts_of_a_polling_answer_may_be_malformed(codec: Codec) -> None:
    with pytest.raises(MalformedMessage, match=r"^log\.id is not text$"):
        codec.decode_log({"id": 1, "message": "m"})
    with pytest.raises(MalformedMessage, match=r"^log is not an object$"):
        codec.decode_log("x")
    with pytest.raises(MalformedMessage, match=r"^alert is not an object$"):
        codec.decode_alert(None, received_at=NOW)
    with pytest.raises(MalformedMessage, match=r"^message missing$"):
        codec.decode_alert({}, received_at=NOW)


# Encoding


def test_encode_is_compact_json(codec: Codec) -> None:
    message = {"type": "é", "data": {"a": (1, 2.5, None, True), "big": 2**70, "kind": Colour.RED}}
    assert codec.encode(message) == (
        '{"type":"é","data":{"a":[1,2.5,null,true],"big":1180591620717411303424,"kind":"red"}}'
    )


def test_encode_takes_any_mapping(codec: Codec) -> None:
    figures: Mapping[str, Any] = decode(stats('{"totalLogs":1}')).stats
    assert json.loads(codec.encode({"stats": figures})) == {"stats": {"total_logs": 1}}


@pytest.mark.parametrize(
    ("mapping", "error", "why"),
    [
        ([1], TypeError, "mapping: list is not allowed"),
        ({"a": b"x"}, TypeError, r"message\.a is of type bytes"),
        ({"a": {"b": [1, {2}]}}, TypeError, r"message\.a\.b\[1\] is of type set"),
        ({"a": NOW}, TypeError, r"message\.a is of type datetime"),
        ({1: 2}, TypeError, "message has a key of type int"),
        ({"a": [float("nan")]}, ValueError, r"message\.a\[0\] is NaN or infinite"),
        ({"a": float("inf")}, ValueError, r"message\.a is NaN or infinite"),
        ({"a": 10**400}, ValueError, r"message\.a is a number out of range"),
        ({"a": "\ud800"}, ValueError, r"message\.a has a lone surrogate"),
        ({"\ud800": 1}, ValueError, "message has a lone surrogate"),
    ],
    ids=str,
)
def test_encode_says_what_json_cannot_carry(codec: Codec, mapping: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        codec.encode(mapping)


def test_encode_refuses_what_nests_in_itself(codec: Codec) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="too deep"):
        codec.encode({"a": loop})
