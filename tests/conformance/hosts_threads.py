"""The host of the binding that blocks. A scenario runs in a thread without a loop, and what it awaits blocks.

So every awaitable here is over when it is awaited. What a scenario starts beside itself is another thread; its async
handlers, hooks and listeners are given to the binding as plain functions, which run them to their end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, Unpack

import primus_io.threads
from primus_io._functions import make_connect, make_serve
from primus_io._loop_thread import loop_thread
from primus_io.asyncio import Driver
from primus_proto import Layer
from primus_proto.options import ClientOptions
from primus_proto.plugins import Reply
from tests.conformance.hosts import MACHINE_LACKS, Host, Task, instances, sockets

__all__ = ["ThreadsHost"]

P = ParamSpec("P")
T = TypeVar("T")

LAST = 2.0  # seconds; how long what is ending may take to be gone


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaitables all block: it never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for an event loop, and there is none")


class Over(BaseException):
    """The scenario is over: whoever still waits for something of the host ends here."""


def plain(function: Any) -> Any:
    """A coroutine function as one that blocks; anything else as it is."""
    if not inspect.iscoroutinefunction(function):
        return function

    def call(*args: Any) -> Any:
        return run(function(*args))

    call.__qualname__ = getattr(function, "__qualname__", repr(function))
    return call


class Listening:
    """`on` and `off` that take async listeners."""

    def on(self, event: Any, listener: Any = None) -> Any:
        if listener is None:
            return lambda function: self.on(event, function)
        known = self.__dict__.setdefault("_plain", {})
        super().on(event, known.setdefault(listener, plain(listener)))  # type: ignore[misc]
        return listener

    def off(self, event: Any, listener: Any) -> None:
        super().off(event, self.__dict__.get("_plain", {}).get(listener, listener))  # type: ignore[misc]

    def transform(self, direction: Any, function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda function: self.transform(direction, function, **options)
        super().transform(direction, plain(function), **options)  # type: ignore[misc]
        return function


class Waiting(Listening):
    """What waits, to be awaited."""

    async def send(self, *args: Any) -> Any:
        return super().send(*args)  # type: ignore[misc]

    async def receive(self) -> Any:
        return super().receive()  # type: ignore[misc]

    async def drain(self) -> None:
        super().drain()  # type: ignore[misc]

    async def wait_for(self, *args: Any) -> Any:
        return super().wait_for(*args)  # type: ignore[misc]

    async def pump(self, source: Any) -> int:
        return super().pump(source)  # type: ignore[misc,no-any-return]

    async def relay(self, other: Any) -> int:
        return super().relay(other)  # type: ignore[misc,no-any-return]

    async def wait_ended(self) -> None:
        super().wait_ended()  # type: ignore[misc]

    def __aiter__(self) -> Self:
        iter(self)  # type: ignore[call-overload]
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self)  # type: ignore[call-overload]
        except StopIteration:
            raise StopAsyncIteration from None


class Spark(Waiting, primus_io.threads.Spark):  # type: ignore[misc]
    pass


class Client(Waiting, primus_io.threads.Client):  # type: ignore[misc]
    async def wait_open(self) -> None:  # type: ignore[override]
        super().wait_open()

    async def id(self) -> str:  # type: ignore[override]
        return super().id()


class Server(Listening, primus_io.threads.Server):
    _SPARK = Spark

    def _add_layer(self, layer: Layer) -> None:
        super()._add_layer(dataclasses.replace(layer, run=plain(layer.run)))

    async def wait_for(self, *args: Any) -> Any:
        return super().wait_for(*args)

    async def serve_forever(self) -> None:  # type: ignore[override]
        super().serve_forever()

    async def close(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
        super().close(*args, **options)


class Connect(primus_io.threads.Connect):
    CLIENT = Client

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, *error: Any) -> None:
        self.__exit__(*error)


class Serve(primus_io.threads.Serve):
    SERVER = Server

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, *error: Any) -> None:
        self.__exit__(*error)


connect = make_connect(__name__, Connect, lambda: Driver)
serve_plain: Any = make_serve(__name__, Serve, lambda: Driver, primus_io.threads.connect)


def serve(handler: Any, *args: Any, authorize: Any = None, **options: Any) -> Serve:
    served: Serve = serve_plain(plain(handler), *args, authorize=plain(authorize), **options)
    return served


async def fetch_spec(
    url: str, *, ssl: Any = None, unix: str | os.PathLike[str] | None = None, **options: Unpack[ClientOptions]
) -> dict[str, Any]:
    return primus_io.threads.fetch_spec(url, ssl=ssl, unix=unix, **options)


class Here(threading.local):
    """What is known of the calling thread."""

    is_task = False


HERE = Here()


class ThreadsTask(Task[T]):
    """A coroutine in a thread of its own."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.asked = False
        self.error: BaseException | None = None
        self._coroutine = coroutine
        self._result: list[T] = []
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"task {coroutine!r}")
        self.thread.start()

    def _run(self) -> None:
        HERE.is_task = True
        try:
            self._result.append(run(self._coroutine))
        except BaseException as error:
            self.error = error

    @property
    def done(self) -> bool:
        return not self.thread.is_alive()

    @property
    def cancelled(self) -> bool:
        return isinstance(self.error, Over)

    def cancel(self) -> None:
        raise NotImplementedError("a thread cannot be cancelled: the scenario needs 'cancellation'")

    async def join(self) -> None:
        self.thread.join()

    def result(self) -> T:
        assert self.done
        self.asked = True
        if self.error is not None:
            raise self.error
        return self._result[0]


