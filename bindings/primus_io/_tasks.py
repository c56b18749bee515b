"""What asyncio has no nursery for: tasks that one of themselves may wait for or stop.

The law kept here: of two tasks that both wait for all the others neither waits for the other, for that would be for
ever; and a task that is stopped has begun, so that it can clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

__all__ = ["Tasks"]


class Tasks:
    """The tasks of one driver."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._all: set[asyncio.Task[None]] = set()
        self._waiting: list[asyncio.Task[Any] | None] = []
        self.closed = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task; not at all once these are closed."""
        if self.closed:
            coroutine.close()
            return
        task = self._loop.create_task(coroutine)
        self._all.add(task)
        task.add_done_callback(self._all.discard)

    async def finish(self) -> None:
        """Wait for the others to end by themselves."""
        with self.waiting():
            if tasks := self._others():
                await asyncio.wait(tasks)

    async def stop(self, more: Callable[[], bool], stop_more: Callable[[], Awaitable[object]]) -> None:
        """Cancel the others until there are none; and while there is `more` to stop, have that done too."""
        with self.waiting():
            while True:
                await asyncio.sleep(0)  # what was started just now begins
                tasks = self._others()
                if not tasks and not more():
                    break
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, stop_more(), return_exceptions=True)
        self.closed = True

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The current task waits for the others in here: they do not wait for it."""
        current = asyncio.current_task()
        self._waiting.append(current)
        try:
            yield
        finally:
            self._waiting.remove(current)

    def _others(self) -> list[asyncio.Task[None]]:
        current = asyncio.current_task()
        spared = self._waiting if current in self._all else [current]
        return [task for task in self._all if task not in spared]
