"""Makes the pictures of the live page for the documentation: ``python -m tests.browser.screenshots [FOLDER]``.

It takes a minute and a half, which is what the lines of the figures need.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from realtime_client import RealtimeClient
from realtime_client.demo import FeedServer, GeneratedLog, LogFeed
from realtime_client.demo.page import PageServer
from tests.browser.browsing import Browser, LivePage
from tests.browser.chromium import chromium

FOLDER = Path(__file__).parents[2] / "docs" / "images"
SECONDS = 90.0
ROWS = "return document.querySelectorAll('#logs > li').length"


def alert(message: str, severity: str) -> dict[str, Any]:
    return {"type": "system_alert", "data": {"message": message, "severity": severity}}


def shoot(page: LivePage, path: Path) -> None:
    """Take a picture, when what has just arrived no longer shines."""
    page.until(lambda page: page.run("return document.getAnimations().length === 0"), "calm")
    page.driver.save_screenshot(str(path))
    print(f"{path}: {path.stat().st_size // 1024} KiB")  # noqa: T201


def main(folder: Path) -> None:
    """Make them all."""
    folder.mkdir(exist_ok=True)
    with chromium() as driver, FeedServer(port=0) as feed, LogFeed(feed, [GeneratedLog(seed=4, lines_per_second=12.0)]):
        browser = Browser(driver)
        client = RealtimeClient(feed.url, name="page", reconnect_delay=2, reconnect_delay_max=8, reconnect_jitter=0)
        with PageServer(client, title="Realtime feed") as server:
            browser.size(1100, 800)
            page = LivePage(browser, server.url)
            page.wait_for_state("Connected")
            wait = threading.Event().wait
            feed.publish(alert("Nightly backup finished", "info"))
            wait(SECONDS / 2)
            feed.publish(alert("Orders take twice as long as usual", "warning"))
            wait(SECONDS / 2)
            page.until(lambda page: page.run(ROWS) >= 8, "some anomalies")
            browser.prefer(prefers_color_scheme="light")
            shoot(page, folder / "dashboard-light.png")
            browser.size(360, 760, phone=True)
            shoot(page, folder / "dashboard-phone.png")
            browser.size(1100, 800)
            browser.prefer(prefers_color_scheme="dark")
            page.run("document.querySelector('#logs > li:nth-child(2) summary').click(); scrollTo(0, 250)")
            shoot(page, folder / "dashboard-dark.png")
            page.run("document.querySelector('#logs > li:nth-child(2) summary').click(); scrollTo(0, 0)")
            browser.prefer(prefers_color_scheme="light")
            feed.close()
            page.wait_for_state("Reconnecting", "Unavailable")
            wait(12.0)
            shoot(page, folder / "dashboard-outage.png")
        client.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
