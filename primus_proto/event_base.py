"""`Event`, the base class of all events, `AttemptHeld`, which only hosts see, and the check of names for listeners."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from .commands import message
from .errors import LocalProtocolError

__all__ = ["AttemptHeld", "Event", "check_event"]


class Event:
    """Base class of all events."""

    __slots__ = ()
    name: ClassVar[str] = ""

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments for a listener that is registered under the documented name."""
        return ()


@message
class AttemptHeld(Event):
    """An attempt to connect waits for options that are functions, until `Client.resume_attempt` (protocol 4.3)."""

    name = "attempt held"
    id: int


def check_event(event: object, names: Collection[str], plugins: Mapping[str, type[Event] | None]) -> None:
    """Raise LocalProtocolError unless it is one of `names`, a class of `primus_proto.events`, or one of `plugins`."""
    if isinstance(event, str):
        if event not in names and plugins.get(event) is None:
            known = ", ".join(sorted({*names, *(name for name, kind in plugins.items() if kind is not None)}))
            raise LocalProtocolError(f"there is no event {event!r} here; there are: {known}")
    elif not (isinstance(event, type) and issubclass(event, Event)):
        raise LocalProtocolError(f"an event is a name, or a class of primus_proto.events; got {event!r}")
