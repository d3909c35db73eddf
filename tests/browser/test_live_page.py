"""The live page in a real browser, on the Flask example under gunicorn, with the embedded feed behind it."""

from __future__ import annotations

import itertools
import re
import signal
import time
from collections.abc import Callable
from typing import Any

from realtime_client.demo import FeedServer
from tests.browser.browsing import Browser, LivePage
from tests.django.site import EventStream, Served
from tests.flask.test_example import Visitor
from tests.outages.processes import see_at_once

Visit = Callable[[], LivePage]

TAB, SPACE, ENTER = "\ue004", "\ue00d", "\ue007"


def anomaly(number: int, message: str = "", **fields: Any) -> dict[str, Any]:
    log = {
        "id": f"log-{number}",
        "message": message or f"number {number}",
        "level": "ERROR",
        "source": "shop",
        "anomalyScore": 0.9,
        **fields,
    }
    return {"type": "new_anomaly", "data": {"log": log}}


def figures(**stats: float) -> dict[str, Any]:
    return {"type": "stats_update", "data": {"stats": stats}}


def alert(message: str, severity: str = "warning") -> dict[str, Any]:
    return {"type": "system_alert", "data": {"message": message, "severity": severity}}


def test_figures_move_and_anomalies_and_alerts_appear(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    feed.publish(figures(totalLogs=12345, anomalyRate=0.0425, activeServices=6, queueLength=17))
    page.until(lambda page: page.figure("Log lines") == "12,345", "log lines")
    page.until(lambda page: page.figure("Anomaly rate") == "4.25%", "anomaly rate")
    assert page.figure("Active services") == "6"
    assert page.texts("#further div") == ["queueLength17"]
    feed.publish(anomaly(1, "first"))
    page.wait_for_message("first")
    feed.publish(anomaly(2, "second"), alert("look here", "critical"))
    page.until(lambda page: page.messages == ["second", "first"], "newest first")
    page.until(lambda page: "look here" in page.text("#alerts"), "alert")
    page.until(lambda page: page.run("return document.querySelector('.line').getAttribute('d')?.includes('L')"), "line")
    assert page.complaints() == []  # of a policy that is broken, too


def test_an_anomaly_is_seen_within_a_second(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    numbers = itertools.count(1)

    def attempt() -> float:
        words = f"number {next(numbers)}"
        page.watch(words)
        sent_at = time.time()
        feed.publish(anomaly(1, words))
        return page.seen_at() - sent_at

    see_at_once(attempt, 1.0)


def test_the_state_follows_the_feed(fresh: Browser, visit: Visit, running: Served, feed: FeedServer) -> None:
    page = visit()
    port = feed.port
    feed.close()
    page.wait_for_state("Reconnecting", "Unavailable")
    page.until(lambda page: "refused" in page.text("#trouble") or "closed" in page.text("#trouble"), "why")
    page.until(lambda page: page.text("#since").startswith("attempt "), "which attempt")
    page.until(lambda page: re.search(r", last heard \d+ s ago$", page.text("#since")), "how old the figures are")
    page.wait_for_state("Unavailable")
    with FeedServer(port=port) as again:
        page.wait_for_state("Connected")
        assert page.run("return document.getElementById('trouble').hidden")
        again.publish(anomaly(3, "after the outage"))
        page.wait_for_message("after the outage")


def test_it_lives_through_the_replacement_of_its_worker(visit: Visit, feed: FeedServer, running: Served) -> None:
    page = visit()
    feed.publish(anomaly(1, "before"))
    page.wait_for_message("before")
    page.run("window.stayed = true; document.querySelector('#logs > li').dataset.mine = 'yes'")
    running.process.send_signal(signal.SIGHUP)
    running.said.until("Worker exiting")

    def seen(page: LivePage) -> bool:
        feed.publish(anomaly(int(time.monotonic() * 1000) % 10**9, "after"))
        return "after" in page.messages

    page.until(seen, "what comes after")
    assert page.run("return window.stayed") is True  # it was not loaded again
    assert page.run("return document.querySelectorAll('[data-mine]').length") == 1  # what was there was left alone


def test_it_says_that_the_server_is_gone_and_comes_back(visit: Visit, feed: FeedServer, running: Served) -> None:
    page = visit()
    running.stop()
    page.until(lambda page: page.page_state == "lost", "lost")
    assert "lost its server" in page.text("#trouble")
    assert page.state == "Page offline"


def test_whoever_is_signed_out_is_told(visit: Visit, fresh: Browser, running: Served) -> None:
    page = visit()
    fresh.driver.delete_all_cookies()
    running.process.send_signal(signal.SIGHUP)  # the stream ends, and the next one is refused
    page.until(lambda page: page.page_state == "refused", "refused")
    assert "signed out" in page.text("#trouble")


HOSTILE = (
    "<img src=x onerror=window.stolen=1><script>window.stolen=1</script>",
    "</span><svg onload=window.stolen=1>",
    "javascript:window.stolen=1//\u202e\u0000\x1b[31m' onfocus=window.stolen=1 autofocus x='",
    "{{7*7}} ${7*7} &lt;b&gt; \U0001f600",
)


def test_hostile_text_stays_text(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    elements = page.run("return document.querySelectorAll('img, script, svg').length")
    for number, text in enumerate(HOSTILE):
        feed.publish(
            anomaly(
                number,
                text,
                id=text,
                level=text,
                source=text,
                rootCauses=[text],
                recommendations=[text],
                **{text: text},
            ),
            alert(text, text),
        )
    feed.publish({"type": "stats_update", "data": {"stats": {text: text for text in HOSTILE}}})
    for text in HOSTILE:
        page.wait_for_message(text)
    page.until(lambda page: len(page.texts("#further div")) == len(HOSTILE), "further figures")
    page.run("for (const d of document.querySelectorAll('details')) d.open = true")
    page.until(lambda page: len(page.texts(".full")) == len(HOSTILE), "details")
    assert page.run("return window.stolen ?? null") is None
    assert page.run("return document.querySelectorAll('img, script, svg').length") == elements
    assert set(page.texts(".full")) == set(HOSTILE)
    assert sorted(page.texts("#alerts .text")) == sorted(HOSTILE)
    assert not [line for line in page.complaints() if "Content Security" in line or "TrustedHTML" in line]


def test_only_what_changed_is_touched(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    feed.publish(*(anomaly(n) for n in range(5)), figures(totalLogs=1, activeServices=2))
    page.until(lambda page: len(page.messages) == 5, "five rows")
    page.until(lambda page: page.figure("Active services") == "2", "figures")
    page.run(
        """
        window.touched = new Set();
        new MutationObserver((changes) => {
          for (const c of changes) for (const node of [c.target, ...c.addedNodes, ...c.removedNodes]) {
            const element = node.nodeType === 1 ? node : node.parentElement;
            const row = element?.closest('#logs > li')?.querySelector('.message')?.textContent;
            const figure = element?.closest('.figure:not(:has(.line:hover))')?.querySelector('dt')?.textContent;
            if (row) window.touched.add(row);
            else if (figure && !element.closest('svg')) window.touched.add(figure);
          }
        }).observe(document.querySelector('main'), {subtree: true, childList: true, characterData: true});
        """
    )
    feed.publish(anomaly(9, "new"), anomaly(3, "changed"), figures(totalLogs=2, anomalyCount=6))
    page.until(lambda page: page.messages[:2] == ["changed", "new"], "both")
    page.until(lambda page: page.figure("Log lines") == "2", "figure")
    touched = set(page.run("return [...window.touched]"))
    assert touched == {"new", "changed", "Log lines", "Anomalies"}


def test_filter_and_detail(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    feed.publish(
        anomaly(1, "disk full", level="ERROR", source="db", rootCauses=["No space"], recommendations=["Free some"]),
        anomaly(2, "slow answer", level="WARNING", source="web"),
        anomaly(3, "disk slow", level="warning", source="db", host="web-1"),
    )
    page.until(lambda page: len(page.messages) == 3, "three rows")
    page.run("document.getElementById('words').focus()")
    page.press("DISK")
    page.until(lambda page: page.messages == ["disk slow", "disk full"], "words")
    assert page.text("#count") == "2 of 3 shown"
    page.until(lambda page: page.text("#announcer") == "2 anomalies shown", "announced")
    page.run("const s = document.getElementById('level'); s.value = 'warning'; s.dispatchEvent(new Event('change'))")
    assert page.messages == ["disk slow"]
    feed.publish(anomaly(4, "disk gone", level="ERROR"), anomaly(5, "disk warm", level="WARNING"))
    page.until(lambda page: page.messages == ["disk warm", "disk slow"], "new ones are filtered, too")
    page.run("const w = document.getElementById('words'); w.value = 'nothing'; w.dispatchEvent(new Event('input'))")
    assert page.messages == []
    assert page.text("#no-logs") == "No anomaly matches."
    page.run("const w = document.getElementById('words'); w.value = ''; w.dispatchEvent(new Event('input'))")
    page.run("const s = document.getElementById('level'); s.value = ''; s.dispatchEvent(new Event('change'))")
    page.run("document.querySelector('#logs > li:last-child summary').click()")
    page.until(lambda page: page.text("#logs > li:last-child .detail .full") == "disk full", "detail")
    assert page.texts("#logs > li:last-child .detail li") == ["No space", "Free some"]


def test_an_open_row_stays_while_it_is_read(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    feed.publish(anomaly(0, "kept"))
    page.wait_for_message("kept")
    page.run("document.querySelector('#logs summary').click()")
    feed.publish(*(anomaly(n) for n in range(1, 121)))
    page.wait_for_message("number 120")
    assert "kept" in page.messages
    assert len(page.messages) == 101
    page.run("document.querySelector('#logs > li:last-child summary').click()")
    page.until(lambda page: "kept" not in page.messages, "gone when it is closed")


def test_it_is_usable_by_keyboard(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    feed.publish(anomaly(1, "one"), anomaly(2, "two"), alert("careful"))
    page.until(lambda page: page.messages == ["two", "one"], "rows")
    page.run("document.body.focus()")
    order = []
    for _ in range(7):
        page.press(TAB)
        order.append(page.focused())
    assert order[:5] == ["skip", "pause", "alert-log", "words", "level"]
    assert page.run("return document.activeElement.querySelector('.message').textContent") == "one"
    page.press(ENTER)
    page.until(lambda page: page.text(".full") == "one", "opened")
    feed.publish(anomaly(3, "three"), anomaly(1, "one, changed"))
    page.until(lambda page: page.messages == ["one, changed", "three", "two"], "moved")
    assert page.run("return document.activeElement.querySelector('.message').textContent") == "one, changed"
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_it_is_usable_by_screen_reader(visit: Visit, feed: FeedServer, fresh: Browser) -> None:
    page = visit()
    feed.publish(anomaly(1, "one"), alert("careful"))
    page.wait_for_message("one")
    tree = fresh.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]

    def named(role: str) -> list[str]:
        return [
            n.get("name", {}).get("value", "")
            for n in tree
            if n.get("role", {}).get("value") == role and not n["ignored"]
        ]

    assert named("heading") == ["Realtime feed", "Figures", "Alerts", "Recent anomalies"]
    assert named("button") == ["Pause"]
    assert named("searchbox") == ["Containing"]
    assert named("combobox") == ["Level"]
    assert named("log") == ["Alerts"]
    assert {"main", "banner", "search"} <= {n.get("role", {}).get("value") for n in tree}
    assert any("ERROR shop one score 0.90" in name for name in named("DisclosureTriangle")), named("DisclosureTriangle")
    politeness = "return [...document.querySelectorAll('[role=status]')].map((e) => e.id)"
    assert page.run(politeness) == ["state", "trouble", "announcer"]
    # What was there at first is no news; what comes later is read out.
    page.until(
        lambda page: page.run("return document.getElementById('alert-log').getAttribute('aria-live')") == "polite",
        "alerts are read out",
    )
    feed.publish(anomaly(2), anomaly(3))
    page.until(lambda page: page.text("#announcer") in ("2 new anomalies", "3 new anomalies"), "summed up")


def test_pause_lets_go_of_the_stream(visit: Visit, feed: FeedServer) -> None:
    page = visit()
    feed.publish(anomaly(1, "before"))
    page.wait_for_message("before")
    page.run("document.getElementById('pause').click()")
    assert (page.page_state, page.state) == ("paused", "Paused")
    feed.publish(anomaly(2, "meanwhile"))
    page.run("document.getElementById('pause').click()")
    page.wait_for_message("meanwhile")
    assert page.run("return document.getElementById('pause').getAttribute('aria-pressed')") == "false"


HASTE = """
const setTimeout = window.setTimeout;
window.setTimeout = (call, delay, ...rest) => setTimeout(call, delay > 10000 ? delay / 50 : delay, ...rest);
"""
"""Lets a minute of waiting be a second or so; what is waited for is the same."""
STREAMS = "return performance.getEntriesByType('resource').filter((e) => e.name.includes('/stream')).length"


def test_a_page_that_nobody_sees_lets_go_of_its_stream(visit: Visit, feed: FeedServer, running: Served) -> None:
    page = visit()
    page.run(HASTE)
    hide = (
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => arguments[0]});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.run(hide, True)
    page.until(lambda page: page.run(STREAMS) == 1, "the stream is over")  # an entry is made when it has ended
    feed.publish(anomaly(1, "unseen"))
    assert page.messages == []
    page.run(hide, False)
    page.wait_for_message("unseen")


UNSEEN = """
(() => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => true});
  const setTimeout = window.setTimeout;
  window.setTimeout = (call, delay, ...rest) => setTimeout(call, delay === 60000 ? 1000 : delay, ...rest);
})();
"""
"""As a tab that is opened in the background, and as if its first minute were a second."""


def test_a_page_that_was_never_seen_lets_go_of_its_stream(fresh: Browser, feed: FeedServer, running: Served) -> None:
    command = "Page.addScriptToEvaluateOnNewDocument"
    unseen: dict[str, Any] = fresh.driver.execute_cdp_cmd(command, {"source": UNSEEN})
    try:
        page = LivePage(fresh, running.url + "/login")
        page.press("demo", "\n")
        page.until(lambda page: page.run(STREAMS) == 1, "the stream is over")  # an entry is made when it has ended
    finally:
        fresh.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", unseen)
    feed.publish(anomaly(1, "unseen"))
    assert page.messages == []
    page.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_message("unseen")


def test_a_stream_that_falls_silent_is_opened_anew(visit: Visit, feed: FeedServer) -> None:
    """Whatever it says of itself: the other end may be gone without a word."""
    page = visit()
    page.run(HASTE)
    feed.publish(anomaly(1, "the last word"))  # from now on nothing comes within two and a half heartbeats
    page.wait_for_message("the last word")
    page.until(lambda page: page.run(STREAMS) >= 1, "the first stream was given up")
    feed.publish(anomaly(2, "heard again"))
    page.wait_for_message("heard again")


CONTRASTS = """
const luminance = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(color)) return color;
  }
};
const poor = [];
for (const element of document.querySelectorAll('body *')) {
  if (![...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  if (!element.getClientRects().length) continue;
  const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) poor.push(`${element.tagName}.${element.className} ${contrast.toFixed(2)}`);
}
return poor;
"""


def test_it_can_be_read_in_light_and_dark_and_on_a_phone(visit: Visit, feed: FeedServer, fresh: Browser) -> None:
    page = visit()
    feed.publish(
        *(anomaly(n, "x" * 300, level=level, source="y" * 100) for n, level in enumerate(("INFO", "WARNING", "ERROR"))),
        *(alert("z" * 300, severity) for severity in ("info", "warning", "error", "critical")),
        {"type": "stats_update", "data": {"stats": {"totalLogs": 10**12, "n" * 60: "v" * 60}}},
    )
    page.until(lambda page: len(page.messages) == 3, "rows")
    page.until(lambda page: page.texts("#further div"), "figures")
    page.run("for (const d of document.querySelectorAll('details')) d.open = true")
    fresh.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    backgrounds = set()
    for scheme in ("light", "dark"):
        fresh.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        backgrounds.add(page.run("return getComputedStyle(document.body).backgroundColor"))
        assert page.run(CONTRASTS) == [], scheme
        for width in (320, 768, 1400):
            fresh.size(width, 700, phone=width < 500)
            assert page.run("return document.documentElement.scrollWidth") <= width, (scheme, width)
    assert len(backgrounds) == 2


def test_fifty_other_pages_fill_the_house(visit: Visit, feed: FeedServer, running: Served) -> None:
    page = visit()
    page.run("document.getElementById('pause').click()")
    streams = _fill(running)
    page.run("document.getElementById('pause').click()")
    page.until(lambda page: page.page_state == "busy", "busy")
    assert "Too many pages are open here" in page.text("#trouble")
    assert page.state == "Waiting for a place"
    for stream in streams:
        stream.close()


SLOW_FRAMES = """
const setTimeout = window.setTimeout;
window.requestAnimationFrame = (call) => setTimeout(call, 1000);
window.setTimeout = (call, delay, ...rest) => setTimeout(call, delay < 10000 ? delay / 50 : delay, ...rest);
window.pages = [];
new MutationObserver(() => window.pages.push(document.body.dataset.page)).observe(document.body, {attributes: true});
"""
"""Frames of the screen that are late, as on a busy machine, and a page that is quick to believe in a loss."""


def test_a_page_that_waits_for_a_place_has_lost_nothing(visit: Visit, feed: FeedServer, running: Served) -> None:
    """The stream ends right behind the word that the house is full, maybe before the screen shows it."""
    page = visit()
    page.run("document.getElementById('pause').click()")
    streams = _fill(running)
    page.run(SLOW_FRAMES)
    page.run("document.getElementById('pause').click()")
    page.until(lambda page: "Too many pages" in page.text("#trouble"), "why it waits")
    page.until(lambda page: page.run(STREAMS) >= 2, "the stream is over")  # the one before the pause, and this one
    assert page.run("return window.pages") == ["connecting", "busy"]
    for stream in streams:
        stream.close()


def _fill(running: Served) -> list[EventStream]:
    visitor = Visitor(running.url).log_in()
    streams: list[EventStream] = []
    while True:
        stream = visitor.stream()
        first = next(iter(stream))[0]
        if first == "busy":
            stream.close()
            return streams
        streams.append(stream)
        assert len(streams) <= 50
