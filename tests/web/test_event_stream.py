"""Events are written as browsers read them."""

from __future__ import annotations

from realtime_client.web.event_stream import encode_event, retry_after
from tests.web.pages import EventReader


def test_an_event_is_read_back_whatever_is_in_it() -> None:
    text = "lines\r\nand\u2028\u2029\x00 data: x\n\nevent: fake\n\n<script>\ud83d\ude00"
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    reader = EventReader()
    (event,) = reader.feed(encode_event("change", {"text": text}, "epoch-1"))
    assert (event.name, event.data, event.last_id) == ("change", {"text": text}, "epoch-1")


def test_an_event_without_an_id_keeps_the_last_one() -> None:
    reader = EventReader()
    reader.feed(encode_event("change", {}, "epoch-1"))
    (event,) = reader.feed(encode_event("heartbeat", {}))
    assert event.last_id == "epoch-1"


def test_figures_that_json_does_not_know_do_not_break_the_page() -> None:
    (event,) = EventReader().feed(encode_event("change", {"value": float("nan"), "other": object}))
    assert event.data["value"] is None
    assert isinstance(event.data["other"], str)


def test_retry_is_in_whole_milliseconds() -> None:
    reader = EventReader()
    assert reader.feed(retry_after(1.2345)) == []
    assert reader.retry == 1234
