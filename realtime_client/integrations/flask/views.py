"""The addresses: the dashboard, its files and its stream; the feed's health and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, current_app, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as AnyResponse

from realtime_client.integrations.flask.settings import Settings
from realtime_client.integrations.watching import health_of
from realtime_client.web import FILE_HEADERS, FILES, PAGE_HEADERS, STREAM_HEADERS, from_elsewhere, page, static_file

if TYPE_CHECKING:
    from realtime_client.integrations.flask.extension import Realtime

__all__ = ["make_blueprint"]


def make_blueprint(settings: Settings, guard: Callable[[], ResponseReturnValue | bool | None] | None) -> Blueprint:
    """The addresses that the settings ask for.

    Args:
        settings: What the application's configuration says.
        guard: Says who may see the dashboard.
    """
    blueprint = Blueprint("realtime", __name__)

    def admit(*, to_page: bool) -> ResponseReturnValue | None:
        """Let whoever asks in, or give the answer instead."""
        if from_elsewhere(request.headers, request.host, page=to_page):
            abort(403, "asked for by another site")
        verdict = guard() if guard is not None else False
        if isinstance(verdict, bool) or verdict is None:
            return None if verdict else abort(403)
        if isinstance(verdict, AnyResponse | tuple):
            return verdict
        # The name of a user, for instance: true to whoever wrote the guard, and to Flask the text of a page.
        raise TypeError(f"guard: it returned a {type(verdict).__name__}; allowed: True, False or a response")

    def dashboard() -> ResponseReturnValue:
        if (answer := admit(to_page=True)) is not None:
            return answer
        urls = {name: url_for("realtime.file", name=name) for name in FILES}
        body = page(title=settings.title, stream_url=url_for("realtime.stream"), file_urls=urls)
        return Response(body, headers=dict(PAGE_HEADERS))

    def file(name: str) -> ResponseReturnValue:
        if name not in FILES:
            abort(404)
        found = static_file(name)
        answer = Response(found.body, content_type=found.media_type, headers=dict(FILE_HEADERS))
        answer.set_etag(found.etag.strip('"'))
        return answer.make_conditional(request)

    def stream() -> ResponseReturnValue:
        if (answer := admit(to_page=False)) is not None:
            return answer
        last_event_id = request.headers.get("Last-Event-ID") or request.args.get("last_event_id")
        # Nothing of the request is needed from here on: the body is read after its context is gone.
        brief = not request.environ.get("wsgi.multithread", True)
        body = _extension().dashboard.stream(last_event_id, brief=brief)
        return Response(body, headers=dict(STREAM_HEADERS))

    def health() -> ResponseReturnValue:
        said, status = health_of(_extension().client)
        return jsonify(said), status, {"Cache-Control": "no-store"}

    def metrics() -> ResponseReturnValue:
        body, media_type = _extension().collector.exposition(request.headers.get("Accept", ""))
        return Response(body, content_type=media_type, headers={"Cache-Control": "no-store"})

    if settings.dashboard:
        blueprint.add_url_rule("/", "dashboard", dashboard)
        blueprint.add_url_rule("/files/<name>", "file", file)
        blueprint.add_url_rule("/stream", "stream", stream)
    if settings.health:
        blueprint.add_url_rule("/health", "health", health)
    if settings.metrics:
        blueprint.add_url_rule("/metrics", "metrics", metrics)
    return blueprint


def _extension() -> Realtime:
    extension: Realtime = current_app.extensions["realtime_client"].extension
    return extension
