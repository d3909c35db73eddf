"""The connection machine: a table from (phase, fact) to (next phase, action), and nothing else.

The reconnect thread feeds it one fact, performs the one action that it names and feeds back the next fact. The
machine keeps no counter, reads no clock and calls nobody. A pair that is not in the table is a mistake in the caller:
`IllegalFact` is raised and nothing happens. The diagram in the documentation is drawn from `TABLE`.
"""

from __future__ import annotations

import enum

from realtime_client.status import ConnectionState

__all__ = ["PHASE_STATE", "TABLE", "Action", "Fact", "IllegalFact", "Machine", "Phase"]


class Phase(enum.Enum):
    """Where the machine stands: the public states, with waiting and dialling told apart."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    RETRYING = "retrying"
    OUTAGE = "outage"
    PROBING = "probing"
    FAILED = "failed"
    CLOSED = "closed"


class Fact(enum.Enum):
    """What happened."""

    CONNECT = "connect() was called"
    RECONNECT = "reconnect() was called"
    OPENED = "the handshake succeeded"
    RENEW = "the credentials were refused and can be renewed"
    FAILED = "an attempt failed or the connection ended; another attempt may help"
    EXHAUSTED = "the same, and the attempts are used up"
    FATAL = "the same, and another attempt will hardly help"
    HOPELESS = "the same, and there is no going on"
    DUE = "the delay is over"
    CLOSE = "close() was called, or the recording has ended"


class Action(enum.Enum):
    """What the reconnect thread does next."""

    DIAL = "dial"
    SERVE = "serve the connection"
    WAIT = "wait"
    DECLARE = "declare the outage and wait"
    GIVE_UP = "give up"
    END = "end"
    NOTHING = "nothing"


class IllegalFact(RuntimeError):
    """A fact that cannot happen in this phase was fed."""


PHASE_STATE = {
    Phase.IDLE: ConnectionState.IDLE,
    Phase.CONNECTING: ConnectionState.CONNECTING,
    Phase.CONNECTED: ConnectionState.CONNECTED,
    Phase.WAITING: ConnectionState.RECONNECTING,
    Phase.RETRYING: ConnectionState.RECONNECTING,
    Phase.OUTAGE: ConnectionState.UNAVAILABLE,
    Phase.PROBING: ConnectionState.UNAVAILABLE,
    Phase.FAILED: ConnectionState.FAILED,
    Phase.CLOSED: ConnectionState.CLOSED,
}
DIALLING = frozenset({Phase.CONNECTING, Phase.RETRYING, Phase.PROBING})

TABLE: dict[tuple[Phase, Fact], tuple[Phase, Action]] = {
    (Phase.IDLE, Fact.CONNECT): (Phase.CONNECTING, Action.DIAL),
    (Phase.IDLE, Fact.RECONNECT): (Phase.CONNECTING, Action.DIAL),
    (Phase.IDLE, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # The first attempt of a life.
    (Phase.CONNECTING, Fact.CONNECT): (Phase.CONNECTING, Action.NOTHING),
    (Phase.CONNECTING, Fact.RECONNECT): (Phase.CONNECTING, Action.DIAL),
    (Phase.CONNECTING, Fact.OPENED): (Phase.CONNECTED, Action.SERVE),
    (Phase.CONNECTING, Fact.RENEW): (Phase.CONNECTING, Action.DIAL),
    (Phase.CONNECTING, Fact.FAILED): (Phase.WAITING, Action.WAIT),
    (Phase.CONNECTING, Fact.EXHAUSTED): (Phase.OUTAGE, Action.DECLARE),
    (Phase.CONNECTING, Fact.FATAL): (Phase.OUTAGE, Action.DECLARE),
    (Phase.CONNECTING, Fact.HOPELESS): (Phase.FAILED, Action.GIVE_UP),
    (Phase.CONNECTING, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # Connected.
    (Phase.CONNECTED, Fact.CONNECT): (Phase.CONNECTED, Action.NOTHING),
    (Phase.CONNECTED, Fact.RECONNECT): (Phase.RETRYING, Action.DIAL),
    (Phase.CONNECTED, Fact.FAILED): (Phase.WAITING, Action.WAIT),
    (Phase.CONNECTED, Fact.EXHAUSTED): (Phase.OUTAGE, Action.DECLARE),
    (Phase.CONNECTED, Fact.FATAL): (Phase.OUTAGE, Action.DECLARE),
    (Phase.CONNECTED, Fact.HOPELESS): (Phase.FAILED, Action.GIVE_UP),
    (Phase.CONNECTED, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # Between attempts.
    (Phase.WAITING, Fact.CONNECT): (Phase.WAITING, Action.NOTHING),
    (Phase.WAITING, Fact.RECONNECT): (Phase.RETRYING, Action.DIAL),
    (Phase.WAITING, Fact.DUE): (Phase.RETRYING, Action.DIAL),
    (Phase.WAITING, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # Another attempt.
    (Phase.RETRYING, Fact.CONNECT): (Phase.RETRYING, Action.NOTHING),
    (Phase.RETRYING, Fact.RECONNECT): (Phase.RETRYING, Action.DIAL),
    (Phase.RETRYING, Fact.OPENED): (Phase.CONNECTED, Action.SERVE),
    (Phase.RETRYING, Fact.RENEW): (Phase.RETRYING, Action.DIAL),
    (Phase.RETRYING, Fact.FAILED): (Phase.WAITING, Action.WAIT),
    (Phase.RETRYING, Fact.EXHAUSTED): (Phase.OUTAGE, Action.DECLARE),
    (Phase.RETRYING, Fact.FATAL): (Phase.OUTAGE, Action.DECLARE),
    (Phase.RETRYING, Fact.HOPELESS): (Phase.FAILED, Action.GIVE_UP),
    (Phase.RETRYING, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # The outage is declared: the same in slow motion, until a connection stands.
    (Phase.OUTAGE, Fact.CONNECT): (Phase.OUTAGE, Action.NOTHING),
    (Phase.OUTAGE, Fact.RECONNECT): (Phase.RETRYING, Action.DIAL),
    (Phase.OUTAGE, Fact.DUE): (Phase.PROBING, Action.DIAL),
    (Phase.OUTAGE, Fact.CLOSE): (Phase.CLOSED, Action.END),
    (Phase.PROBING, Fact.CONNECT): (Phase.PROBING, Action.NOTHING),
    (Phase.PROBING, Fact.RECONNECT): (Phase.RETRYING, Action.DIAL),
    (Phase.PROBING, Fact.OPENED): (Phase.CONNECTED, Action.SERVE),
    (Phase.PROBING, Fact.RENEW): (Phase.PROBING, Action.DIAL),
    (Phase.PROBING, Fact.FAILED): (Phase.OUTAGE, Action.WAIT),
    (Phase.PROBING, Fact.EXHAUSTED): (Phase.OUTAGE, Action.WAIT),
    (Phase.PROBING, Fact.FATAL): (Phase.OUTAGE, Action.WAIT),
    (Phase.PROBING, Fact.HOPELESS): (Phase.FAILED, Action.GIVE_UP),
    (Phase.PROBING, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # Given up.
    (Phase.FAILED, Fact.CONNECT): (Phase.CONNECTING, Action.DIAL),
    (Phase.FAILED, Fact.RECONNECT): (Phase.CONNECTING, Action.DIAL),
    (Phase.FAILED, Fact.CLOSE): (Phase.CLOSED, Action.END),
    # Closed: the end of this run. Who asks late is told, and nothing happens.
    (Phase.CLOSED, Fact.CONNECT): (Phase.CLOSED, Action.NOTHING),
    (Phase.CLOSED, Fact.RECONNECT): (Phase.CLOSED, Action.NOTHING),
    (Phase.CLOSED, Fact.CLOSE): (Phase.CLOSED, Action.NOTHING),
}


class Machine:
    """The current phase, and the table's rule for leaving it."""

    def __init__(self) -> None:
        self.phase = Phase.IDLE

    @property
    def state(self) -> ConnectionState:
        """The public state of the phase."""
        return PHASE_STATE[self.phase]

    @property
    def dialling(self) -> bool:
        """Whether an attempt is under way."""
        return self.phase in DIALLING

    def feed(self, fact: Fact) -> Action:
        """Take one fact, name one action.

        Raises:
            IllegalFact: The fact cannot happen in this phase; the phase is unchanged.
        """
        if (self.phase, fact) not in TABLE:
            raise IllegalFact(f"{fact.name} in phase {self.phase.name}")
        self.phase, action = TABLE[self.phase, fact]
        return action
