"""The feed in a Flask application: configuration, callbacks in an app context, commands, and a live page.

::

    realtime = Realtime()


    @realtime.on("new_anomaly")
    def page(event): ...  # in an application context


    def create_app():
        app = Flask(__name__)
        app.config["REALTIME_URL"] = "ws://localhost:8080/ws"
        realtime.init_app(app)
        return app

In a request, ``realtime.store`` and ``realtime.client`` are those of the current application.
"""

from __future__ import annotations

try:
    import flask  # noqa: F401 - only to say what is missing
except ImportError as error:
    raise ImportError("realtime_client.integrations.flask needs Flask: pip install 'realtime-client[flask]'") from error

from realtime_client.integrations.flask.extension import Realtime

__all__ = ["Realtime"]
