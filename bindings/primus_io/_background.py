"""What is behind `primus_io.threads`: one thread that runs the asyncio binding, and workers for users' functions."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

import primus_proto as pp
from primus_proto import events as ev

from . import asyncio as aio
from ._session import DATA_EVENTS, MESSAGE_OVERHEAD, Emitter, Session, as_public, log

__all__ = ["Background", "Client", "Server", "Spark", "background"]

T = TypeVar("T")
Work = queue.SimpleQueue[Callable[[], object]]

IDLE_SECONDS = 5.0  # after which a worker without work ends
IDLE_WORKERS = 12  # may wait for work
# Windows does not interrupt a thread that waits: seconds between two looks for Ctrl-C.
LOOK = 0.5 if sys.platform == "win32" else None


class Background:
    """An event loop in a daemon thread. It stays for the life of the process; nothing has to end it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._idle: list[Work] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="primus-io", daemon=True)
        self._thread.start()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop call a function, after all that was posted before. Does not wait."""
        self._loop.call_soon_threadsafe(function, *args)

    def do(self, function: Callable[[], T]) -> T:
        """Have the loop call a function that does not block, and wait for its result."""

        async def call() -> T:
            return function()

        return function() if threading.current_thread() is self._thread else self.wait(call())

    def wait(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for its end. Raises TimeoutError after `timeout` seconds.

        What interrupts the wait, such as KeyboardInterrupt, cancels the coroutine. Raises LocalProtocolError in the
        loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise pp.LocalProtocolError("this call would block the thread that does the IO: make it in another thread")
        future = asyncio.run_coroutine_threadsafe(_bounded(coroutine, timeout), self._loop)
        try:
            while LOOK is not None and not future.done():
                wait([future], LOOK)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def in_worker(self, function: Callable[..., T], *args: Any) -> T:
        """Call a user's function in a worker thread and wait for it. Cancelling this leaves the function running.

        There are as many workers as calls under way, since a call may wait for another one.
        """
        name = getattr(function, "__qualname__", repr(function))
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()
        try:
            work = self._idle.pop()
        except IndexError:
            work = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(work,), name="primus-worker", daemon=True).start()
        context = contextvars.copy_context()
        work.put(lambda: _settle(done, lambda: context.run(function, *args)))
        try:
            result = await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            log.warning("no longer waiting for %s, which has not returned: it goes on running", name)
            raise
        if inspect.iscoroutine(result):
            result.close()
            raise pp.LocalProtocolError(f"{name} returned a coroutine, which nothing here runs")
        return result

    def _work(self, work: Work) -> None:
        while True:
            try:
                call = work.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                try:
                    self._idle.remove(work)
                except ValueError:
                    continue  # it has just been chosen
                return
            call()
            del call  # an idle worker keeps nothing alive
            if len(self._idle) >= IDLE_WORKERS:
                return
            self._idle.append(work)


async def _bounded(coroutine: Coroutine[Any, Any, T], timeout: float | None) -> T:
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            result = await coroutine
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"not within {timeout:g} seconds") from None
        raise
    return result


def _settle(done: Future[T], function: Callable[[], T]) -> None:
    try:
        done.set_result(function())
    except BaseException as error:
        failure = error
        if not isinstance(error, Exception) or isinstance(error, StopIteration | CancelledError):
            failure = pp.PrimusError(f"a function raised {error!r}")  # as it is, it would stop the loop or a task of it
            failure.__cause__ = error
        done.set_exception(failure)


_current: list[Background] = []
_starting = threading.RLock()


def background() -> Background:
    """The background thread of this process; the first call starts it."""
    with _starting:
        if not _current:
            _current.append(Background())
        return _current[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_current.clear)  # the child has none of its parent's threads


class InTurn(Session):
    """A session whose listeners run in workers. Who hears an event is decided when its turn has come.

    For a `connection` listener, which may add others, runs while more arrives.
    """

    view: Any  # what users hold
    _turns = 0  # of messages, that are to come

    @property
    def _public(self) -> Any:
        return self.view

    async def receive_all(self, received: deque[Any]) -> None:
        """Wait for a value; add it, and all others that are there."""
        received.append(await self.receive())
        while self._inbox:
            event = self._inbox.popleft()
            received.append(event.data)
            self._subtract_unhandled(event.size + MESSAGE_OVERHEAD)

    def _emit_or_log(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        if self._listeners_running:
            self._start_listener(self._tell_in_turn(event, args), 0)
        else:
            super()._emit_or_log(event, args)

    async def _tell_in_turn(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        behind = len(self._listener_queue or ())
        super()._emit_or_log(event, args)
        self._put_first(behind)

    def _deliver_data(self, event: ev.DataReceived | ev.SparkData, heard: bool = False) -> None:
        if heard or self._iterating or not self._listeners_running:
            super()._deliver_data(event, heard)
        else:
            self._keep(event)
            self._give_turn()

    def _give_turn(self) -> None:
        self._turns += 1
        self._start_listener(self._tell_data(self._end_count), 0)

    async def _tell_data(self, ends: int) -> None:
        """Give the first message of the inbox to the listeners, if there are any by now."""
        self._turns -= 1
        if self._inbox and not self._iterating and any(self._listeners.get(kind) for kind in DATA_EVENTS):
            event, behind = self._inbox.popleft(), len(self._listener_queue or ())
            if ends == self._end_count:  # else it came before an end
                self._emit(event, (event.data,), event.size + MESSAGE_OVERHEAD)
            self._subtract_unhandled(event.size + MESSAGE_OVERHEAD)
            self._put_first(behind)

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        """Messages that came while nobody listened have their turn before all that came later."""
        if event in DATA_EVENTS and self._inbox and not self._iterating and not self._io.closed:
            for _ in range(len(self._inbox) - self._turns):
                behind = len(self._listener_queue or ())
                self._give_turn()
                self._put_first(behind)

    def _put_first(self, behind: int) -> None:
        """What was added to the work is next, before what was there already."""
        if self._listener_queue:
            self._listener_queue.rotate(len(self._listener_queue) - behind)


class Client(InTurn, aio.Client):
    """A client on the background loop."""


class Spark(InTurn, aio.Spark):
    """A spark on the background loop."""

    unannounced: ev.SparkConnected | None = None  # its connection, if there was no listener for that yet

    def __init__(self, core: pp.Spark, server: Server) -> None:
        super().__init__(core, server)
        self.view = server.view._SPARK(self, server.view)


class Server(aio.Server):
    """A server on the background loop. Listeners of `initialised` and `connection` hear of what was before them."""

    _SPARK = Spark
    view: Any  # what users hold

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        super()._listen(event, listener)
        if event in ("initialised", ev.Initialised):
            self._start_listener(listener(*((ev.Initialised(),) if event is ev.Initialised else ())), 0)
        elif event in ("connection", ev.SparkConnected):
            for core in self._core:
                spark = self._spark_of(core)
                assert isinstance(spark, Spark)
                missed, spark.unannounced = spark.unannounced, None
                if missed is not None:
                    spark._start_listener(listener(as_public(missed) if event is ev.SparkConnected else spark.view), 0)

    def _emit(self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None) -> bool:
        if type(event) is ev.Initialised:  # each listener hears of it when it comes
            return True
        heard = super()._emit(event, tuple(getattr(arg, "_public", arg) for arg in args), size, owner)
        if not heard and type(event) is ev.SparkConnected:
            event.spark.unannounced = event
        return heard
