"""The pump that every binding runs: deliver events, run commands, keep one timer."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Protocol, Self, TypeAlias

import primus_proto as pp
from primus_proto import commands as cmd

from ._environment import Environment
from ._io import IO
from ._read_budget import ReadBudget
from ._target import ConnectTarget, check_context

__all__ = [
    "Channel",
    "Deliver",
    "Driver",
    "Endpoint",
    "ListenAddress",
    "has_settled",
    "unix_listener",
]

# A block of this size that was freed once teaches glibc to keep twice as much free memory for itself. Otherwise it may
# give back in each turn of the loop, and ask for again, what the messages of a hundred connections take, and that takes
# a third of the time of small ones.
KEPT_MEMORY = 4 * 1024 * 1024

QUIET_TURNS = 4
"""When a timer fires, what arrived before is read first: after the process stood still, a ping that waits was not
missed. Loops differ in whether they look at timers or sockets first, and in how many turns it takes to read."""
MAX_TURNS = 100
LONG_TURNS, PATIENCE = 8, 0.5
"""After so many turns the timer is believed, or after fewer that took `PATIENCE` seconds: peers that never stop sending
must not put it off. In a few turns every socket is read at least once."""

GATHERING = 0.001
"""Seconds for which reads of several channels are gathered. So a slow listener keeps only the answers to what
was read that long before it."""

Endpoint: TypeAlias = "pp.ByteClient | pp.ByteServer | pp.SpecQuery"
Deliver = Callable[[Any], None]
StopListening = Callable[[], object]

# Looked up for every message.
Write, Event, SparkData = cmd.Write, pp.events.Event, pp.events.SparkData


def has_settled(quiet: int, turns: int, seconds: float) -> bool:
    """Whether a timer that fired `turns` turns and `seconds` ago is believed; nothing was read in the `quiet` last."""
    return quiet >= QUIET_TURNS or turns >= MAX_TURNS or (turns >= LONG_TURNS and seconds >= PATIENCE)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens, and whether with TLS."""

    host: str
    port: int
    unix: str | None
    tls: ssl.SSLContext | None

    def __post_init__(self) -> None:
        if not isinstance(self.host, str):
            raise pp.ConfigError(f"host must be a string, '' for all addresses of this machine; got {self.host!r}")
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise pp.ConfigError(f"port must be a whole number from 0 to 65535; got {self.port!r}")
        check_context(
            self.tls, ssl.PROTOCOL_TLS_CLIENT, "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), with a certificate"
        )

    def describe(self) -> str:
        """The address in words, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.unix or f"{host}:{self.port}"

    def url(self, port: int) -> str:
        """The URL for a client on this machine."""
        host = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self.tls else "http"
        return f"{scheme}://localhost" if self.unix else f"{scheme}://{host}:{port}"


def unix_listener(path: str) -> tuple[socket.socket, StopListening]:
    """Listen on a Unix socket. Returns it, and a function that removes its file. Replaces the file of a dead server.

    Raises OSError if another server listens there, or if the file is not a socket.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets: give a host and a port")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
                os.unlink(path)
        listener.bind(path)
        listener.listen(1024)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    made = os.stat(path).st_ino

    def remove() -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == made:  # not replaced by another server
                os.unlink(path)

    return listener, remove


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # busy, or without permission: a server is there
    return True


def _listen_failure(address: ListenAddress, failure: OSError) -> OSError:
    """Return an error of the same class and number whose message has the address, which not every library adds."""
    number = failure.errno
    words = os.strerror(number) if number is not None and number > 0 else ""
    if (
        not words or "unknown" in words.lower()
    ):  # from name resolution, or from Windows, whose socket errors have other numbers
        words = failure.strerror or str(failure)
    text = f"cannot listen on {address.describe()}: {words}"
    return OSError(text) if number is None else type(failure)(number, text)


class PeerOfTLS(Protocol):
    """What a TLS stream says of its peer: `ssl.SSLObject`, or a stream of trio."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The verified certificate; None or an empty dict if there is none."""


def _certificate(tls: PeerOfTLS | None) -> pp.PeerCertificate | None:
    fields = tls.getpeercert() if tls is not None else None  # empty for a certificate that was not verified
    return pp.PeerCertificate(tls.getpeercert(True), fields) if tls is not None and fields else None


