"""Primus as an ASGI application: `Primus`, alone, beside the routes of a framework, or mounted in one.

The host handles sockets, HTTP and WebSockets. Runs on asyncio and trio, as the host does. The law kept here: a task
belongs to the lifespan or to the call in which it was started.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, Unpack

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.http.model import owns
from primus_proto.options import ServerOptions

try:
    import anyio

    from ._asgi.call import Application, Call, Receive, Scope, Send, read_scope
    from ._asgi.exchange import HttpExchange, WebSocketExchange
    from ._asgi.runner import Runner
except ModuleNotFoundError as _error:
    if _error.name != "anyio":
        raise
    raise ImportError("primus_io.asgi needs anyio: python -m pip install 'primus-proto[asgi]'") from _error

from . import _common
from ._common import *  # noqa: F403
from ._emitter import log
from ._entry import check_handler, server_config
from ._functions import primus_doc
from ._layers import Authorize, Middleware, check_middleware
from ._server import Handler, Server, Spark
from ._target import ConnectTarget

__all__ = ["Primus", "Spark"]
__all__ += _common.__all__

NOT_RUNNING = (
    "this Primus is not running: pass its lifespan to the application around it, as in "
    "Starlette(lifespan=primus.lifespan), or run that application inside 'async with primus'"
)


STARTED_ALONE = (
    "%s is started by its first request: its host has no lifespan, or the application around it was not given "
    "primus.lifespan. It stops with the event loop, and then its clients reconnect. primus.close() ends it before."
)


class Alone:
    """Runs a server for as long as the event loop runs, or until it is closed, in a task of nobody's."""

    def __init__(self, primus: Primus) -> None:
        self._primus = primus
        self.started = anyio.Event()
        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
            self.task: object = asyncio.get_running_loop().create_task(self._run(), name="primus_io.asgi alone")
        else:
            import trio

            trio.lowlevel.spawn_system_task(self._run, name="primus_io.asgi alone")

    async def _run(self) -> None:
        log.warning(STARTED_ALONE, self._primus)
        try:
            async with self._primus:
                self.started.set()
                await self._primus.serve_forever()
        finally:
            self.started.set()


class Primus(Server):
    """A Primus server as an ASGI application: ``app = Primus(handler)``, then ``uvicorn module:app``

    It answers the requests under its `pathname`, below the `root_path` that the host or a mount gives it. Other
    requests go to the application `app`, or are answered 404 without one. The server runs for one lifespan: its own if
    it is the outermost application; that of a framework that was given ``lifespan=primus.lifespan``; or a block of
    ``async with primus:``. It may run again afterwards, and keeps its listeners.

    `handler` is an async function that gets each new spark. The spark ends when the handler returns. If it raises, the
    exception is logged and the client may reconnect. None: use ``primus.on("connection", ...)``. Invalid options raise
    ConfigError.

    It takes the options of `serve` without its address and TLS, and these two. ``help(Primus)`` lists all of them.

    Options, by keyword. Durations are seconds, not milliseconds as in JavaScript:
        app: Application for requests that are not under `pathname`. Default None: 404.
        compression: Has to be False: the server of this application compresses, or does not. Default False.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        app: Application | None = None,
        authorize: Authorize | None = None,
        middleware: Middleware = (),
        **options: Unpack[ServerOptions],
    ) -> None:
        for name in {"host", "port", "ssl", "unix"} & options.keys():
            raise pp.ConfigError(
                f"{name}= belongs to the server of this application, as in uvicorn.run(app, port=8080)"
            )
        self._config = server_config(authorize, options)
        if self._config.compression:
            raise pp.ConfigError(
                "the server of this application compresses, as in uvicorn.run(app, ws_per_message_deflate=True)"
            )
        self._app = app
        self._running = False
        self._managed = False  # something else than a request has started it, or tried to
        self._alone: Alone | None = None
        self._runner: Runner | None = None
        layers = check_middleware(middleware)
        super().__init__(self._endpoint_at(0.0), None if handler is None else check_handler(handler), authorize)
        for layer in layers:
            self._add_layer(layer)

    async def __aenter__(self) -> Self:
        if self._running:
            raise pp.LocalProtocolError("this Primus is running: it has one lifespan at a time")
        self._managed = True
        self._reset(self._endpoint_at(Runner.environment().wall_offset))
        self._runner = await Runner.begin(self._endpoint, self._deliver, ConnectTarget())
        self._running = True
        self._runner.schedule()  # not now, so that the user can first listen to `initialised`
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._close()
        finally:
            self._running = False
            await self._io.release()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """The lifespan, for frameworks that take one: ``Starlette(lifespan=primus.lifespan)``."""
        async with self:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application.

        If nothing has started the server, the first request does, for hosts without a lifespan. Raises
        LocalProtocolError after the server has stopped.
        """
        if scope["type"] == "lifespan":
            self._managed = True
            await self._live(scope, receive, send)
            return
        request = read_scope(scope)
        if self._app is not None and not owns(self._config.pathname, request.path):
            await self._app(scope, receive, send)
            return
        if not self._running and not (self._managed and self._alone is None):
            self._alone = self._alone or Alone(self)
            await self._alone.started.wait()
        if not self._running:
            raise pp.LocalProtocolError(NOT_RUNNING)
        runner = self._io
        call: Call
        if scope["type"] == "websocket":
            answers = "websocket.http.response" in (scope.get("extensions") or {})
            call = WebSocketExchange(runner, request, answers, receive, send)
        else:
            call = HttpExchange(runner, request, receive, send)
        await runner.run_call(call)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run inside the lifespan of `app`, so that its resources outlive the sessions."""
        sent: list[str] = []
        received: list[str] = []

        async def send_from_app(message: Any) -> None:
            sent.append(message["type"])
            if sent[-1] == "lifespan.startup.complete":
                await self.__aenter__()
            await send(message)

        async def receive_for_app() -> Any:
            try:
                message = await receive()
                received.append(message["type"])
                return message
            finally:
                if self._running:
                    await self.__aexit__(None, None, None)

        try:
            if self._app is not None:
                try:
                    await self._app(scope, receive_for_app, send_from_app)
                except Exception:
                    if sent:
                        raise
            if not sent:  # no application, or one without a lifespan
                if not received:
                    await receive_for_app()
                await send_from_app({"type": "lifespan.startup.complete"})
            if self._running:  # the application handles only the startup
                await receive_for_app()
                await send_from_app({"type": "lifespan.shutdown.complete"})
        finally:
            if self._running:
                await self.__aexit__(None, None, None)

    def _deliver(self, event: ev.Event) -> None:
        """Deliver an event in the context of its own call, whichever call pumps."""
        request: pp.Request | None = None
        if isinstance(event, ev.SparkEvent):
            request = event.spark.request
        elif isinstance(event, ev.RequestHeld):
            request = event.request
        elif isinstance(event, ev.Delivery):
            request = event.session.request
        if request is None or request.host_context is None:
            super()._deliver(event)
        else:
            request.host_context.run(super()._deliver, event)

    @property
    def _connect(self) -> Any:  # type: ignore[override]
        from .anyio import connect  # which knows the loop that is running

        return connect

    @property
    def _io(self) -> Runner:  # type: ignore[override]
        if self._runner is None:
            raise pp.LocalProtocolError(NOT_RUNNING)
        return self._runner

    def _schedule(self) -> None:
        if self._running:
            super()._schedule()

    def _endpoint_at(self, wall_offset: float) -> pp.ByteServer:
        return pp.ByteServer(self._config, rng=random.SystemRandom(), wall_offset=wall_offset)


Primus.__doc__ = primus_doc(Primus.__doc__)
