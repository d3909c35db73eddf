"""The machine's Chromium, driven as a person would use it, and what the live page shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

__all__ = ["PATIENCE", "LivePage", "chromium"]

PATIENCE = 40.0
"""Seconds after which something hangs; the machine may be busy."""
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
"""As Debian's packages ``chromium`` and ``chromium-driver`` have them."""


@contextlib.contextmanager
def chromium(*, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser with one empty window."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.add_argument("--headless=new")
    options.add_argument("--no-sandbox")  # tests may run as root
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--disable-background-networking")
    options.add_argument(f"--window-size={width},{height}")
    if dark:
        options.add_argument("--force-dark-mode")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.set_page_load_timeout(PATIENCE)
        yield driver
    finally:
        driver.quit()


class LivePage:
    """The live page in a browser's window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def part(self, selector: str) -> WebElement:
        """One element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What is written in an element; read in one step, since the page may replace what is in it at any time."""
        found: str = self.driver.execute_script(
            "return document.querySelector(arguments[0])?.textContent ?? ''", selector
        )
        return found

    def wait_text(self, selector: str, words: str, timeout: float = PATIENCE) -> str:
        """Wait until some words are written in an element."""
        waiting = WebDriverWait(self.driver, timeout, poll_frequency=0.05)
        waiting.until(lambda _: words in self.text(selector), f"{words!r} in {self.text(selector)!r}")
        return self.text(selector)

    def complaints(self) -> list[str]:
        """What the browser's console holds against the page: refused by its policy, not found, uncaught."""
        entries: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]