class Channel(Protocol):
    """One byte stream, as a driver uses it."""

    @property
    def write(self) -> Callable[[bytes], object]:
        """Send bytes, soon."""

    def read(self, reading: bool) -> None:
        """Start or stop reading."""

    def hung_up(self) -> bool:
        """Whether the peer has closed or lost the stream, though nothing is read from it; False if that is unknown."""

    def end_writing(self) -> None:
        """Send EOF after everything is written and go on reading; where that is impossible, `close`."""

    def close(self, abort: bool) -> None:
        """Close after everything is written, for at most `Limits.close` seconds; with `abort` at once."""


class Driver(IO, ABC):
    """Runs one endpoint. A binding implements channels, opening and listening, and the timer."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> None:
        self.endpoint = endpoint
        self.deliver = deliver
        self.channels: dict[int, Channel] = {}
        self._queued_events = endpoint.queued_events
        self._server = endpoint.server if isinstance(endpoint, pp.ByteServer) else None
        self._target = target
        self.thread = get_ident()
        self.pumping = False
        self._gathers_until = math.inf  # while it gathers, when to pump
        self.interruption = None  # here too, because it is looked up for every message
        self.has_read = False  # set to True by each read
        self._context = copy_context()  # user code runs in it, whichever task pumps
        self._event_count = 0  # events delivered so far
        self._armed: float | None = None
        environment = self.environment()
        self.now: Callable[[], float] = environment.now
        self._meter = environment.new_meter()

    @classmethod
    async def begin(cls, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> Self:
        """Make a driver that can be pumped. `release` ends it."""
        return cls(endpoint, deliver, target)

    @staticmethod
    @abstractmethod
    def environment() -> Environment:
        """The clock and the randomness of the running loop."""

    async def listen(self, address: ListenAddress) -> tuple[int, StopListening]:
        """Accept channels. Returns the port (0 for a Unix socket) and a function that stops. Raises OSError."""
        bytes(KEPT_MEMORY)  # which does not touch the memory, as bytearray would
        try:
            return await self._listen_at(address)
        except OSError as failure:
            raise _listen_failure(address, failure) from failure

    async def _listen_at(self, address: ListenAddress) -> tuple[int, StopListening]:
        if address.unix is None:
            name, stop = await self._listen(address, None)
            return name[1], stop
        sock, remove = unix_listener(address.unix)
        stop = sock.close
        try:
            _, stop = await self._listen(address, sock)
        except BaseException:
            stop()
            remove()
            raise

        def stop_and_remove() -> None:
            stop()
            remove()

        return 0, stop_and_remove

    @abstractmethod
    async def _listen(self, address: ListenAddress, sock: socket.socket | None) -> tuple[Any, StopListening]:
        """Accept channels from `sock`, or at the host and port. Returns `getsockname` and a function that stops."""

    def pump(self) -> None:
        if not self.pumping:
            self.check_thread()
            self._context.run(self.run_pump)
        elif self._gathers_until < math.inf:
            self._gathers_until = -math.inf  # before the next read

    def run_pump(self, now: float | None = None) -> None:
        """Pump, for tasks and callbacks of the driver, which have its context. Not re-entrant.

        Delivers events and runs commands until there are none, then re-arms the timer.
        """
        if not self.pumping:
            self.pumping = True
            self._pump(self.now() if now is None else now)

    def pump_after(self, feed: Callable[[], object]) -> None:
        """Pump after `feed`, which gives the core what has arrived. It may call listeners already."""
        self.pumping = True
        try:
            feed()
        finally:
            self._pump(self.now())

    def gather(self, read: Callable[[], object]) -> None:
        """Call `read`, which receives on several channels. Pump at its end, after `GATHERING`, and for events.

        So only what caused no event waits: values that went to a listener inside the core, or were kept for a handler.
        """
        self._begin_gathering()
        try:
            read()
        finally:
            self.pumping, self._gathers_until = True, math.inf
            self._pump(self.now())

    def _begin_gathering(self) -> None:
        self.pumping = True
        self._gathers_until = self.now() + GATHERING

    def _pump_gathered(self) -> None:
        self._gathers_until = math.inf
        self._pump(self.now())
        self._begin_gathering()

    def _pump(self, now: float) -> None:
        endpoint, channels = self.endpoint, self.channels
        try:
            if self.interruption is not None:
                self._interrupt()
            for item in endpoint.poll(now=now):
                if type(item) is Write:
                    for number in item.channels:
                        channels[number].write(item.data)
                elif type(item) is SparkData or isinstance(item, Event):
                    self._event_count += 1
                    self.deliver(item)
                else:
                    self._run(item)
            if self.interruption is not None:
                self._interrupt()
        finally:
            self.pumping = False
        due = endpoint.timers.soonest()
        # A timer that has become too early fires for nothing, which costs less than to set it with each message.
        if due != self._armed and (due is None or self._armed is None or due < self._armed):
            self._armed = due
            self._arm(due)

    def _interrupt(self) -> None:
        error, self.interruption = self.interruption, None
        assert error is not None
        raise error

    def pump_unless_idle(self) -> None:
        """`run_pump` where it has something to do. It has not for most of the channels that a server accepts."""
        due = self.endpoint.timers.soonest()
        if not self.endpoint.is_idle or self._armed is None or due is None or due < self._armed:
            self.run_pump()

    def receive(self, number: int, data: bytes | bytearray | memoryview) -> None:
        """Bytes came on a channel: do all that follows from them."""
        self.has_read = True
        clock = self.now  # to call it at once would look for a method first
        now = clock()
        if self.pumping:  # it gathers, or pumps and has closed a channel that had unread bytes
            self.endpoint.receive_data(number, data, now=now)
            if self._gathers_until < math.inf and (self._queued_events or clock() > self._gathers_until):
                self._pump_gathered()
            return
        self.pumping = True  # as in `pump_after`, without the call
        try:
            self.endpoint.receive_data(number, data, now=now)
        finally:
            self._pump(now)

    def receive_measured(self, number: int, data: bytes | bytearray | memoryview, budget: ReadBudget) -> float:
        """`receive`, and adapt how much the next read may bring. Returns the seconds of work that this one was.

        For reads of at least `MIN_READ` bytes: less is too little to tell anything.
        """
        before = self._count()
        self._meter.begin()
        self.receive(number, data)
        seconds = self._meter.end()
        budget.record(len(data), seconds, self._count() - before, now=self.now())
        return seconds

    def _count(self) -> int:
        """How many events were delivered and how many messages received so far. Some count twice."""
        return self._event_count + (self._server.received if self._server is not None else 0)

    def timeout(self) -> None:
        """Called when the timer has fired, and after that nothing was read for `QUIET_TURNS` turns of the loop."""
        self._armed = None
        # If the timer is early by the resolution of the clock, the core does nothing and the timer is set again.
        self.endpoint.handle_timeout(now=self.now())
        self.run_pump()

    def channel_up(self, channel: Channel, number: int, peer: object, tls: PeerOfTLS | None = None) -> int:
        """Register an open byte stream: one that `OpenChannel` asked for as `number`, or one accepted from `peer`."""
        endpoint = self.endpoint
        if isinstance(endpoint, pp.ByteServer):
            address = peer[:2] if isinstance(peer, tuple) else ("", 0)  # the peer of a Unix socket is a string
            number = endpoint.channel_accepted(address, certificate=_certificate(tls), now=self.now())
            self.channels[number] = channel
        else:
            self.channels[number] = channel
            endpoint.channel_opened(number, now=self.now())
        return number

    def channel_closed(self, number: int, error: pp.ConnectError | str | None) -> None:
        """Tell the core that a byte stream has ended, or could not be opened."""
        self.endpoint.channel_closed(number, error, now=self.now())
        self.run_pump()

    def _run(self, command: cmd.Command) -> None:
        if type(command) is cmd.CloseChannel:
            channel = self.channels.pop(command.channel, None)
            if channel is not None:
                channel.close(command.abort)
            else:
                self._stop_opening(command.channel)
        elif type(command) is cmd.EndWriting:
            self.channels[command.channel].end_writing()
        elif type(command) is cmd.PauseReading:
            self.channels[command.channel].read(False)
        elif type(command) is cmd.ResumeReading:
            self.channels[command.channel].read(True)
        elif type(command) is cmd.ProbeChannel:
            if self.channels[command.channel].hung_up():
                self.endpoint.channel_hung_up(command.channel)
        elif type(command) is cmd.OpenChannel:
            self._open(command)

    @abstractmethod
    def _arm(self, due: float | None) -> None:
        """Set the timer: call `timeout` at `due`, or never if that is None."""

    @abstractmethod
    def _open(self, command: cmd.OpenChannel) -> None:
        """Start to open a channel."""

    @abstractmethod
    def _stop_opening(self, number: int) -> None:
        """Stop opening a channel. Does nothing if it is closed."""
