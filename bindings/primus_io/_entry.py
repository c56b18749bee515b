"""Entering and leaving, the same for every binding that awaits: what `connect`, `serve` and `fetch_spec` do."""

from __future__ import annotations

import inspect
import random
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import primus_proto as pp
from primus_proto import events as ev

from ._driver import Deliver
from ._facade import AsyncClient, AsyncServer, Authorize, Handler
from ._session import IO, Waitable

__all__ = ["Connecting", "Serving", "fetch_spec_with"]


def check_handler(handler: object) -> None:
    """ConfigError for a handler that cannot be awaited."""
    call = getattr(handler, "__call__", None)  # noqa: B004  # an object with an async __call__ is a handler too
    if not inspect.iscoroutinefunction(handler) and not inspect.iscoroutinefunction(call):
        raise pp.ConfigError(
            "the handler must be an async function taking a spark; for a plain function use "
            "serve(None, ...) and server.on('connection', function)"
        )


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


class Connecting(ABC):
    """What every binding's `connect` does."""

    def __init__(self, url: str, *, wait: bool = True, ssl: ssl.SSLContext | None = None, **options: Any) -> None:
        self._config = pp.ClientConfig(url=url, **options)
        self._wait = wait and not self._config.manual
        self._tls = ssl

    @abstractmethod
    async def _start(self, endpoint: pp.ByteClient, deliver: Deliver) -> IO:
        """Drive `endpoint`, giving its events to `deliver`."""

    @abstractmethod
    def _clock(self) -> float:
        """What the binding uses as `now`."""

    async def __aenter__(self) -> AsyncClient:
        offset = time.time() - self._clock()
        endpoint = pp.ByteClient(self._config, rng=random.SystemRandom(), wall_offset=offset)
        self._client = client = AsyncClient(endpoint.client)
        self._io = client._io = await self._start(endpoint, client._deliver)
        client._io.pump()
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
            await self._io.release()


class Serving(ABC):
    """What every binding's `serve` does."""

    def __init__(
        self,
        handler: Handler | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ssl: ssl.SSLContext | None = None,
        authorize: Authorize | None = None,
        **options: Any,
    ) -> None:
        if handler is not None:
            check_handler(handler)
        options.setdefault("authorization", authorize is not None)
        self._config = pp.ServerConfig(**options)
        if bool(self._config.authorization) != (authorize is not None):
            raise pp.ConfigError(
                "authorize= is the function that decides, authorization= says for which requests (True or 'all'): "
                "give both, or authorize= alone"
            )
        self._handler, self._authorize = handler, authorize
        self._host, self._port, self._tls = host, port, ssl

    @abstractmethod
    async def _start(self, endpoint: pp.ByteServer, deliver: Deliver) -> IO:
        """Drive `endpoint`, giving its events to `deliver`."""

    @abstractmethod
    def _clock(self) -> float:
        """What the binding uses as `now`."""

    @abstractmethod
    async def _listen(self, io: Any) -> tuple[int, Callable[[], object]]:
        """Listen; returns the port, and what stops the listening."""

    async def __aenter__(self) -> AsyncServer:
        offset = time.time() - self._clock()
        endpoint = pp.ByteServer(self._config, rng=random.SystemRandom(), wall_offset=offset)
        self._server = server = AsyncServer(endpoint, self._handler, self._authorize)
        server._io = await self._start(endpoint, server._deliver)
        try:
            server.port, server._stop_listening = await self._listen(server._io)
        except BaseException:
            await server._io.close(0)
            await server._io.release()
            raise
        host = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(self._host, self._host)
        host = f"[{host}]" if ":" in host else host
        server.url = f"{'https' if self._tls else 'http'}://{host}:{server.port}"
        server._io.schedule()  # not at once: `initialised` should find the listeners of whoever enters
        return server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._server.close()
        finally:
            await self._server._io.release()


async def fetch_spec_with(
    start: Callable[[pp.SpecQuery, Deliver], Awaitable[IO]], url: str, options: dict[str, Any]
) -> dict[str, Any]:
    """What every binding's `fetch_spec` does."""
    query = pp.SpecQuery(pp.ClientConfig(url=url, **options), rng=random.SystemRandom())
    answers: list[ev.Event] = []
    answered: Waitable | None = None

    def deliver(event: ev.Event) -> None:
        answers.append(event)
        if answered is not None:
            answered.set()

    io = await start(query, deliver)
    try:
        answered = io.event()
        io.pump()
        while not answers:
            await answered.wait()
    finally:
        await io.close(0)  # the answer has been read, or nobody wants it any longer
        await io.release()
    answer = answers[0]
    if isinstance(answer, ev.SpecReceived):
        return answer.spec
    assert isinstance(answer, ev.ErrorOccurred)
    raise answer.error
