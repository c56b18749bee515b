"""`Event`, the base class of all events, and the check of what a listener is for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from .errors import LocalProtocolError

__all__ = ["Event", "check_event"]


class Event:
    """Base class of all events."""

    __slots__ = ()
    name: ClassVar[str] = ""

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments for a listener that is registered under the documented name."""
        return ()


def check_event(event: object, names: Collection[str]) -> None:
    """Raise LocalProtocolError for an event that is neither one of `names` nor a class of `primus_proto.events`."""
    if isinstance(event, str):
        if event not in names:
            known = ", ".join(sorted(names))
            raise LocalProtocolError(f"there is no event {event!r} here; there are: {known}")
    elif not (isinstance(event, type) and issubclass(event, Event)):
        raise LocalProtocolError(f"an event is a name, or a class of primus_proto.events; got {event!r}")
