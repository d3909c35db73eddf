"""Hostile JSON in frames that are as they should be: the message is refused, the connection lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from realtime_client._core.codec import MAX_VALUES
from realtime_client._core.frames import BINARY, TEXT, encode_frame
from tests.hostile.case import Case, Expected, event, lives, malformed, upgrade

LOG = '{"type":"new_anomaly","data":{"log":{"id":"1","message":"m",%s}}}'
DATA = '{"type":"x","data":%s}'
STATS = '{"type":"stats_update","data":{"stats":%s}}'
ALERT = '{"type":"system_alert","data":{"message":"m","x":%s}}'
TYPE = '{"type":%s}'
TIMESTAMP = '{"type":"x","timestamp":%s}'
DEEP = 100_000
WIDE = '"ā"'
"""Of the texts of a few bytes the one that takes the most memory."""


def case(name: str, group: str, message: str | bytes, expected: Expected, *, binary: bool = False) -> Case:
    """A case in which the server sends this message between two good ones."""
    data = message if isinstance(message, bytes) else message.encode("utf-8")
    frame = encode_frame(BINARY if binary else TEXT, data)
    return Case(
        name=f"json: {name}",
        group=group,
        speech=lambda asked: [upgrade(asked) + event("before") + frame + event("after")],
        expected=expected,
    )


def no_json() -> Iterator[Case]:
    for name, message in {
        "nothing": "",
        "blanks": " \t\r\n",
        "half an object": '{"type":"x"',
        "two objects": '{"type":"x"}{"type":"y"}',
        "a comma too many": '{"type":"x",}',
        "single quotes": "{'type':'x'}",
        "a key without quotes": '{type:"x"}',
        "a comment": '{"type":"x"/* here */}',
        "a line break in a text": '{"type":"x\ny"}',
        "a NUL in a text": '{"type":"x\x00y"}',
        "a NUL behind the object": '{"type":"x"}\x00',
        "a byte-order mark": '\ufeff{"type":"x"}',
        "an unknown escape": r'{"type":"\x41"}',
        "half an escape": r'{"type":"\u12"}',
        "Python's None": '{"type":None}',
        "a script": "<script>alert(1)</script>",
    }.items():
        yield case(name, "no JSON", message, malformed("not JSON"))
    yield case("UTF-16, binary", "no JSON", '{"type":"x"}'.encode("utf-16"), malformed("invalid UTF-8"), binary=True)
    yield case(
        "UTF-32 without a mark, binary", "no JSON", '{"type":"x"}'.encode("utf-32-le"), malformed(""), binary=True
    )
    yield case("a pickle, binary", "no JSON", b"\x80\x04}q\x00.", malformed("invalid UTF-8"), binary=True)


def depth() -> Iterator[Case]:
    group = "depth"
    for levels in (65, 1_000, DEEP):
        yield case(f"{levels} lists", group, DATA % ("[" * levels + "]" * levels), malformed("too deep"))
        yield case(f"{levels} objects", group, DATA % ('{"a":' * levels + "1" + "}" * levels), malformed("too deep"))
    yield case(f"{DEEP} lists without an end", group, "[" * DEEP, malformed(""))
    yield case(f"{DEEP} objects without an end", group, '{"a":' * DEEP, malformed(""))
    yield case(f"{DEEP} lists in a log", group, LOG % ('"x":' + "[" * DEEP + "]" * DEEP), malformed("too deep"))
    yield case("as deep as is allowed", group, DATA % ("[" * 63 + "]" * 63), lives())


def numbers() -> Iterator[Case]:
    group = "huge numbers"
    range_ = malformed("number")
    for name, number in {
        "1e309": "1e309",
        "-1e309": "-1e309",
        "1e999999999": "1e999999999",
        "of 400 digits": "9" * 400,
        "of -400 digits": "-" + "9" * 400,
        "of 500,000 digits": "9" * 500_000,
    }.items():
        yield case(f"a number {name}", group, DATA % number, range_)
        yield case(f"a figure {name}", group, STATS % f'{{"totalLogs":{number}}}', range_)
    yield case("a score of 400 digits", group, LOG % f'"anomalyScore":{"1" * 400}', range_)
    for name, number in {
        "500,000 digits behind the point": "0." + "1" * 500_000,
        "1e-999999999": "1e-999999999",
    }.items():
        yield case(f"a number with {name}", group, DATA % number, lives())
    for number in ("NaN", "Infinity", "-Infinity", "nan", "+1", "01", ".5", "1.", "0x10", "1_000", "--1", "1e"):
        yield case(
            f"the number {number}",
            "NaN" if "n" in number.lower() else "malformed numbers",
            DATA % number,
            malformed("not JSON"),
        )


def surrogates() -> Iterator[Case]:
    group = "lone surrogates"
    lone = malformed("surrogate")
    for name, text in {
        "a first half": r"\ud800",
        "a second half": r"\udc00",
        "two halves in the wrong order": r"\udc00\ud800",
        "two first halves": r"\ud800\ud800",
        "a first half and a letter": r"\ud83dx",
        "a first half in capitals": r"\uD83D",
    }.items():
        yield case(f"{name} in a text", group, DATA % f'"{text}"', lone)
        yield case(f"{name} in a key", group, DATA % f'{{"{text}":1}}', lone)
    yield case("a first half in the type", group, r'{"type":"\ud800"}', lone)
    yield case("both halves", group, DATA % r'"\ud83d\ude00"', lives())


def duplicates() -> Iterator[Case]:
    group = "duplicate keys"
    alert = '{"type":"x","type":"system_alert","data":{"message":"a","message":"b"}}'
    yield case("keys given twice", group, alert, lives())
    yield case("a type given twice, the last no text", group, '{"type":"x","type":5}', malformed("type"))
    yield case("a log's id given twice, the last no text", group, LOG % '"id":5', malformed("id"))
    yield case("a key given 40,000 times", group, DATA % ("{" + ",".join(['"a":1'] * 40_000) + "}"), lives())
    yield case("both spellings of a key", group, LOG % '"anomaly_score":1,"anomalyScore":2', lives())


def envelopes() -> Iterator[Case]:
    group = "wrong shapes"
    for name, message in {"a list": "[]", "a text": '"x"', "a number": "5", "null": "null", "true": "true"}.items():
        yield case(f"{name} in place of an object", group, message, malformed("not an object"))
    yield case("no type", group, "{}", malformed("type missing"))
    for name, value in {"null": "null", "a number": "5", "a list": '["new_anomaly"]', "an object": "{}"}.items():
        yield case(f"{name} for a type", group, TYPE % value, malformed("type is not text"))
    for name, value in {
        "a number": "5",
        "a word": '"yesterday"',
        "a day that is none": '"2024-02-30T00:00:00Z"',
        "month 13": '"2024-13-01T00:00:00Z"',
        "year 10000": '"10000-01-01T00:00:00Z"',
        "an offset of 99 hours": '"2024-01-01T00:00:00+99:00"',
        "100,000 digits of a second": '"2024-01-01T00:00:00.%sZ"' % ("1" * 100_000),
        "digits of another script": '"٢٠٢٤-01-01T00:00:00Z"',
    }.items():
        expected = lives() if "of a second" in name else malformed("timestamp")
        yield case(f"{name} for a timestamp", group, TIMESTAMP % value, expected)
    for name, fields in {
        "isAnomaly": '"isAnomaly":"false"',
        "anomalyScore": '"anomalyScore":true',
        "rootCauses": '"rootCauses":"disk"',
        "level": '"level":3',
        "recommendations": '"recommendations":[1]',
    }.items():
        yield case(f"a log with a wrong {name}", group, LOG % fields, malformed(name))
    yield case("a log that is a list", group, '{"type":"new_anomaly","data":{"log":[]}}', malformed("log"))
    yield case("no data where some are due", group, '{"type":"new_anomaly"}', malformed(""))
    yield case(
        "figures that are text",
        group,
        '{"type":"stats_update","data":{"stats":{"totalLogs":"5"}}}',
        malformed("totalLogs"),
    )


def listed(value: str, count: int) -> str:
    """A list of the same over and over."""
    return f"[{','.join([value] * count)}]"


def many() -> Iterator[Case]:
    group = "many values"
    too_many = malformed("too many values")
    yield case("a megabyte of texts of two letters", group, DATA % listed('"ab"', 209_000), too_many)
    yield case("a megabyte of texts of two bytes", group, DATA % listed(WIDE, 209_000), too_many)
    yield case("a megabyte of causes", group, LOG % f'"rootCauses":{listed(WIDE, 209_000)}', too_many)
    yield case("as many texts as are allowed", group, DATA % listed(WIDE, 2 * MAX_VALUES - 20), lives(within=2))
    yield case(
        "as many causes as are allowed", group, LOG % f'"rootCauses":{listed(WIDE, 2 * MAX_VALUES - 40)}', lives()
    )
    yield case("too many texts", group, DATA % listed(WIDE, 2 * MAX_VALUES + 1), too_many)
    third = MAX_VALUES * 2 // 3
    for name, count, expected in (("as many", third - 20, lives(within=2)), ("too many", third + 20, too_many)):
        figures = ",".join(f'"{n:x}" \n:{WIDE}' for n in range(count))
        yield case(
            f"{name} figures that are texts, their keys apart from their colons",
            group,
            STATS % f"{{{figures}}}",
            expected,
        )
    quotes = r"\"" * 200_000 + r"\\" * 100_000
    yield case("a text of quotes and backslashes", group, DATA % f'"{quotes}"', lives())
    yield case("250,000 numbers", group, DATA % listed("1.5", 250_000), lives())
    for name, count, expected in (
        ("as many {} as are allowed", MAX_VALUES - 20, lives(within=2)),
        ("too many {}", MAX_VALUES + 1, too_many),
    ):
        numbered = "{" + ",".join(f'"{n:x}":0' for n in range(count)) + "}"
        objects = listed("{}", count)
        yield case(name.format("keys"), group, DATA % numbered, expected)
        yield case(name.format("figures"), group, STATS % numbered, expected)
        yield case(name.format("objects"), group, DATA % objects, expected)
        yield case(name.format("objects in a log"), group, LOG % f'"x":{objects}', expected)
        yield case(name.format("objects in an alert"), group, ALERT % objects, expected)
        yield case(name.format("lists"), group, DATA % listed("[]", count), expected)
    yield case("a megabyte of objects", group, DATA % listed("{}", 340_000), too_many)
    yield case("a key of a megabyte", group, DATA % ('{"%s":1}' % ("k" * 1_000_000)), lives())
    yield case("a type of a megabyte", group, '{"type":"%s"}' % ("t" * 1_000_000), lives())
    yield case("100,000 escapes", group, DATA % ('"%s"' % (r"\u0000" * 100_000)), lives())


def cases() -> Iterable[Case]:
    """The table's part."""
    return [*no_json(), *depth(), *numbers(), *surrogates(), *duplicates(), *envelopes(), *many()]
