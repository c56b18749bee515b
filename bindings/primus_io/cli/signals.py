"""Ending when asked to: SIGINT, SIGTERM and, where they exist, SIGHUP and Windows' SIGBREAK.

The first one asks to end gracefully; whoever sends another does not want to wait for the other end.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stop", "stopping"]

AGAIN = 0.05  # seconds after which a cancellation that something caught is repeated


class Stop:
    """Whether, and by what, the command was asked to end."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self.reason = ""

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def ask(self, reason: str) -> None:
        """End gracefully; when asked by a second signal, at once."""
        if not self:
            self.reason = reason
            self._asked.set()
        elif reason:
            self._cancel()

    async def wait(self) -> None:
        """Wait to be asked."""
        await self._asked.wait()

    @contextmanager
    def continuing(self, function: Callable[[], object]) -> Iterator[None]:
        """Call a function whenever the process goes on after it was stopped (Ctrl-Z); POSIX only."""
        self._loop.add_signal_handler(signal.SIGCONT, function)
        try:
            yield
        finally:
            self._loop.remove_signal_handler(signal.SIGCONT)

    def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._loop.call_later(AGAIN, self._cancel)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Turn signals into a `Stop` for the current task. The main thread's loop only: signals come nowhere else."""
    stop = Stop()
    undo: list[Callable[[], object]] = []
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            # nohup, too, is something one asks for
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                undo.append(_handle(number, stop, name))
        yield stop
    finally:
        for function in undo:
            function()


def _handle(number: signal.Signals, stop: Stop, name: str) -> Callable[[], object]:
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, stop.ask, name)
    except NotImplementedError:  # Windows

        def handler(*_: Any) -> None:
            loop.call_soon_threadsafe(stop.ask, name)

        before = signal.signal(number, handler)
        return lambda: signal.signal(number, before)
    return lambda: loop.remove_signal_handler(number)
