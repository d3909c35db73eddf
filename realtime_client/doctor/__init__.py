"""The doctor: looks at each step of a connection by itself, and says what is wrong with it and what to do."""

from __future__ import annotations

from realtime_client.doctor.checks import Check, Verdict
from realtime_client.doctor.examination import diagnose

__all__ = ["Check", "Verdict", "diagnose"]
