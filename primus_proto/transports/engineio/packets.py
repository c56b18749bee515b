"""Packets of Engine.IO, and the bodies of requests that carry them (protocol 8.2).

The law kept here: decoding never raises. Anything but a packet becomes one of the kind `BAD`, which ends its body.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..polling import script_form

__all__ = [
    "BAD", "BINARY3", "CLOSE", "MESSAGE", "NOOP", "OPEN", "PING", "PONG", "TEXT3", "TEXT3_ONCE", "TEXT4", "UPGRADE",
    "Decoder", "Framing", "Packet", "jsonp_answer", "jsonp_body", "websocket_packet",
]  # fmt: skip

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = "0123456"
BAD = ""
KINDS = frozenset("0123456")

# The longest length that a packet of protocol 3 may declare, in digits.
DIGITS = 9


class Packet(NamedTuple):
    """One packet. Only messages may have bytes; of one that is `BAD`, the data says what is wrong."""

    kind: str
    data: str | bytes = ""


# --- going out ---


class Framing:
    """How the body of a request or an answer carries packets. A framed packet never depends on its neighbours."""

    name = ""
    content_type = "text/plain; charset=UTF-8"
    separator = b""

    def packet(self, text: str) -> bytes:
        """Frame a packet of text."""
        raise NotImplementedError

    def message(self, payload: str | bytes) -> bytes:
        """Frame a message."""
        if isinstance(payload, str):
            return self.packet(MESSAGE + payload)
        return self.packet("b4" + base64.b64encode(payload).decode("ascii"))


class _Text4(Framing):
    """Protocol 4."""

    name = "engine.io 4"
    separator = b"\x1e"

    def packet(self, text: str) -> bytes:
        return text.encode()

    def message(self, payload: str | bytes) -> bytes:
        if isinstance(payload, str):
            return self.packet(MESSAGE + payload)
        return b"b" + base64.b64encode(payload)


class _Text3(Framing):
    """Protocol 3 as engine.io 1 speaks it: packets are encoded as UTF-8, and then the body is once more."""

    name = "engine.io 3"

    def packet(self, text: str) -> bytes:
        if not text.isascii():
            text = text.encode().decode("latin-1")
        return f"{len(text)}:{text}".encode()


class _Text3Once(Framing):
    """Protocol 3 as engine.io 2 and later speak it: encoded once, and lengths are in UTF-16 units."""

    name = "engine.io 3 once"

    def packet(self, text: str) -> bytes:
        length = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
        return f"{length}:{text}".encode()


class _Binary3(Framing):
    """Protocol 3 for peers that take bytes."""

    name = "engine.io 3 binary"
    content_type = "application/octet-stream"

    def packet(self, text: str) -> bytes:
        return self._framed(0, text.encode())

    def message(self, payload: str | bytes) -> bytes:
        if isinstance(payload, str):
            return self.packet(MESSAGE + payload)
        return self._framed(1, b"\x04" + payload)

    def _framed(self, kind: int, data: bytes) -> bytes:
        return bytes([kind, *map(int, str(len(data))), 255]) + data


TEXT3, TEXT3_ONCE, BINARY3, TEXT4 = _Text3(), _Text3Once(), _Binary3(), _Text4()


def websocket_packet(payload: str | bytes, protocol: int, *, base64_only: bool) -> str | bytes:
    """A message as a WebSocket message."""
    if isinstance(payload, str):
        return MESSAGE + payload
    if base64_only:
        return ("b" if protocol == 4 else "b4") + base64.b64encode(payload).decode("ascii")
    return payload if protocol == 4 else b"\x04" + payload


def jsonp_answer(number: str, body: bytes) -> bytes:
    """A script that hands a body to its callback. `number` is made of digits."""
    return f"___eio[{number}]({json.dumps(body.decode())});".encode()


def jsonp_body(form: bytes) -> bytes:
    """The body in the form of a JSONP client. One that is broken gives a body that is broken, too."""
    data = script_form(form)
    if b"\xff" in data:
        return data  # this is no text
    # The form turns the ends of lines into pairs, so these clients write a line feed as \n, and \n as \\n.
    return data.replace(rb"\\n", b"\xff").replace(rb"\n", b"\n").replace(b"\xff", rb"\n")


# --- coming in ---


class _Bad(Exception):
    """The body has no packet here."""


class Decoder:
    """Decodes what one peer sends."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.once: bool | None = None
        """Protocol 3: whether the peer encodes text once or twice; None while nothing has shown it."""

    def websocket(self, data: str | bytes) -> Packet:
        """A WebSocket message."""
        if isinstance(data, str):
            return self._text(data)
        if self.protocol == 4:
            return Packet(MESSAGE, data)
        return _typed(data)

    def body(self, body: bytes, *, binary: bool = False) -> Iterator[Packet]:
        """The packets of a body, one at a time."""
        packets = self._binary3(body) if binary else self._text4(body) if self.protocol == 4 else self._text3(body)
        try:
            for packet in packets:
                yield packet
                if packet.kind == BAD:
                    return
        except _Bad as bad:
            yield Packet(BAD, str(bad))

    def _text4(self, body: bytes) -> Iterator[Packet]:
        start = 0
        while start <= len(body):
            end = body.find(b"\x1e", start)
            end = len(body) if end < 0 else end
            try:
                text = body[start:end].decode()
            except UnicodeDecodeError:
                raise _Bad("not UTF-8") from None
            yield self._text(text)
            start = end + 1

    def _text3(self, body: bytes) -> Iterator[Packet]:
        try:
            units = body.decode().encode("utf-16-le")
        except UnicodeDecodeError:
            raise _Bad("not UTF-8") from None
        position = 0
        while position < len(units):
            colon = units.find(b":\0", position, position + 2 * DIGITS + 2)
            digits = units[position : max(colon, position)].decode("utf-16-le", "replace")
            if not (digits.isascii() and digits.isdecimal()):
                raise _Bad("no length")
            start = colon + 2
            position = start + 2 * int(digits)
            if position > len(units):
                raise _Bad("cut off")
            yield self._text3_packet(units[start:position].decode("utf-16-le", "replace"))

    def _text3_packet(self, text: str) -> Packet:
        if not text.isascii():
            try:
                text = text.encode("latin-1").decode()
                self.once = False
            except UnicodeError:
                self.once = True
        return self._text(text)

    def _binary3(self, body: bytes) -> Iterator[Packet]:
        position = 0
        while position < len(body):
            end = body.find(b"\xff", position, position + DIGITS + 2)
            digits = body[position + 1 : max(end, position)]
            if body[position] > 1 or not digits or max(digits) > 9:
                raise _Bad("no length")
            start = end + 1
            text, position = body[position] == 0, start + int("".join(map(str, digits)))
            if position > len(body):
                raise _Bad("cut off")
            data = body[start:position]
            if not text:
                yield _typed(data)
                continue
            try:
                decoded = data.decode()
            except UnicodeDecodeError:
                raise _Bad("not UTF-8") from None
            yield self._text(decoded)

    def _text(self, text: str) -> Packet:
        kind = text[:1]
        if kind in KINDS and kind:
            return Packet(kind, text[1:])
        if kind != "b":
            return Packet(BAD, f"no packet: {text[:20]!r}")
        try:
            data = base64.b64decode(text[1:] if self.protocol == 4 else text[2:], validate=True)
        except (binascii.Error, ValueError):
            return Packet(BAD, "not base64")
        if self.protocol == 3 and text[1:2] != MESSAGE:
            return Packet(BAD, "bytes in a packet other than a message")
        return Packet(MESSAGE, data)


def _typed(data: bytes) -> Packet:
    """A packet of bytes with its type in front, as protocol 3 has it."""
    return Packet(MESSAGE, data[1:]) if data[:1] == b"\x04" else Packet(BAD, "bytes in a packet other than a message")


def joined(framing: Framing, packets: Iterable[bytes]) -> bytes:
    """Make a body of framed packets."""
    return framing.separator.join(packets)