class Event:
    """An event whose waiters end with the scenario."""

    def __init__(self, host: ThreadsHost) -> None:
        self._host = host
        self._happened = threading.Event()

    def set(self) -> None:
        self._happened.set()

    async def wait(self) -> None:
        while not self._happened.wait(0.01):
            if self._host.over().is_set():
                raise Over


class ThreadsHost(Host):
    """Threads."""

    name = "threads"
    handler_is = "a plain function"
    lacks: ClassVar[Mapping[str, str]] = {
        **MACHINE_LACKS,
        "cancellation": "a thread cannot be cancelled while it waits",
        "loose ends": "what is entered belongs to the background thread, not to the thread that entered it",
        "eager tasks": "there are no tasks, and a thread begins when the system lets it",
        "one thread": "what runs in other threads does not wait for the next await of the scenario",
    }
    connect = staticmethod(connect)
    serve = staticmethod(serve)
    fetch_spec = staticmethod(fetch_spec)

    def listener(self, function: Any) -> Any:
        return plain(function)

    async def result(self, reply: Reply[T]) -> T:
        return reply.result()

    def run(self, main: Callable[[], Awaitable[None]], timeout: float) -> None:
        self._over_for_tasks, self._over_for_all = threading.Event(), threading.Event()
        self._started: list[ThreadsTask[Any]] = []
        self._timer_runs = 0
        loop_thread()  # its sockets are there before, and stay
        threads, open_before, timeout_of = set(threading.enumerate()), sockets(), Driver.timeout

        def counting(driver: Driver) -> None:
            self._timer_runs += 1
            timeout_of(driver)

        async def scenario() -> None:
            await main()

        Driver.timeout = counting  # type: ignore[method-assign,assignment]
        try:
            task = ThreadsTask(scenario())
            task.thread.join(timeout)
            late = self._stacks() if not task.done else ""
            self._over_for_tasks.set()
            self._settle(lambda: task.done and all(started.done for started in self._started))
            left = self.leftovers()
            self._over_for_all.set()
        finally:
            Driver.timeout = timeout_of  # type: ignore[method-assign]
        assert not late, f"not over after {timeout:g} s\n{late}"
        self._settle(lambda: not self._threads(threads))
        left += map(repr, self._threads(threads))
        self._settle(lambda: sockets() <= open_before)
        left += [f"socket {socket}" for socket in sockets() - open_before]
        failed = [started.error for started in self._started if not started.asked and not started.cancelled]
        left += [f"failure of a task that nobody asked: {error!r}" for error in failed if error is not None]
        for driver in instances(Driver) if left else ():  # what one scenario has left is not to be found with the next
            loop_thread().wait(driver.close(0))
        task.result()
        assert left == [], left

    def _settle(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LAST
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.001)

    def _threads(self, before: set[threading.Thread]) -> set[threading.Thread]:
        """Those that are new, but for idle ones."""
        idle = ("primus-worker", "asyncio_")  # of ours, and of the loop's executor for host names
        return {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith(idle)}

    def _stacks(self) -> str:
        frames = sys._current_frames()
        there = [(thread.name, frames.get(thread.ident or 0)) for thread in threading.enumerate()]
        return "\n".join(f"{name}:\n{''.join(traceback.format_stack(frame))}" for name, frame in there)

    def leftovers(self) -> list[str]:
        return loop_thread().do(self._leftovers)

    def _leftovers(self) -> list[str]:
        current = asyncio.current_task()
        tasks = [f"task {task!r}" for task in asyncio.all_tasks() if task is not current]
        timers = [f"timer {timer!r}" for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return tasks + timers

    def timer_runs(self) -> int:
        return self._timer_runs

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        started = ThreadsTask(coroutine)
        self._started.append(started)
        return started

    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def event(self) -> Event:
        return Event(self)

    async def pause(self, seconds: float) -> None:
        if not seconds:
            time.sleep(0)
        if self.over().wait(seconds):
            raise Over

    async def told(self, condition: Callable[[], object]) -> None:
        await self.until(condition)

    def over(self) -> threading.Event:
        """Whether the calling thread has to end. Handlers may go on until it is known which of them were left."""
        return self._over_for_tasks if HERE.is_task else self._over_for_all
