"""What browsers may do with the page, and who may ask for it."""

from __future__ import annotations

import pytest

from realtime_client.web import PAGE_HEADERS, STREAM_HEADERS, from_elsewhere

HOST = "app.example.com"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://app.example.com"},
        {},
    ],
    ids=["own page", "typed address", "older browser", "curl"],
)
@pytest.mark.parametrize("page", [True, False])
def test_this_site_is_admitted(headers: dict[str, str], page: bool) -> None:
    assert not from_elsewhere(headers, HOST, page=page)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://\u2100.example"},
        {"Origin": ""},
    ],
    ids=["other site", "sister site", "frame", "older browser", "sandbox", "half an address", "odd letters", "nothing"],
)
@pytest.mark.parametrize("page", [True, False])
def test_other_sites_are_refused(headers: dict[str, str], page: bool) -> None:
    assert from_elsewhere(headers, HOST, page=page)


def test_another_site_may_link_to_the_page_and_not_to_the_stream() -> None:
    click = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert not from_elsewhere(click, HOST, page=True)
    assert from_elsewhere(click, HOST, page=False)


def test_the_policy_admits_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = PAGE_HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_the_stream_is_not_buffered_on_its_way() -> None:
    assert STREAM_HEADERS["X-Accel-Buffering"] == "no"
    assert STREAM_HEADERS["Content-Encoding"] == "identity"
    assert STREAM_HEADERS["Cache-Control"] == "no-store"
    assert not {"Connection", "Transfer-Encoding"} & set(STREAM_HEADERS)  # WSGI forbids hop-by-hop headers
