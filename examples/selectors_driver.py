"""A driver of the core on `selectors`: any number of servers and clients over TCP in one loop. See selectors_chat.py.

The law kept here: a driver decides nothing about Primus. It reports its sockets and its clock to the core, gives events
to the application, and carries out commands. Input goes into the core first; the pump follows.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, EVENT_WRITE
from time import monotonic
from typing import Any

from primus_proto import ByteClient, ByteServer
from primus_proto import commands as cmd
from primus_proto import events as ev

LONGEST_WAIT = 3600.0  # every selector accepts this; waking early is harmless
MOST_CHANNELS = 200  # of a server: the core bounds what each may cost, not how many there are
UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class Loop:
    """Waits for the sockets and the deadlines of all its drivers."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.drivers: list[Driver] = []

    def watch(self, sock: socket.socket, mask: int, ready: Callable[[int], object]) -> None:
        """Have `ready(mask)` called whenever the socket is ready for any of `mask`; 0 stops that."""
        known = sock in self.selector.get_map()
        if known and mask:
            self.selector.modify(sock, mask, ready)
        elif mask:
            self.selector.register(sock, mask, ready)
        elif known:
            self.selector.unregister(sock)

    def run(self, done: Callable[[], object]) -> None:
        """Run until `done()`."""
        while True:
            for driver in self.drivers:
                driver.turn()
            if done():
                return
            due = [when for driver in self.drivers for when in driver.deadlines()]
            wait = min(max(0.0, min(due) - monotonic()), LONGEST_WAIT) if due else None
            for key, mask in self.selector.select(wait):
                key.data(mask)


class Driver:
    """Runs one endpoint: the one timer, the pump, and a `Channel` for each of its sockets."""

    def __init__(self, loop: Loop, endpoint: ByteServer | ByteClient, on_event: Callable[[Any], object]) -> None:
        self.loop, self.endpoint, self.on_event = loop, endpoint, on_event
        self.channels: dict[int, Channel] = {}
        self.closing: set[Channel] = set()  # closed by the core, with output that has not left yet
        loop.drivers.append(self)

    def deadlines(self) -> Iterator[float]:
        """The times at which `turn` must be called."""
        due = self.endpoint.next_timeout()
        if due is not None:
            yield due
        yield from (channel.deadline for channel in self.closing)

    def turn(self) -> None:
        """Handle timeouts, then pump: give events to the application, run commands, until there are none."""
        for channel in [channel for channel in self.closing if channel.deadline <= monotonic()]:
            channel.drop()
        self.endpoint.handle_timeout(now=monotonic())
        for item in self.endpoint.poll(now=monotonic()):
            if isinstance(item, ev.Event):
                self.on_event(item)
            else:
                self.run(item)

    def run(self, command: cmd.Command) -> None:
        match command:
            case cmd.Write(channels=numbers, data=data):
                for number in numbers:
                    self.channels[number].write(data)
            case cmd.CloseChannel(channel=number, abort=abort):
                if number in self.channels:  # not for one that failed to open
                    self.channels.pop(number).close(abort)
            case cmd.EndWriting(channel=number):
                self.channels[number].end_writing()
            case cmd.PauseReading(channel=number) | cmd.ResumeReading(channel=number):
                self.channels[number].reading = isinstance(command, cmd.ResumeReading)
                self.channels[number].watch()
            case cmd.OpenChannel(channel=number, tls=True):
                error = "this driver has no TLS, and https:// needs it"
                self.endpoint.channel_closed(number, error, now=monotonic())
            case cmd.OpenChannel(channel=number, host=host, port=port):
                try:
                    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # this may block for a while
                except OSError as failure:
                    self.endpoint.channel_closed(number, f"cannot find {host}: {failure}", now=monotonic())
                else:
                    self.dial(number, iter(found), f"{host} has no address")

    def dial(self, number: int, addresses: Iterator[Any], error: str) -> None:
        """Connect to the next address. If none is left, report `error` to the core."""
        for family, kind, protocol, _, address in addresses:
            try:
                channel = Channel(self, number, socket.socket(family, kind, protocol), addresses)
            except OSError as failure:
                error = str(failure)
                continue
            code = channel.sock.connect_ex(address)
            if code in UNDER_WAY:
                channel.watch()
                return
            error = f"cannot connect to {address[0]}:{address[1]}: {os.strerror(code)}"
            channel.drop()
        self.endpoint.channel_closed(number, error, now=monotonic())

    def listen(self, host: str, port: int) -> socket.socket:
        """Accept connections for a server; returns the listening socket."""
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setblocking(False)
        self.loop.watch(listener, EVENT_READ, lambda _: self.accept(listener))
        return listener

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client may have left already
            sock, peer = listener.accept()
            if len(self.channels) + len(self.closing) >= MOST_CHANNELS:
                sock.close()
            elif isinstance(self.endpoint, ByteServer):
                number = self.endpoint.channel_accepted(peer[:2], now=monotonic())
                Channel(self, number, sock).watch()


