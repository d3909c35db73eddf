"""One browser for all tests, a feed, and the Flask example behind gunicorn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from realtime_client.demo import FeedServer
from tests.browser.browsing import Browser, LivePage
from tests.browser.chromium import chromium
from tests.django.site import Served
from tests.flask.test_example import THREADED, served
from tests.network import steady


@pytest.fixture(autouse=True)
def steady_network() -> Iterator[None]:
    with steady():
        yield


@pytest.fixture(scope="session")
def the_browser() -> Iterator[Browser]:
    with chromium() as driver:
        yield Browser(driver)


@pytest.fixture
def fresh(the_browser: Browser) -> Browser:
    the_browser.fresh()
    return the_browser


@pytest.fixture
def feed() -> Iterator[FeedServer]:
    with FeedServer(port=0, stats_interval=0.1) as feed:
        yield feed


QUICK = {"FLASK_REALTIME_RECONNECT_DELAY": "0.3", "FLASK_REALTIME_RECONNECT_DELAY_MAX": "0.5"}


@pytest.fixture
def running(feed: FeedServer) -> Iterator[Served]:
    with served([*THREADED, "--access-logfile", "-"], feed.url, **QUICK) as running:
        yield running
    sys.stdout.write("\n".join(running.said.all()))  # shown if the test has failed


@pytest.fixture
def visit(fresh: Browser, running: Served) -> Callable[[], LivePage]:
    """Log in, open the live page, and wait until the feed is heard: what is published before is told in another way."""

    def visit() -> LivePage:
        page = LivePage(fresh, running.url + "/login")
        page.sign_in("demo", "\n")
        page.wait_for_state("Connected")
        return page

    return visit
