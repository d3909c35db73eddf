"""The live page of the Django example, under uvicorn and under gunicorn, with a real feed behind it."""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from realtime_client.demo import FeedServer
from tests.browser.browsing import Browser, LivePage
from tests.django.site import NAME, PASSWORD, Database, Served, serve
from tests.outages.processes import see_at_once

UVICORN = (sys.executable, "-m", "uvicorn", "project.asgi:application", "--timeout-graceful-shutdown", "5", "--port")
GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "project.wsgi", "--worker-class", "gthread", "--threads", "64"),
    *("--config", "python:realtime_client.integrations.gunicorn", "--bind"),
)
HOSTILE = '<img src=x onerror="document.title=`taken`"><script>document.title="taken"</script>\x1b[2J\u202e'
AT_MOST = 1.0
"""Seconds from the feed to the page."""


def publish(feed: FeedServer, number: int, message: str = "payment failed") -> None:
    log = {"id": f"log-{number}", "level": "ERROR", "source": "payments", "message": message, "anomalyScore": 0.9}
    feed.publish(
        {"type": "new_anomaly", "data": {"log": log}},
        {"type": "stats_update", "data": {"stats": {"totalLogs": 1000 + number, "anomalyCount": number}}},
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("database"))


@pytest.fixture(params=["uvicorn", "gunicorn"])
def served(request: pytest.FixtureRequest, feed: FeedServer, database: Database, tmp_path: Path) -> Iterator[Served]:
    env = {"REALTIME_URL": feed.url, "DJANGO_DATABASE": str(database.copy(tmp_path))}
    command = (*UVICORN, "0") if request.param == "uvicorn" else (*GUNICORN, "127.0.0.1:0")
    with serve(*command, env=env) as served:
        yield served
    sys.stdout.write("\n".join(served.said.all()))  # shown if the test has failed


@pytest.fixture
def page(fresh: Browser, served: Served) -> LivePage:
    """The page, after the login that it asked for."""
    page = LivePage(fresh, served.url + "/realtime/")
    assert "/admin/login/?next=/realtime/" in fresh.driver.current_url
    page.sign_in(NAME, Keys.TAB, PASSWORD, Keys.ENTER)
    page.wait_for_state("Connected")
    page.complaints()  # what the login page's own files gave
    return page


def test_figures_move_and_hostile_text_stays_text(page: LivePage, feed: FeedServer) -> None:
    publish(feed, 1)
    page.wait_for_message("payment failed")
    page.until(lambda page: page.figure("Log lines") == "1,001", "the figure")
    publish(feed, 2, HOSTILE)
    page.until(lambda page: HOSTILE[:40] in page.text("#logs"), "the hostile text")
    assert page.driver.title == "Realtime feed"
    assert page.texts("#logs img, #logs script") == []
    assert page.complaints() == []


def test_an_outage_shows_and_passes(page: LivePage, feed: FeedServer) -> None:
    publish(feed, 1)
    page.wait_for_message("payment failed")
    feed.close()
    page.wait_for_state("Reconnecting")
    page.until(lambda page: "The feed: " in page.text("#trouble"), "the reason")
    assert page.messages == ["payment failed"]
    with FeedServer(port=feed.port) as returned:
        page.wait_for_state("Connected")
        publish(returned, 2, "another one")
        page.wait_for_message("another one")


def test_an_anomaly_is_seen_within_a_second(page: LivePage, feed: FeedServer) -> None:
    numbers = itertools.count(1)

    def attempt() -> float:
        words = f"number {next(numbers)}"
        page.watch(words)
        sent_at = time.time()
        publish(feed, 1, words)
        return page.seen_at() - sent_at

    see_at_once(attempt, AT_MOST)


@pytest.mark.parametrize("served", ["gunicorn"], indirect=True)
def test_the_page_outlives_its_worker(page: LivePage, served: Served, feed: FeedServer) -> None:
    publish(feed, 1)
    page.wait_for_message("payment failed")
    served.process.send_signal(signal.SIGHUP)
    served.said.until("Booting worker")
    numbers = itertools.count(2)

    def hears(page: LivePage) -> bool:  # until the new worker is connected, nobody hears what is published
        publish(feed, next(numbers), "after the restart")
        return "after the restart" in page.messages

    page.until(hears, "the page hears the new worker")