class Channel:
    """One socket, which the core knows by number. While connecting, `others` has the addresses still to try."""

    def __init__(self, driver: Driver, number: int, sock: socket.socket, others: Iterator[Any] | None = None) -> None:
        self.driver, self.endpoint, self.number, self.sock, self.others = driver, driver.endpoint, number, sock, others
        self.unsent, self.reading, self.deadline = bytearray(), True, 0.0
        self.eof = False  # to be sent behind what is unsent
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        driver.channels[number] = self

    def watch(self) -> None:
        """Tell the loop which events to wait for."""
        reading = EVENT_READ if self.reading and self.others is None else 0
        writing = EVENT_WRITE if self.unsent or self.others is not None else 0
        self.driver.loop.watch(self.sock, reading | writing, self.ready)

    def ready(self, mask: int) -> None:
        if self.others is not None:
            self.connected(self.others)
            return
        if mask & EVENT_WRITE:
            self.send()
            if not self.unsent:
                self.endpoint.channel_writable(self.number, now=monotonic())
        if mask & EVENT_READ:
            self.receive()

    def connected(self, others: Iterator[Any]) -> None:
        """Report the connection to the core; if it failed, try the next address."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.drop()
            self.driver.dial(self.number, others, f"cannot connect: {os.strerror(code)}")
        elif isinstance(self.endpoint, ByteClient):
            self.others = None
            self.watch()
            self.endpoint.channel_opened(self.number, now=monotonic())

    def receive(self) -> None:
        try:
            data, error = self.sock.recv(65536), None
        except BlockingIOError:
            return
        except OSError as failure:
            data, error = b"", str(failure)
        if data:
            self.endpoint.receive_data(self.number, data, now=monotonic())
        else:
            self.endpoint.channel_closed(self.number, error, now=monotonic())

    def write(self, data: bytes) -> None:
        self.unsent += data
        self.send()
        if self.unsent:  # from now on output waits in the core, which counts it
            self.endpoint.channel_blocked(self.number)

    def send(self) -> None:
        try:
            del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError as failure:
            self.unsent.clear()
            self.endpoint.channel_closed(self.number, str(failure), now=monotonic())
        if self.eof and not self.unsent:
            self.eof = False
            with contextlib.suppress(OSError):  # the peer has gone, as the next read will tell
                self.sock.shutdown(socket.SHUT_WR)
        if self in self.driver.closing and not self.unsent:
            self.drop()
        else:
            self.watch()

    def end_writing(self) -> None:
        """Send EOF once everything written has left, and read on."""
        self.eof = True
        self.send()

    def close(self, abort: bool) -> None:
        """Close once everything written has left, at the latest after `Limits.close`. Nothing else bounds this."""
        self.reading = False
        if abort or not self.unsent:
            self.drop()
        else:
            self.deadline = monotonic() + self.endpoint.limits.close
            self.driver.closing.add(self)
            self.watch()

    def drop(self) -> None:
        self.driver.closing.discard(self)
        self.driver.channels.pop(self.number, None)
        self.driver.loop.watch(self.sock, 0, self.ready)
        self.sock.close()
