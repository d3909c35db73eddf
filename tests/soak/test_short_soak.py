"""The soak of some seconds that runs with every test run; `python -m tests.soak` is the long one."""

from __future__ import annotations

import logging

import pytest

from tests.soak.chaos import FAULTS
from tests.soak.run import Soak


@pytest.mark.timeout(240)
def test_a_short_soak(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="realtime_client")
    report = Soak(seconds=6, seed=3, clients=8, samples=2).run()
    assert report.violations == []
    assert report.result["faults_by_kind"].keys() == FAULTS.keys()
    for sums in report.result["by_filling"].values():
        assert sums["delivered"] + sums["lost_and_said_so"] == sums["produced"]
        assert sums["gaps"] > 0
    assert report.result["by_filling"]["none"]["lost_and_said_so"] > 0
    assert report.result["by_filling"]["poller"]["delivered_by_polls"] > 0
