"""The hosts on ASGI servers: `primus_io.asgi` under uvicorn, in full, and hypercorn. The clients are asyncio's."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl as tls
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import hypercorn
import hypercorn.app_wrappers
import hypercorn.asyncio.run
import hypercorn.config
import trio
import uvicorn
from hypercorn.trio.run import worker_serve as worker_serve_trio

from primus_io._driver import unix_listener
from primus_io._target import socket_path
from primus_io.asgi import Primus
from tests.conformance.hosts import MACHINE_LACKS
from tests.conformance.hosts_asyncio import AsyncioHost, Timer
from tests.conformance.hosts_trio import TrioHost

__all__ = ["HypercornHost", "HypercornTrioHost", "UvicornHost", "UvicornWsprotoHost"]


# The coroutines of tasks that the servers have for themselves, and in which they do not call the application.
OWN = {
    *("Server._serve", "Server._wait_tasks_to_complete", "LifespanOn.main"),
    *("worker_serve", "Lifespan.handle_lifespan", "raise_shutdown"),
}


def listeners(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen, one for each address that the host's name has, on one port."""
    found: list[socket.socket] = []
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            listener = socket.socket(family, kind)
            found.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], found[0].getsockname()[1] if len(found) > 1 else port))
            listener.listen(1024)
    except OSError:
        for listener in found:
            listener.close()
        raise
    return found


