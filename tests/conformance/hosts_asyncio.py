"""The hosts on asyncio's interface: its own loop, and uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, ParamSpec, TypeVar

import primus_io.anyio
import primus_io.asyncio
from tests.conformance.hosts import CHOOSING, MACHINE_LACKS, Host, Task, instances, sockets

uvloop: Any = None
with contextlib.suppress(ImportError):
    uvloop = importlib.import_module("uvloop")

__all__ = ["AnyioAsyncioHost", "AsyncioHost", "UvloopHost"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class Timer:
    """One call of `call_at` or `call_later`."""

    callback: Callable[..., object]
    handle: asyncio.TimerHandle | None = None
    ran: bool = False

    @property
    def ours(self) -> bool:
        """Whether the binding asked for it."""
        function = getattr(self.callback, "__func__", self.callback)
        owner = type(getattr(self.callback, "__self__", None)).__module__
        return f"{getattr(function, '__module__', None)} {owner}".count("primus_io") > 0

    @property
    def pending(self) -> bool:
        assert self.handle is not None
        return not self.ran and not self.handle.cancelled()

    def __repr__(self) -> str:
        return f"timer of {self.callback!r}"


class Watching:
    """Mixed into an event loop class: remembers the timers that are asked for through its public methods."""

    timers: list[Timer]
    timer_runs = 0
    many = 100

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        return self._watch(super().call_at, when, callback, args, kwargs)  # type: ignore[misc]

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        return self._watch(super().call_later, delay, callback, args, kwargs)  # type: ignore[misc]

    def _watch(
        self, arm: Callable[..., Any], when: float, callback: Callable[..., Any], args: Any, kwargs: Any
    ) -> asyncio.TimerHandle:
        if hasattr(callback, "watched"):  # one of the two methods calls the other
            return arm(when, callback, *args, **kwargs)  # type: ignore[no-any-return]
        timer = Timer(callback)

        def run(*args: Any) -> None:
            timer.ran = True
            self.timer_runs += timer.ours
            callback(*args)

        run.watched = True  # type: ignore[attr-defined]
        timer.handle = arm(when, run, *args, **kwargs)
        self.timers.append(timer)
        if len(self.timers) > self.many:
            self.forget()
        return timer.handle

    def forget(self) -> None:
        """Let go of the timers that are over, and of their callbacks."""
        self.timers = [timer for timer in self.timers if timer.pending]
        self.many = 100 + 2 * len(self.timers)


class AsyncioTask(Task[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.asked = False

    @property
    def done(self) -> bool:
        return self.task.done()

    @property
    def cancelled(self) -> bool:
        return self.task.cancelled()

    def cancel(self) -> None:
        self.task.cancel()

    async def join(self) -> None:
        await asyncio.wait([self.task])

    def result(self) -> T:
        self.asked = True
        return self.task.result()


class AsyncioHost(Host):
    """asyncio on its own event loop."""

    name = "asyncio"
    connect: Any = staticmethod(primus_io.asyncio.connect)
    serve: Any = staticmethod(primus_io.asyncio.serve)
    fetch_spec = staticmethod(primus_io.asyncio.fetch_spec)
    lacks: ClassVar[Mapping[str, str]] = {
        **MACHINE_LACKS,
        **({} if sys.version_info >= (3, 12) else {"eager tasks": "eager tasks came with Python 3.12"}),
    }
    base: type = asyncio.SelectorEventLoop

    def run(self, main: Callable[[], Awaitable[None]], timeout: float) -> None:
        with asyncio.Runner(loop_factory=self._make_loop) as runner:
            runner.run(self._main(main, timeout))

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        loop_class: Any = type("Loop", (Watching, self.base), {})
        self.loop = loop_class()
        self.loop.timers = []
        return self.loop  # type: ignore[no-any-return]

    async def _main(self, main: Callable[[], Awaitable[None]], timeout: float) -> None:
        complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: complaints.append(context))
        self._started: list[AsyncioTask[Any]] = []
        before, transports = sockets(), self._open_transports()
        try:
            async with asyncio.timeout(timeout):
                await main()
        finally:
            for started in self._started:
                started.cancel()
            await asyncio.gather(*(started.task for started in self._started), return_exceptions=True)
        left = [*map(repr, self._tasks()), *map(repr, self._timers())]
        left += [f"socket {socket}" for socket in sockets() - before]
        if (more := self._open_transports() - transports) > 0:
            left.append(f"{more} open transports")
        failed = (started.task for started in self._started if not started.asked and not started.cancelled)
        left += [f"failure of a task that nobody asked: {task.exception()!r}" for task in failed if task.exception()]
        assert left == [], left
        assert complaints == [], complaints

    def leftovers(self) -> list[str]:
        return [*map(repr, self._tasks()), *(repr(timer) for timer in self._timers() if timer.ours)]

    def _tasks(self) -> set[asyncio.Task[Any]]:
        own = {asyncio.current_task(), *(started.task for started in self._started)}
        return {task for task in asyncio.all_tasks() if task not in own}

    def _timers(self) -> list[Timer]:
        self.loop.forget()
        return list(self.loop.timers)

    def timer_runs(self) -> int:
        return int(self.loop.timer_runs)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        started = AsyncioTask(asyncio.create_task(coroutine))
        if len(self._started) > 100:
            self._started = [task for task in self._started if not task.done or not (task.asked or task.cancelled)]
        self._started.append(started)
        return started

    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    def event(self) -> asyncio.Event:
        return asyncio.Event()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _open_transports(self) -> int:
        return sum(not transport.is_closing() for transport in instances(asyncio.BaseTransport))


class UvloopHost(AsyncioHost):
    """asyncio on uvloop."""

    name = "uvloop"
    # The files that are about sockets, TLS, time and cancelling: the rest is asyncio's row once more.
    only = frozenset({
        *("test_asyncio.py", "test_cancel.py", "test_flood.py", "test_garbage.py", "test_leaks.py"),
        *("test_messages.py", "test_open.py", "test_pressure.py", "test_shutdown.py", "test_stall.py", "test_ways.py"),
    })  # fmt: skip
    lacks: ClassVar[Mapping[str, str]] = {**MACHINE_LACKS, "eager tasks": "uvloop's do not work with every 3.13"}
    if uvloop is not None:
        base = uvloop.Loop

    @classmethod
    def missing(cls) -> str | None:
        return "uvloop is not installed" if uvloop is None else None

    def _open_transports(self) -> int:
        return sum("closed=False" in repr(stream) for stream in instances(uvloop.loop.UVStream))

    def _timers(self) -> list[Timer]:
        # A handshake of its own that is cancelled at the wrong moment leaves its timer, and nothing else.
        return [timer for timer in super()._timers() if "SSLProtocol._start_handshake" not in repr(timer)]


class AnyioAsyncioHost(AsyncioHost):
    """anyio, on asyncio."""

    name = "anyio-asyncio"
    only = CHOOSING
    connect = staticmethod(primus_io.anyio.connect)
    serve = staticmethod(primus_io.anyio.serve)
    fetch_spec = staticmethod(primus_io.anyio.fetch_spec)
