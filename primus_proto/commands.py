"""Commands: what a driver must do, as `poll(now=)` hands it out. They are plain data, compared by value.

Byte endpoints (`ByteServer`, `ByteClient`, `SpecQuery`) give a `Command`, the message seam (`Server`, `Client`) gives a
`MessageCommand`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, dataclass_transform

__all__ = [
    "Abort",
    "Close",
    "CloseChannel",
    "Command",
    "Connect",
    "EndWriting",
    "MessageCommand",
    "OpenChannel",
    "Pause",
    "PauseReading",
    "ProbeChannel",
    "Resume",
    "ResumeReading",
    "SendMessage",
    "Write",
]

T = TypeVar("T")

# A server's `Spark`; None on a client.
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault  # every type checker knows this module

    S = TypeVarWithDefault("S", default=Any)
else:
    S = TypeVar("S")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def message(cls: type[T]) -> type[T]:
    """Make a class of events or commands. It is frozen for type checkers only: frozen objects are slow to make.

    All share two methods that `dataclass` would compile for each, which is a large part of the time to import us.
    """
    made: Any = dataclass(slots=True, repr=False, eq=False)(cls)
    made.__repr__, made.__eq__, made.__hash__ = _repr, _equals, None
    return cast(type[T], made)


def _repr(self: Any) -> str:
    shown = [f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _equals(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _compared(self) == _compared(other)


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, field.name) for field in fields(self) if field.compare)


# --- byte endpoints ---


@message
class OpenChannel:
    """Open a byte stream to `host`:`port`, with TLS if `tls`. Answer by `channel_opened` or `channel_closed`.

    `server_name` is the name to send as SNI, which the certificate must be for; None: `host`. They differ where `host`
    has a trailing dot or an IPv6 zone.
    """

    channel: int
    host: str
    port: int
    tls: bool
    server_name: str | None = None


@message
class Write:
    """Write `data` to each of `channels`. There is one, or for a broadcast all that get the same bytes."""

    channels: tuple[int, ...]
    data: bytes


@message
class EndWriting:
    """Send EOF once everything written has been sent, and go on reading.

    A stream that cannot do this, as TLS cannot, is closed instead, and `channel_closed` is reported.
    """

    channel: int


@message
class CloseChannel:
    """Close the byte stream when everything written has been sent or, with `abort`, at once.

    This is the last command for every channel, even after `channel_closed`. The core ignores later reports about the
    channel.
    """

    channel: int
    abort: bool = False


@message
class PauseReading:
    """Stop reading from the channel until `ResumeReading`. This is back-pressure on the peer."""

    channel: int


@message
class ResumeReading:
    """Read from the channel again."""

    channel: int


@message
class ProbeChannel:
    """Look whether the peer has closed or lost the channel, though reading is paused. If so call `channel_hung_up`.

    A driver that cannot tell does nothing.
    """

    channel: int


Command = OpenChannel | Write | EndWriting | CloseChannel | PauseReading | ResumeReading | ProbeChannel


# --- the message seam: `spark` is the session on a server, and None on a client ---


@message
class Connect:
    """Connect a client's WebSocket to `url` with these extra request headers."""

    url: str = field(repr=False)  # both may hold secrets
    headers: tuple[tuple[str, str], ...] = field(repr=False)


@message
class SendMessage(Generic[S]):
    """Send one WebSocket message: text for str, binary for bytes."""

    data: str | bytes
    spark: S = None  # type: ignore[assignment]
    protocol: bool = field(default=False, compare=False, repr=False)
    """Whether it is a message of the protocol, not of the application."""


@message
class Close(Generic[S]):
    """Close the WebSocket with this code and reason, after everything sent before."""

    code: int = 1000
    reason: str = ""
    spark: S = None  # type: ignore[assignment]


@message
class Abort(Generic[S]):
    """Drop the WebSocket, or the attempt to open one, at once."""

    spark: S = None  # type: ignore[assignment]


@message
class Pause(Generic[S]):
    """Stop taking messages from the WebSocket until `Resume`. This is back-pressure on the peer.

    One message that has already been read may still be given to the session.
    """

    spark: S = None  # type: ignore[assignment]


@message
class Resume(Generic[S]):
    """Take messages from the WebSocket again."""

    spark: S = None  # type: ignore[assignment]


MessageCommand = Connect | SendMessage[S] | Close[S] | Abort[S] | Pause[S] | Resume[S]
