"""What clients, servers and sparks need of a binding, which can wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from threading import get_ident
from typing import Any, Protocol

import primus_proto as pp

__all__ = ["IO", "OTHER_TASK", "WRONG_THREAD", "AsyncEvent"]

WRONG_THREAD = (
    "this object belongs to the thread of its event loop, and this is another one. Have that thread make the call: "
    "loop.call_soon_threadsafe(spark.write, value) on asyncio, trio.from_thread.run_sync(spark.write, value) on trio, "
    "anyio.from_thread.run_sync(spark.write, value) in a plain endpoint of FastAPI or Starlette. Or use "
    "primus_io.threads, whose objects any thread may use"
)


OTHER_TASK = (
    "this block was entered by another task. On trio a nursery belongs to the task that opened it, so only that task "
    "can leave the block. Its connections are closed now; its nursery is still open"
)


class AsyncEvent(Protocol):
    """An event object, such as `asyncio.Event` or `trio.Event`."""

    def set(self) -> object:
        """Wake all waiters."""

    def wait(self) -> Awaitable[object]:
        """Wait until it is set."""


class IO(ABC):
    """What a binding does for clients, servers and sparks."""

    now: Callable[[], float]
    """The time on the driver's clock."""
    thread = 0
    """The thread that it runs in, as `threading.get_ident` names it."""
    pumping = False
    """Whether the core is being pumped, so that what is written now leaves by itself."""
    interruption: BaseException | None = None
    """A KeyboardInterrupt or SystemExit of a listener, to be raised when the core has done what it is doing."""

    def check_thread(self) -> None:
        """Raise LocalProtocolError in any thread but its own."""
        if get_ident() != self.thread:
            raise pp.LocalProtocolError(WRONG_THREAD)

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it is closed, so that `start` starts nothing."""

    @abstractmethod
    def schedule(self) -> None:
        """Pump the core soon. Does nothing during a pump."""

    @abstractmethod
    def pump(self) -> None:
        """Pump the core now. Does nothing during a pump."""

    @abstractmethod
    def event(self) -> AsyncEvent:
        """Make an event object."""

    @abstractmethod
    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background until it ends or the binding closes. Once closed, only close it."""

    def wakeup(self) -> AsyncEvent:
        """Make an event object for one waiter."""
        return self.event()

    def should_yield(self) -> bool:
        """Whether a call that may wait has to call `checkpoint` now."""
        return True

    @abstractmethod
    async def checkpoint(self) -> None:
        """Let other tasks run, as often as the library expects it of an async call."""

    @abstractmethod
    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        """Await `wait()` for at most so many seconds, then cancel it and return."""

    @abstractmethod
    async def finish(self) -> None:
        """Wait until everything that `start` started has returned."""

    @abstractmethod
    async def close(self, grace: float) -> None:
        """Wait at most `grace` seconds for the sockets to close, then stop everything. May be called twice."""

    @abstractmethod
    async def release(self) -> None:
        """Give up what `close` has to keep, such as a nursery. Called last. May be called twice.

        Raises LocalProtocolError where this has to be done by the task that began, and is not.
        """
