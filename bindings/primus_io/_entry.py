"""Entering and leaving, the same for every binding: what `connect`, `serve` and `fetch_spec` do.

A binding names its `Driver`; `_awaiting` and `_threads.blocking` add how a user enters and leaves.
"""

from __future__ import annotations

import os
import ssl
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar, Unpack

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.options import ClientOptions, ServerOptions

from ._driver import Driver, Listening, Reach
from ._facade import Authorize, ClientFacade, Handle, ServerFacade
from ._session import Waitable

__all__ = ["Asking", "Connecting", "Serving", "server_config", "socket_path"]

C = TypeVar("C", bound=ClientFacade)
V = TypeVar("V", bound=ServerFacade[Any])
H = TypeVar("H")  # what handlers are


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


class Block:
    """What can be entered, and again once it has been left."""

    _inside = False

    def _check_left(self) -> None:
        if self._inside:  # it would be left twice, and what it was entered for first never
            raise pp.LocalProtocolError("this block has been entered and not left: make another one for a second entry")


class Connecting(Block, Generic[C]):
    """What every binding's `connect` does."""

    DRIVER: ClassVar[type[Driver]]
    CLIENT: ClassVar[type[Any]]

    def __init__(
        self,
        url: str,
        *,
        wait: bool = True,
        ssl: ssl.SSLContext | None = None,
        unix: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._config = pp.ClientConfig(url=url, **options)
        self._wait = wait and not self._config.manual
        self._reach = Reach(ssl, socket_path(unix))

    def _driver(self) -> type[Driver]:
        return self.DRIVER

    async def _begin(self) -> None:
        driver = self._driver()
        self._check_left()
        environment = driver.environment()
        endpoint = pp.ByteClient(self._config, rng=environment.new_rng(), wall_offset=environment.wall_offset)
        self._client: C = self.CLIENT(endpoint.client)
        self._io = self._client._io = await driver.begin(endpoint, self._client._deliver, self._reach)
        self._inside = True

    async def _enter(self) -> C:
        client = self._client
        self._io.pump()
        if self._wait:
            try:
                await client._until(lambda: client._opens > 0 or client._ended)
            except BaseException:
                await self._leave()
                raise
            if client._opens == 0:
                await self._leave()
                assert client.close_reason is not None
                raise connect_error(client.close_reason)
        return client

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


class Serving(Block, ABC, Generic[V, H]):
    """What every binding's `serve` does."""

    DRIVER: ClassVar[type[Driver]]
    SERVER: ClassVar[type[Any]]

    def __init__(
        self,
        handler: H | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix: str | os.PathLike[str] | None = None,
        ssl: ssl.SSLContext | None = None,
        authorize: Authorize | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        self._handler = None if handler is None else self._accepts(handler)
        self._config = server_config(authorize, options)
        self._authorize = None if authorize is None else self._decides(authorize)
        self._listening = Listening(host, port, socket_path(unix), ssl)

    @abstractmethod
    def _accepts(self, handler: object) -> Handle:
        """The handler as the facade calls it; ConfigError for what cannot be one."""

    def _driver(self) -> type[Driver]:
        return self.DRIVER

    def _decides(self, authorize: Authorize) -> Authorize:
        """The authorization hook as the facade calls it; ConfigError for what cannot be one."""
        return authorize

    async def _begin(self) -> None:
        driver = self._driver()
        self._check_left()
        environment = driver.environment()
        endpoint = pp.ByteServer(self._config, rng=environment.new_rng(), wall_offset=environment.wall_offset)
        self._server: V = self.SERVER(endpoint, self._handler, self._authorize)
        self._io = self._server._io = await driver.begin(endpoint, self._server._deliver, Reach())
        self._inside = True

    async def _enter(self) -> V:
        server, where = self._server, self._listening
        try:
            server.port, server._stop_listening = await self._io.listen(where)
        except BaseException:
            try:
                await self._io.close(0)
            finally:
                await self._release()
            raise
        server.url = where.url(server.port)
        self._io.schedule()  # not at once: `initialised` should find the listeners of whoever enters
        return server

    async def _exit(self) -> None:
        try:
            await self._server._close(pp.NOTHING, False, 0.0)
        finally:
            await self._release()

    async def _release(self) -> None:
        self._inside = False
        await self._io.release()


class Asking:
    """What every binding's `fetch_spec` does."""

    def __init__(
        self,
        driver: type[Driver],
        url: str,
        tls: ssl.SSLContext | None,
        unix: str | os.PathLike[str] | None,
        options: ClientOptions,
    ) -> None:
        self._driver = driver
        self._config = pp.ClientConfig(url=url, **options)
        self._reach = Reach(tls, socket_path(unix))
        self._answers: list[ev.Event] = []
        self._answered: Waitable | None = None

    def _deliver(self, event: ev.Event) -> None:
        self._answers.append(event)
        if self._answered is not None:
            self._answered.set()

    async def _begin(self) -> None:
        query = pp.SpecQuery(self._config, rng=self._driver.environment().new_rng())
        self._io = await self._driver.begin(query, self._deliver, self._reach)

    async def _answer(self) -> dict[str, Any]:
        try:
            self._answered = self._io.event()
            self._io.pump()
            while not self._answers:
                await self._answered.wait()
        finally:
            try:
                await self._io.close(0)  # the answer has been read, or nobody wants it any longer
            finally:
                await self._io.release()
        answer = self._answers[0]
        if isinstance(answer, ev.SpecReceived):
            return answer.spec
        assert isinstance(answer, ev.ErrorOccurred)
        raise answer.error
