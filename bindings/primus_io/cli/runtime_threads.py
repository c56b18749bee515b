"""The command on threads, without an event loop.

The law kept here: no coroutine of the command ever suspends, because everything it awaits blocks. Each of those that
run side by side has a thread; listeners have the binding's. A thread cannot be cancelled, but it can be told to stop
where it waits for something of ours; where it waits for the other end it stops when the session has ended. The main
thread does nothing but what is given to `soon`, so it is there for every signal, whatever the others are stuck in.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import queue
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any, TypeVar, cast

from primus_proto.events import Event

from .. import _awaiting, threads
from .._threads.monitor import name_of
from .._threads.monitor import run as finish
from .runtime import Runtime

__all__ = ["ThreadsRuntime"]

T = TypeVar("T")

# A signal that comes just before the main thread begins to wait does not wake it: it looks by itself, too. On Windows
# none does.
LOOK = 0.5

CHANGED = threading.Condition()
"""Held to change what somebody waits for, and told of each change: of whatever it is, for there are few who wait."""


class Stopped(BaseException):
    """Whoever waits here is no longer wanted."""


class Late(BaseException):
    """The time has passed that there was to wait."""


class Wanted:
    """Whether what a thread does is wanted, and whether it is where it cannot be told."""

    def __init__(self) -> None:
        self.stopped = False
        self.away = 0

    def stop(self) -> None:
        """Wanted no longer: it ends where it waits, or comes to wait."""
        with CHANGED:
            self.stopped = True
            CHANGED.notify_all()


class Task(Wanted):
    """A coroutine in a thread of its own."""

    def __init__(self, wait: Callable[[], Awaitable[Any]], done: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.done = False
        self._error: BaseException | None = None
        self._result: Any = None
        self._wait = wait
        self._tell = done
        threading.Thread(target=self._run, name=f"primus-{name_of(wait)}", daemon=True).start()

    def result(self) -> Any:
        """What came of it."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        async def running() -> Any:
            return await self._wait()

        HERE.wanted = self
        try:
            self._result = finish(running())
        except BaseException as error:
            self._error = error
        with CHANGED:
            self.done = True
            CHANGED.notify_all()
        self._tell()


class Here(threading.local):
    """What is known of the calling thread."""

    wanted = Wanted()
    due = math.inf
    """Until when it may wait, on the monotonic clock."""

    def __init__(self) -> None:
        self.before_waiting: list[Callable[[], object]] = []
        """What a loop would do as soon as whoever runs comes to wait."""


HERE = Here()


def about_to_wait() -> None:
    """To be called by whoever is."""
    calls, HERE.before_waiting = HERE.before_waiting, []
    for call in calls:
        call()


def block(condition: Callable[[], bool]) -> None:
    """Wait until that is so."""
    about_to_wait()
    with CHANGED:
        while not condition():
            if HERE.wanted.stopped:
                raise Stopped
            left = HERE.due - time.monotonic()
            if left <= 0:
                raise Late
            CHANGED.wait(min(left, threading.TIMEOUT_MAX))


class Occurrence:
    """Something that happens once."""

    def __init__(self) -> None:
        self._happened = False

    def set(self) -> None:
        with CHANGED:
            self._happened = True
            CHANGED.notify_all()

    async def wait(self) -> None:
        block(lambda: self._happened)


@contextlib.contextmanager
def away() -> Iterator[float | None]:
    """In here the thread waits for the other end, where nobody can stop it; for so many seconds."""
    about_to_wait()
    wanted, left = HERE.wanted, HERE.due - time.monotonic()
    with CHANGED:
        if wanted.stopped:
            raise Stopped
        wanted.away += 1
        CHANGED.notify_all()
    try:
        yield None if left == math.inf else max(left, 0.0)
    except TimeoutError:
        raise Late from None
    finally:
        with CHANGED:
            wanted.away -= 1


# --- the binding, as if it were to be awaited ---


class Listening:
    """Listeners may return a coroutine: it is run to its end, or until the session is left."""

    @cached_property
    def listeners(self) -> Wanted:
        """Whether what they do is wanted."""
        return Wanted()

    def _listen(self, event: Any, listener: Callable[..., object]) -> None:
        def call(*args: Any) -> None:
            HERE.wanted = self.listeners
            try:
                result = listener(*args)
                if inspect.iscoroutine(result):
                    finish(result)
            except Stopped:
                pass
            finally:
                del HERE.wanted

        call.__qualname__ = name_of(listener)
        super()._listen(event, call)  # type: ignore[misc]


