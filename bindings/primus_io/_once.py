"""Listeners that are called once, and waiting for one event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import primus_proto as pp
from primus_proto import events as ev

if TYPE_CHECKING:
    from ._emitter import Emitter

__all__ = ["Once", "wait_for"]

END = ("end", ev.Ended, ev.SparkEnded, "close", ev.ServerClosed)
"""What has happened once there are no more events: `close` is the last event of a server."""


class Once:
    """A listener that removes itself when it is called. It is equal to the function it calls, so `off` finds it."""

    def __init__(self, emitter: Emitter, event: str | type[ev.Event], function: Callable[..., Any]) -> None:
        self.function = function
        self._emitter = emitter
        self._event = event
        self._called = False

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __call__(self, *args: Any) -> Any:
        if not self._called:
            self._called = True
            self._emitter._remove(self._event, self)
            return self.function(*args)


async def wait_for(
    emitter: Emitter,
    event: str | type[ev.Event],
    timeout: float | None,
    until: Callable[[Callable[[], object]], Awaitable[object]],
    wake: Callable[[], object],
) -> Any:
    """Wait for the next `event`. `until(found)` waits for `found()` or the end of all events, and `wake()` wakes it."""
    emitter._check_event(event)
    given: object = timeout
    if given is not None and not (isinstance(given, int | float) and given >= 0):
        raise pp.LocalProtocolError(f"timeout must be a number of seconds, or None for no limit; got {timeout!r}")
    found: list[tuple[Any, ...]] = []

    def note(*args: Any) -> None:
        found.append(args)
        wake()

    once = Once(emitter, event, note)
    emitter._add(event, once)
    try:
        if timeout is None:
            await until(lambda: found)
        else:
            await emitter._io.within(timeout, lambda: until(lambda: found))
    finally:
        emitter._remove(event, once)
    if not found:
        if not emitter._is_finished:
            raise TimeoutError(f"no event {event!r} within {timeout:g} seconds")
        if event in END:
            return None
        raise pp.ConnectionLost(f"{emitter!r} has ended without the event {event!r}")
    arguments = found[0]
    return arguments if len(arguments) > 1 else arguments[0] if arguments else None
