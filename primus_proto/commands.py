"""What a driver must do, in order. Commands are plain data: equal by value, never changed once made.

`commands(now=)` hands them over and forgets them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from .session.spark import Spark

__all__ = [
    "Abort",
    "Close",
    "CloseChannel",
    "Command",
    "Connect",
    "OpenChannel",
    "Pause",
    "PauseReading",
    "Resume",
    "ResumeReading",
    "SendMessage",
    "Write",
]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def message(cls: type[T]) -> type[T]:
    """Make a message class: slotted at run time, frozen for the type checker (a frozen one costs 4x to make)."""
    return dataclass(slots=True)(cls)


@message
class OpenChannel:
    """Open a byte stream to `host`:`port`, TLS inside it where `tls`; answer `channel_opened` or `channel_closed`."""

    channel: int
    host: str
    port: int
    tls: bool


@message
class Write:
    """Write `data` to each of `channels`: one of them, or for a broadcast all that get the very same bytes."""

    channels: tuple[int, ...]
    data: bytes


@message
class CloseChannel:
    """Close the byte stream: after what was written has left, or at once and without regard when `abort`.

    The last command for every channel, also for one whose `channel_closed` came first. The core has forgotten it;
    whatever the driver still says about it is ignored.
    """

    channel: int
    abort: bool = False


@message
class PauseReading:
    """Stop reading from the channel until `ResumeReading`: back-pressure for the peer."""

    channel: int


@message
class ResumeReading:
    """Read from the channel again."""

    channel: int


@message
class Connect:
    """Message seam, client: connect a WebSocket to `url` with these extra request headers."""

    url: str
    headers: tuple[tuple[str, str], ...]


@message
class SendMessage:
    """Message seam: send one WebSocket message, text for str and binary for bytes.

    `spark` is the server-side session whose WebSocket is meant; None on a client.
    """

    data: str | bytes
    spark: Spark | None = None
    own: bool = field(default=False, compare=False, repr=False)
    """Whether it is one of the protocol's own messages."""


@message
class Close:
    """Message seam: close the WebSocket politely with this code and reason."""

    code: int = 1000
    reason: str = ""
    spark: Spark | None = None


@message
class Abort:
    """Message seam: drop the WebSocket, or the attempt to open one, at once."""

    spark: Spark | None = None


@message
class Pause:
    """Message seam: take nothing more from the WebSocket until `Resume`: back-pressure for the peer.

    One message that is under way already may still be given to the session.
    """

    spark: Spark | None = None


@message
class Resume:
    """Message seam: take messages from the WebSocket again."""

    spark: Spark | None = None


Command = (
    OpenChannel
    | Write
    | CloseChannel
    | PauseReading
    | ResumeReading
    | Connect
    | SendMessage
    | Close
    | Abort
    | Pause
    | Resume
)
