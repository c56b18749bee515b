"""Primus in an ASGI application: `Primus`, by itself, beside the routes of a framework, or mounted in one.

There is no protocol here, and no socket: HTTP and WebSockets are the host's. Runs on asyncio and on trio, whichever the
host uses. The law kept here: what is started belongs to the lifespan, or to the call, that it was started in.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, Unpack

import primus_proto as pp
from primus_proto.http.model import owns
from primus_proto.options import ServerOptions

try:
    from ._asgi.call import Application, Call, Receive, Scope, Send, read_scope
    from ._asgi.exchange import HttpExchange, WebSocketExchange
    from ._asgi.runner import Runner
except ModuleNotFoundError as _error:
    if _error.name != "anyio":
        raise
    raise ImportError("primus_io.asgi needs anyio: python -m pip install 'primus-proto[asgi]'") from _error

from . import _common
from ._common import *  # noqa: F403
from ._driver import ConnectTarget
from ._entry import check_handler, server_config
from ._server import Authorize, Handler, Server, Spark

__all__ = ["Primus", "Spark"]
__all__ += _common.__all__

NOT_RUNNING = (
    "this Primus is not running: give its lifespan to the application that it is part of, as in "
    "Starlette(lifespan=primus.lifespan), or have that application run inside 'async with primus'"
)


class Primus(Server):
    """A Primus server as an ASGI application: ``app = Primus(handler)``, then ``uvicorn module:app``

    It answers the requests under its `pathname`, below the `root_path` that the host or a mount gives it. Other
    requests go to the application `app`, or are answered 404 without one. The server runs for one lifespan: its own if
    it is the outermost application; that of a framework that was given ``lifespan=primus.lifespan``; or a block of
    ``async with primus:``. It may run again afterwards, and keeps its listeners.

    `handler` is an async function that gets each new spark. The spark ends when the handler returns. If it raises, the
    exception is logged and the client may reconnect. None: use ``primus.on("connection", ...)``. Invalid options raise
    ConfigError.

    Options, by keyword. Durations are seconds:
        app: Application for requests that are not under `pathname`. Default None: 404.
        authorize: Function that gets each `Request` for a session. It lets the request in unless it raises
            `Refused` or returns False. Default None: every request is let in.
        pathname: Path that Primus owns on this server. Default "/primus".
        parser: Name of a parser, or a `Parser`. The clients must use the same. Default "json".
        transformer: Name of the transport. The clients must use the same. Default "websockets".
        transport: Options of that transport. "websockets" has none. Default {}.
        allow_skipped_heartbeats: Number of heartbeats in a row that a spark may miss; at least 2. For dialect
            "happn". Default 2.
        dialect: "happn", "primus6" or "primus" (7 and later) says who sends the heartbeats. Default "auto":
            whatever each client does.
        timeout: Seconds without a message after which a spark is ended. False or 0: never. For dialect
            "primus6". Default 35.
        ping_interval: Seconds between the server's pings. False or 0: no pings. For dialect "primus". Default
            30.
        detect_after: Seconds without a ping after which a client counts as dialect "primus". Only in dialect
            "auto". Default 35.
        pong_skip_time: Seconds in which several pings of one spark get one pong together. For dialect
            "happn". Default 1.
        authorization: Which requests `authorize` gets. True: those for a new session. "all": every request under
            the pathname. Default: True with `authorize`, otherwise False.
        trusted_proxies: Addresses or networks of proxies whose ``X-Forwarded-For`` is believed. Default ().
        limits: Bounds on sizes (bytes), durations (seconds) and counts. Default Limits().
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        app: Application | None = None,
        authorize: Authorize | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        for name in {"host", "port", "ssl", "unix"} & options.keys():
            raise pp.ConfigError(f"{name}= is for what serves this application, as in uvicorn.run(app, port=8080)")
        self._config = server_config(authorize, options)
        self._app = app
        self._running = False
        self._runner: Runner | None = None
        super().__init__(self._endpoint_at(0.0), None if handler is None else check_handler(handler), authorize)

    async def __aenter__(self) -> Self:
        if self._running:
            raise pp.LocalProtocolError("this Primus is running: it has one lifespan at a time")
        self._reset(self._endpoint_at(Runner.environment().wall_offset))
        self._runner = await Runner.begin(self._endpoint, self._deliver, ConnectTarget())
        self._running = True
        self._runner.schedule()  # not at once: `initialised` should find the listeners of whoever enters
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
        """The lifespan, in the form in which frameworks take one: ``Starlette(lifespan=primus.lifespan)``."""
        async with self:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application. Raises LocalProtocolError while it is not running."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        request = read_scope(scope)
        if self._app is not None and not owns(self._config.pathname, request.path):
            await self._app(scope, receive, send)
            return
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
        """Run inside the lifespan of `app`, so that what it provides is there before the first and after the last."""
        said: list[str] = []
        heard: list[str] = []

        async def send_from_app(message: Any) -> None:
            said.append(message["type"])
            if said[-1] == "lifespan.startup.complete":
                await self.__aenter__()
            await send(message)

        async def receive_for_app() -> Any:
            try:
                message = await receive()
                heard.append(message["type"])
                return message
            finally:
                if self._running:
                    await self.__aexit__(None, None, None)

        try:
            if self._app is not None:
                try:
                    await self._app(scope, receive_for_app, send_from_app)
                except Exception:
                    if said:
                        raise
            if not said:  # there is no application, or it knows no lifespan
                if not heard:
                    await receive_for_app()
                await send_from_app({"type": "lifespan.startup.complete"})
            if self._running:  # it knows only the beginning
                await receive_for_app()
                await send_from_app({"type": "lifespan.shutdown.complete"})
        finally:
            if self._running:
                await self.__aexit__(None, None, None)

    @property
    def _io(self) -> Runner:  # type: ignore[override]
        if self._runner is None:
            raise pp.LocalProtocolError(NOT_RUNNING)
        return self._runner

    def _endpoint_at(self, wall_offset: float) -> pp.ByteServer:
        return pp.ByteServer(self._config, rng=random.SystemRandom(), wall_offset=wall_offset)
