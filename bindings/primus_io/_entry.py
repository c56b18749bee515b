"""`connect`, `serve` and `fetch_spec`. Each binding adds its `Driver`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar

import primus_proto as pp
from primus_proto.limits import check_seconds
from primus_proto.options import ClientOptions, ServerOptions, URLSource

from ._advice import running_environment, unknown_option
from ._client import Client, ClientBase, connect_error
from ._driver import Driver, ListenAddress
from ._layers import Authorize, Middleware, check_middleware, is_async
from ._server import Handler, Server, ServerBase
from ._target import ConnectTarget
from ._tls import Redirect

__all__ = [
    "Connect",
    "ConnectBase",
    "Serve",
    "ServeBase",
    "check_handler",
    "check_plain",
    "client_config",
    "server_config",
]

C = TypeVar("C", bound=ClientBase)
V = TypeVar("V", bound=ServerBase[Any])
H = TypeVar("H")
A = TypeVar("A")

HANDLER = "the handler"
K = TypeVar("K", bound=type)


def _check_names(config: type, options: Mapping[str, object]) -> None:
    known = [field.name for field in dataclasses.fields(config) if field.init]
    for name in options:
        if name not in known:
            raise unknown_option(name, known)


def client_config(url: URLSource, options: ClientOptions) -> pp.ClientConfig:
    """Check the options of a client. Raises ConfigError for invalid ones."""
    _check_names(pp.ClientConfig, options)
    return pp.ClientConfig(url=url, **options)


def server_config(authorize: object, options: ServerOptions) -> pp.ServerConfig:
    """Check the options of a server. Raises ConfigError for invalid ones."""
    if authorize is not None and not callable(authorize):
        raise pp.ConfigError(f"authorize must be a function taking a Request; got {authorize!r}")
    _check_names(pp.ServerConfig, options)
    given: ServerOptions = {"authorization": authorize is not None, **options}
    config = pp.ServerConfig(**given)
    if bool(config.authorization) != (authorize is not None):
        raise pp.ConfigError(
            "authorize= is the function that decides, authorization= says for which requests (True or 'all'): "
            "give both, or authorize= alone"
        )
    return config


def check_handler(handler: object) -> Handler:
    """Return the handler. Raises ConfigError unless it is an async function."""
    if is_async(handler):
        return handler  # type: ignore[return-value]
    raise pp.ConfigError(
        "the handler must be an async function taking a spark; for a plain function use "
        "serve(None, ...) and server.on('connection', function)"
    )


def check_plain(function: object, what: str) -> None:
    """Raise ConfigError unless this is a plain function. `what` names it in the message."""
    if is_async(function):
        name = getattr(function, "__qualname__", repr(function))
        raise pp.ConfigError(
            f"{what} must be a plain function, not the async function {name}: primus_io.threads calls it in a thread; "
            "write it without async and await, or use primus_io.asyncio"
        )
    if not callable(function):
        raise pp.ConfigError(f"{what} must be a plain function; got {function!r}")


class SingleEntry:
    """A context manager that may be entered again only after it was left."""

    CALL: ClassVar[str]
    """How it is entered."""
    _inside = False

    if not TYPE_CHECKING:  # a type checker finds these mistakes by itself

        def __getattr__(self, name: str) -> NoReturn:
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                text += f": enter it first, as in `{self.CALL}`"
            raise AttributeError(text, name=name, obj=self)

        def __await__(self) -> NoReturn:
            self._misused()

    def _misused(self, *_: object) -> NoReturn:
        raise pp.LocalProtocolError(f"this is not how to enter it: write `{self.CALL}`")

    def _check_not_entered(self) -> None:
        if self._inside:
            raise pp.LocalProtocolError("this block has been entered and not left: make another one for a second entry")

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Count as entered from the beginning on: another task may try to enter meanwhile."""
        self._inside = True
        try:
            yield
        except BaseException:
            self._inside = False
            raise


class ConnectBase(SingleEntry, Generic[C]):
    """What the `connect` of all bindings share."""

    CLIENT: Callable[[pp.Client], C]
    WAIT_FOR_LISTENERS: ClassVar[bool] = False
    """Whether leaving waits for listeners that still run."""

    def __init__(
        self,
        find_driver: Callable[[], type[Driver]],
        url: URLSource,
        wait: bool | float,
        target: ConnectTarget,
        options: ClientOptions,
    ) -> None:
        self._find_driver = find_driver
        if target.sock is not None:  # one socket is one connection
            options = {"strategy": False, **options}
        self._config = client_config(url, options)
        for name, function in self._config.functions.items():
            self._check_option(name, function)
        if target.sock is not None and self._config.strategies:
            raise pp.ConfigError("sock is good for one connection: leave out strategy=, or give strategy=False")
        given: object = wait
        if not isinstance(given, int | float) or not (given > 0 or given is False):
            raise pp.ConfigError(f"wait must be True, False or a number of seconds greater than 0; got {wait!r}")
        if wait is not True and wait is not False:
            check_seconds("wait", wait)
        self._wait = False if self._config.manual else wait
        self._target = target

    def _check_option(self, name: str, function: object) -> None:
        """Check a function among the options. Raises ConfigError."""

    async def _begin(self) -> None:
        driver = self._find_driver()
        self._check_not_entered()
        environment = running_environment(driver.__module__, driver.environment)
        endpoint = pp.ByteClient(self._config, rng=environment.new_rng(), wall_offset=environment.wall_offset)
        self._client = endpoint.client.context = self.CLIENT(endpoint.client)
        with self._entered():
            self._io = self._client._io = await driver.begin(endpoint, self._client._deliver, self._target)

    async def _enter(self) -> C:
        await self._begin()
        client = self._client
        client._entering = self._wait is not False
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
        finally:
            client._entering = False
        return client

    async def _until_open(self) -> None:
        await self._client._until(lambda: self._client._opens > 0 or self._client._ended)

    async def _exit(self, error: BaseException | None) -> None:
        if not self._inside:
            return  # left already
        await self._leave()
        if self._client.failure is not None and error is None:
            raise self._client.failure

    async def _leave(self) -> None:
        self._client._leaving = True
        self._client._core.end()
        self._io.pump()
        grace = self._config.limits.close + 1
        try:
            if self.WAIT_FOR_LISTENERS:
                await self._io.within(grace, self._io.finish)
            await self._io.close(grace)
        finally:
            self._client._left = True
            await self._io.release()
            self._inside = False


