"""The pump, which every binding runs the same: events out, commands in, one timer."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import primus_proto as pp
from primus_proto import commands as cmd

from ._environment import Environment
from ._read_budget import ReadBudget
from ._session import IO

__all__ = [
    "Channel",
    "ConnectTarget",
    "Deliver",
    "Driver",
    "Endpoint",
    "ListenAddress",
    "connect_failure",
    "unix_listener",
]

Endpoint = pp.ByteClient | pp.ByteServer | pp.SpecQuery
Deliver = Callable[[Any], None]
StopListening = Callable[[], object]


@dataclass(frozen=True, slots=True)
class ConnectTarget:
    """How a client reaches its server: the TLS context for ``https``, the Unix socket in place of host and port."""

    tls: ssl.SSLContext | None = None
    unix: str | None = None

    def __post_init__(self) -> None:
        _check_context(self.tls, ssl.PROTOCOL_TLS_SERVER, "ssl.create_default_context()")

    def tls_context(self, command: cmd.OpenChannel) -> ssl.SSLContext | None:
        """The TLS context for a channel; None: no TLS."""
        return (self.tls or ssl.create_default_context()) if command.tls else None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens."""

    host: str
    port: int
    unix: str | None
    tls: ssl.SSLContext | None

    def __post_init__(self) -> None:
        if not isinstance(self.host, str):
            raise pp.ConfigError(f"host must be a string, '' for all addresses of this machine; got {self.host!r}")
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise pp.ConfigError(f"port must be a whole number from 0 to 65535; got {self.port!r}")
        _check_context(
            self.tls, ssl.PROTOCOL_TLS_CLIENT, "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), with a certificate"
        )

    def describe(self) -> str:
        """Where it listens, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.unix or f"{host}:{self.port}"

    def url(self, port: int) -> str:
        """Where a client on this machine finds it."""
        host = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self.tls else "http"
        return f"{scheme}://localhost" if self.unix else f"{scheme}://{host}:{port}"


def _check_context(tls: object, wrong: int, right: str) -> None:
    """ConfigError for a TLS context that can secure no connection at this end, before the first one fails for it."""
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise pp.ConfigError(f"ssl must be an ssl.SSLContext, as {right}, or None; got {tls!r}")
    if tls is not None and tls.protocol == wrong:
        raise pp.ConfigError(f"ssl has a context for the other end of a connection: make it by {right}")


def unix_listener(path: str) -> tuple[socket.socket, StopListening]:
    """A Unix socket that listens, and what removes its file again. A file that a dead server left is replaced.

    Raises OSError where something listens there, or is there that is no socket.
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
            if os.stat(path).st_ino == made:  # nobody else has taken its place
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
            return True  # full, or not ours to try: something is there
    return True


def _listen_failure(address: ListenAddress, failure: OSError) -> OSError:
    """The failure, of the same class and number, with the place in its words; not every library has it there."""
    number = failure.errno
    words = os.strerror(number) if number is not None and number > 0 else ""
    if not words or "unknown" in words.lower():  # a name's; Windows does not know its sockets' errors by these numbers
        words = failure.strerror or str(failure)
    text = f"cannot listen on {address.describe()}: {words}"
    return OSError(text) if number is None else type(failure)(number, text)


def connect_failure(command: cmd.OpenChannel, unix: str | None, failure: Exception) -> str:
    """What to say of a byte stream that could not be opened."""
    place = unix or f"{command.host}:{command.port}"
    if isinstance(failure.__cause__, ssl.SSLError):
        failure = failure.__cause__  # trio's word for it is only that the stream is broken
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"no TLS with {place}: {failure}; if that is the right server, give ssl= a context that trusts it"
    if isinstance(failure, ssl.SSLError):
        return f"no TLS with {place}: {failure}; does the server speak plain http:// there?"
    return f"cannot connect to {place}: {_system_message(failure)}"


def _system_message(failure: BaseException) -> str:
    """The system's words for a failure.

    asyncio and trio have addresses in them; asyncio may have a list, trio has the failures behind its own.
    """
    text = str(failure)
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\] (?:Connect call failed|Error connecting)", text)]
    words = " / ".join(dict.fromkeys(os.strerror(number) for number in numbers))
    if words and "unknown" not in words.lower():  # Windows does not know its sockets' errors by these numbers
        return words
    cause = failure.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,) if cause is not None else ()
    words = " / ".join(dict.fromkeys(map(_system_message, causes)))
    return words or getattr(failure, "strerror", None) or text