class Waiting(Listening):
    """What waits, to be awaited."""

    async def send(self, data: Any) -> bool:
        with away() as left:
            taken: bool = super().send(data, left)  # type: ignore[misc]
            return taken

    async def room(self) -> None:
        with away() as left:
            super().room(left)  # type: ignore[misc]

    async def wait_ended(self) -> None:
        with away() as left:
            super().wait_ended(left)  # type: ignore[misc]


class Spark(Waiting, threads.Spark):  # type: ignore[misc]
    """A spark."""

    @property
    def listeners(self) -> Wanted:
        """Those of its server."""
        wanted: Wanted = self._server.listeners  # type: ignore[attr-defined]
        return wanted


class Client(Waiting, threads.Client):  # type: ignore[misc]
    """A client."""

    async def id(self) -> str:  # type: ignore[override]
        with away() as left:
            return super().id(left)


class Server(Listening, threads.Server):
    """A server. Whoever has entered it can say that they listen before anything happens."""

    _SPARK = Spark
    _early: list[Event] | None = None
    _begun = False

    def begin(self) -> None:
        """Deliver what has come so far, and from now on all that comes."""
        with self._io:
            early, self._early, self._begun = self._early or [], None, True
            for event in early:
                super()._deliver(event)

    def _deliver(self, event: Event) -> None:
        if self._begun:
            super()._deliver(event)
        else:
            self._early = [*(self._early or ()), event]

    async def close(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
        self.listeners.stop()
        super().close(*args, **options)


class connect(threads.connect):  # noqa: N801  # as in the bindings
    CLIENT = Client

    async def __aenter__(self) -> Client:
        client = self.__enter__()
        assert isinstance(client, Client)
        return client

    async def __aexit__(self, *error: Any) -> None:
        self._client.listeners.stop()  # type: ignore[attr-defined]
        self.__exit__(*error)


class serve(threads.serve):  # noqa: N801  # as in the bindings
    SERVER = Server

    async def __aenter__(self) -> Server:
        server = self.__enter__()
        assert isinstance(server, Server)
        HERE.before_waiting.append(server.begin)
        return server

    async def __aexit__(self, *error: Any) -> None:
        about_to_wait()
        self._server.listeners.stop()  # type: ignore[attr-defined]
        self.__exit__(*error)


async def fetch_spec(*args: Any, **options: Any) -> dict[str, Any]:
    """`primus_io.threads.fetch_spec`."""
    with away():
        return threads.fetch_spec(*args, **options)


# --- the runtime ---


class ThreadsRuntime(Runtime):
    """Plain threads. *On the loop* is the main thread."""

    connect = cast("type[_awaiting.Connect]", connect)
    serve = cast("type[_awaiting.Serve]", serve)
    fetch_spec = staticmethod(fetch_spec)

    def __init__(self) -> None:
        # Its `put` may interrupt itself, as a signal handler does.
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._handlers: list[Callable[[], object]] = []  # what undoes each of them

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = Task(main, done=self.give_up)
        try:
            while (call := self._next()) is not None:
                call()
        finally:
            for undo in reversed(self._handlers):  # those of a task that is given up
                undo()
        if not task.done:
            raise KeyboardInterrupt
        result: T = task.result()
        return result

    def give_up(self) -> None:
        self._calls.put(None)

    def soon(self, function: Callable[[], object]) -> None:
        self._calls.put(function)

    def on_signal(self, number: signal.Signals, function: Callable[[], object]) -> Callable[[], object]:
        handle = partial(super().on_signal, number, function)

        def begin() -> Callable[[], object]:
            self._handlers.append(handle())
            return self._handlers[-1]

        def end() -> None:
            self._handlers.remove(undo)
            undo()

        undo = self._in_main_thread(begin)
        return lambda: self._in_main_thread(end)

    def event(self) -> Occurrence:
        return Occurrence()

    def clock(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.within(seconds, Occurrence().wait)

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> bool:
        outer, due = HERE.due, time.monotonic() + seconds
        HERE.due = min(outer, due)
        try:
            await wait()
        except Late:
            if outer <= due:
                raise
            return False
        finally:
            HERE.due = outer
        return True

    async def race(self, *waits: Callable[[], Awaitable[T]]) -> T:
        tasks = [Task(wait) for wait in waits]
        try:
            block(lambda: any(task.done for task in tasks))
            done = [task for task in tasks if task.done]
        finally:
            for task in tasks:
                task.stop()
            with CHANGED:
                CHANGED.wait_for(lambda: all(task.done or task.away for task in tasks))
        results: list[T] = [task.result() for task in done]
        return results[0]

    def _next(self) -> Callable[[], object] | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._calls.get(timeout=LOOK)

    def _in_main_thread(self, function: Callable[[], T]) -> T:
        """Call something there: nobody else may handle signals."""
        called: Future[T] = Future()
        self.soon(lambda: called.set_result(function()))
        return called.result()
