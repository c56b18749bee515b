"""The thread behind `primus_io.threads`: it runs an asyncio loop. Worker threads call the user's functions."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

import primus_proto as pp

from ._emitter import log

__all__ = ["WAKE_UP", "LoopThread", "loop_thread"]

T = TypeVar("T")

WORKER_IDLE = 5.0  # seconds without work after which a worker thread ends
# Ctrl-C does not interrupt a waiting thread on Windows, so a wait there wakes up this often (seconds).
WAKE_UP = 0.5 if sys.platform == "win32" else None


class LoopThread:
    """An event loop in a daemon thread. It runs for the life of the process and needs no cleanup."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="primus-io", daemon=True)
        self._thread.start()
        self._calls = queue.SimpleQueue[Callable[[], object]]()  # for the workers
        self._idle_workers = threading.Semaphore(0)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop call a function after everything that was posted before. Does not wait."""
        self._loop.call_soon_threadsafe(function, *args)

    def do(self, function: Callable[[], T]) -> T:
        """Have the loop call a function that does not block, and wait for its result."""
        if threading.current_thread() is self._thread:
            return function()

        async def call() -> T:
            return function()

        return self.wait(call())

    def wait(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for it. Raises TimeoutError after `timeout` seconds.

        An exception that interrupts the wait cancels the coroutine. Raises LocalProtocolError in the loop's own thread,
        and ConfigError for a `timeout` that is not a number.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise pp.LocalProtocolError("this call would block the thread that does the IO: make it in another thread")
        given: object = timeout
        if given is not None and (not isinstance(given, int | float) or given != given):
            coroutine.close()
            raise pp.ConfigError(f"timeout must be a number of seconds or None; got {given!r}")

        async def run() -> T:
            try:
                async with asyncio.timeout(timeout):
                    return await coroutine
            except TimeoutError as error:
                if error.args or timeout is None:  # the coroutine raised it
                    raise
                raise TimeoutError(f"not within {timeout:g} seconds") from None

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            while WAKE_UP is not None and not future.done():
                wait([future], WAKE_UP)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def in_worker(self, function: Callable[..., T], *args: Any) -> T:
        """Call a user's function in a worker thread, of which each running call has its own, and wait for it."""
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()
        context = contextvars.copy_context()

        def call() -> None:
            try:
                done.set_result(context.run(function, *args))
            except BaseException as error:
                failure = error
                if not isinstance(error, Exception) or isinstance(error, StopIteration | CancelledError):
                    # as it is, it would stop the loop or a task
                    failure = pp.PrimusError(f"a function raised {error!r}")
                    failure.__cause__ = error
                done.set_exception(failure)

        name = getattr(function, "__qualname__", repr(function))
        self._calls.put(call)
        if not self._idle_workers.acquire(blocking=False):
            threading.Thread(target=self._work, name="primus-worker", daemon=True).start()
        try:
            result = await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            log.warning("no longer waiting for %s, which has not returned; its thread keeps running", name)
            raise
        if inspect.iscoroutine(result):
            result.close()
            raise pp.LocalProtocolError(f"{name} returned a coroutine: primus_io.threads takes only plain functions")
        return result

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=WORKER_IDLE)
            except queue.Empty:
                if self._idle_workers.acquire(blocking=False):
                    return
                continue  # a call counts on this worker
            call()
            del call  # an idle worker must not keep the user's objects alive
            self._idle_workers.release()


_current: list[LoopThread] = []
_starting = threading.RLock()  # reentrant, because a signal handler may call


def loop_thread() -> LoopThread:
    """The loop thread of this process. The first call starts it."""
    with _starting:
        if not _current:
            _current.append(LoopThread())
        return _current[0]
