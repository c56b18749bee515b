"""Transforms: functions of the application that see, change or drop every message of a session (protocol 5.1).

The law kept here: protocol messages never pass through a transform, and a session without transforms pays nothing for
them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from ..errors import EncodeError, LocalProtocolError

__all__ = ["DROP", "Direction", "Packet", "Step", "Transform", "Transforms", "check_transform", "copied"]

Direction = Literal["incoming", "outgoing"]
"""Which messages a transform sees: those that arrive, or those that are written."""


class _Drop:
    """The type of `DROP`."""

    def __repr__(self) -> str:
        return "DROP"


DROP: Final = _Drop()
"""Returned by a transform to drop the message. False means the same, as in the original."""


class Packet:
    """One message on its way through the transforms. A transform changes it by setting `data`."""

    __slots__ = ("data", "deliveries", "raw", "session")

    def __init__(self, data: Any, raw: str | bytes | None, session: Any) -> None:
        self.data: Any = data
        """The value, decoded."""
        self.raw: str | bytes | None = raw
        """The message as it arrived; None for an outgoing one."""
        self.session: Any = session
        """The spark or client, as its user holds it; None in a shared transform of a broadcast."""
        self.deliveries: list[tuple[str, Callable[..., object], tuple[Any, ...]]] | None = None

    def __repr__(self) -> str:
        direction = "outgoing" if self.raw is None else "incoming"
        return f"<Packet {direction} of {self.session!r}>"  # without the data, which may be secret

    def deliver(self, function: Callable[..., object], *args: Any, topic: str = "delivery") -> None:
        """Deliver an incoming message to `function` as well: it is called as a listener of `data` is, in order.

        Where it is a coroutine function, it handles messages of one `topic` one at a time. A transform that drops the
        message thereby redirects it.
        """
        if self.deliveries is None:
            self.deliveries = []
        self.deliveries.append((topic, function, args))


Transform = Callable[[Packet], object]
"""Gets a packet and changes its `data`. Returns None, or `DROP`. It may be async. An exception drops the message."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transform. A shared one is called once for a broadcast, not for each spark."""

    function: Transform
    shared: bool = False


class Transforms:
    """The transforms of one server, spark or client, in the order in which they were added."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming: tuple[Step, ...] = ()
        self.outgoing: tuple[Step, ...] = ()

    def add(self, direction: Direction, function: Transform, *, shared: bool = False) -> None:
        """Add a transform. Adding one a second time changes nothing."""
        check_transform(direction, function)
        steps: tuple[Step, ...] = getattr(self, direction)
        if all(step.function != function for step in steps):
            setattr(self, direction, (*steps, Step(function, shared)))

    def remove(self, direction: Direction, function: Transform) -> None:
        """Remove a transform. Does nothing if it is not there."""
        steps: tuple[Step, ...] = getattr(self, direction)
        setattr(self, direction, tuple(step for step in steps if step.function != function))


def check_transform(direction: object, function: object) -> None:
    """Raise LocalProtocolError unless these can be given to `transform`."""
    if direction not in get_args(Direction):
        raise LocalProtocolError(f"a transform is for 'incoming' or 'outgoing' messages; got {direction!r}")
    if not callable(function):
        raise LocalProtocolError(f"a transform must be a function that takes a Packet; got {function!r}")


def copied(value: Any) -> Any:
    """A copy for one spark. Raises EncodeError for what cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception as error:
        raise EncodeError(f"cannot copy the value for each spark's transforms: {error!r}") from error
