"""The limit on the size of a message, as an extension of wsproto's."""

from __future__ import annotations

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

__all__ = ["NO_RSV", "DeclaredLength", "Installed"]

NO_RSV = RsvBits(False, False, False)


class Installed(Extension):
    """An extension that is on without wsproto's having negotiated it."""

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False


class DeclaredLength(Installed):
    """Refuses a frame by its header, before any of its payload is stored."""

    name = "x-declared-length"

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frame = 0
        self.message = 0  # bytes in the finished frames of the message that is under way

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # May be called again for the same header when that was cut short, so it must only set, never add.
        if not opcode.iscontrol():
            self._frame = payload_length
            if self.message + payload_length > self._limit:
                return CloseReason.MESSAGE_TOO_BIG
        return NO_RSV

    def frame_finished(self, message_finished: bool) -> None:
        self.message = 0 if message_finished else self.message + self._frame
