"""Ending when asked to: SIGINT, SIGTERM and, where they exist, SIGHUP and Windows' SIGBREAK.

The first one asks to end gracefully; whoever sends another does not want to wait for the other end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from .runtime import Runtime

__all__ = ["Stop", "stopping"]


class Stop:
    """Whether, and by what, the command was asked to end."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._asked = False
        self._event = runtime.event()
        self.reason = ""

    def __bool__(self) -> bool:
        return self._asked

    def ask(self, reason: str) -> None:
        """End gracefully; when asked by a second signal, at once. To be called on the loop."""
        if not self._asked:
            self.reason = reason
            self._asked = True
            self._event.set()
        elif reason:
            self._runtime.give_up()

    async def wait(self) -> None:
        """Wait to be asked."""
        await self._event.wait()

    @contextmanager
    def continuing(self, function: Callable[[], object]) -> Iterator[None]:
        """Call a function whenever the process goes on after it was stopped (Ctrl-Z); POSIX only."""
        undo = self._runtime.on_signal(signal.SIGCONT, function)
        try:
            yield
        finally:
            undo()


@contextmanager
def stopping(runtime: Runtime) -> Iterator[Stop]:
    """Turn signals into a `Stop`."""
    stop = Stop(runtime)
    with ExitStack() as undo:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            # nohup, too, is something one asks for
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                undo.callback(runtime.on_signal(number, _asking(stop, name)))
        yield stop


def _asking(stop: Stop, name: str) -> Callable[[], object]:
    return lambda: stop.ask(name)
