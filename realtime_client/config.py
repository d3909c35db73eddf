"""`ClientConfig`: every option of a client, validated as a whole."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from realtime_client import options
from realtime_client.errors import ConfigError, RealtimeError
from realtime_client.status import RetryDecision

if TYPE_CHECKING:
    import ssl

__all__ = ["PREFIX", "ClientConfig", "DescribedOption", "TokenFile", "described_options"]

PREFIX = "REALTIME_"
"""What the names of environment variables begin with, unless somebody says otherwise."""

MIB = 1024 * 1024
LONGEST = 1_000_000.0
"""Seconds. Waits take milliseconds in a C int, so about 2,147,000 s; jitter may double a delay."""
C = TypeVar("C", bound="ClientConfig")


def _option(default: Any, rule: options.Rule, doc: str) -> Any:
    return attrs.field(default=default, metadata={"rule": rule, "doc": doc}, repr=rule.show)


def _seconds(default: float, doc: str, *, above: bool = True) -> Any:
    return _option(default, options.Number(high=LONGEST, above=above), doc)


def _number_of(default: int, doc: str, unit: str = "") -> Any:
    return _option(default, options.Whole(unit=unit), doc)


@attrs.frozen
class TokenFile:
    """A callable token that reads a file anew for every attempt, so that a rotated secret is picked up.

    Attributes:
        path: The file; white space around its content is ignored.
    """

    path: str

    def __call__(self) -> str:
        """The token as it stands in the file now."""
        with open(self.path, encoding="ascii") as file:
            return file.read().strip()


@attrs.frozen(kw_only=True)
class ClientConfig:
    """The options of a client, checked when it is made: one `ConfigError` names every wrong field.

    Durations are float seconds, sizes are int bytes. The object is frozen; ``attrs.evolve`` makes a changed copy. Its
    ``repr`` hides tokens, headers, and the user names, passwords and queries of URLs.
    """

    url: str = attrs.field(
        default="ws://localhost:8080/ws",
        kw_only=False,
        metadata={
            "rule": options.FeedUrl(("ws", "wss")),
            "doc": "Where the feed is, or replay: and the path of a recording."
            " A user name and password in it become an Authorization header.",
        },
        repr=options.FeedUrl(("ws", "wss")).show,
    )
    token: str | Callable[[], str] | None = _option(
        None,
        options.Token(),
        "Bearer token, or a callable asked anew for every attempt (on a thread of its own).",
    )
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = _option(
        None,
        options.Header(),
        "Further headers of the handshake and of polls; a callable is asked for every attempt.",
    )
    subprotocols: tuple[str, ...] = _option((), options.Tokens(), "Subprotocols to offer, the preferred first.")
    ssl_context: ssl.SSLContext | None = _option(
        None,
        options.Object("wrap_socket", "an ssl.SSLContext or None"),
        "Your own TLS settings; None verifies as usual.",
    )
    ca_file: str | None = _option(
        None, options.Text(optional=True), "PEM file of the authorities to trust instead of the system's."
    )
    proxy: str | None = _option(
        None,
        options.Url(("http", "socks5", "socks5h", "socks4", "socks4a"), optional=True, words=("direct",)),
        "Proxy URL, 'direct' for none; None takes them from the environment, but for this machine itself.",
    )
    compression: bool = _option(True, options.Flag(), "Offer permessage-deflate (RFC 7692).")
    connect_timeout: float = _seconds(10.0, "One deadline for name look-up, TCP, proxy, TLS and handshake together.")
    close_timeout: float = _seconds(2.0, "The longest that close() takes, the wait for the peer's close included.")
    max_reconnect_attempts: int | None = _option(
        5,
        options.Whole(low=0, optional=True),
        "Failed attempts until the outage is declared; None never declares.",
    )
    give_up: bool = _option(False, options.Flag(), "End in FAILED when the outage is declared, instead of probing on.")
    reconnect_delay: float = _seconds(1.0, "Delay before the first attempt.")
    reconnect_delay_max: float = _seconds(
        16.0, "Cap of the delay, before jitter; the spacing of probes after the outage is declared."
    )
    reconnect_multiplier: float = _option(
        2.0, options.Number(low=1.0, unit=""), "Growth of the delay from attempt to attempt."
    )
    reconnect_jitter: float = _option(
        0.5,
        options.Number(high=1.0, unit=""),
        "Each delay is multiplied by a random factor in 1 - jitter .. 1 + jitter.",
    )
    reconnect_reset_after: float = _seconds(
        10.0, "A connection that lived this long sets the delay back to the first.", above=False
    )
    fatal_retry_delay: float = _seconds(
        60.0, "Spacing of probes after a fatal outcome of a client that was connected before."
    )
    retry_policy: Callable[[RealtimeError, RetryDecision], RetryDecision | None] | None = _option(
        None,
        options.Object("__call__", "a callable or None"),
        "May overrule what the retry table says of an outcome.",
    )
    heartbeat_interval: float = _seconds(30.0, "Spacing of heartbeats.")
    heartbeat_timeout: float = _seconds(10.0, "Silence after a heartbeat that makes the connection dead.")
    heartbeat: str = _option(
        "message",
        options.Choice(("message", "frame", "none")),
        'What a heartbeat is: "message" sends {"type": "ping"} and a ping frame, "frame" the frame alone.',
    )
    read_interval: float = _option(
        0.0,
        options.Number(high=1.0),
        "Least time between two reads of the stream: messages gather meanwhile, which saves much of the work on a busy"
        " feed, and delays an event by as much at most.",
    )
    max_message_bytes: int = _number_of(1 * MIB, "Larger messages end the connection (close 1009).", "bytes")
    max_pending_events: int = _number_of(10_000, "Events that may wait for callbacks.")
    max_pending_bytes: int = _number_of(64 * MIB, "Bytes of messages whose events may wait for callbacks.", "bytes")
    overflow: str = _option(
        "drop_oldest",
        options.Choice(("drop_oldest", "drop_newest", "block")),
        "What happens when more would have to wait.",
    )
    recent_logs_limit: int = _number_of(100, "Logs that the store keeps.")
    alerts_limit: int = _number_of(100, "Alerts that the store keeps.")
    dedup_window: int = _number_of(10_000, "Log ids that are remembered, to count and deliver no log twice.")
    polling_url: str | None = _option(
        None, options.Url(("http", "https"), optional=True), "HTTP address for polling and backfill."
    )
    poller: Callable[..., Any] | None = _option(
        None,
        options.Object("__call__", "a callable or None"),
        "A callable that returns what the polling address would.",
    )
    polling_interval: float = _seconds(5.0, "Spacing of polls while the stream cannot be had.")
    poll_after: float = _seconds(10.0, "Polling starts when the stream could not be had for this long.", above=False)
    backfill_timeout: float = _seconds(5.0, "The longest that stream events wait for the backfill of a gap.")
    name: str = _option("client", options.Text(), "Part of the threads' names and of log messages.")

    def __attrs_post_init__(self) -> None:
        """Check every field, normalise it, and report all problems at once."""
        problems, wrong = [], set()
        for field in attrs.fields(ClientConfig):
            value = getattr(self, field.name)
            try:
                object.__setattr__(self, field.name, field.metadata["rule"].accept(value))
            except ValueError as error:
                problems.append(_problem(field, value, error, field.name))
                wrong.add(field.name)
        problems += self._contradictions(wrong)
        if problems:
            raise ConfigError(*problems)

    def _contradictions(self, wrong: set[str]) -> list[str]:
        """What is wrong between fields that are each right."""
        problems = []
        if not wrong & {"reconnect_delay", "reconnect_delay_max"} and self.reconnect_delay > self.reconnect_delay_max:
            problems.append(
                f"reconnect_delay: {self.reconnect_delay:g} is greater than reconnect_delay_max"
                f" ({self.reconnect_delay_max:g})"
            )
        if not wrong & {"ssl_context", "ca_file"} and self.ssl_context is not None and self.ca_file is not None:
            problems.append("ca_file: cannot be given together with ssl_context, which has its own authorities")
        if not wrong & {"polling_url", "poller"} and self.polling_url is not None and self.poller is not None:
            problems.append("poller: cannot be given together with polling_url")
        return problems

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Make a configuration from a mapping, for instance a settings dict or a parsed TOML table.

        Args:
            mapping: Field names to values of the fields' types. Unknown keys are refused.

        Raises:
            ConfigError: Names every wrong field and every unknown key at once.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigError(
                f"the configuration is a {type(mapping).__name__}; allowed: a mapping of field names to values"
            )
        return _structure(cls, dict(mapping), labels={})

    @classmethod
    def from_env(cls, prefix: str = PREFIX, **overrides: Any) -> Self:
        """Make a configuration from environment variables.

        ``REALTIME_URL``, ``REALTIME_RECONNECT_DELAY`` and so on: the prefix and a field's name in capitals. Texts are
        read as each field demands; ``headers`` is a JSON object, ``subprotocols`` a list separated by commas.
        ``REALTIME_TOKEN_FILE`` names a file that is read anew for every attempt. A variable that looks like a misspelt
        field gets a warning; other variables with the prefix are left alone.

        Args:
            prefix: What the variables' names begin with.
            overrides: Fields that win over the environment.

        Raises:
            ConfigError: Names every wrong variable at once.
        """
        known = {prefix + field.name.upper(): field.name for field in attrs.fields(cls)}
        file_variable = prefix + "TOKEN_FILE"
        values: dict[str, Any] = {
            name: _Text(os.environ[variable]) for variable, name in known.items() if variable in os.environ
        }
        labels = {name: variable for variable, name in known.items() if name in values and name not in overrides}
        problems = []
        if file_variable in os.environ and "token" not in overrides:
            if "token" in values:
                problems.append(f"{file_variable}: cannot be given together with {prefix}TOKEN")
            else:
                values["token"] = TokenFile(os.environ[file_variable])
                problems += _unreadable(file_variable, values["token"])
        for variable in sorted(os.environ):
            if not variable.startswith(prefix) or variable in known or variable == file_variable:
                continue
            if close := _similar(variable, [*known, file_variable], likeness=0.85):
                warnings.warn(f"{variable} is not an option; did you mean {close}?", stacklevel=2)
        return _structure(cls, {**values, **overrides}, labels=labels, problems=problems)


@attrs.frozen
class DescribedOption:
    """One option in words, for tables.

    Attributes:
        name: The field's name.
        variable: Its environment variable; ``None`` where text stands for no value.
        default: Its default, as a person would write it.
        doc: What it means.
        allowed: What it allows.
    """

    name: str
    variable: str | None
    default: str
    doc: str
    allowed: str


def described_options(prefix: str = PREFIX) -> tuple[DescribedOption, ...]:
    """Every option of `ClientConfig` in words; what the documentation and the command's help show is made from it."""
    return tuple(
        DescribedOption(
            name=field.name,
            variable=None if isinstance(field.metadata["rule"], options.Object) else prefix + field.name.upper(),
            default=_shown_default(field.default),
            doc=field.metadata["doc"],
            allowed=field.metadata["rule"].allowed,
        )
        for field in attrs.fields(ClientConfig)
    )


