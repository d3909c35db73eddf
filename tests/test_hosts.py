"""Which hosts are this machine; asked where a secret, or a feed, would otherwise go over a network."""

from __future__ import annotations

import pytest

from realtime_client.hosts import is_this_machine


@pytest.mark.parametrize("host", ["localhost", "feed.localhost", "127.0.0.1", "127.9.8.7", "::1", "0:0:0:0:0:0:0:1"])
def test_this_machine(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host",
    ["", "example.com", "localhost.example.com", "notlocalhost", "127.0.0.1.example.com", "0.0.0.0", "::", "10.0.0.1"],
)
def test_another_machine_or_all_of_them(host: str) -> None:
    assert not is_this_machine(host)
