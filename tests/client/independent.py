"""Servers of other people's making, on threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web
from websockets.sync.server import ServerConnection, serve

from tests.client.recording import PATIENCE


@contextlib.contextmanager
def websockets_server(
    serve_one: Callable[[ServerConnection], None], *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The threaded server of websockets; gives its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with serve(serve_one, host, 0, ssl=tls, ping_interval=None, family=family) as server:
        thread = threading.Thread(target=server.serve_forever, name="websockets-server")
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(PATIENCE)
    del server, thread
    gc.collect()  # it leaves its selector in a cycle, and descriptors are counted


@contextlib.contextmanager
def aiohttp_server(
    serve_one: Callable[[web.Request], Awaitable[web.StreamResponse]], *, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The server of aiohttp on an event loop in a thread; serves ``/ws`` and gives its port."""
    ports: list[int] = []
    listening, over = threading.Event(), threading.Event()

    async def live() -> None:
        application = web.Application()
        application.router.add_get("/ws", serve_one)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        ports.append(runner.addresses[0][1])
        listening.set()
        await asyncio.get_running_loop().run_in_executor(None, over.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="aiohttp-server")
    thread.start()
    try:
        assert listening.wait(PATIENCE)
        yield ports[0]
    finally:
        over.set()
        thread.join(PATIENCE)
