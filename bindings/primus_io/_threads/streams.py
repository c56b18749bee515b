"""The byte streams of the threads binding, TLS included. None ever blocks.

The law kept here: everything happens under the driver's lock, in whichever thread, and selecting and closing are the
IO thread's. TLS is bytes to bytes, above the socket, so a socket is read when it is readable and written when it is
writable, whatever TLS has to say.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING

from .._portion import Portion
from .selector import Watched

if TYPE_CHECKING:
    from ..threads import Driver
    from .sockets import Opening

__all__ = ["Channel", "SecureLayer"]

# Above HIGH unsent bytes the core keeps what else there is to itself, until they are below LOW.
HIGH = 64 * 1024
LOW = HIGH // 4

PIECE = 256 * 1024  # what is encrypted in one go


class SecureLayer:
    """TLS, without a socket."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self.established = False
        self.ended = False
        """Whether the other end has said that no more comes."""
        self.more = False
        """Whether there may be more to decrypt than was."""

    def feed(self, data: memoryview) -> None:
        """Bytes came; none: the connection is at its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def decrypt(self, most: int) -> bytes:
        """What came, so many bytes of it at the most; raises SSLError. See then what is to be sent."""
        plain = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            while len(plain) < most and (piece := self._read(most - len(plain))):
                plain += piece
        self.more = len(plain) == most
        return bytes(plain)

    def _read(self, most: int) -> bytes:
        try:
            piece = self._tls.read(most)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            piece = b""
        self.ended = self.ended or not piece
        return piece

    def begin(self) -> None:
        """The first word, where it is ours to say."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()

    def encrypt(self, data: bytes) -> None:
        """Have it sent."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[:PIECE]) :]

    def say_goodbye(self) -> None:
        """Have the other end told that no more comes."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()

    def to_send(self) -> bytes:
        """What there is to be sent."""
        return self._outgoing.read()


