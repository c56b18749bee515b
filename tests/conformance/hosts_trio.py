"""The host on trio."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, ClassVar, ParamSpec, TypeVar

import trio

import primus_io.anyio
import primus_io.trio
from primus_io.trio import Driver
from tests.conformance.hosts import CHOOSING, MACHINE_LACKS, Host, Task, sockets

__all__ = ["AnyioTrioHost", "TrioHost"]

# What every block has from when it is entered to when it is left; and the shells of trio's own around what it accepted.
STANDING = (
    *(f"primus_io.trio.Driver.{name}" for name in ("_main", "_run_timer", "listen")),
    "trio._highlevel_serve_listeners.",
)

P = ParamSpec("P")
T = TypeVar("T")


class TrioTask(Task[T]):
    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._result: T
        self.task: trio.lowlevel.Task | None = None
        self.failure: BaseException | None = None
        self.asked = False

    async def run(self) -> None:
        self.task = trio.lowlevel.current_task()
        try:
            with self._scope:
                self._result = await self._coroutine
        except Exception as failure:
            self.failure = failure
        finally:
            self._over.set()

    @property
    def done(self) -> bool:
        return self._over.is_set()

    @property
    def cancelled(self) -> bool:
        return self._scope.cancelled_caught

    def cancel(self) -> None:
        self._scope.cancel()

    async def join(self) -> None:
        await self._over.wait()

    def result(self) -> T:
        self.asked = True
        if self.failure is not None:
            raise self.failure
        return self._result


class TrioHost(Host):
    """trio."""

    name = "trio"
    keeps = 2500  # a thousand deadlines that are over, of two or three objects each
    connect: Any = staticmethod(primus_io.trio.connect)
    serve: Any = staticmethod(primus_io.trio.serve)
    fetch_spec = staticmethod(primus_io.trio.fetch_spec)
    lacks: ClassVar[Mapping[str, str]] = {
        **MACHINE_LACKS,
        "eager tasks": "a task of trio's never begins before the one that started it waits",
        "loose ends": "trio itself refuses to end a task in which a nursery is open",
        "other tasks": "trio has a nursery closed by the task that opened it",
    }

    def run(self, main: Callable[[], Awaitable[None]], timeout: float) -> None:
        self._timer_runs = 0
        counted = Driver.timeout

        def timeout_counted(driver: Driver) -> None:
            self._timer_runs += 1
            counted(driver)

        Driver.timeout = timeout_counted  # type: ignore[assignment,method-assign]
        try:
            self._run(functools.partial(self._main, main, timeout))
        finally:
            Driver.timeout = counted  # type: ignore[method-assign]

    def _run(self, main: Callable[[], Awaitable[None]]) -> None:
        trio.run(main)

    async def _main(self, main: Callable[[], Awaitable[None]], timeout: float) -> None:
        self._task = trio.lowlevel.current_task()
        self._started: list[TrioTask[Any]] = []
        failure: Exception | None = None
        before = sockets()
        async with trio.open_nursery() as self._nursery:
            try:
                with trio.fail_after(timeout):
                    await main()
            except Exception as error:  # raised again as it is, not in a group
                failure = error
            for started in self._started:
                started.cancel()
        if failure is not None:
            raise failure
        left = [repr(task) for task in self._others()] + [f"socket {socket}" for socket in sockets() - before]
        failed = (task for task in self._started if not task.asked and task.failure is not None)
        left += [f"failure of a task that nobody asked: {task.failure!r}" for task in failed]
        assert left == [], left

    def leftovers(self) -> list[str]:
        return [repr(task) for task in self._others() if not task.name.startswith(STANDING)]

    def _others(self) -> list[trio.lowlevel.Task]:
        own = {self._task, *(started.task for started in self._started)}
        return [task for task in _below(self._task) if task not in own]

    def timer_runs(self) -> int:
        return self._timer_runs

    def time(self) -> float:
        return trio.current_time()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        started = TrioTask(coroutine)
        if len(self._started) > 100:
            self._started = [task for task in self._started if not task.done or (task.failure and not task.asked)]
        self._started.append(started)
        self._nursery.start_soon(started.run)
        return started

    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(function, *args, **kwargs)
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)

    def event(self) -> trio.Event:
        return trio.Event()

    async def pause(self, seconds: float) -> None:
        await trio.sleep(seconds)


class AnyioTrioHost(TrioHost):
    """anyio, on trio."""

    name = "anyio-trio"
    only = CHOOSING
    connect = staticmethod(primus_io.anyio.connect)
    serve = staticmethod(primus_io.anyio.serve)
    fetch_spec = staticmethod(primus_io.anyio.fetch_spec)


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """A task, and all that it and they have started."""
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _below(child)
