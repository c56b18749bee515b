"""Listeners in the manner of Primus (`on("data", function)`), called in virtual time.

What a listener raises comes out of `run`, so that the test fails.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from .. import events as ev
from ..errors import LocalProtocolError
from ..event_base import check_event
from ..session.extensions import Extensible
from ..session.spark import Spark

__all__ = ["CLIENT_NAMES", "SERVER_NAMES", "Listeners", "VirtualSpark", "check_function"]

F = TypeVar("F", bound=Callable[..., Any])

_CLASSES = [cls for name in ev.__all__ if isinstance(cls := getattr(ev, name), type) and issubclass(cls, ev.Event)]
_SERVER_ONLY = {"connection", "disconnection", "heartbeat-skipped", "flatline"}
SPARK_NAMES = {cls.name for cls in _CLASSES if issubclass(cls, ev.SparkEvent)} - _SERVER_ONLY - {""}
SERVER_NAMES = _SERVER_ONLY | {"initialised", "close", "log", "authorization"}
CLIENT_NAMES = {cls.name for cls in _CLASSES if not issubclass(cls, ev.SparkEvent)} - {
    *("", "initialised", "log", "authorization", "spec"),
}


def check_function(function: object, what: str) -> None:
    """Raise LocalProtocolError for something that is not callable, or that would have to be awaited."""
    if inspect.iscoroutinefunction(function):
        raise LocalProtocolError(f"{what} must be a plain function: nothing on the virtual network awaits")
    if not callable(function):
        raise LocalProtocolError(f"{what} must be a function; got {function!r}")


class Listeners:
    """Functions to call, by documented event name or by event class."""

    _NAMES: frozenset[str] = frozenset()

    @property
    def _core(self) -> Extensible:
        """The client, server or spark of the core."""
        raise NotImplementedError

    def __init__(self) -> None:
        self._listeners: dict[str | type[ev.Event], list[Callable[..., Any]]] = {}

    @overload
    def on(self, event: str | type[ev.Event], listener: F) -> F: ...

    @overload
    def on(self, event: str | type[ev.Event]) -> Callable[[F], F]: ...

    def on(self, event: str | type[ev.Event], listener: F | None = None) -> F | Callable[[F], F]:
        """Call `listener` for each `event`; usable as a decorator. Returns the listener.

        With a documented name, the listener gets the documented arguments; with an event class, the event. Raises
        LocalProtocolError for an unknown name.
        """
        check_event(event, self._NAMES, self._core.plugin_events)
        if listener is None:
            return lambda function: self.on(event, function)
        check_function(listener, "a listener")
        self._listeners.setdefault(event, []).append(listener)
        return listener

    def off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Remove a listener; harmless if there is none."""
        if listener in self._listeners.get(event, ()):
            self._listeners[event].remove(listener)

    def _call_listeners(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        """Call the listeners."""
        by_name, by_class = [*self._listeners.get(event.name, [])], [*self._listeners.get(type(event), [])]
        for listener in by_name:
            listener(*args)
        for listener in by_class:
            listener(event)


class VirtualSpark(Listeners):
    """A spark as a `connection` listener gets it: the core's spark with `on` and `off`."""

    _NAMES = frozenset(SPARK_NAMES)

    def __init__(self, core: Spark) -> None:
        super().__init__()
        self.core = core
        """The core's spark, as events carry it."""

    def __repr__(self) -> str:
        return repr(self.core)

    @property
    def _core(self) -> Spark:
        return self.core

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)
