"""The real-time client that blocking Python deserves; see `RealtimeClient`."""

from __future__ import annotations

import logging

from realtime_client._version import __version__
from realtime_client.client import RealtimeClient
from realtime_client.config import ClientConfig
from realtime_client.errors import (
    AuthenticationError,
    CallbackError,
    ClientClosed,
    ConfigError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    MalformedMessage,
    MessageTooLarge,
    NotConnected,
    PollError,
    ProtocolError,
    RealtimeError,
    RecordingError,
)
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
from realtime_client.handles import SharedClient, shared
from realtime_client.observers import Subscription
from realtime_client.status import (
    ConnectionState,
    ConnectionStatus,
    Gap,
    LaneMetrics,
    Metrics,
    Notification,
    RetryDecision,
    StatusChange,
    Transport,
)
from realtime_client.store import DashboardSnapshot, DashboardStats, DashboardStore

__all__ = [
    "AuthenticationError",
    "CallbackError",
    "ClientClosed",
    "ClientConfig",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionEstablished",
    "ConnectionLost",
    "ConnectionState",
    "ConnectionStatus",
    "DashboardSnapshot",
    "DashboardStats",
    "DashboardStore",
    "Event",
    "Gap",
    "HandshakeRejected",
    "HeartbeatTimeout",
    "LaneMetrics",
    "LogEntry",
    "MalformedMessage",
    "MessageTooLarge",
    "Metrics",
    "NewAnomaly",
    "NotConnected",
    "Notification",
    "Origin",
    "PollError",
    "Pong",
    "ProtocolError",
    "RealtimeClient",
    "RealtimeError",
    "RecordingError",
    "RetryDecision",
    "SharedClient",
    "StatsUpdate",
    "StatusChange",
    "Subscription",
    "SystemAlert",
    "Transport",
    "UnknownEvent",
    "__version__",
    "shared",
]

# A library stays silent until its application configures logging.
logging.getLogger("realtime_client").addHandler(logging.NullHandler())