def _shown_default(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= MIB and value % MIB == 0:
        return f"{value // MIB} * 1024 * 1024"
    return f"{value:g}" if isinstance(value, float) else repr(value)


# cattrs resolves the annotations; this module must not import ssl, which would drag the sockets in.
attrs.resolve_types(ClientConfig, localns={"ssl": SimpleNamespace(SSLContext=object)})


@attrs.frozen
class _Text:
    """A value that came as text and has still to be read as its field demands."""

    text: str


def _structure(cls: type[C], values: dict[str, Any], *, labels: Mapping[str, str], problems: Sequence[str] = ()) -> C:
    """Let cattrs build the configuration and turn everything that it collected into one `ConfigError`."""
    import cattrs  # noqa: PLC0415 - as in _compile

    fields = {field.name: field for field in attrs.fields(cls)}
    found = list(problems)
    try:
        config: C = _hook(cls)(values, cls)
    except cattrs.ClassValidationError as group:
        for error in group.exceptions:
            if isinstance(error, ConfigError):
                found += error.problems
            elif isinstance(error, cattrs.ForbiddenExtraKeysError):
                found += [_unknown(str(name), fields) for name in sorted(map(str, error.extra_fields))]
            else:
                (name,) = (note.name for note in error.__notes__ if isinstance(note, cattrs.AttributeValidationNote))
                found.append(_problem(fields[name], values[name], error, labels.get(name, name)))
    if found:
        raise ConfigError(*found)
    return config


def _compile(cls: type[ClientConfig]) -> Callable[[Mapping[str, Any], Any], Any]:
    # Not at the top: a process that imports the package, and makes no client, is spared a sixth of the time.
    import cattrs  # noqa: PLC0415
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415

    def reader(rule: options.Rule) -> Callable[[Any, Any], Any]:
        return lambda value, _: rule.accept(rule.parse(value.text) if isinstance(value, _Text) else value)

    readers: dict[str, Any] = {
        field.name: override(struct_hook=reader(field.metadata["rule"])) for field in attrs.fields(cls)
    }
    return make_dict_structure_fn(
        cls, cattrs.Converter(), _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **readers
    )


_hook: Callable[[Any], Callable[[Mapping[str, Any], Any], Any]] = functools.cache(_compile)  # one for a class


def _unknown(name: str, fields: Mapping[str, Any]) -> str:
    close = _similar(name, fields)
    return f"{name}: there is no such option" + (f"; did you mean {close}?" if close else "")


def _similar(name: str, names: Iterable[str], likeness: float = 0.6) -> str | None:
    import difflib  # noqa: PLC0415 - only for those who mistype

    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=likeness)), None)


def _unreadable(variable: str, token_file: TokenFile) -> list[str]:
    allowed = "allowed: a readable file with a token of printable ASCII"
    try:
        options.Token().accept(token_file())
    except OSError as error:
        return [f"{variable}: the file cannot be read ({type(error).__name__}); {allowed}"]
    except ValueError:
        return [f"{variable}: the file holds no token; {allowed}"]
    return []


def _problem(field: attrs.Attribute[Any], value: Any, error: BaseException, label: str) -> str:
    rule: options.Rule = field.metadata["rule"]
    shown = rule.show(value.text if isinstance(value, _Text) else value)
    # Only the rules' own words: the text of a foreign error (a failed int()) may repeat a secret.
    more = f" ({error})" if type(error) is options.Refused and error.args else ""
    return f"{label}: {shown} is not allowed{more}; allowed: {rule.allowed}"