class Mounted:
    """What `serve` is given, and an application made of it."""

    def __init__(
        self,
        handler: Any,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix: str | os.PathLike[str] | None = None,
        ssl: tls.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self.primus = Primus(handler, **options)
        self.host, self.port, self.ssl = host, port, ssl
        self.unix = socket_path(unix)
        self.remove: Callable[[], object] = lambda: None  # the file of a Unix socket

    def listen(self) -> list[socket.socket]:
        if self.unix:
            listener, self.remove = unix_listener(self.unix)
            return [listener]
        sockets = listeners(self.host, self.port)
        self.port = sockets[0].getsockname()[1]
        return sockets

    def tell(self, stop_listening: Callable[[], object]) -> Primus:
        """Have the application know where it is, as a server of our own does; it stops listening when it closes."""
        primus = self.primus
        primus._stop_listening = stop_listening
        primus.port = self.port
        name = f"[{self.host}]" if ":" in self.host else self.host
        place = "localhost" if self.unix else f"{name}:{primus.port}"
        primus.url = f"{'https' if self.ssl else 'http'}://{place}"
        return primus


class Serve(Mounted, ABC):
    """`serve`, as the scenarios know it: an application under a server, in the scenario's own loop."""

    task: asyncio.Task[None]

    async def __aenter__(self) -> Primus:
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.begin(self.listen())
        try:
            await self.up.wait()
        except asyncio.CancelledError:
            await self.end()
            raise
        return self.tell(self.stop_listening)

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.primus.close()
        finally:
            await self.end()

    @abstractmethod
    def begin(self, sockets: list[socket.socket]) -> None:
        """Start `task`, which sets `up` when it serves, and ends some time after `down`."""

    @abstractmethod
    def stop_listening(self) -> None:
        """Take no new connections, as a server that closes for good does."""

    async def end(self) -> None:
        self.down.set()
        await asyncio.wait([self.task])
        self.remove()
        self.task.result()


class Uvicorn(uvicorn.Server):
    """A server that is stopped by an event, so that nobody need wait for it to look."""

    def __init__(self, config: uvicorn.Config, up: asyncio.Event, down: asyncio.Event) -> None:
        super().__init__(config)
        self.up, self.down = up, down

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.down.wait()


class ServeUvicorn(Serve):
    ws: Any = "websockets-sansio"

    def begin(self, sockets: list[socket.socket]) -> None:
        secure = self.ssl
        config = uvicorn.Config(
            self.primus,
            ssl_context_factory=None if secure is None else lambda *_: secure,
            ws=self.ws,
            lifespan="on",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self.server = Uvicorn(config, self.up, self.down)
        self.task = asyncio.create_task(self.server._serve(sockets))

    def stop_listening(self) -> None:
        for server in self.server.servers:
            server.close()
        self.remove()

    async def end(self) -> None:
        await super().end()
        for connection in self.server.server_state.connections:  # of peers that do not read
            connection.transport.abort()


class ServeUvicornWsproto(ServeUvicorn):
    ws = "wsproto"


class Config(hypercorn.Config):
    """hypercorn's, with a TLS context in place of files."""

    context: tls.SSLContext | None = None
    ssl_enabled = property(lambda self: self.context is not None)

    def create_ssl_context(self) -> tls.SSLContext | None:
        return self.context


def for_hypercorn(serve: Mounted, sockets: list[socket.socket]) -> tuple[Any, Config, hypercorn.config.Sockets]:
    """What a worker of hypercorn's takes."""
    config = Config()
    config.context = serve.ssl
    config.graceful_timeout = 1
    config.errorlog = None
    given = hypercorn.config.Sockets(*((sockets, []) if serve.ssl else ([], sockets)), quic_sockets=[])
    return hypercorn.app_wrappers.ASGIWrapper(serve.primus), config, given  # type: ignore[arg-type]


class ServeHypercorn(Serve):
    def begin(self, sockets: list[socket.socket]) -> None:
        async def down() -> None:
            self.up.set()
            await self.down.wait()

        app, config, given = for_hypercorn(self, sockets)
        serving = hypercorn.asyncio.run.worker_serve(app, config, sockets=given, shutdown_trigger=down)
        self.task = asyncio.create_task(serving)

    def stop_listening(self) -> None:
        self.down.set()


class ServeHypercornTrio(Mounted):
    """The same with hypercorn's other worker."""

    async def __aenter__(self) -> Primus:
        self.down = trio.Event()
        app, config, given = for_hypercorn(self, self.listen())
        self.manager = trio.open_nursery()
        nursery = await self.manager.__aenter__()
        worker = functools.partial(worker_serve_trio, app, config, sockets=given, shutdown_trigger=self.down.wait)
        await nursery.start(worker)
        return self.tell(self.down.set)

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.primus.close()
        finally:
            self.down.set()
            await self.manager.__aexit__(None, None, None)


# What differs between the servers: each speaks ASGI in its own way, the rest is the same code.
SOME = frozenset({
    "test_a_broadcast_reaches_everyone",
    "test_a_client_that_is_slow_blocks_the_servers_send",
    "test_a_heartbeat_at_every_interval",
    "test_a_peer_that_does_not_ping_flatlines",
    "test_a_peer_that_never_answers_the_close",
    "test_a_peer_that_never_reads_is_cut_in_time",
    "test_a_refusal_tells_the_client_why",
    "test_a_server_that_is_slow_blocks_the_clients_send",
    "test_bursts_of_every_size",
    "test_clients_are_told_and_stay_away",
    "test_every_value_comes_back",
    "test_handlers_and_listeners",
    "test_large_messages",
    "test_the_server_ends",
    "test_the_server_ends_and_wants_the_client_back",
    "test_the_spec",
})  # fmt: skip


LACKS: Mapping[str, str] = {
    **MACHINE_LACKS,
    "early listeners": "the application has begun before the scenario gets hold of it",
    "clients": "the clients are those of asyncio or trio",
    "accepting": "the host accepts connections, and stops to",
    "handshake limits": "how long a request head or a TLS handshake may take is the host's affair",
    "wire": "HTTP and WebSocket are the host's affair",
    "fragments": "ASGI gives whole messages: what they were cut into is not to be seen",
    "reading": "the host reads",
}


class AsgiHost(AsyncioHost):
    """What all of them have in common."""

    lacks = LACKS

    def leftovers(self) -> list[str]:
        """Without the clockwork of a Primus that runs."""
        return [task for task in super().leftovers() if "name='primus_io.asgi clockwork'" not in task]

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return {task for task in super()._tasks() if task.get_coro().__qualname__ not in OWN}  # type: ignore[union-attr]

    def _timers(self) -> list[Timer]:
        return [timer for timer in super()._timers() if "uvicorn" not in repr(timer)]


class UvicornHost(AsgiHost):
    """uvicorn with the ``websockets`` library."""

    name = "uvicorn"
    serve = ServeUvicorn


class UvicornWsprotoHost(AsgiHost):
    """uvicorn with wsproto."""

    name = "uvicorn-wsproto"
    only = SOME
    serve = ServeUvicornWsproto


class HypercornHost(AsgiHost):
    """hypercorn's asyncio worker."""

    name = "hypercorn"
    # It cuts nobody without a close of its own.
    only = SOME - {"test_a_peer_that_never_reads_is_cut_in_time"}
    serve = ServeHypercorn


class HypercornTrioHost(TrioHost):
    """hypercorn's trio worker."""

    name = "hypercorn-trio"
    serve = ServeHypercornTrio
    lacks = LACKS
    # Nor does it let anybody cancel its sending.
    only = HypercornHost.only - {"test_a_peer_that_never_answers_the_close"}
