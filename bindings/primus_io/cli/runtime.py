"""What the command runs on, as its subcommands see it: one of our bindings, and its library's way to wait.

The law kept here: a subcommand is written once. It awaits what is here and what the binding gives, and nothing of any
library; what differs from one to the next is in the `runtime_` modules, and nowhere else.
"""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from primus_proto import ConfigError

from .._awaiting import Connect, FetchSpec, Serve
from .._session import Waitable

__all__ = ["RUNTIMES", "Changes", "Runtime", "load"]

T = TypeVar("T")


class Runtime(ABC):
    """One library. *On the loop* is where only one thing happens at a time: in the tasks and callbacks of the library.

    On threads there is no such place: tasks and listeners run beside each other, but what is given to `soon` does not.
    """

    connect: ClassVar[type[Connect]]
    serve: ClassVar[type[Serve]]
    fetch_spec: ClassVar[FetchSpec]

    @abstractmethod
    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run that, in the main thread, and return what it returns. KeyboardInterrupt says that it was given up."""

    @abstractmethod
    def give_up(self) -> None:
        """End `run` now. To be called on the loop."""

    @abstractmethod
    def soon(self, function: Callable[[], object]) -> None:
        """Call something on the loop, from whichever thread or signal handler; never, if `run` has ended by then."""

    def on_signal(self, number: signal.Signals, function: Callable[[], object]) -> Callable[[], object]:
        """Call something on the loop at each of these signals. Returns what undoes that. To be called on the loop."""
        before = signal.signal(number, lambda *_: self.soon(function))
        return lambda: signal.signal(number, before)

    @abstractmethod
    def event(self) -> Waitable:
        """Something that happens once, and can be waited for."""

    @abstractmethod
    def clock(self) -> float:
        """The clock of the binding, monotonic seconds."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait for that long, which may be `inf`."""

    @abstractmethod
    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> bool:
        """Await `wait()`, but no longer than that; whether it came to its end."""

    @abstractmethod
    async def race(self, *waits: Callable[[], Awaitable[T]]) -> T:
        """Await all of them side by side until one has ended, and stop the others; what it returned or raised.

        On threads one that waits for the other end cannot be stopped before the session has ended.
        """


class Changes:
    """Waiting for what changes bit by bit. Say so after each bit: whoever waits looks again."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._next = runtime.event()
        self._lock = threading.Lock()  # two may say so at once, on threads

    def note(self) -> None:
        """Something has changed."""
        with self._lock:
            noted, self._next = self._next, self._runtime.event()
        noted.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        while True:
            change = self._next  # taken before the look: what changes after that is not missed
            if condition():
                return
            await change.wait()


def _on_asyncio() -> Runtime:
    from .runtime_asyncio import AsyncioRuntime

    return AsyncioRuntime()


def _on_trio() -> Runtime:
    from .runtime_trio import TrioRuntime

    return TrioRuntime()


def _on_threads() -> Runtime:
    from .runtime_threads import ThreadsRuntime

    return ThreadsRuntime()


RUNTIMES: dict[str, Callable[[], Runtime]] = {"asyncio": _on_asyncio, "trio": _on_trio, "threads": _on_threads}


def load(name: str) -> Runtime:
    """The runtime of that name. Raises ConfigError where its library is not installed."""
    try:
        import_module(f"..{name}", __package__)  # the binding, which says what to install
        return RUNTIMES[name]()
    except ImportError as error:
        raise ConfigError(f"--io {name}: {error}") from error
