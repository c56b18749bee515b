"""The pump, which every binding runs the same: events out, commands in, one timer."""

from __future__ import annotations

import os
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import primus_proto as pp
from primus_proto import commands as cmd

__all__ = ["Deliver", "Driver", "Endpoint", "connect_failure"]

Endpoint = pp.ByteClient | pp.ByteServer | pp.SpecQuery
Deliver = Callable[[Any], None]


def connect_failure(command: cmd.OpenChannel, failure: Exception) -> str:
    """What to say of a byte stream that could not be opened."""
    place = f"{command.host}:{command.port}"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"no TLS with {place}: {failure}; if that is the right server, give ssl= a context that trusts it"
    if isinstance(failure, ssl.SSLError):
        return f"no TLS with {place}: {failure}; does the server speak plain http:// there?"
    return f"cannot connect to {place}: {_system_words(failure)}"


def _system_words(failure: Exception) -> str:
    """The system's words for a failure; asyncio has addresses there, or a list of failures with addresses."""
    text = str(failure)
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\] Connect call failed", text)]
    words = " / ".join(dict.fromkeys(os.strerror(number) for number in numbers))
    if words and "unknown" not in words.lower():  # Windows does not know its sockets' errors by these numbers
        return words
    return getattr(failure, "strerror", None) or text


class Driver(ABC):
    """Runs one endpoint. A binding says how to write, close, pause, open, and how to be called back at a time."""

    def __init__(self, endpoint: Endpoint, deliver: Deliver) -> None:
        self.endpoint = endpoint
        self.deliver = deliver
        self._pumping = False
        self._armed: float | None = None

    @abstractmethod
    def now(self) -> float:
        """The clock, seconds."""

    def pump(self) -> None:
        """Deliver events and run commands until there are none, then re-arm the timer. Not re-entrant."""
        if self._pumping:
            return
        self._pumping = True
        endpoint, now = self.endpoint, self.now()
        try:
            events = endpoint.events()
            while True:
                for event in events:
                    self.deliver(event)
                commands = endpoint.commands(now=now)
                for command in commands:
                    self._run(command)
                events = endpoint.events()  # `commands` itself may have added some
                if not events and not commands:
                    break
        finally:
            self._pumping = False
        due = endpoint.next_timeout()
        if due != self._armed:
            self._armed = due
            self._arm(due)

    def timeout(self) -> None:
        """The timer fired."""
        self._armed = None
        # It may be early by the resolution of the clock: the core then does nothing, and is asked again.
        self.endpoint.handle_timeout(now=self.now())
        self.pump()

    def channel_closed(self, number: int, error: str | None) -> None:
        """A byte stream has ended, or could not be opened."""
        self.endpoint.channel_closed(number, error, now=self.now())
        self.pump()

    def _run(self, command: cmd.Command) -> None:
        if type(command) is cmd.Write:
            for number in command.channels:
                self._write(number, command.data)
        elif type(command) is cmd.CloseChannel:
            self._close(command.channel, command.abort)
        elif type(command) is cmd.PauseReading:
            self._read(command.channel, False)
        elif type(command) is cmd.ResumeReading:
            self._read(command.channel, True)
        elif type(command) is cmd.OpenChannel:
            self._open(command)

    @abstractmethod
    def _arm(self, due: float | None) -> None:
        """Have `timeout` called at `due`, and at no other time."""

    @abstractmethod
    def _write(self, number: int, data: bytes) -> None:
        """Write to a channel."""

    @abstractmethod
    def _close(self, number: int, abort: bool) -> None:
        """Close a channel, or stop opening it."""

    @abstractmethod
    def _read(self, number: int, reading: bool) -> None:
        """Read from a channel, or stop reading."""

    @abstractmethod
    def _open(self, command: cmd.OpenChannel) -> None:
        """Begin to open a channel."""
