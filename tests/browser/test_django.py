"""The live page of the Django example, under uvicorn and under gunicorn, with a real feed behind it."""

from __future__ import annotations

import itertools
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from realtime_client.demo import FeedServer
from tests.browser.chromium import PATIENCE, LivePage, chromium
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
WATCH = """
const words = arguments[0];
new MutationObserver((_, watching) => {
  if (!document.querySelector("#logs").textContent.includes(words)) return;
  watching.disconnect();
  window.seenAt = Date.now() / 1000;
}).observe(document.querySelector("#logs"), {childList: true, subtree: true, characterData: true});
"""


def publish(feed: FeedServer, number: int, message: str = "payment failed") -> None:
    log = {"id": f"log-{number}", "level": "ERROR", "source": "payments", "message": message, "anomalyScore": 0.9}
    feed.publish(
        {"type": "new_anomaly", "data": {"log": log}},
        {"type": "stats_update", "data": {"stats": {"totalLogs": 1000 + number, "anomalyCount": number}}},
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("database"))


@pytest.fixture
def feed() -> Iterator[FeedServer]:
    with FeedServer(port=0) as feed:
        yield feed


@pytest.fixture(params=["uvicorn", "gunicorn"])
def served(request: pytest.FixtureRequest, feed: FeedServer, database: Database, tmp_path: Path) -> Iterator[Served]:
    env = {"REALTIME_URL": feed.url, "DJANGO_DATABASE": str(database.copy(tmp_path))}
    command = (*UVICORN, "0") if request.param == "uvicorn" else (*GUNICORN, "127.0.0.1:0")
    with serve(*command, env=env) as served:
        yield served


@pytest.fixture
def page(served: Served) -> Iterator[LivePage]:
    """The page, after the login that it asked for."""
    with chromium() as driver:
        driver.get(served.url + "/realtime/")
        assert "/admin/login/?next=/realtime/" in driver.current_url
        driver.find_element(By.NAME, "username").send_keys(NAME)
        driver.find_element(By.NAME, "password").send_keys(PASSWORD)
        driver.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        driver.get_log("browser")  # type: ignore[no-untyped-call]  # what the login page's own files gave
        page = LivePage(driver)
        page.wait_text("#state", "Connected")
        yield page


def test_figures_move_and_an_anomaly_appears(page: LivePage, feed: FeedServer) -> None:
    publish(feed, 1)
    page.wait_text("#logs", "payment failed")
    assert re.search(r"Log lines\s*1,001", page.wait_text("#figures", "1,001"))
    publish(feed, 2, HOSTILE)
    assert HOSTILE[:40] in page.wait_text("#logs", "onerror")
    assert page.driver.title == "Realtime feed"
    assert page.driver.find_elements(By.CSS_SELECTOR, "#logs img, #logs script") == []
    assert page.complaints() == []


def test_an_outage_shows_and_passes(page: LivePage, feed: FeedServer) -> None:
    publish(feed, 1)
    page.wait_text("#logs", "payment failed")
    feed.close()
    page.wait_text("#state", "Reconnecting")
    page.wait_text("#trouble", "cannot connect")
    assert "payment failed" in page.text("#logs")
    with FeedServer(port=feed.port) as returned:
        page.wait_text("#state", "Connected")
        publish(returned, 2, "another one")
        page.wait_text("#logs", "another one")


def test_an_anomaly_is_seen_within_a_second(page: LivePage, feed: FeedServer) -> None:
    numbers = itertools.count(1)

    def attempt() -> float:
        words = f"number {next(numbers)}"
        page.driver.execute_script(WATCH, words)
        sent_at = time.time()
        publish(feed, 1, words)
        page.wait_text("#logs", words)
        return float(page.driver.execute_script("return window.seenAt")) - sent_at

    see_at_once(attempt, AT_MOST)


@pytest.mark.parametrize("served", ["gunicorn"], indirect=True)
def test_the_page_outlives_its_worker(page: LivePage, served: Served, feed: FeedServer) -> None:
    publish(feed, 1)
    page.wait_text("#logs", "payment failed")
    served.process.send_signal(signal.SIGHUP)
    served.said.until("Booting worker")
    page.wait_text("#state", "Connected")
    numbers = itertools.count(2)

    def hears(_: object) -> bool:  # until the new worker is connected, nobody hears what is published
        publish(feed, next(numbers), "after the restart")
        return "after the restart" in page.text("#logs")

    WebDriverWait(page.driver, PATIENCE, poll_frequency=0.2).until(hears)
