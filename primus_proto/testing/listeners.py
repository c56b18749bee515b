"""Listeners in the manner of Primus (`on("data", function)`), called in virtual time.

The law kept here: what a listener raises goes up through `run` to the test that called it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from .. import events as ev
from ..errors import LocalProtocolError
from ..session.spark import Spark

__all__ = ["Listeners", "VirtualSpark", "plain"]

F = TypeVar("F", bound=Callable[..., Any])

_CLASSES = [cls for name in ev.__all__ if isinstance(cls := getattr(ev, name), type) and issubclass(cls, ev.Event)]
_OF_THE_SERVER = {"connection", "disconnection", "heartbeat-skipped", "flatline"}
SPARK_NAMES = {cls.name for cls in _CLASSES if issubclass(cls, ev.SparkEvent)} - _OF_THE_SERVER - {""}
SERVER_NAMES = _OF_THE_SERVER | {"initialised", "close", "log", "authorization"}
CLIENT_NAMES = {cls.name for cls in _CLASSES if not issubclass(cls, ev.SparkEvent)} - {
    *("", "initialised", "log", "authorization", "spec"),
}


def plain(function: object, what: str) -> None:
    """Raise LocalProtocolError for what cannot be called, or would have to be awaited."""
    if inspect.iscoroutinefunction(function):
        raise LocalProtocolError(f"nothing awaits here: {what} is a plain function")
    if not callable(function):
        raise LocalProtocolError(f"{what} is a function; got {function!r}")


class Listeners:
    """Functions to call, by documented event name or by event class."""

    _NAMES: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._listeners: dict[str | type[ev.Event], list[Callable[..., Any]]] = {}

    @overload
    def on(self, event: str | type[ev.Event], listener: F) -> F: ...

    @overload
    def on(self, event: str | type[ev.Event]) -> Callable[[F], F]: ...

    def on(self, event: str | type[ev.Event], listener: F | None = None) -> F | Callable[[F], F]:
        """Call `listener` at each `event`; usable as a decorator. Returns the listener.

        Under a documented name it gets what the documentation says; under an event class, the event. Raises
        LocalProtocolError for a name that does not exist.
        """
        ev.check_event(event, self._NAMES)
        if listener is None:
            return lambda function: self.on(event, function)
        plain(listener, "a listener on the virtual network")
        self._listeners.setdefault(event, []).append(listener)
        return listener

    def off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Undo one `on`; harmless where there was none."""
        if listener in self._listeners.get(event, ()):
            self._listeners[event].remove(listener)

    def _hear(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        """Call the listeners."""
        by_name, by_class = [*self._listeners.get(event.name, [])], [*self._listeners.get(type(event), [])]
        for listener in by_name:
            listener(*args)
        for listener in by_class:
            listener(event)


class VirtualSpark(Listeners):
    """A spark as a `connection` listener gets it: `on` and `off`, and all that the core's spark has."""

    _NAMES = frozenset(SPARK_NAMES)

    def __init__(self, core: Spark) -> None:
        super().__init__()
        self.core = core
        """The core's spark, as events carry it."""

    def __repr__(self) -> str:
        return repr(self.core)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)
