"""`ClientConfig`: each option, every problem at once, the environment, mappings, and that it keeps secrets."""

from __future__ import annotations

import copy
import pickle
import ssl
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realtime_client.config import ClientConfig, TokenFile
from realtime_client.errors import ConfigError, RealtimeError
from realtime_client.events import FrozenMapping
from realtime_client.status import RetryDecision

MIB = 1024 * 1024
NAMES = [field.name for field in attrs.fields(ClientConfig)]
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def fresh_token() -> str:
    return "fresh"


def fresh_headers() -> Mapping[str, str]:
    return {"X-Fresh": "1"}


def policy(_error: RealtimeError, _decision: RetryDecision) -> RetryDecision | None:
    return None


def poll(*_: Any) -> dict[str, Any]:
    return {}


@attrs.frozen(kw_only=True)
class Case:
    """One option: its documented default, values that are allowed, values that are not, and the same as text."""

    default: Any
    good: tuple[Any, ...]
    stored: tuple[Any, ...] | None = None
    """What ``good`` becomes; None where it stays as it is."""
    bad: tuple[Any, ...]
    texts: dict[str, Any]
    bad_texts: tuple[str, ...]


def seconds(default: float, *, zero: bool = False) -> Case:
    edge = (0, 0.0) if zero else ()
    return Case(
        default=default,
        good=(3, 2.5, 1_000_000, *edge),
        stored=(3.0, 2.5, 1_000_000.0, *map(float, edge)),
        bad=("3", None, True, -1, float("nan"), float("inf"), 10**400, 1_000_001, b"3", *(() if zero else (0, 0.0))),
        texts={"3": 3.0, "2.5": 2.5},
        bad_texts=("", "soon", "nan", "inf", "-1", "1e400"),
    )


def flag(default: bool) -> Case:
    words = {"1": True, "TRUE": True, "yes": True, "on": True, "0": False, "false": False, "No": False, "off": False}
    return Case(
        default=default, good=(True, False), bad=(1, 0, "true", None), texts=words, bad_texts=("", "2", "maybe")
    )


def amount(default: int) -> Case:
    return Case(
        default=default,
        good=(1, 10**9),
        bad=(0, -1, 1.0, "1", None, True, -(10**5000)),
        texts={"1": 1, "123": 123},
        bad_texts=("", "0", "1.5", "many", "none"),
    )


def choice(default: str, *words: str) -> Case:
    return Case(
        default=default,
        good=words,
        bad=("other", default.upper(), "", None, 1, [default]),
        texts={word: word for word in words},
        bad_texts=("", "other"),
    )


def code_only(value: object) -> Case:
    return Case(default=None, good=(None, value), bad=("text", 1, object()), texts={}, bad_texts=("", "x", "None"))


WS_URLS = ("ws://h", "wss://h:1/p?q=1", "WS://H", "ws://u:p@[::1]:80/ws", "ws://h:65535/")
BAD_URLS = ("", "h", "ws:", "ws://", "ws:///p", "ftp://h", "ws://h:0", "ws://h:65536", "ws://[::1", "ws://h h")
MORE_BAD_URLS = ("ws://h/#f", "ws://h\n", "ws://ü", "//h", 1, b"ws://h", ("ws", "h"))

