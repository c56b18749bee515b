"""An ASGI host made of nothing: it calls the application and writes down what that says. On asyncio and on trio.

On trio the clock jumps to what is due next, so that time limits cost no time.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

__all__ = ["Caller", "Gate", "body", "calling", "head", "http", "on_both", "on_trio", "turns", "websocket"]

P = ParamSpec("P")
Words = dict[str, Any]


def http(path: str, method: str = "GET", headers: dict[str, str] | None = None, **more: Any) -> Words:
    """A scope of an HTTP request."""
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": fields,
        "client": ("192.0.2.1", 50000),
        **more,
    }


def websocket(path: str = "/primus?ping=false", **more: Any) -> Words:
    """A scope of a WebSocket, of a host that can answer one in any way."""
    headers = {"upgrade": "websocket", "connection": "Upgrade"}
    return {**http(path, headers=headers), "type": "websocket", "extensions": {"websocket.http.response": {}}, **more}


class Watched:
    """Something that others wait for to be as they want it."""

    def __init__(self) -> None:
        self._moved = anyio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._moved.wait()

    def moved(self) -> None:
        """Have them look again."""
        self._moved.set()
        self._moved = anyio.Event()


class Gate(Watched):
    """Shut until it is opened."""

    is_open = False

    def open(self) -> None:
        self.is_open = True
        self.moved()

    async def wait(self) -> None:
        await self.until(lambda: self.is_open)


async def turns(count: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class Caller(Watched):
    """One call of an application."""

    def __init__(self, scope: Words) -> None:
        super().__init__()
        self.scope = scope
        self.said: list[Words] = []
        self.returned = False
        self.received = 0  # how often the application has asked for more
        self.full = False  # `send` waits
        self.stubborn = False  # and cannot be cancelled
        self.broken: Exception | None = None  # what `send` raises
        self._given = deque[Words]()

    async def run(self, app: Any) -> None:
        if self.scope["type"] == "websocket":
            self.give("websocket.connect")
        self.app = app
        await app(self.scope, self.receive, self.send)
        self.returned = True
        self.moved()

    async def receive(self) -> Words:
        self.received += 1
        self.moved()
        await self.until(lambda: self._given)
        return self._given.popleft()

    async def send(self, words: Any) -> None:
        with anyio.CancelScope(shield=self.stubborn):
            await self.until(lambda: not self.full)
        if self.broken is not None:
            raise self.broken
        self.said.append(words)
        self.moved()

    # --- the test's side ---

    def give(self, kind: str, **more: Any) -> None:
        """The host says something."""
        self._given.append({"type": kind, **more})
        self.moved()

    def drain(self) -> None:
        """`send` waits no longer."""
        self.full = False
        self.moved()

    async def hear(self, kind: str, count: int = 1) -> Words:
        """The `count`th of those words, once they have been said."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    async def end(self) -> list[Words]:
        """All that it said, once it has returned."""
        await self.until(lambda: self.returned)
        return self.said

    def all(self, kind: str) -> list[Words]:
        return [words for words in self.said if words["type"] == kind]


def head(caller: Caller) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of the answer."""
    start = caller.said[0]
    return start["status"], dict(start["headers"])


def body(caller: Caller) -> bytes:
    return b"".join(words["body"] for words in caller.said[1:])


@contextlib.asynccontextmanager
async def calling(app: Any, *scopes: Words) -> AsyncIterator[Any]:
    """Call the application for each scope, beside each other; gives the `Caller`, or all of them."""
    callers = [Caller(scope) for scope in scopes]
    async with anyio.create_task_group() as group:
        for caller in callers:
            group.start_soon(caller.run, app)
        yield callers[0] if len(callers) == 1 else callers
        group.cancel_scope.cancel()


def _run(main: Callable[[], Awaitable[None]], backend: str) -> None:
    async def bounded() -> None:
        with anyio.fail_after(1000 if backend == "trio" else 20):
            await main()

    if backend == "trio":
        trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))
    else:
        anyio.run(bounded)


def on_both(main: Callable[P, Awaitable[None]]) -> Callable[..., None]:
    """Make a test of an async function, on asyncio and on trio."""

    def test(backend: str, *args: P.args, **kwargs: P.kwargs) -> None:
        _run(lambda: main(*args, **kwargs), backend)

    signature = inspect.signature(main)
    backend = inspect.Parameter("backend", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__dict__.update(vars(main))  # the marks
    test.__name__, test.__doc__ = main.__name__, main.__doc__
    test.__signature__ = signature.replace(parameters=[backend, *signature.parameters.values()])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("backend", ["asyncio", "trio"])(test)


def on_trio(main: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """The same on trio alone, for what takes time."""

    @functools.wraps(main)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        _run(lambda: main(*args, **kwargs), "trio")

    return test
