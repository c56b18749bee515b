"""What users of a binding that awaits hold: `_facade`'s objects, with what waits as coroutine functions."""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Unpack

import primus_proto as pp
from primus_proto.options import ClientOptions

from ._driver import Driver
from ._entry import Asking, Connecting, Serving
from ._facade import ClientFacade, ServerFacade, SparkFacade
from ._session import Session

__all__ = ["AsyncClient", "AsyncServer", "AsyncSpark", "Connect", "Handler", "Serve", "accept_handler", "spec_fetcher"]

Handler = Callable[["AsyncSpark"], Awaitable[object]]


class FetchSpec(Protocol):
    """The type of `fetch_spec`."""

    async def __call__(
        self,
        url: str,
        *,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> dict[str, Any]: ...


class AsyncSession(Session):
    """What a spark and a client wait for."""

    async def send(self, data: Any) -> bool:
        """`write`, and then wait until there is room for more."""
        return await self._send(data)

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room()

    async def receive(self) -> Any:
        """The next value; iteration without a loop. Raises ConnectionLost when there will be no more."""
        return await self._receive()

    def __aiter__(self) -> AsyncIterator[Any]:
        self._iterating = True
        return self

    async def __anext__(self) -> Any:
        event = await self._take()
        if event is None:
            raise StopAsyncIteration
        return event.data

    async def wait_ended(self) -> None:
        """Wait for the `end` event."""
        await self._wait_ended()


class AsyncSpark(AsyncSession, SparkFacade):
    """A spark, as a handler or a `connection` listener gets it."""

    @property
    def server(self) -> AsyncServer:
        """The server it is a spark of."""
        assert isinstance(self._server, AsyncServer)
        return self._server


class AsyncClient(AsyncSession, ClientFacade):
    """A client, as `connect` gives it."""

    async def id(self) -> str:
        """Ask the server for the id of this connection's spark; waits for a connection if there is none.

        Raises ConnectionLost when the client ends before there was an answer.
        """
        return await self._ask_id()


class AsyncServer(ServerFacade[AsyncSpark]):
    """A server, as `serve` gives it."""

    _SPARK = AsyncSpark

    async def serve_forever(self) -> None:
        """Serve until the server is closed, or this is cancelled."""
        await self._wait_closed()

    async def close(self, data: Any = pp.NOTHING, *, reconnect: bool = False, timeout: float = 0.0) -> None:
        """Stop listening and end all sparks, after `timeout` seconds if given; wait until all is closed.

        `data` is sent to each spark as it ends; `reconnect` tells the clients to come back. Handlers that have not
        returned some seconds (`Limits.close`) after their spark ended are cancelled.
        """
        await self._close(data, reconnect, timeout)


def accept_handler(handler: object) -> Handler:
    """The handler, if it can be one; ConfigError otherwise."""
    call = getattr(handler, "__call__", None)  # noqa: B004  # an object with an async __call__ is a handler too
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call):
        return handler  # type: ignore[return-value]
    raise pp.ConfigError(
        "the handler must be an async function taking a spark; for a plain function use "
        "serve(None, ...) and server.on('connection', function)"
    )


class Connect(Connecting[AsyncClient]):
    """Connect to a Primus server: ``async with connect("http://localhost:8080") as primus: ...``

    Entering waits for the first `open`, and raises ConnectError once the strategy gives up; `wait=False` enters at
    once, and what is written is kept until the connection is open. Leaving calls `end`, and raises again what a
    listener raised. `ssl` is the TLS context for ``https``; `unix` the path of a Unix socket to connect to, whatever
    host the URL names. The other options are those of `primus_proto.ClientConfig`. Raises ConfigError for options that
    cannot be.
    """

    CLIENT = AsyncClient

    async def __aenter__(self) -> AsyncClient:
        await self._begin()
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit(error)


class Serve(Serving[AsyncServer, Handler]):
    """Serve Primus: ``async with serve(handler, "127.0.0.1", 8080) as server: await server.serve_forever()``

    `handler` is an async function that is given each new spark; when it returns the spark is ended, and when it raises,
    that is logged and the client may reconnect. None: use ``server.on("connection", ...)``. `authorize` is a function,
    async or not, that is given each request that wants a session, and lets it in unless it raises `Refused` or returns
    False. `port` 0 picks one; `unix` is the path of a Unix socket to listen on instead. `ssl` is a TLS context; the
    other options are those of `primus_proto.ServerConfig`. Raises ConfigError for options that cannot be, OSError where
    it cannot listen.
    """

    SERVER = AsyncServer

    def _accepts(self, handler: object) -> Handler:
        return accept_handler(handler)

    async def __aenter__(self) -> AsyncServer:
        await self._begin()
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit()


def spec_fetcher(driver: Callable[[], type[Driver]]) -> FetchSpec:
    """A binding's `fetch_spec`; `driver` is asked in each call."""

    async def fetch_spec(
        url: str,
        *,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> dict[str, Any]:
        """Ask a server what it is: the JSON object of ``<pathname>/spec``. Options are `primus_proto.ClientConfig`'s.

        Raises ConnectError where there is no answer, or one that is no spec; ConfigError for options that cannot be.
        """
        asking = Asking(driver(), url, ssl, unix, options)
        await asking._begin()
        return await asking._answer()

    return fetch_spec