CASES = {
    "url": Case(
        default="ws://localhost:8080/ws",
        good=WS_URLS,
        bad=(*BAD_URLS, *MORE_BAD_URLS, "http://h", None),
        texts={"wss://h/ws": "wss://h/ws"},
        bad_texts=("", "http://h"),
    ),
    "token": Case(
        default=None,
        good=(None, "t", "a b~!", fresh_token),
        bad=("", "tökén", "a\nb", "a\x7f", b"t", 1, ["t"]),
        texts={"t": "t"},
        bad_texts=("", "a\nb"),
    ),
    "headers": Case(
        default=None,
        good=(None, {}, {"X-A": "1", "x_b": "caf\xe9\t"}, fresh_headers),
        stored=(None, FrozenMapping(), FrozenMapping({"X-A": "1", "x_b": "caf\xe9\t"}), fresh_headers),
        bad=(
            "X-A: 1",
            [("X-A", "1")],
            {"": "1"},
            {"X A": "1"},
            {"X:": "1"},
            {1: "1"},
            {"X": 1},
            {"X": None},
            {"X": "a\r\nB: c"},
            {"X": "€"},
            {"Host": "h"},
            {"connection": "close"},
            {"UPGRADE": "x"},
            {"Sec-WebSocket-Key": "k"},
        ),
        texts={'{"X-A": "1"}': FrozenMapping({"X-A": "1"}), "{}": FrozenMapping()},
        bad_texts=("", "X-A: 1", "[1]", '"text"', '{"X": 1}', "[" * 100_000),
    ),
    "subprotocols": Case(
        default=(),
        good=((), [], ("a", "b"), ["a.b-1"]),
        stored=((), (), ("a", "b"), ("a.b-1",)),
        bad=("a", b"a", None, 1, [""], ["a b"], ["a", "a"], [1], ["a,b"]),
        texts={"a": ("a",), "a, b ,": ("a", "b"), "": ()},
        bad_texts=("a b", "a,a", "ü"),
    ),
    "ssl_context": code_only(CONTEXT),
    "ca_file": Case(
        default=None,
        good=(None, "/etc/ca.pem", Path("/etc/ca.pem")),
        stored=(None, "/etc/ca.pem", "/etc/ca.pem"),
        bad=("", 1, b"/etc/ca.pem", "a\nb", True),
        texts={"/etc/ca.pem": "/etc/ca.pem"},
        bad_texts=("", "a\tb"),
    ),
    "proxy": Case(
        default=None,
        good=(None, "direct", "http://p:3128", "socks5://u:p@p", "socks5h://p", "socks4://p", "socks4a://p"),
        bad=("", "p:3128", "https://p", "ftp://p", "http://", "Direct", 1, True),
        texts={"direct": "direct", "http://p:3128": "http://p:3128"},
        bad_texts=("", "none", "p:3128"),
    ),
    "compression": flag(True),
    "connect_timeout": seconds(10.0),
    "close_timeout": seconds(2.0),
    "max_reconnect_attempts": Case(
        default=5,
        good=(None, 0, 1, 10**9),
        bad=(-1, 1.0, "1", True),
        texts={"0": 0, "7": 7, "none": None, "None": None},
        bad_texts=("", "-1", "1.5", "never"),
    ),
    "give_up": flag(False),
    "reconnect_delay": seconds(1.0),
    "reconnect_delay_max": seconds(16.0),
    "reconnect_multiplier": Case(
        default=2.0,
        good=(1, 1.5, 1e300),
        stored=(1.0, 1.5, 1e300),
        bad=(0.99, 0, -2, "2", None, True, float("nan"), float("inf"), 10**400),
        texts={"1.5": 1.5},
        bad_texts=("", "0.5", "double"),
    ),
    "reconnect_jitter": Case(
        default=0.5,
        good=(0, 0.25, 1),
        stored=(0.0, 0.25, 1.0),
        bad=(-0.01, 1.01, "0.5", None, True, float("nan")),
        texts={"0": 0.0, "1": 1.0},
        bad_texts=("", "2", "some"),
    ),
    "reconnect_reset_after": seconds(10.0, zero=True),
    "fatal_retry_delay": seconds(60.0),
    "retry_policy": code_only(policy),
    "heartbeat_interval": seconds(30.0),
    "heartbeat_timeout": seconds(10.0),
    "heartbeat": choice("message", "message", "frame", "none"),
    "read_interval": Case(
        default=0.0,
        good=(0, 0.25, 1),
        stored=(0.0, 0.25, 1.0),
        bad=(-0.01, 1.01, "0.5", None, True, float("nan")),
        texts={"0": 0.0, "1": 1.0},
        bad_texts=("", "2", "some"),
    ),
    "max_message_bytes": amount(1 * MIB),
    "max_pending_events": amount(10_000),
    "max_pending_bytes": amount(64 * MIB),
    "overflow": choice("drop_oldest", "drop_oldest", "drop_newest", "block"),
    "recent_logs_limit": amount(100),
    "alerts_limit": amount(100),
    "dedup_window": amount(10_000),
    "polling_url": Case(
        default=None,
        good=(None, "http://h/poll", "https://u:p@h:1/p?q=1"),
        bad=("", "h", "ws://h", "https://", 1, b"http://h"),
        texts={"https://h/p": "https://h/p"},
        bad_texts=("", "none", "ws://h"),
    ),
    "poller": code_only(poll),
    "polling_interval": seconds(5.0),
    "poll_after": seconds(10.0, zero=True),
    "backfill_timeout": seconds(5.0),
    "name": Case(
        default="client",
        good=("a", "Zähler 1", Path("a")),
        stored=("a", "Zähler 1", "a"),
        bad=("", "a\nb", "\x1b[31m", None, 1, b"a"),
        texts={"a": "a"},
        bad_texts=("", "a\tb"),
    ),
}

