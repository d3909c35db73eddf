"""The feed in browsers: a live page, and the stream of server-sent events behind it; without a framework.

The integrations for Flask and Django, and ``realtime-client demo --web``, are thin layers over this::

    dashboard = Dashboard(client=get_client)         # one for an application; get_client() -> RealtimeClient

    if from_elsewhere(request.headers, request.host, page=False):
        return 403
    dashboard.stream(last_event_id)                  # WSGI: iterator of bytes with close(); headers: STREAM_HEADERS
    dashboard.stream(last_event_id, brief=True)      # where environ["wsgi.multithread"] is false
    dashboard.async_stream(last_event_id)            # ASGI: asynchronous iterator with aclose() and close()

    page(title=..., stream_url=..., file_urls={name: url for name in FILES})   # bytes; headers: PAGE_HEADERS
    static_file("dashboard.js")                      # .body, .media_type, .etag; headers: FILE_HEADERS

    dashboard.open_streams, dashboard.end_streams(), end_all_streams()

The request's ``Last-Event-ID`` header, or the query's ``last_event_id`` (a page that opens a new stream cannot set the
header), is where a stream goes on. Its events:

==============  ======================================================================================================
``snapshot``    the whole picture, for a page that has none; ``changes.whole``
``reset``       the same, for a page that cannot be told what it missed
``change``      the difference to the event before; ``changes.difference``
``heartbeat``   every 15 seconds without another event, and at the beginning; has no id
``busy``        the house is full; the stream ends, and the page comes back
==============  ======================================================================================================
"""

from realtime_client.web.dashboard import Dashboard, end_all_streams
from realtime_client.web.headers import FILE_HEADERS, PAGE_HEADERS, STREAM_HEADERS, from_elsewhere
from realtime_client.web.page import FILES, StaticFile, page, static_file

__all__ = [
    "FILES",
    "FILE_HEADERS",
    "PAGE_HEADERS",
    "STREAM_HEADERS",
    "Dashboard",
    "StaticFile",
    "end_all_streams",
    "from_elsewhere",
    "page",
    "static_file",
]
