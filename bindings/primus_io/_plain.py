"""Plain sockets on a selector loop or uvloop, accepted at once, with a transport that takes fewer steps than theirs.

asyncio starts a task for each connection that it accepts, and turns its loop four times before it reads. Here the
connection is up in the turn in which it is accepted, and its transport is a third of the size. On Linux the loop sees
one descriptor for all of them. That saves its steps for each socket that can be read, and these are read together.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ._liveness import INHERITED, keep_alive

__all__ = ["PlainTransport", "accept_from"]

# Flow control as in asyncio: the protocol is told when more than HIGH bytes wait, and again when LOW are left.
HIGH = 64 * 1024
LOW = HIGH // 4

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 1.0
"""Seconds without accepting when the system has no more descriptors or memory."""

TOGETHER = 32
"""Sockets that are read, at most, in one turn of the loop, before what that causes is written. So each takes fewer
steps, and handlers take the values of some before those of others push them out of the processor's cache."""


def accept_from(
    loop: asyncio.AbstractEventLoop,
    listener: socket.socket,
    protocol: Callable[[], asyncio.BufferedProtocol],
    host: Host,
) -> Callable[[], None]:
    """Accept connections, one in each turn of the loop. Returns a function that stops, and closes the listener."""
    again: asyncio.TimerHandle | None = None
    readers: Readers = EpollReaders(loop, host) if sys.platform == "linux" else loop
    if INHERITED:
        send_at_once(listener)
        keep_alive(listener)

    def accept() -> None:
        nonlocal again
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            context = {"message": "socket.accept() out of system resource", "exception": error, "socket": listener}
            loop.call_exception_handler(context)
            loop.remove_reader(listener)
            again = loop.call_later(PAUSE, loop.add_reader, listener, accept)
            return
        try:
            sock.setblocking(False)
            if not INHERITED:
                send_at_once(sock)
            PlainTransport(loop, readers, sock, peer, protocol())
        except BaseException:
            sock.close()
            raise

    def stop() -> None:
        nonlocal readers
        if again is not None:
            again.cancel()
        if listener.fileno() >= 0:  # it was not stopped before
            loop.remove_reader(listener)
            listener.close()
        readers = loop  # so that the descriptor of the epoll closes with the last connection

    loop.add_reader(listener, accept)
    return stop


def send_at_once(sock: socket.socket) -> None:
    """Have the system send small pieces without waiting for more, as asyncio does."""
    with contextlib.suppress(OSError):  # it is a Unix socket, or the peer has left
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Host(Protocol):
    """Whose sockets they are."""

    settling: bool
    """Whether a timer has fired that is believed once everything was read that has arrived."""

    def gather(self, read: Callable[[], None]) -> None:
        """Call `read`, which reads from several sockets, and do what that causes when it has returned."""


class Readers(Protocol):
    """Who calls when a socket can be read: a loop, or `EpollReaders`."""

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call when there is something to read."""

    def remove_reader(self, fd: int) -> object:
        """Call no more."""


class EpollReaders:
    """Many sockets that are one reader of the loop: an epoll descriptor can be waited for, as a socket can."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: Host) -> None:
        self._loop = loop
        self._host = host
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """See `Readers`."""
        self._epoll.register(fd, select.EPOLLIN)
        if not self._callbacks:
            self._loop.add_reader(self._epoll.fileno(), self._call)
        self._callbacks[fd] = callback

    def remove_reader(self, fd: int) -> None:
        """See `Readers`."""
        del self._callbacks[fd]
        with contextlib.suppress(OSError):  # it was closed by somebody else
            self._epoll.unregister(fd)
        if not self._callbacks:
            self._loop.remove_reader(self._epoll.fileno())

    def _call(self) -> None:
        host = self._host
        ready = self._epoll.poll(0, -1 if host.settling else TOGETHER)
        if len(ready) == 1:
            self._read(ready)
        else:
            for start in range(0, len(ready), TOGETHER):
                host.gather(partial(self._read, ready[start : start + TOGETHER]))

    def _read(self, ready: list[tuple[int, int]]) -> None:
        callbacks = self._callbacks
        for fd, _ in ready:
            if fd in callbacks:  # not removed by one of the others
                callbacks[fd]()


class PlainTransport(asyncio.Transport):
    """A connected, non-blocking socket. It behaves as asyncio's transport does."""

    __slots__ = (
        "_closing",
        "_ends",
        "_fd",
        "_loop",
        "_lost",
        "_peer",
        "_protocol",
        "_readers",
        "_reading",
        "_sock",
        "_told",
        "_unsent",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readers: Readers,
        sock: socket.socket,
        peer: object,
        protocol: asyncio.BufferedProtocol,
    ) -> None:
        self._loop = loop
        self._readers = readers
        self._sock = sock
        self._fd = sock.fileno()
        self._peer = peer
        self._protocol = protocol
        self._unsent: bytearray | None = None  # what the system has not taken
        self._told = False  # the protocol has been told to pause
        self._reading = False
        self._ends = False  # EOF follows what is unsent
        self._closing = False  # nothing more is read or written
        self._lost = False  # `connection_lost` follows
        protocol.connection_made(self)
        self.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self._sock
        return self._peer if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._readers.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not (self._reading or self._closing):
            self._reading = True
            self._readers.add_reader(self._fd, self._readable)

    def get_write_buffer_size(self) -> int:
        return len(self._unsent or b"")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        if self._unsent is not None:
            self._unsent += data
        else:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                return self._fail(error)
            if sent == len(data):
                return None
            self._unsent = bytearray(data[sent:])
            self._loop.add_writer(self._fd, self._writable)
        if len(self._unsent) > HIGH and not self._told:
            self._told = True
            self._protocol.pause_writing()
        return None

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._ends = True
        if self._unsent is None:
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if self._unsent is None:
                self._fail(None)

    def abort(self) -> None:
        self._fail(None)

    # --- inside ---

    def _readable(self) -> None:
        """Read once."""
        try:
            size = self._sock.recv_into(self._protocol.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            return self._fail(error)
        try:
            if size:
                self._protocol.buffer_updated(size)
            else:
                self._protocol.eof_received()
                self.close()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._loop.call_exception_handler({"message": "a protocol failed", "exception": error, "transport": self})
            self._fail(error if isinstance(error, Exception) else None)

    def _writable(self) -> None:
        unsent = self._unsent
        assert unsent is not None
        try:
            del unsent[: self._sock.send(unsent)]
            if self._told and len(unsent) <= LOW:
                self._told = False
                self._protocol.resume_writing()
            if unsent or self._lost:
                return
            self._unsent = None
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._fail(None)
            elif self._ends:
                self._sock.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)

    def _fail(self, error: Exception | None) -> None:
        """Forget what is unsent, and close in the next turn of the loop."""
        if self._lost:
            return
        self.pause_reading()
        if self._unsent is not None:
            self._unsent = None
            self._loop.remove_writer(self._fd)
        self._lost = self._closing = True
        self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
            del self._protocol  # which holds this transport
