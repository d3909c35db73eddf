"""The stream behind nginx, with an ordinary ``proxy_pass`` and compression on: nothing is held back."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.django.site import Served, Visitor, free_port, serve, wait_until
from tests.outages.processes import see_at_once

CONFIGURATION = """
daemon off;
error_log stderr notice;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {site};
            proxy_set_header Host $host:$server_port;
        }}
    }}
}}
"""
SERVERS = {
    "uvicorn": ("uvicorn", "project.asgi:application", "--port", "0", "--timeout-graceful-shutdown", "5"),
    "gthread": ("gunicorn", "project.wsgi", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "8"),
}


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest, env: dict[str, str]) -> Iterator[Served]:
    with serve(sys.executable, "-m", *SERVERS[request.param], env=env) as served:
        yield served


def test_events_come_at_once(site: Served, env: dict[str, str], server: FakeServer, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert nginx is not None, "the tests need nginx: apt install nginx-light"
    port = free_port()
    path = tmp_path / "nginx.conf"
    path.write_text(CONFIGURATION.format(folder=tmp_path, port=port, site=site.url))
    with serve(nginx, "-c", str(path), "-p", str(tmp_path), env={}, listening=r"start worker process (\d+)"):
        visitor = Visitor(f"http://127.0.0.1:{port}")
        wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
        visitor.log_in()
        with visitor.stream() as page:
            page.connected()
            assert page.answer.headers["Content-Encoding"] in (None, "identity")

            def attempt() -> float:
                number = time.monotonic_ns()
                began = time.monotonic()
                server.send(anomaly(number))
                page.log(f"log-{number}")
                return time.monotonic() - began

            see_at_once(attempt, 1.0)