class Channel(Watched):
    """One byte stream that is up, or but for TLS."""

    def __init__(
        self,
        driver: Driver,
        sock: socket.socket,
        *,
        secure: SecureLayer | None,
        peer: object = None,
        opening: Opening | None = None,
    ) -> None:
        super().__init__(driver.loop, sock)
        with contextlib.suppress(OSError):  # no such thing on a Unix socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.up = False
        self._number = 0
        self._peer = peer
        self._opening = opening
        self._driver = driver
        self._secure = secure
        self._portion = Portion()
        self._reading = True
        self._at_end = self._closing = self._blocked = False
        self._unsent: deque[memoryview] = deque()
        self._waiting = 0  # bytes of those
        self._timer = self.loop.timer(self._late)
        self._turn = self.loop.timer(self._go_on)
        driver.streams.add(self)

    def begin(self) -> None:
        """Once the driver knows it."""
        if self._secure is None:
            self._begin()
        else:
            self.loop.arm(self._timer, time.monotonic() + self._driver.endpoint.limits.handshake)
            if self._opening is not None:
                self._secure.begin()
            self._send(self._secure.to_send())
        self._select()

    def _begin(self) -> None:
        self.up = True
        number = 0
        if self._opening is not None:
            number = self._opening.command.channel
            self._opening.done()
        self._number = self._driver.channel_up(self, number, self._peer)
        self._driver.pump()

    # --- what the driver does ---

    def write(self, data: bytes) -> None:
        if self._secure is not None:
            self._secure.encrypt(data)
            data = self._secure.to_send()
        self._send(data)

    def read(self, reading: bool) -> None:
        self._reading = reading
        self._select()
        self._ask_for_turn()

    def close(self, abort: bool) -> None:
        """After what was written has left, but not for longer than `Limits.close`; or at once."""
        if self._secure is not None and not abort:
            self._secure.say_goodbye()
            self._send(self._secure.to_send())
        self._closing = True
        if self._unsent and not abort:
            self.loop.arm(self._timer, time.monotonic() + self._driver.endpoint.limits.close)
            self._select()
        else:
            self.drop()

    def drop(self) -> None:
        if not self.disposed:
            self._unsent.clear()
            self.loop.arm(self._timer, None)
            self.loop.arm(self._turn, None)
            self.dispose(lambda: self._driver.gone(self))

    # --- what the socket says ---

    def ready(self, mask: int) -> None:
        with self._driver:
            if mask & EVENT_WRITE and not self.disposed:
                self._flush()
            if mask & EVENT_READ and not self.disposed and self._wants_to_read() and not self._holds_back():
                self._receive()
            self._driver.pump()

    def failed(self) -> None:
        with self._driver:
            self.drop()
            self._lost("the binding failed")

    def _go_on(self) -> None:
        """The turn of what TLS holds back."""
        with self._driver:
            try:
                if not self.disposed and self._wants_to_read():
                    self._receive()
                self._driver.pump()
            except Exception:
                self.failed()
                raise

    def _holds_back(self) -> bool:
        """Whether TLS has more than the last portion was. What the socket has comes behind that."""
        return self._secure is not None and self._secure.more

    def _ask_for_turn(self) -> None:
        """The socket cannot be what wakes us: it may have nothing."""
        if self._holds_back() and self._wants_to_read() and not self.disposed:
            self.loop.arm(self._turn, time.monotonic())

    def _receive(self) -> None:
        secure, most, buffer = self._secure, self._portion.size, self.loop.buffer
        data: memoryview | bytes
        try:
            if secure is None:
                data = buffer[: self.sock.recv_into(buffer, most)]
                at_end = not data
            elif secure.more:
                data, at_end = self._decrypt(secure, most), secure.ended
            else:
                fed = buffer[: self.sock.recv_into(buffer)]
                secure.feed(fed)
                data, at_end = self._decrypt(secure, most), secure.ended or not fed
        except (BlockingIOError, InterruptedError):
            return
        except OSError as failure:
            self._lost(failure)
            return
        if data:
            self._driver.receive(self._number, data, self._portion)
            self._ask_for_turn()
        if at_end and not self._at_end:
            self._at_end = True
            self._select()
            self._lost(None)

    def _decrypt(self, secure: SecureLayer, most: int) -> bytes:
        try:
            plain = secure.decrypt(most)
        finally:
            self._send(secure.to_send())  # be it an alert
        if secure.established and not self.up:
            self.loop.arm(self._timer, None)
            self._begin()
        return plain

    def _send(self, data: bytes) -> None:
        if not data or self.disposed or self._closing:
            return
        view = memoryview(data)
        if not self._unsent:
            view = view[self._sent(view) :]
        if view and not self.disposed:
            self._unsent.append(view)
            self._waiting += len(view)
            if self._waiting > HIGH and self.up and not self._blocked:
                self._blocked = True
                self._driver.endpoint.channel_blocked(self._number)
            self._select()

    def _flush(self) -> None:
        while self._unsent:
            view = self._unsent[0]
            sent = self._sent(view)
            if self.disposed:
                return
            self._waiting -= sent
            if sent < len(view):
                self._unsent[0] = view[sent:]
                break
            self._unsent.popleft()
        if self._blocked and self._waiting <= LOW:
            self._blocked = False
            self._driver.endpoint.channel_writable(self._number, now=self._driver.now())
        if self._closing and not self._unsent:
            self.drop()
        self._select()

    def _sent(self, view: memoryview) -> int:
        try:
            return self.sock.send(view)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as failure:
            self._unsent.clear()
            self._waiting = 0
            self._lost(failure)
            return len(view)

    def _late(self) -> None:
        with self._driver:
            if not self.up:
                self._lost(TimeoutError("the TLS handshake took too long"))
            elif self._closing:
                self.drop()

    def _lost(self, why: Exception | str | None) -> None:
        """No more comes; None: that is all there is to it."""
        if self._closing:
            self.drop()
        elif self.up:
            self._driver.channel_closed(self._number, None if why is None else str(why))
        elif self._opening is not None:
            self._opening.fail(why if isinstance(why, Exception) else ConnectionError(why or "closed"))
        else:
            self.drop()  # a client that never got as far as to say something

    def _wants_to_read(self) -> bool:
        return self._reading and not self._at_end and not self._closing

    def _select(self) -> None:
        self.want(self._wants_to_read() * EVENT_READ | bool(self._unsent) * EVENT_WRITE)
