"""Listeners: who is called at an event, and where that is logged if nobody is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, ClassVar, TypeVar

import primus_proto as pp
from primus_proto import events as ev
from primus_proto.event_base import check_event

from ._advice import Advising
from ._io import IO
from ._once import Once

__all__ = ["Emitter", "is_goodbye", "log"]

T = TypeVar("T")

log = logging.getLogger("primus_io")


def is_goodbye(error: BaseException) -> bool:
    """Whether an exception says only that a session has ended, as `receive` does. Groups are looked into."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_goodbye, error.exceptions))
    return isinstance(error, pp.ConnectionLost)


class Emitter(metaclass=Advising):
    """Keeps listeners, by event name or by event class."""

    NAMES: ClassVar[frozenset[str]] = frozenset()
    _ADVICE: ClassVar[Mapping[str, str]] = {}
    """What to do instead of using a member that the original has and this has not."""
    _io: IO
    _core: Any

    def __init__(self) -> None:
        self._listeners: dict[str | type[ev.Event], list[Callable[..., Any]]] = {}

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()) - type(self)._missing)

    def _do(self, function: Callable[[], T]) -> T:
        """Call a function in the thread of the core, which is this one unless a binding says otherwise."""
        return function()

    def _on(self, event: str | type[ev.Event], listener: Callable[..., Any] | None) -> Callable[..., Any]:
        """Do what `on` says. Each kind of emitter has an `on` of its own, for its types (see `_listeners`)."""
        self._check_event(event)
        if listener is None:
            return lambda function: self._on(event, function)
        if not callable(listener):
            raise pp.LocalProtocolError(f"a listener must be callable; got {listener!r}")
        self._listen(event, listener)
        return listener

    def once(self, event: str | type[ev.Event], listener: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Call `listener` at the next `event` only. Usable as a decorator, and otherwise as `on`."""
        self._check_event(event)
        if listener is None:
            return lambda function: self.once(event, function)
        if not callable(listener):
            raise pp.LocalProtocolError(f"a listener must be callable; got {listener!r}")
        self._listen(event, Once(self, event, listener))
        return listener

    def _check_event(self, event: object) -> None:
        """Raise LocalProtocolError unless there is such an event here."""
        check_event(event, self.NAMES, self._core.plugin_events)

    @property
    def _is_finished(self) -> bool:
        """Whether no more events will come."""
        raise NotImplementedError

    def _listen(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        self._do(lambda: self._add(event, listener))

    def _add(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Add a listener, in the thread of the core."""
        self._listeners.setdefault(event, []).append(listener)
        self._listener_added(event)

    def _listener_added(self, event: str | type[ev.Event]) -> None:
        """Called after a listener was added."""

    def _off(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Do what `off` says."""
        self._do(lambda: self._remove(event, listener))

    def _remove(self, event: str | type[ev.Event], listener: Callable[..., Any]) -> None:
        """Remove a listener, in the thread of the core."""
        held = self._listeners.get(event, [])
        same = [place for place, each in enumerate(held) if each is listener]
        equal = [place for place, each in enumerate(held) if each == listener]  # `Once` is equal to what it calls
        for place in (same or equal)[:1]:
            del held[place]
        if not held:
            self._listeners.pop(event, None)

    def _emit(self, event: ev.Event, args: tuple[Any, ...], size: int = 0, owner: Emitter | None = None) -> bool:
        """Call the listeners. Returns whether there are any. `owner` runs coroutines and handles errors."""
        listeners = self._listeners
        owner = owner or self
        by_name = listeners.get(event.name)
        by_class = listeners.get(type(event))
        heard = bool(by_name or by_class)  # asked now: a listener may remove itself
        for listener in by_name.copy() if by_name else ():
            owner._call(listener, args, event.name, size)
        if by_class:
            for listener in by_class.copy():
                owner._call(listener, (event,), event.name, size)
        return heard

    def _emit_or_log(self, event: ev.Event, args: tuple[Any, ...]) -> None:
        """Call the listeners. Without any, log an event that should not go unnoticed."""
        if not self._emit(event, args):
            self._log_unhandled(event)

    def _log_unhandled(self, event: ev.Event) -> None:
        """Log an event that has no listeners, if it matters."""

    def _call(self, listener: Callable[..., Any], args: tuple[Any, ...], event: str, size: int) -> None:
        try:
            result = listener(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # even a CancelledError: the pump must go on
            self._handle_failure(error)
        else:
            if type(result) is CoroutineType:
                self._start_listener(result, listener, event, size)

    def _start_listener(self, coroutine: Coroutine[Any, Any, object], listener: object, event: str, size: int) -> None:
        """Run the coroutine of a listener in the background. `size` is that of a data event, otherwise 0."""
        raise NotImplementedError

    def _handle_failure(self, error: BaseException) -> None:
        """Deal with an exception that a listener or handler raised."""
        raise NotImplementedError
