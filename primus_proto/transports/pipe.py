"""Pipes: what a session holds of its connection, whatever transport carries it; and the pipe of the message seam.

The law kept here: what the session calls only buffers, marks dirty and takes no time; `flush` is the endpoint's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..commands import Abort, Close, MessageCommand, Pause, Resume, SendMessage, Write
from ..errors import LocalProtocolError, PrimusError
from ..http.model import Request
from ..limits import SLICE
from ..session.messages import MESSAGE_OVERHEAD, Message, ProtocolMessage

__all__ = ["MessagePipe", "Pipe", "SessionCore", "flush_pipes"]


class SessionCore(Protocol):
    """The session that a pipe reports to: a `Spark` or a `Client`."""

    def connection_closing(self) -> bool:
        """The peer closes, and all that came before was handed out. Returns whether to wait for `resume`."""

    def receive_message(self, data: str | bytes, *, now: float) -> None:
        """A message came."""

    def receive_messages(self, messages: Sequence[str | bytes], *, now: float) -> None:
        """Several messages came in one read."""

    def receive_ping(self, *, now: float) -> None:
        """A WebSocket ping came (the `websockets` transport only)."""

    def drained(self) -> None:
        """`Pipe.buffered` has fallen; told only while `Pipe.high` is set."""

    def flushed(self, *, now: float) -> None:
        """What could leave has left the pipe; told only while `Pipe.high` is set."""

    def connection_lost(self, error: PrimusError | None, *, code: int, reason: str, now: float) -> None:
        """The pipe is closed; told once, and not after the session closed it."""

    def unsent(self, payloads: tuple[str | bytes, ...]) -> None:
        """The session closed the pipe, and these messages that were written before have not left it."""


class Pipe(ABC):
    """One session's message pipe.

    The session's side only buffers and marks dirty; `flush` is the only place that chooses what carries it, and takes
    from the outbox what can leave the core now. A pipe outlives its session until its last bytes have left, and says
    nothing more to it.
    """

    transport = ""
    """The transport's name, as a registry knows it."""
    text_frames: list[bytes] | None = None
    """What `send_text` has queued, where a pipe makes WebSocket frames of it at once."""
    __slots__ = (
        "_discarded",
        "_on_dirty",
        "_outbox",
        "_outbox_size",
        "aborted",
        "dirty",
        "ending",
        "high",
        "request",
        "session",
    )

    session: SessionCore
    """Set by the endpoint before anything is reported."""

    @property
    def session_id(self) -> str | None:
        """The id that the transport has given the session; None: the server makes one."""
        return None

    def __init__(self, on_dirty: Callable[[Pipe], object], request: Request | None = None) -> None:
        self._on_dirty = on_dirty
        self.request: Request | None = request
        self.dirty: bool = False
        self.high: bool = False  # the session wants to hear when `buffered` has fallen again
        self.ending: tuple[int, str] | None = None  # closed by the session, or seen closed by the peer
        self.aborted = False
        self._outbox: list[Message] | None = None  # made with the first message
        self._outbox_size = 0
        self._discarded = 0  # what has come since the session closed

    @property
    def buffered(self) -> int:
        """Unsent bytes, each message with what it costs in memory."""
        return self._outbox_size

    def send(self, message: Message) -> int:
        """Queue a message; returns how many bytes are unsent now."""
        if self._outbox is None:
            self._outbox = []
        self._outbox.append(message)
        self._outbox_size += message.size
        self._touch()
        return self.buffered

    def send_text(self, text: bytes) -> int:
        """`send` for a value of the application that was encoded as a text, in UTF-8."""
        return self.send(Message(text.decode()))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close politely once everything queued has been sent."""
        if self.ending is None:
            self.ending = (code, reason)
            self._touch()

    def abort(self) -> None:
        """Drop everything at once."""
        self.aborted = True
        self.ending = self.ending or (1006, "")
        self._touch()

    @abstractmethod
    def pause(self) -> None:
        """Stop reading from the peer."""

    @abstractmethod
    def resume(self) -> None:
        """Read again."""

    def check_peer(self) -> None:
        """While reading is paused, find out whether the peer is gone, if that can be told, and then read on."""
        return  # most transports cannot tell

    @abstractmethod
    def flush(self, *, now: float) -> None:
        """The endpoint's side: hand over what can be handed over."""

    def take_write(self, *, shared: bool) -> Write | None:
        """Take all messages as one `Write`, if there is nothing else to do; otherwise None, and `flush` does it.

        Messages that other pipes may have too are only taken if `shared`, since these pipes would share a `Write`.
        """
        return None

    def block(self) -> None:
        """The host of the message seam takes no more for now. Raises LocalProtocolError where there is none."""
        raise LocalProtocolError("this session has no WebSocket of the host's; of a channel say channel_blocked")

    def unblock(self) -> None:
        """It takes messages again. Raises LocalProtocolError where there is none."""
        raise LocalProtocolError("this session has no WebSocket of the host's; of a channel say channel_writable")

    def take_all(self) -> list[Message]:
        """All queued messages, in order. For `flush`."""
        outbox, self._outbox = self._outbox or [], None
        self._outbox_size = 0
        return outbox

    def take_slice(self) -> list[Message]:
        """The first queued messages, up to about `SLICE` bytes, in order. For `flush`."""
        outbox = self._outbox
        if outbox is None or self._outbox_size <= SLICE:
            return self.take_all()
        count = size = 0
        while count < len(outbox) and size < SLICE:
            size += outbox[count].size
            count += 1
        taken = outbox[:count]
        del outbox[:count]
        self._outbox_size -= size
        return taken

    def withdraw(self) -> tuple[str | bytes, ...]:
        """Take back what has not left the core; the payloads of what the application wrote, in order."""
        outbox, self._outbox = self._outbox or (), None
        self._outbox_size = 0
        return tuple(message.payload for message in outbox if type(message) is not ProtocolMessage)

    def _discard(self, size: int, limit: int, count: int = 1) -> bool:
        """Count messages that came after the session closed. Returns whether they were too many.

        The peer has not taken notice of the close yet, and may never. A tiny message costs more than its bytes.
        """
        self._discarded += size + count * MESSAGE_OVERHEAD
        return self._discarded > limit

    def _report_unsent(self) -> None:
        """The pipe is over. Report what is left of what the session had written before it closed the pipe."""
        if payloads := self.withdraw():
            self.session.unsent(payloads)

    def _touch(self) -> None:
        if not self.dirty:
            self.dirty = True
            self._on_dirty(self)


