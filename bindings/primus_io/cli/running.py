"""Running a subcommand until it ends or is asked to: by a signal, or because nobody reads its output any more."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from .output import Output

T = TypeVar("T")


@contextmanager
def stopping(output: Output) -> Iterator[asyncio.Event]:
    """Give an event that asks the current task to end gracefully; one more signal after that cancels the task."""
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def signalled() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    output.loop, output.on_broken = loop, stop.set
    with ExitStack() as undo:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                continue  # this system has none, or we run under nohup
            try:
                loop.add_signal_handler(number, signalled)
                undo.callback(loop.remove_signal_handler, number)
            except NotImplementedError:  # Windows
                before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(signalled))
                undo.callback(signal.signal, number, before)
        yield stop


async def race(*coroutines: Coroutine[Any, Any, T]) -> T:
    """Run all of them until one ends, cancel the others, and return or raise what the first one did."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    results = [task.result() for task in tasks if task in done]  # raises what any of them raised
    return results[0]