BESIDE: dict[str, dict[str, Any]] = {
    "reconnect_delay": {"reconnect_delay_max": 1_000_000},
    "reconnect_delay_max": {"reconnect_delay": 0.001},
}
"""What some options need beside them, so that every value in their range contradicts nothing."""


def made(name: str, value: Any) -> ClientConfig:
    return ClientConfig(**{name: value}, **BESIDE.get(name, {}))


def problems(make: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        make()
    return caught.value.problems


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set variables with the usual prefix."""

    def set_variables(**variables: str) -> None:
        for name, text in variables.items():
            monkeypatch.setenv(f"REALTIME_{name}", text)

    return set_variables


# Each option


def test_every_option_has_a_case() -> None:
    assert list(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_default(name: str) -> None:
    value = getattr(ClientConfig(), name)
    assert value == CASES[name].default
    assert type(value) is type(CASES[name].default)


@pytest.mark.parametrize("name", NAMES)
def test_the_default_is_allowed_explicitly(name: str) -> None:
    assert ClientConfig(**{name: CASES[name].default}) == ClientConfig()


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_described(name: str) -> None:
    doc = getattr(attrs.fields(ClientConfig), name).metadata["doc"]
    assert doc.endswith(".")


GOOD = [
    pytest.param(name, given_, stored, id=f"{name}-{number}")
    for name, case in CASES.items()
    for number, (given_, stored) in enumerate(zip(case.good, case.stored or case.good, strict=True))
]
BAD = [
    pytest.param(name, value, id=f"{name}-{number}")
    for name, case in CASES.items()
    for number, value in enumerate(case.bad)
]


@pytest.mark.parametrize(("name", "value", "stored"), GOOD)
def test_allowed_values(name: str, value: Any, stored: Any) -> None:
    result = getattr(made(name, value), name)
    assert result == stored
    assert type(result) is type(stored)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_other_values_are_refused_by_name_with_what_is_allowed(name: str, value: Any) -> None:
    (problem,) = problems(lambda: made(name, value))
    assert problem.startswith(f"{name}: ")
    assert " is not allowed" in problem
    assert f"allowed: {getattr(attrs.fields(ClientConfig), name).metadata['rule'].allowed}" in problem
    assert "()" not in problem


def test_what_was_given_is_named() -> None:
    assert problems(lambda: ClientConfig(heartbeat="ping", reconnect_jitter=2)) == (
        "reconnect_jitter: 2 is not allowed; allowed: a finite number at least 0 and at most 1",
        "heartbeat: 'ping' is not allowed; allowed: one of 'message', 'frame', 'none'",
    )


def test_what_was_given_is_shortened() -> None:
    (problem,) = problems(lambda: ClientConfig(name="x\n" * 10_000))
    assert len(problem) < 250


def test_the_reason_is_named() -> None:
    assert problems(lambda: ClientConfig("http://h")) == (
        "url: http://h is not allowed (the scheme 'http' is not supported);"
        " allowed: a URL with ws/wss/redis/rediss and a host or replay: and the path of a recording",
    )
    (problem,) = problems(lambda: ClientConfig(headers={"Host": "h"}))
    assert "(the header Host is set by the handshake)" in problem


def test_every_wrong_option_is_reported_at_once() -> None:
    found = problems(lambda: ClientConfig(**{name: case.bad[0] for name, case in CASES.items()}))
    assert [problem.partition(":")[0] for problem in found] == NAMES


def test_the_error_says_all_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        ClientConfig(connect_timeout=0, name="")
    assert str(caught.value) == "; ".join(caught.value.problems)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"reconnect_delay": 17}, "reconnect_delay: 17 is greater than reconnect_delay_max (16)"),
        ({"reconnect_delay_max": 0.5}, "reconnect_delay: 1 is greater than reconnect_delay_max (0.5)"),
        ({"ca_file": "ca.pem", "ssl_context": CONTEXT}, "ca_file: cannot be given together with ssl_context"),
        ({"poller": poll, "polling_url": "http://h"}, "poller: cannot be given together with polling_url"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], named: str) -> None:
    (problem,) = problems(lambda: ClientConfig(**options))
    assert problem.startswith(named)


def test_all_contradictions_are_reported_at_once() -> None:
    options: dict[str, Any] = {
        "reconnect_delay": 17,
        "ca_file": "f",
        "ssl_context": CONTEXT,
        "poller": poll,
        "polling_url": "http://h",
    }
    assert len(problems(lambda: ClientConfig(**options))) == 3


# The object


def test_the_url_comes_first_and_the_rest_by_name() -> None:
    assert ClientConfig("ws://h").url == "ws://h"
    with pytest.raises(TypeError):
        ClientConfig("ws://h", "token")  # type: ignore[call-arg]


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="tokn"):
        ClientConfig(tokn="t")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_frozen(name: str) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(ClientConfig(), name, CASES[name].default)


def test_headers_are_a_copy_and_read_only() -> None:
    headers = {"X-A": "1"}
    config = ClientConfig(headers=headers)
    headers["X-A"] = "2"
    assert config.headers == {"X-A": "1"}
    with pytest.raises(TypeError):
        config.headers["X-A"] = "3"  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_equality_looks_at_every_option(name: str) -> None:
    case = CASES[name]
    other = next(v for v, stored in zip(case.good, case.stored or case.good, strict=True) if stored != case.default)
    assert made(name, other) == made(name, other)
    assert made(name, other) != ClientConfig(**BESIDE.get(name, {}))


def test_equal_configurations_have_equal_hashes() -> None:
    options: dict[str, Any] = {"headers": {"X-A": "1"}, "token": fresh_token, "ssl_context": CONTEXT}
    assert len({ClientConfig(**options), ClientConfig(**options)}) == 1


def test_callables_compare_by_identity() -> None:
    assert ClientConfig(token=lambda: "t") != ClientConfig(token=lambda: "t")


def test_it_can_be_pickled_and_copied() -> None:
    config = ClientConfig(
        "wss://u:p@h/ws?q=1",
        token=TokenFile("/run/token"),
        headers={"X-A": "1"},
        subprotocols=("a",),
        max_reconnect_attempts=None,
        polling_url="https://h/p",
    )
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pickle.loads(pickle.dumps(config)).name = "x"


def test_a_changed_copy_is_checked_too() -> None:
    config = ClientConfig("ws://h", token="t")
    assert attrs.evolve(config, name="other") == ClientConfig("ws://h", token="t", name="other")
    assert problems(lambda: attrs.evolve(config, overflow="spill"))[0].startswith("overflow: 'spill'")
    assert problems(lambda: attrs.evolve(config, reconnect_delay=17))[0].startswith("reconnect_delay: 17")


def test_the_constructor_does_not_read_the_environment(environment: Callable[..., None]) -> None:
    environment(URL="ws://elsewhere", TOKEN="t", CONNECT_TIMEOUT="nonsense")
    assert ClientConfig() == ClientConfig("ws://localhost:8080/ws", token=None, connect_timeout=10)


# The environment

TEXTS = [pytest.param(n, text, value, id=f"{n}-{text}") for n, c in CASES.items() for text, value in c.texts.items()]
BAD_TEXTS = [
    pytest.param(name, text, id=f"{name}-{number}")
    for name, case in CASES.items()
    for number, text in enumerate(case.bad_texts)
]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert ClientConfig.from_env("REALTIME_CLIENT_TEST_UNSET_") == ClientConfig()


@pytest.mark.parametrize(("name", "text", "value"), TEXTS)
def test_from_env_reads_each_option(name: str, text: str, value: Any, environment: Callable[..., None]) -> None:
    environment(**{name.upper(): text})
    config = ClientConfig.from_env(**BESIDE.get(name, {}))
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)


@pytest.mark.parametrize(("name", "text"), BAD_TEXTS)
def test_from_env_refuses_by_the_name_of_the_variable(name: str, text: str, environment: Callable[..., None]) -> None:
    environment(**{name.upper(): text})
    (problem,) = problems(ClientConfig.from_env)
    assert problem.startswith(f"REALTIME_{name.upper()}: ")
    assert "; allowed: " in problem
    assert len(problem) < 500


def test_every_option_is_read_from_the_environment_or_says_that_it_cannot_be(environment: Callable[..., None]) -> None:
    for name, case in CASES.items():
        if not case.texts:
            environment(**{name.upper(): "x"})
            assert "(this can only be set in Python)" in " ".join(problems(ClientConfig.from_env))


def test_from_env_reports_every_wrong_variable_at_once(environment: Callable[..., None]) -> None:
    environment(**{name.upper(): case.bad_texts[0] for name, case in CASES.items()})
    found = problems(ClientConfig.from_env)
    wrong = [name for name, case in CASES.items() if case.bad_texts[0] not in case.texts]
    assert [problem.partition(":")[0] for problem in found] == [f"REALTIME_{name.upper()}" for name in wrong]


def test_from_env_reports_contradictions(environment: Callable[..., None]) -> None:
    environment(RECONNECT_DELAY="20")
    assert problems(ClientConfig.from_env) == ("reconnect_delay: 20 is greater than reconnect_delay_max (16)",)


def test_from_env_with_a_prefix_of_your_own(monkeypatch: pytest.MonkeyPatch, environment: Callable[..., None]) -> None:
    environment(NAME="usual")
    monkeypatch.setenv("FEED_NAME", "own")
    assert ClientConfig.from_env("FEED_").name == "own"


def test_overrides_win_over_the_environment(environment: Callable[..., None]) -> None:
    environment(NAME="environment", OVERFLOW="nonsense", TOKEN="environment", URL="ws://h")
    config = ClientConfig.from_env(name="override", overflow="block", token=fresh_token)
    assert config == ClientConfig("ws://h", name="override", overflow="block", token=fresh_token)


def test_overrides_are_values_not_texts() -> None:
    assert problems(lambda: ClientConfig.from_env("UNSET_", compression="yes", nam="x")) == (
        "compression: 'yes' is not allowed; allowed: True or False (as text: 1/0, true/false, yes/no, on/off)",
        "nam: there is no such option; did you mean name?",
    )


def test_a_token_file_is_read_anew_for_every_attempt(tmp_path: Path, environment: Callable[..., None]) -> None:
    file = tmp_path / "token"
    file.write_text("  first\n")
    environment(TOKEN_FILE=str(file))
    token = ClientConfig.from_env().token
    assert callable(token)
    assert token() == "first"
    file.write_text("second\n")
    assert token() == "second"


def test_a_token_file_is_tried_when_the_configuration_is_made(tmp_path: Path, environment: Callable[..., None]) -> None:
    environment(TOKEN_FILE=str(tmp_path / "missing"))
    (problem,) = problems(ClientConfig.from_env)
    assert problem.startswith("REALTIME_TOKEN_FILE: the file cannot be read (FileNotFoundError); allowed: ")


@pytest.mark.parametrize("content", [b"", b" \n", b"hun\nter2", b"hunter2\xff"])
def test_a_token_file_holds_one_token(content: bytes, tmp_path: Path, environment: Callable[..., None]) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    environment(TOKEN_FILE=str(file))
    (problem,) = problems(ClientConfig.from_env)
    assert problem.startswith("REALTIME_TOKEN_FILE: the file holds no token; allowed: ")
    assert "ter2" not in problem


def test_a_token_and_a_token_file_are_refused_together(tmp_path: Path, environment: Callable[..., None]) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    environment(TOKEN="t", TOKEN_FILE=str(file), OVERFLOW="spill")
    together, overflow = problems(ClientConfig.from_env)
    assert together == "REALTIME_TOKEN_FILE: cannot be given together with REALTIME_TOKEN"
    assert overflow.startswith("REALTIME_OVERFLOW: ")


def test_an_override_makes_the_token_file_unimportant(tmp_path: Path, environment: Callable[..., None]) -> None:
    environment(TOKEN_FILE=str(tmp_path / "missing"))
    assert ClientConfig.from_env(token="t").token == "t"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RECONECT_DELAY", "RECONNECT_DELAY"),
        ("TOKENFILE", "TOKEN_FILE"),
        ("MAX_MESSAGE_BYTE", "MAX_MESSAGE_BYTES"),
        ("UR", "URL"),
    ],
)
def test_near_misses_are_warned_of(variable: str, meant: str, environment: Callable[..., None]) -> None:
    environment(**{variable: "hunter2"})
    message = f"REALTIME_{variable} is not an option; did you mean REALTIME_{meant}?"
    with pytest.warns(UserWarning, match="did you mean") as warned:
        assert ClientConfig.from_env() == ClientConfig()
    assert [str(warning.message) for warning in warned] == [message]
    assert warned[0].filename == __file__


def test_variables_of_other_programs_are_left_alone(environment: Callable[..., None]) -> None:
    environment(LOG_LEVEL="debug", HOST="h", DATABASE="d")
    assert ClientConfig.from_env() == ClientConfig()


# Mappings


def test_from_mapping_takes_every_option() -> None:
    options = {name: next(v for v in case.good if v != case.default) for name, case in CASES.items()}
    options |= {"ca_file": None, "poller": None, "reconnect_delay_max": 1_000}
    assert ClientConfig.from_mapping(options) == ClientConfig(**options)


def test_from_mapping_of_nothing_gives_the_defaults() -> None:
    assert ClientConfig.from_mapping({}) == ClientConfig()


@pytest.mark.parametrize(("name", "value"), BAD)
def test_from_mapping_refuses_what_the_constructor_refuses(name: str, value: Any) -> None:
    assert problems(lambda: ClientConfig.from_mapping({name: value})) == problems(lambda: ClientConfig(**{name: value}))


def test_from_mapping_does_not_read_texts() -> None:
    assert len(problems(lambda: ClientConfig.from_mapping({"connect_timeout": "3", "give_up": "yes"}))) == 2


def test_from_mapping_refuses_unknown_keys_with_a_suggestion() -> None:
    assert problems(lambda: ClientConfig.from_mapping({"reconect_delay": 1, "zzz": 2})) == (
        "reconect_delay: there is no such option; did you mean reconnect_delay?",
        "zzz: there is no such option",
    )


def test_from_mapping_reports_wrong_values_and_unknown_keys_at_once() -> None:
    found = problems(lambda: ClientConfig.from_mapping({"tokn": "t", "name": "", "overflow": 1, 7: 1}))  # type: ignore[dict-item]
    assert sorted(problem.partition(":")[0] for problem in found) == ["7", "name", "overflow", "tokn"]


def test_from_mapping_reports_contradictions() -> None:
    (problem,) = problems(lambda: ClientConfig.from_mapping({"reconnect_delay": 20}))
    assert problem.startswith("reconnect_delay: 20 is greater")


@pytest.mark.parametrize("value", [None, "ws://h", [("url", "ws://h")], 1, ClientConfig()])
def test_from_mapping_wants_a_mapping(value: Any) -> None:
    (problem,) = problems(lambda: ClientConfig.from_mapping(value))
    assert problem.startswith(f"the configuration is a {type(value).__name__}; allowed: a mapping")


def test_from_mapping_leaves_the_mapping_alone() -> None:
    options = {"url": "ws://h", "headers": {"X-A": "1"}}
    ClientConfig.from_mapping(FrozenMapping(options))
    assert options == {"url": "ws://h", "headers": {"X-A": "1"}}


# Secrets

MARK = "hunter2"
around = st.text(st.characters(codec="ascii"), max_size=6)


def shown(make: Callable[[], ClientConfig]) -> str:
    """Everything that a person may see of a configuration, or of the error that it is refused with."""
    try:
        config = make()
    except ConfigError as error:
        return "".join([repr(error), str(error), *error.problems, *traceback.format_exception(error)])
    return repr(config) + str(config)


SECRET_PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "token": lambda secret: {"token": secret},
    "token of a wrong type": lambda secret: {"token": [secret]},
    "header": lambda secret: {"headers": {"X-Key": secret}},
    "headers of a wrong type": lambda secret: {"headers": [("X-Key", secret)]},
    "password": lambda secret: {"url": f"wss://user:{secret}@example.com/ws"},
    "user": lambda secret: {"url": f"wss://{secret}@example.com:8080"},
    "query": lambda secret: {"url": f"wss://example.com/ws?token={secret}"},
    "fragment": lambda secret: {"url": f"wss://example.com/ws#{secret}"},
    "wrong scheme": lambda secret: {"url": f"https://user:{secret}@example.com/?k={secret}"},
    "no scheme": lambda secret: {"url": f"user:{secret}@example.com/ws"},
    "bytes": lambda secret: {"url": f"wss://user:{secret}@example.com/".encode()},
    "proxy": lambda secret: {"proxy": f"http://user:{secret}@proxy:3128"},
    "proxy without a scheme": lambda secret: {"proxy": f"user:{secret}@proxy:3128"},
    "polling": lambda secret: {"polling_url": f"https://user:{secret}@example.com/poll?key={secret}"},
}


@pytest.mark.parametrize("place", SECRET_PLACES)
@settings(max_examples=30, deadline=None)
@given(before=around, after=around)
@example(before="", after="")
@example(before="12/", after="")
@example(before="12?", after="")
@example(before="12#", after="")
@example(before="x@", after="")
@example(before="x@h/", after="")
@example(before="\n", after="\x7f")
def test_no_secret_is_ever_shown(place: str, before: str, after: str) -> None:
    options = SECRET_PLACES[place](before + MARK + after)
    assert MARK not in shown(lambda: ClientConfig(**options))
    assert MARK not in shown(lambda: ClientConfig.from_mapping({**options, "unknown": 1}))
    assert MARK not in shown(lambda: ClientConfig(**options, name=""))


@pytest.mark.parametrize("place", ["token", "header", "password", "query", "no scheme", "proxy", "polling"])
@pytest.mark.parametrize("more", ["", "\n", "ü"])
def test_no_secret_of_the_environment_is_shown(place: str, more: str, environment: Callable[..., None]) -> None:
    ((name, value),) = SECRET_PLACES[place](MARK + more).items()
    environment(**{name.upper(): str(value)})
    assert MARK not in shown(ClientConfig.from_env)
    environment(OVERFLOW="spill")
    assert MARK not in shown(ClientConfig.from_env)


def test_a_token_in_the_place_of_the_url_is_not_shown() -> None:
    assert MARK not in shown(lambda: ClientConfig(f"{MARK}.abc_def"))
    assert MARK not in shown(lambda: ClientConfig(f"{MARK}:abc"))


def test_what_is_no_secret_is_shown() -> None:
    config = ClientConfig(
        f"wss://user:{quote(MARK)}@example.com:8443/ws?token={MARK}", token=MARK, headers={"X": "y"}, proxy="direct"
    )
    text = repr(config)
    assert "url=wss://example.com:8443/ws?…" in text
    assert "token=(a str, hidden)" in text
    assert "headers=(a FrozenMapping, hidden)" in text
    assert "proxy='direct'" in text
    assert "connect_timeout=10.0" in text
    assert all(f"{name}=" in text for name in NAMES)


def test_a_token_file_shows_its_path_only(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(MARK)
    assert repr(TokenFile(str(file))) == f"TokenFile(path={str(file)!r})"
    assert MARK not in shown(lambda: ClientConfig(token=TokenFile(str(file))))
