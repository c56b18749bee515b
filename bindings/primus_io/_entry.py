"""`connect`, `serve` and `fetch_spec` of every binding that awaits. A binding adds its `Driver`."""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Protocol, Unpack

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.options import ClientOptions, ServerOptions

from ._client import Client
from ._driver import ConnectTarget, Driver, ListenAddress
from ._server import Authorize, Handler, Server

__all__ = [
    "Connect",
    "ConnectBase",
    "FetchSpec",
    "Serve",
    "ServeBase",
    "check_handler",
    "make_fetch_spec",
    "refuse_async",
    "server_config",
    "socket_path",
]


def connect_error(reason: pp.CloseReason) -> pp.ConnectError:
    """The exception for a client that gave up before it was ever open; its cause is the last thing that failed."""
    last = reason.error
    text = {"retries": "gave up reconnecting", "timeout": "gave up"}.get(reason.kind, "could not connect")
    if isinstance(last, pp.ConnectError):
        error = pp.ConnectError(f"{text}: {last}", status=last.status, headers=last.headers, body=last.body)
    else:
        error = pp.ConnectError(f"{text}: {last or reason}")
    error.__cause__ = last
    return error


def server_config(authorize: Authorize | None, options: ServerOptions) -> pp.ServerConfig:
    """The options of a server, as a user gives them. Raises ConfigError for those that cannot be."""
    if authorize is not None and not callable(authorize):
        raise pp.ConfigError(f"authorize must be a function taking a Request; got {authorize!r}")
    given: ServerOptions = {"authorization": authorize is not None, **options}
    config = pp.ServerConfig(**given)
    if bool(config.authorization) != (authorize is not None):
        raise pp.ConfigError(
            "authorize= is the function that decides, authorization= says for which requests (True or 'all'): "
            "give both, or authorize= alone"
        )
    return config


def socket_path(unix: str | os.PathLike[str] | None) -> str | None:
    """The path of a Unix socket, as a user gives it. Raises ConfigError where it is none."""
    if unix is None:
        return None
    path = os.fspath(unix)
    if not path:
        raise pp.ConfigError("unix is empty: give the path of a Unix socket, or leave it out to use host and port")
    return path


