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
except ModuleNotFoundError as error:
    if error.name != "anyio":
        raise
    raise ImportError("primus_io.asgi needs anyio: python -m pip install 'primus-proto[asgi]'") from error

from ._driver import ConnectTarget
from ._entry import check_handler, server_config
from ._server import Authorize, Handler, Server, Spark

__all__ = ["Primus", "Spark"]

NOT_RUNNING = (
    "this Primus is not running: give its lifespan to the application that it is part of, as in "
    "Starlette(lifespan=primus.lifespan), or have that application run inside 'async with primus'"
)


class Primus(Server):
    """A Primus server as an ASGI application: ``app = Primus(handler)``, and then ``uvicorn module:app``

    It answers what is under its `pathname`, after the `root_path` that the host or a mount gives it. All else goes to
    the application `app` or, without one, is answered 404. It runs for as long as the lifespan does: its own, where it
    is the outermost application; that of a framework, which is given ``lifespan=primus.lifespan``; or a block of
    ``async with primus:``. Afterwards it may run again, and keeps its listeners.

    `handler` and `authorize` are those of `serve`; the other options are `primus_proto.ServerConfig`'s. Raises
    ConfigError for options that cannot be.
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
            await self.close()
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
