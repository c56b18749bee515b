"""How the threads binding comes by byte streams: what listens, and what connects. None ever blocks.

The law kept here: a name is looked up in a thread of the pool, for nothing tells when that is done; what it leads to is
dropped if by then nobody wants it any longer. Everything else happens under the driver's lock.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from primus_proto import commands as cmd

from .._driver import Listening, connect_failure
from .._session import log
from .pool import Call
from .selector import Watched
from .streams import Channel, SecureLayer

if TYPE_CHECKING:
    from ..threads import Driver

__all__ = ["Listener", "Opening", "listeners"]

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
RECOVERY = 1.0  # seconds before a system that had no more descriptors is asked again
TURN = 64  # connections accepted in one go

Address = tuple[int, int, int, Any]
"""Family, type and protocol of a socket, and what to connect it to."""


class Opening:
    """A byte stream on its way, by each of the server's addresses in turn."""

    def __init__(self, driver: Driver, command: cmd.OpenChannel, unix: str | None) -> None:
        self.command = command
        self._driver = driver
        self._unix = unix
        self._addresses: list[Address] = []
        self._failures: list[Exception] = []
        self._under_way: Attempt | Channel | None = None
        self._over = False
        driver.opening[command.channel] = self.stop

    def begin(self) -> None:
        if self._unix is not None and not hasattr(socket, "AF_UNIX"):
            self.fail(OSError("this system has no Unix sockets: give a URL alone"))
        elif self._unix is not None:
            self._addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, self._unix)]
            self._try_next()
        else:
            try:
                self._addresses = self._look_up(socket.AI_NUMERICHOST)
            except (OSError, UnicodeError):  # a name: that takes time
                self._driver.loop.pool.run(Call(self._look_up_and_try, "getaddrinfo", detached=True))
            else:
                self._try_next()

    def stop(self) -> None:
        """Nobody wants it any longer."""
        self.done()
        if self._under_way is not None:
            self._under_way.drop()

    def done(self) -> None:
        """It is there, or never will be."""
        self._over = True
        self._driver.opening.pop(self.command.channel, None)
        self._driver.note_change()

    def fail(self, failure: Exception) -> None:
        """It never will be."""
        self.stop()
        self._driver.channel_closed(self.command.channel, connect_failure(self.command, self._unix, failure))

    def answered(self, sock: socket.socket) -> None:
        """One of the addresses did."""
        try:
            context = self._driver.secure(self.command)
            layer = None if context is None else SecureLayer(context, self.command.host)
        except (OSError, ValueError) as failure:
            sock.close()
            self.fail(failure)
            return
        channel = self._under_way = Channel(self._driver, sock, secure=layer, opening=self)
        channel.begin()

    def refused(self, failure: OSError) -> None:
        """One of the addresses did."""
        self._failures.append(failure)
        self._try_next()

    def _look_up(self, flags: int) -> list[Address]:
        command = self.command
        found = socket.getaddrinfo(command.host, command.port, type=socket.SOCK_STREAM, flags=flags)
        return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]

    def _look_up_and_try(self) -> None:
        try:
            self._addresses = self._look_up(0)
        except (OSError, UnicodeError) as failure:
            self._failures.append(failure)
        with self._driver:
            if not self._over:
                self._try_next()
                self._driver.pump()

    def _try_next(self) -> None:
        while self._addresses:
            family, kind, protocol, address = self._addresses.pop(0)
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as failure:
                self._failures.append(failure)
                continue
            sock.setblocking(False)
            try:
                sock.connect(address)
            except OSError as failure:
                # A Unix socket whose queue is full would not tell when it no longer is.
                if not isinstance(failure, BlockingIOError) or self._unix is not None:
                    sock.close()
                    self._failures.append(failure)
                    continue
            self._under_way = Attempt(self._driver, sock, self)
            return
        self.fail(self._failure())

    def _failure(self) -> Exception:
        """All failures as one."""
        words = dict.fromkeys(getattr(failure, "strerror", None) or str(failure) for failure in self._failures)
        first, *more = self._failures
        return OSError(None, " / ".join(words)) if more else first


class Attempt(Watched):
    """A socket that is being connected to one address."""

    def __init__(self, driver: Driver, sock: socket.socket, opening: Opening) -> None:
        super().__init__(driver.loop, sock)
        self._driver = driver
        self._opening = opening
        driver.streams.add(self)
        self.want(EVENT_WRITE)

    def ready(self, mask: int) -> None:
        with self._driver:
            if self.disposed:
                return
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self.drop()
                self._opening.refused(OSError(error, os.strerror(error)))
            else:
                self._driver.streams.discard(self)
                self._opening.answered(self.hand_over())
            self._driver.pump()

    def failed(self) -> None:
        with self._driver:
            self._opening.fail(ConnectionError("the binding failed"))

    def drop(self) -> None:
        self.dispose(lambda: self._driver.gone(self))


class Listener(Watched):
    """A socket that accepts connections."""

    def __init__(self, driver: Driver, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        super().__init__(driver.loop, sock)
        self._driver = driver
        self._context = context
        self._timer = self.loop.timer(self._again)
        driver.streams.add(self)
        self.want(EVENT_READ)

    def ready(self, mask: int) -> None:
        with self._driver:
            for _ in range(TURN):
                if self.disposed or not self._accept():
                    break
            self._driver.pump()

    def failed(self) -> None:
        """A connection that could not be dealt with is no reason to accept no other."""

    def _accept(self) -> bool:
        try:
            sock, peer = self.sock.accept()
        except OSError as failure:
            if failure.errno in EXHAUSTED:
                log.error("cannot accept connections for now: %s", failure)
                self.want(0)
                self.loop.arm(self._timer, time.monotonic() + RECOVERY)
            # Else there was none, or it has gone again.
            return isinstance(failure, ConnectionAbortedError)
        sock.setblocking(False)
        try:
            secure = None if self._context is None else SecureLayer(self._context)
        except BaseException:
            sock.close()
            raise
        channel = Channel(self._driver, sock, secure=secure, peer=peer)
        try:
            channel.begin()
        except BaseException:
            channel.drop()
            raise
        return True

    def _again(self) -> None:
        with self._driver:
            self.want(EVENT_READ)

    def drop(self) -> None:
        self.loop.arm(self._timer, None)
        self.dispose(lambda: self._driver.gone(self))


def listeners(where: Listening) -> list[socket.socket]:
    """Sockets that listen on every address of a host, all on one port. Raises OSError."""
    found = socket.getaddrinfo(where.host or None, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    port = where.port
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a family that this system only knows by name
            made.append(sock)
            if os.name == "posix":  # on Windows it would let two servers have the same port
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind((address[0], port, *address[2:]))
            except OSError as failure:
                made.pop().close()
                if failure.errno == errno.EADDRNOTAVAIL and len(found) > 1:
                    continue  # a name for more addresses than this machine has
                raise
            sock.listen(1024)
            sock.setblocking(False)
            port = sock.getsockname()[1]
    except BaseException:
        for sock in made:
            sock.close()
        raise
    if not made:
        raise OSError(errno.EADDRNOTAVAIL, "none of its addresses is this machine's")
    return made
