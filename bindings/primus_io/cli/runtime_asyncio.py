"""The command on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ..asyncio import connect, fetch_spec, serve
from .runtime import Runtime

__all__ = ["AsyncioRuntime"]

T = TypeVar("T")

AGAIN = 0.05  # seconds after which a cancellation that something caught is repeated


class AsyncioRuntime(Runtime):
    """asyncio's tasks and callbacks."""

    connect = connect
    serve = serve
    fetch_spec = staticmethod(fetch_spec)

    _loop: asyncio.AbstractEventLoop | None = None
    _main: asyncio.Task[Any] | None

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def running() -> T:
            self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
            return await main()

        try:
            return asyncio.run(running())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def give_up(self) -> None:
        assert self._loop is not None
        if self._main is not None and not self._main.done():
            self._main.cancel()
            self._loop.call_later(AGAIN, self.give_up)

    def soon(self, function: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(function)

    def on_signal(self, number: signal.Signals, function: Callable[[], object]) -> Callable[[], object]:
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(number, function)
        except NotImplementedError:  # Windows
            return super().on_signal(number, function)
        return lambda: loop.remove_signal_handler(number)

    def event(self) -> asyncio.Event:
        return asyncio.Event()

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def within(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await wait()
        except TimeoutError:
            return False
        return True

    async def race(self, *waits: Callable[[], Awaitable[T]]) -> T:
        async def running(wait: Callable[[], Awaitable[T]]) -> T:
            return await wait()

        tasks = [asyncio.create_task(running(wait)) for wait in waits]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        results = [task.result() for task in tasks if task in done]  # of all that are done: no failure is forgotten
        return results[0]
