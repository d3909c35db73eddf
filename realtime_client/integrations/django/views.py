"""The addresses: the page, its files and its stream of events, for WSGI and for ASGI; the feed's health and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import closing
from functools import wraps
from typing import TypeAlias

from asgiref.sync import SyncToAsync, sync_to_async
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import condition, require_GET, require_safe

from realtime_client.integrations.django.client import realtime
from realtime_client.integrations.django.conf import NAME
from realtime_client.integrations.watching import health_of
from realtime_client.web import FILE_HEADERS, FILES, PAGE_HEADERS, STREAM_HEADERS, from_elsewhere, page, static_file
from realtime_client.web.stream import AsyncStream

__all__ = ["dashboard", "file", "health", "metrics", "stream"]

View: TypeAlias = Callable[[HttpRequest], HttpResponseBase]


def _admitted(request: HttpRequest) -> bool | HttpResponseBase:
    """Whether whoever asks is meant, or the answer to give instead."""
    test = realtime.settings.dashboard_test
    if callable(test):
        verdict = test(request)
        if isinstance(verdict, bool | HttpResponseBase):
            return verdict
        if verdict is None:
            return False
        # Something that is merely true may well mean something else: a coroutine, or a view, that was never run.
        raise ImproperlyConfigured(
            f"{NAME}: DASHBOARD_TEST: it returned a {type(verdict).__name__}; allowed: True, False or a response"
        )
    if test == "anyone":
        return True
    user = request.user
    return bool(
        user.is_authenticated and user.is_active and (test == "authenticated" or getattr(user, "is_staff", False))
    )


def _guarded(*, is_page: bool) -> Callable[[View], View]:
    """Let through only those for whom the project means it."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest) -> HttpResponseBase:
            _check_enabled("dashboard")
            if from_elsewhere(request.headers, request.get_host(), page=is_page):
                raise PermissionDenied("asked for by another site")
            verdict = _admitted(request)
            if isinstance(verdict, HttpResponseBase):
                return verdict
            if verdict:
                return view(request)
            user = getattr(request, "user", None)
            if is_page and user is not None and not user.is_authenticated:
                from django.contrib.auth.views import redirect_to_login  # noqa: PLC0415 - needs the app of the users

                return redirect_to_login(request.get_full_path())
            raise PermissionDenied("not for this user")

        return guarded

    return guard


def _check_enabled(option: str) -> None:
    if not getattr(realtime.settings, option):
        raise Http404(f'it is off: {NAME} has no "{option.upper()}": True')


@require_safe
@_guarded(is_page=True)
def dashboard(request: HttpRequest) -> HttpResponse:
    """The page; whoever is not logged in is sent to ``LOGIN_URL``."""
    urls = {name: reverse("realtime:file", args=[name]) for name in FILES}
    body = page(title=realtime.settings.title, stream_url=reverse("realtime:stream"), file_urls=urls)
    return HttpResponse(body, headers=PAGE_HEADERS)


@require_safe
@condition(etag_func=lambda request, name: _etag(name))
def file(request: HttpRequest, name: str) -> HttpResponse:
    """A file of the page. Not among the project's static files, so that nothing need be collected or configured."""
    _check_enabled("dashboard")
    if name not in FILES:
        raise Http404(name)
    found = static_file(name)
    return HttpResponse(found.body, content_type=found.media_type, headers=FILE_HEADERS)


def _etag(name: str) -> str | None:
    # Asked for before the view: what is off has none, or else a browser that had the file would be told it is there.
    return static_file(name).etag if realtime.settings.dashboard and name in FILES else None


@require_GET
@_guarded(is_page=False)
def stream(request: HttpRequest) -> StreamingHttpResponse:
    """The events. Under WSGI each page takes a thread of the server's, under ASGI none."""
    _ = realtime.client  # connects, if need be; and a wrong setting is told by this view, not in the midst of a body
    last_event_id = request.headers.get("Last-Event-ID") or request.GET.get("last_event_id")
    body: Iterator[bytes] | AsyncIterable[bytes]
    if isinstance(request, ASGIRequest):
        body = _AsyncBody(last_event_id)
    else:
        body = _body(last_event_id, brief=not request.META.get("wsgi.multithread", True))
    return StreamingHttpResponse(body, headers=STREAM_HEADERS)


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """The state of the feed: 200 while it is connected or polled, and else 503. Connects, as every use does."""
    _check_enabled("health")
    said, status = health_of(realtime.client)
    return JsonResponse(said, status=status, headers={"Cache-Control": "no-store"})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of the client for Prometheus; connects nothing."""
    _check_enabled("metrics")
    body, media_type = realtime.collector.exposition(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=media_type, headers={"Cache-Control": "no-store"})


def _body(last_event_id: str | None, *, brief: bool) -> Iterator[bytes]:
    _close_connections()
    with closing(realtime.dashboard.stream(last_event_id, brief=brief)) as events:
        yield from events


class _AsyncBody:
    """The same for an event loop. Has a `close`, which Django calls at the response's end, however that came about."""

    def __init__(self, last_event_id: str | None) -> None:
        self._last_event_id = last_event_id
        self._events: AsyncStream | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await sync_to_async(_close_connections)()
        _release_thread()
        self._events = realtime.dashboard.async_stream(self._last_event_id)
        async for event in self._events:
            yield event

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


def _close_connections() -> None:
    """Close what session and user were read with: a page that stays open must not hold a database connection.

    Called when the body begins: middleware that comes after the view is through by then.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # as in a test, whose transaction is its own
            connection.close()


def _release_thread() -> None:
    """Let go of the thread that asgiref keeps for the request's synchronous parts until the response has ended."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor = None if context is None else SyncToAsync.context_to_thread_executor.pop(context, None)
    if executor is not None:
        executor.shutdown(wait=False)  # what is left to be done at the end gets a new one
