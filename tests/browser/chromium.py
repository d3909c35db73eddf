"""The machine's Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

__all__ = ["PATIENCE", "chromium"]

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
