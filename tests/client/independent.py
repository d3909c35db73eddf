"""Servers of other people's making, each on an event loop in a thread of its own.

The threaded server of websockets is none of them: it reads and writes one TLS connection on two threads at once, which
CPython before 3.13 does not survive for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from tests.client.recording import PATIENCE


@contextlib.contextmanager
def websockets_server(
    serve_one: Callable[[ServerConnection], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """The server of websockets; gives its port."""

    @contextlib.asynccontextmanager
    async def served() -> AsyncIterator[int]:
        async with serve(serve_one, host, 0, ssl=tls, ping_interval=None) as server:
            yield next(iter(server.sockets)).getsockname()[1]

    with _on_a_loop("websockets-server", served()) as port:
        yield port


@contextlib.contextmanager
def aiohttp_server(
    serve_one: Callable[[web.Request], Awaitable[web.StreamResponse]], *, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The server of aiohttp; serves ``/ws`` and gives its port."""

    @contextlib.asynccontextmanager
    async def served() -> AsyncIterator[int]:
        application = web.Application()
        application.router.add_get("/ws", serve_one)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
        await runner.cleanup()

    with _on_a_loop("aiohttp-server", served()) as port:
        yield port


@contextlib.contextmanager
def _on_a_loop(name: str, served: AbstractAsyncContextManager[int]) -> Iterator[int]:
    ports: list[int] = []
    listening, over = threading.Event(), threading.Event()

    async def live() -> None:
        async with served as port:
            ports.append(port)
            listening.set()
            await asyncio.get_running_loop().run_in_executor(None, over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()), name=name)
    thread.start()
    try:
        assert listening.wait(PATIENCE)
        yield ports[0]
    finally:
        over.set()
        thread.join(PATIENCE)
