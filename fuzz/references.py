"""What other implementations of WebSocket make of the same bytes: wsproto, and the sans-IO protocol of `websockets`."""

from __future__ import annotations

import codecs
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from primus_proto.errors import DecodeError
from primus_proto.parsers import get_parser

__all__ = ["RawParser", "close_code", "read_by_websockets", "read_by_wsproto", "regular_frames"]


class RawParser:
    """Values are WebSocket messages."""

    name = "raw"
    binary = True

    def encode(self, value: Any) -> str | bytes:
        """Something to send."""
        return repr(value)

    def decode(self, data: str | bytes) -> Any:
        """The message."""
        return data


def read_by_wsproto(data: bytes) -> list[object]:
    """The JSON values in the bytes of a client, until its close or an error."""
    framing = FrameProtocol(client=False, extensions=[])
    framing.receive_bytes(data)
    found: list[object] = []
    parser, parts = get_parser("json"), b""
    try:
        for frame in framing.received_frames():
            if frame.opcode.iscontrol():
                if frame.opcode.name == "CLOSE":
                    break
                continue
            payload: Any = frame.payload
            parts += payload.encode() if isinstance(payload, str) else bytes(payload)
            if frame.message_finished:
                text, parts = parts, b""
                try:
                    value = parser.decode(text.decode() if isinstance(payload, str) else text)
                except DecodeError:
                    continue
                if not (isinstance(value, str) and value.startswith("primus::")):
                    found.append(value)
    except ParseFailed:
        pass
    return found


def read_by_websockets(data: bytes, limit: int) -> tuple[list[str | bytes], set[int | None]]:
    """The messages in the bytes of a client, and what the code of the close that answers them may be; None: no close.

    `websockets` leaves it to its user to put fragments together and to decode text.
    """
    protocol = Protocol(SERVER, state=OPEN, max_size=limit)
    protocol.receive_data(data)
    messages: list[str | bytes] = []
    parts, decoder = b"", codecs.getincrementaldecoder("utf-8")()
    text = False
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            continue
        parts += frame.data
        try:
            if text:
                decoder.decode(frame.data, frame.fin)
        except UnicodeDecodeError:
            return messages, {1007}
        if frame.fin:
            messages.append(parts.decode() if text else parts)
            parts = b""
            decoder.reset()
    assert protocol.parser_exc is None or isinstance(protocol.parser_exc, WebSocketException | UnicodeDecodeError)
    if "incomplete fragmented message" in str(protocol.parser_exc):  # a close is allowed there (RFC 6455, 5.4)
        return messages, set(range(1000, 5000))
    if isinstance(protocol.parser_exc, UnicodeDecodeError):  # the reason of a close, whose code may be bad as well
        return messages, {1007, 1002}
    code = protocol.close_sent.code if protocol.close_sent is not None else None
    return messages, {1002 if code == 1014 else code}  # "bad gateway", which wsproto does not know


def regular_frames(data: bytes) -> bytes:
    """The whole frames at the beginning, up to one whose length takes more bytes than needed or is above 2**63.

    Such a frame breaks RFC 6455 (5.2). We refuse it, as wsproto does, and `websockets` reads it.
    """
    position = 0
    while len(data) - position >= 2:
        length, size = data[position + 1] & 0x7F, 2 + 4 * (data[position + 1] >> 7)
        if length > 125:
            more = 2 if length == 126 else 8
            length = int.from_bytes(data[position + 2 : position + 2 + more])
            size += more
            if not (125 if more == 2 else 65535) < length < 1 << 63:
                break
        if position + size + length > len(data):
            break
        position += size + length
    return data[:position]


def close_code(output: bytes) -> int | None:
    """The code of the close frame among a server's frames; 1005 if it has none, None if there is no close frame."""
    position = 0
    while position < len(output):
        length, start = output[position + 1], position + 2
        if length > 125:
            start += 2 if length == 126 else 8
            length = int.from_bytes(output[position + 2 : start])
        if output[position] == 0x88:
            return int.from_bytes(output[start : start + 2]) if length else 1005
        position = start + length
    return None