def is_async(function: object) -> bool:
    """Whether it is an async function, or an object that is called like one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def check_handler(handler: object) -> Handler:
    """The handler, if it can be one; ConfigError otherwise."""
    if is_async(handler):
        return handler  # type: ignore[return-value]
    raise pp.ConfigError(
        "the handler must be an async function taking a spark; for a plain function use "
        "serve(None, ...) and server.on('connection', function)"
    )


def refuse_async(function: object, what: str) -> None:
    """Raise ConfigError for an async function where a thread is to call it."""
    if is_async(function):
        name = getattr(function, "__qualname__", repr(function))
        raise pp.ConfigError(
            f"{what} must be a plain function, not the async function {name}: primus_io.threads calls it in a thread; "
            "write it without async and await, or use primus_io.asyncio"
        )


class SingleEntry:
    """What can be entered, and again once it has been left."""

    _inside = False

    def _check_not_entered(self) -> None:
        if self._inside:  # it would be left twice, and what it was entered for first never
            raise pp.LocalProtocolError("this block has been entered and not left: make another one for a second entry")


class ConnectBase(SingleEntry):
    """What every `connect` does."""

    DRIVER: ClassVar[type[Driver]]
    CLIENT: ClassVar[type[Client]] = Client

    def __init__(
        self,
        url: str,
        *,
        wait: bool | float = True,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._config = pp.ClientConfig(url=url, **options)
        given: object = wait
        if not isinstance(given, int | float) or not (given > 0 or given is False):
            raise pp.ConfigError(f"wait must be True, False or a number of seconds greater than 0; got {wait!r}")
        self._wait = False if self._config.manual else wait
        self._target = ConnectTarget(ssl, socket_path(unix))

    def _driver(self) -> type[Driver]:
        return self.DRIVER

    async def _begin(self) -> None:
        driver = self._driver()
        self._check_not_entered()
        environment = driver.environment()
        endpoint = pp.ByteClient(self._config, rng=environment.new_rng(), wall_offset=environment.wall_offset)
        self._client = self.CLIENT(endpoint.client)
        self._io = self._client._io = await driver.begin(endpoint, self._client._deliver, self._target)
        self._inside = True

    async def _enter(self) -> Client:
        await self._begin()
        client = self._client
        self._io.pump()
        if self._wait is False:
            return client
        try:
            if self._wait is True:
                await self._until_open()
            else:
                await self._io.within(self._wait, self._until_open)
            if client._opens == 0:
                if not client._ended:
                    raise TimeoutError(f"not open within {self._wait:g} seconds")
                assert client.close_reason is not None
                raise connect_error(client.close_reason)
        except BaseException:
            await self._leave()
            raise
        return client

    async def _until_open(self) -> None:
        await self._client._until(lambda: self._client._opens > 0 or self._client._ended)

    async def _exit(self, error: BaseException | None) -> None:
        await self._leave()
        if self._client.failure is not None and error is None:
            raise self._client.failure

    async def _leave(self) -> None:
        self._client._leaving = True
        self._client._core.end()
        self._io.pump()
        try:
            await self._io.close(self._config.limits.close + 1)
        finally:
            self._client._left = True
            self._inside = False
            await self._io.release()


class Connect(ConnectBase):
    """Connect to a Primus server: ``async with connect("http://localhost:8080") as primus: ...``

    Entering waits for the first `open`, and raises ConnectError once the strategy gives up. With a number of seconds
    as `wait` it raises TimeoutError after those; `wait=False` enters at once, and what is written is kept until the
    connection is open. Leaving calls `end`, and raises again what a listener raised. `ssl` is the TLS context for
    ``https``; `unix` the path of a Unix socket to connect to, whatever host the URL names. The other options are those
    of `primus_proto.ClientConfig`. Raises ConfigError for options that cannot be.
    """

    async def __aenter__(self) -> Client:
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit(error)


class ServeBase(SingleEntry):
    """What every `serve` does."""

    DRIVER: ClassVar[type[Driver]]
    SERVER: ClassVar[type[Server]] = Server

    def __init__(
        self,
        handler: Handler | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix: str | os.PathLike[str] | None = None,
        ssl: ssl.SSLContext | None = None,
        authorize: Authorize | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        self._handler = None if handler is None else check_handler(handler)
        self._config = server_config(authorize, options)
        self._authorize = authorize
        self._address = ListenAddress(host, port, socket_path(unix), ssl)

    def _driver(self) -> type[Driver]:
        return self.DRIVER

    async def _begin(self) -> None:
        driver = self._driver()
        self._check_not_entered()
        environment = driver.environment()
        endpoint = pp.ByteServer(self._config, rng=environment.new_rng(), wall_offset=environment.wall_offset)
        self._server = self.SERVER(endpoint, self._handler, self._authorize)
        self._io = self._server._io = await driver.begin(endpoint, self._server._deliver, ConnectTarget())
        self._inside = True

    async def _enter(self) -> Server:
        await self._begin()
        server, address = self._server, self._address
        try:
            server.port, server._stop_listening = await self._io.listen(address)
        except BaseException:
            try:
                await self._io.close(0)
            finally:
                await self._release()
            raise
        server.url = address.url(server.port)
        self._io.schedule()  # not at once: `initialised` should find the listeners of whoever enters
        return server

    async def _exit(self) -> None:
        try:
            await self._server.close()
        finally:
            await self._release()

    async def _release(self) -> None:
        self._inside = False
        await self._io.release()


class Serve(ServeBase):
    """Serve Primus: ``async with serve(handler, "127.0.0.1", 8080) as server: await server.serve_forever()``

    `handler` is an async function that is given each new spark; when it returns the spark is ended, and when it raises,
    that is logged and the client may reconnect. None: use ``server.on("connection", ...)``. `authorize` is a function,
    async or not, that is given each request that wants a session, and lets it in unless it raises `Refused` or returns
    False. `port` 0 picks one; `unix` is the path of a Unix socket to listen on instead. `ssl` is a TLS context; the
    other options are those of `primus_proto.ServerConfig`. Raises ConfigError for options that cannot be, OSError where
    it cannot listen.
    """

    async def __aenter__(self) -> Server:
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit()


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


def make_fetch_spec(find_driver: Callable[[], type[Driver]]) -> FetchSpec:
    """Make a binding's `fetch_spec`. Each call asks for the driver anew."""

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
        driver = find_driver()
        query = pp.SpecQuery(pp.ClientConfig(url=url, **options), rng=driver.environment().new_rng())
        answers: list[ev.Event] = []

        def deliver(event: ev.Event) -> None:
            answers.append(event)
            answered.set()

        io = await driver.begin(query, deliver, ConnectTarget(ssl, socket_path(unix)))
        answered = io.event()
        try:
            io.pump()
            await answered.wait()
        finally:
            try:
                await io.close(0)  # the answer has been read, or nobody wants it any longer
            finally:
                await io.release()
        answer = answers[0]
        if isinstance(answer, ev.SpecReceived):
            return answer.spec
        assert isinstance(answer, ev.ErrorOccurred)
        raise answer.error

    return fetch_spec