class MessagePipe(Pipe):
    """The pipe of the message seam: the host has the WebSocket, and each act becomes a command for it.

    Messages wait here, where they count, until the host polls; while it is blocked, until it is writable. When the
    session closes, the host takes what is left.
    """

    transport = "messages"
    __slots__ = ("_blocked", "_commands", "_over", "_paused")

    def __init__(
        self,
        commands: deque[MessageCommand[Any]],
        on_dirty: Callable[[Pipe], None],
        request: Request | None = None,
    ) -> None:
        super().__init__(on_dirty, request)
        self._commands = commands
        self._over = self._blocked = self._paused = False

    def send(self, message: Message) -> int:
        return self.buffered if self._over else super().send(message)

    def withdraw(self) -> tuple[str | bytes, ...]:
        spark, mine, others = self._spark, [], []
        for command in self._commands:
            if type(command) is SendMessage and command.spark is spark:
                mine.append(command)
            else:
                others.append(command)
        self._commands.clear()
        self._commands.extend(others)
        return (*(command.data for command in mine if not command.protocol), *super().withdraw())

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._over:
            self.resume()  # a session that paused is gone, and the peer's close must get through
            self._over = True
            self._hand_over(self.take_all())
            self._commands.append(Close(code, reason, self._spark))

    def abort(self) -> None:
        if not self._over:
            self._over = True
            self._commands.append(Abort(self._spark))

    def pause(self) -> None:
        if not (self._over or self._paused):
            self._paused = True
            self._commands.append(Pause(self._spark))

    def resume(self) -> None:
        if self._paused and not self._over:
            self._paused = False
            self._commands.append(Resume(self._spark))

    def block(self) -> None:
        self._blocked = True

    def unblock(self) -> None:
        self._blocked = False
        if self._outbox:
            self._touch()

    def flush(self, *, now: float) -> None:
        if self._blocked or self._over:
            return
        self._hand_over(self.take_slice())
        if self._outbox:
            self._touch()
        if self.high:
            self.session.drained()

    def _hand_over(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._commands.append(SendMessage(message.payload, self._spark, type(message) is ProtocolMessage))

    @property
    def _spark(self) -> Any:
        return self.session if self.request is not None else None


def flush_pipes(pipes: deque[Pipe], *, now: float) -> None:
    """Flush the dirty pipes, and tell the sessions of those above the high-water mark."""
    dirty = pipes.copy()
    pipes.clear()
    for pipe in dirty:
        if pipe.dirty:  # otherwise its texts were all there was
            pipe.dirty = False
            pipe.flush(now=now)
            if pipe.high:
                pipe.session.flushed(now=now)
