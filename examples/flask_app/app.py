"""A Flask application with a feed: a page of its own, callbacks, and the live page behind a login.

    flask run                                                     for development
    gunicorn app:app -k gthread --threads 64 --config python:realtime_client.integrations.gunicorn

Settings come from the environment: FLASK_REALTIME_URL and every other REALTIME_ option, FLASK_SECRET_KEY,
FLASK_PASSWORD.
"""

import hmac
from collections import deque

from flask import Flask, current_app, redirect, render_template, request, session, url_for

from realtime_client.integrations.flask import Realtime


def guard():
    """Who may see the live page: whoever is signed in; others are sent to the login."""
    return True if session.get("signed_in") else redirect(url_for("login"))


realtime = Realtime(guard=guard)
severe = deque(maxlen=20)


@realtime.on("new_anomaly")
def keep(event):
    """Runs on the client's thread, in an application context."""
    if event.log.anomaly_score >= 0.8:
        severe.appendleft(event.log)


@realtime.on_connection_change
def tell(connected):
    current_app.logger.info("the feed is %s", "there" if connected else "lost")


def create_app():
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY="an example has no secrets, and only listens to this machine",
        PASSWORD="demo",
        SESSION_COOKIE_SAMESITE="Lax",
        REALTIME_URL="ws://localhost:8080/ws",
        REALTIME_DASHBOARD=True,
        REALTIME_HEALTH=True,
    )
    app.config.from_prefixed_env()
    realtime.init_app(app)

    @app.get("/")
    def index():
        return render_template("index.html", store=realtime.store, status=realtime.client.status, severe=severe)

    @app.route("/login", methods=["GET", "POST"])
    def login():
        wrong = False
        if request.method == "POST":
            wrong = not hmac.compare_digest(request.form["password"].encode(), str(app.config["PASSWORD"]).encode())
            if not wrong:
                session["signed_in"] = True
                return redirect(url_for("realtime.dashboard"))
        return render_template("login.html", wrong=wrong), 403 if wrong else 200

    @app.post("/logout")
    def logout():
        session.clear()
        return redirect(url_for("index"))

    return app


app = create_app()
