"""A real browser, and what is asked of the live page in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.chromium import PATIENCE

__all__ = ["Browser", "LivePage"]

WATCH = """
delete window.seenAt;
new MutationObserver((_, watching) => {
  if (!document.querySelector("#logs").textContent.includes(arguments[0])) return;
  watching.disconnect();
  window.seenAt = Date.now() / 1000;
}).observe(document.querySelector("#logs"), {childList: true, subtree: true, characterData: true});
"""


class Browser:
    """Chromium, with what a visitor may prefer.

    Attributes:
        driver: The driver.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the window's inside a size, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, **features: str) -> None:
        """Say what the visitor prefers, as CSS asks for it: ``prefers_color_scheme="dark"``."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def fresh(self) -> None:
        """Forget the visit before: cookies, size and preferences."""
        self.driver.get("about:blank")
        self.driver.delete_all_cookies()
        self.size(1100, 900)
        self.prefer(prefers_color_scheme="light")


class LivePage:
    """The live page, opened in a browser."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.driver = browser.driver
        self.complaints()  # those of the visit before
        self.driver.get(url)

    def complaints(self) -> list[str]:
        """What the console holds against the page since it was last asked: refused by its policy, missing, uncaught."""
        entries: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def text(self, selector: str) -> str:
        """What is written in an element; read in one step, since the page may replace what is in it at any time."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, look: Callable[[LivePage], Any], what: str) -> Any:
        """Wait until something is so; if it never is, the failure tells what is seen then."""
        waiting = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05)
        try:
            return waiting.until(lambda _: look(self))
        except TimeoutException:
            raise AssertionError(f"not so: {what}; {self.seen()}") from None

    def seen(self) -> str:
        """What there is to see, for who must find out what went wrong."""
        return (
            f"at {self.driver.current_url} the page is {self.state!r}, {self.page_state!r}, with the focus on"
            f" {self.focused()!r}; it says {self.text('body')[:500]!r}, the console {self.complaints()!r}"
        )

    def watch(self, words: str) -> None:
        """Note, from now on, when some words are first seen among the anomalies."""
        self.run(WATCH, words)

    def seen_at(self) -> float:
        """When the watched words were seen, in seconds since the epoch."""
        return float(self.until(lambda page: page.run("return window.seenAt ?? null"), "the watched words"))

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements."""
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector))

    @property
    def state(self) -> str:
        """The connection to the feed, in the page's words."""
        return self.text("#state")

    @property
    def page_state(self) -> str:
        """The page's own connection."""
        return str(self.run("return document.body.dataset.page"))

    @property
    def messages(self) -> list[str]:
        """The anomalies that are shown, from above."""
        return self.texts("#logs > li:not([hidden]) .message")

    def figure(self, title: str) -> str:
        """The value of a figure."""
        found = self.run(
            "return [...document.querySelectorAll('.figure')]"
            ".find((f) => f.querySelector('dt').textContent === arguments[0])?.querySelector('.value').textContent",
            title,
        )
        return str(found)

    def wait_for_state(self, *words: str) -> None:
        """Wait for one of some states."""
        self.until(lambda page: page.state in words, f"state {words}")

    def wait_for_message(self, message: str) -> None:
        """Wait until an anomaly is shown."""
        self.until(lambda page: message in page.messages, f"message {message!r}")

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def sign_in(self, *keys: str) -> None:
        """Fill in the login page, from the field that it gives the focus to.

        That happens when the page is first drawn, which may be after all of it was loaded: keys before are lost.
        """
        self.until(lambda page: page.run("return document.activeElement?.matches('[autofocus]')"), "a field is ready")
        self.press(*keys)

    def focused(self) -> str:
        """What has the focus, in a few words."""
        return str(
            self.run(
                "const e = document.activeElement;"
                "return e.id || e.className || (e.tagName + ' ' + (e.textContent || '')).trim().slice(0, 60)"
            )
        )