class Connect(ConnectBase[Client]):
    """An entered `connect` has a client."""

    CALL: ClassVar[str] = "async with connect(...) as primus:"
    CLIENT = Client

    async def __aenter__(self) -> Client:
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit(error)

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            self._misused()

        __exit__ = SingleEntry._misused


class ServeBase(SingleEntry, Generic[V, H, A]):
    """What the `serve` of all bindings share. `H` and `A` are the types of a handler and of an authorization hook."""

    SERVER: Callable[[pp.ByteServer, Any, Any], V]

    def __init__(
        self,
        find_driver: Callable[[], type[Driver]],
        handler: H | None,
        address: ListenAddress,
        authorize: A | None,
        middleware: Middleware,
        options: ServerOptions,
        connect: Callable[..., Any],
    ) -> None:
        self._connect = connect
        self._find_driver = find_driver
        self._handler = None if handler is None else self._check(handler, HANDLER)
        self._config = server_config(authorize, options)
        self._authorize = None if authorize is None else self._check(authorize, "authorize=")
        self._address = address
        self._middleware = check_middleware(middleware)
        self._redirect: Redirect | None = None
        self._redirecting: tuple[pp.ByteServer, Driver, Callable[[], object]] | None = None

    def _check(self, function: Any, what: str) -> Any:
        """Check a function of the user. Returns the function to call, which may be another one."""
        return check_handler(function) if what == HANDLER else function

    async def _begin(self) -> None:
        driver = self._find_driver()
        self._check_not_entered()
        environment = running_environment(driver.__module__, driver.environment)
        endpoint = pp.ByteServer(self._config, rng=environment.new_rng(), wall_offset=environment.wall_offset)
        self._server = self.SERVER(endpoint, self._handler, self._authorize)
        for layer in self._middleware:
            self._server._add_layer(layer)
        self._server._connect = self._connect
        with self._entered():
            self._io = self._server._io = await driver.begin(endpoint, self._server._deliver, ConnectTarget())

    async def _enter(self) -> V:
        await self._begin()
        server, address = self._server, self._address
        try:
            server.port, server._stop_listening = await self._io.listen(address)
            if self._redirect is not None:
                await self._begin_redirecting(self._redirect, server.port)
        except BaseException:
            try:
                await self._io.close(0)
            finally:
                await self._release()
            raise
        server.url, server._unix = address.url(server.port), address.unix
        self._io.schedule()  # not now, so that the user can first listen to `initialised`
        return server

    async def _exit(self) -> None:
        if not self._inside:
            return  # left already
        try:
            await self._server._close()
        finally:
            await self._release()

    async def _begin_redirecting(self, redirect: Redirect, port: int) -> None:
        """Listen on a second port, without TLS, and redirect from there."""
        driver = self._find_driver()
        endpoint = pp.ByteServer(pp.ServerConfig(limits=self._config.limits), rng=driver.environment().new_rng())
        endpoint.server.pipeline.replace_all(redirect.answer)
        redirect.target = port
        io = await driver.begin(endpoint, lambda event: None, ConnectTarget())
        self._redirecting = (endpoint, io, lambda: None)
        redirect.port, stop = await io.listen(ListenAddress(self._address.host, redirect.port, None, None))
        self._redirecting = (endpoint, io, stop)

    async def _stop_redirecting(self) -> None:
        if self._redirecting is not None:
            endpoint, io, stop = self._redirecting
            stop()
            endpoint.server.close()
            io.pump()
            try:
                await io.close(self._config.limits.close)
            finally:
                await io.release()
            self._redirecting = None

    async def _release(self) -> None:
        try:
            await self._stop_redirecting()
        finally:
            await self._io.release()
        self._inside = False


class Serve(ServeBase[Server, Handler, Authorize]):
    """An entered `serve` has a server."""

    CALL: ClassVar[str] = "async with serve(...) as server:"
    TYPES: ClassVar[Mapping[str, str]] = {
        "H": "Callable[[Spark], Awaitable[object]]",
        "A": "Callable[[Request], Awaitable[object] | object]",
    }
    SERVER = Server

    async def __aenter__(self) -> Server:
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit()

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            self._misused()

        __exit__ = SingleEntry._misused