class Channel(Protocol):
    """One byte stream, as a driver commands it."""

    @property
    def write(self) -> Callable[[bytes], object]:
        """Take bytes to send."""

    def read(self, reading: bool) -> None:
        """Read, or stop reading."""

    def close(self, abort: bool) -> None:
        """Close once all is written, but before long; at once and without a goodbye to `abort`."""


class Driver(IO, ABC):
    """Runs one endpoint. A binding says what a channel is, how to open one, and how to be called back at a time."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> None:
        self.endpoint = endpoint
        self.deliver = deliver
        self.channels: dict[int, Channel] = {}
        self._target = target
        self._pumping = False
        self._event_count = 0  # events, since somebody set it to 0
        self._armed: float | None = None
        environment = self.environment()
        self.now: Callable[[], float] = environment.now
        self._work_time = environment.work_time

    @classmethod
    async def begin(cls, endpoint: Endpoint, deliver: Deliver, target: ConnectTarget) -> Self:
        """A driver, ready to be pumped; it ends with `release`."""
        return cls(endpoint, deliver, target)

    @staticmethod
    @abstractmethod
    def environment() -> Environment:
        """The clock and the randomness of the loop that runs here."""

    async def listen(self, address: ListenAddress) -> tuple[int, StopListening]:
        """Accept channels; returns the port (0 for a Unix socket) and what stops it. Raises OSError."""
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
        """Accept channels from `sock` if given, else at the host and port; returns `getsockname`, and what stops it."""

    def pump(self) -> None:
        """Deliver events and run commands until there are none, then re-arm the timer. Not re-entrant."""
        if self._pumping:
            return
        self._pumping = True
        endpoint = self.endpoint
        try:
            for item in endpoint.poll(now=self.now()):
                if isinstance(item, pp.events.Event):
                    self._event_count += 1
                    self.deliver(item)
                else:
                    self._run(item)
        finally:
            self._pumping = False
        due = endpoint.next_timeout()
        if due != self._armed:
            self._armed = due
            self._arm(due)

    def receive(self, number: int, data: bytes | bytearray | memoryview, budget: ReadBudget) -> float:
        """Bytes came on a channel: do all that follows from them, and adapt how much its next read may bring.

        Returns the seconds of work that they were.
        """
        now, began = self.now(), self._work_time()
        self._event_count = 0
        self.endpoint.receive_data(number, data, now=now)
        self.pump()
        seconds = self._work_time() - began
        budget.record(len(data), seconds, self._event_count, now=now)
        return seconds

    def timeout(self) -> None:
        """The timer fired."""
        self._armed = None
        # It may be early by the resolution of the clock: the core then does nothing, and is asked again.
        self.endpoint.handle_timeout(now=self.now())
        self.pump()

    def channel_up(self, channel: Channel, number: int, peer: object) -> int:
        """A byte stream is there: the one that `OpenChannel` asked for as `number`, or one accepted from `peer`."""
        endpoint = self.endpoint
        if isinstance(endpoint, pp.ByteServer):
            address = peer[:2] if isinstance(peer, tuple) else ("", 0)  # a Unix socket's is a string
            number = endpoint.channel_accepted(address, now=self.now())
            self.channels[number] = channel
        else:
            self.channels[number] = channel
            endpoint.channel_opened(number, now=self.now())
        return number

    def channel_closed(self, number: int, error: str | None) -> None:
        """A byte stream has ended, or could not be opened."""
        self.endpoint.channel_closed(number, error, now=self.now())
        self.pump()

    def _run(self, command: cmd.Command) -> None:
        if type(command) is cmd.Write:
            for number in command.channels:
                self.channels[number].write(command.data)
        elif type(command) is cmd.CloseChannel:
            channel = self.channels.pop(command.channel, None)
            if channel is not None:
                channel.close(command.abort)
            else:
                self._stop_opening(command.channel)
        elif type(command) is cmd.PauseReading:
            self.channels[command.channel].read(False)
        elif type(command) is cmd.ResumeReading:
            self.channels[command.channel].read(True)
        elif type(command) is cmd.OpenChannel:
            self._open(command)

    @abstractmethod
    def _arm(self, due: float | None) -> None:
        """Have `timeout` called at `due`, and at no other time."""

    @abstractmethod
    def _open(self, command: cmd.OpenChannel) -> None:
        """Begin to open a channel."""

    @abstractmethod
    def _stop_opening(self, number: int) -> None:
        """Give up a channel that is not there yet; harmless for one that is over."""
