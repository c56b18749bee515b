"""The way of the messages of a session that has transforms, or whose parser is asynchronous: in order, and bounded.

The laws kept here: a transform is the application's code, so what it raises becomes a `TransformError` in an event.
What waits for an asynchronous step counts against the limits of its direction. Once a session has ended, a step that
waits has at most `Limits.close` seconds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from ..errors import STOPPING, EncodeError, PrimusError, RemoteProtocolError, TransformError
from .encoding import check_value, decode_error, encode_error, message_of
from .messages import PREFIX, Message, ProtocolMessage
from .transforms import DROP, Direction, Packet, Step
from .work import Work, WorkQueue

if TYPE_CHECKING:
    from ..transports.pipe import Pipe
    from .link import Link

__all__ = [
    "Incoming",
    "Outgoing",
    "run_steps",
    "step_of",
]

MESSAGE_SIZE = 64  # what an incoming message counts for beside its bytes
VALUE_SIZE = 1024  # what a written value counts for while it is not encoded

Waiting = Generator[Any, Any, Any]


def run_steps(packet: Packet, steps: Iterable[Step], direction: Direction) -> Generator[Any, Any, bool]:
    """Run a packet through transforms. Returns whether it goes on. Raises TransformError where one fails."""
    for step in steps:
        try:
            result = step.function(packet)
            if result is not None and inspect.isawaitable(result):
                result = yield result
        except (RemoteProtocolError, *STOPPING):  # the first: a transform found fault with what the peer sent
            raise
        except BaseException as error:
            text = f"an {direction} transform failed, so its message was dropped: {error!r}"
            raise TransformError(text, direction, packet.data) from error
        if result is DROP or result is False:
            return False
        if result is not None and result is not True:
            kind = type(result).__name__
            text = f"an {direction} transform returned a {kind}: set packet.data, and return None, or DROP"
            raise TransformError(text, direction, packet.data)
    return True


def step_of(work: Waiting, what: str) -> Any:
    """The result of work that must not wait. Raises TransformError where it does."""
    try:
        awaitable = next(work)
    except StopIteration as stop:
        return stop.value
    if inspect.iscoroutine(awaitable):
        awaitable.close()
    work.close()
    raise TransformError(f"{what} must not be async", "outgoing", None)


class Incoming:
    """The messages that arrive, from the parser to the application."""

    __slots__ = ("_decodes", "_full", "_link", "queue")

    def __init__(self, link: Link, *, decodes: bool) -> None:
        self._link = link
        self._decodes = decodes  # the parser is asynchronous, so that even protocol messages wait for their turn
        self._full = False
        self.queue: WorkQueue = WorkQueue(link._hold, self._changed)

    def receive(self, data: str | bytes, now: float) -> None:
        """A message came."""
        link, queue = self._link, self.queue
        queue.now = now
        if self._decodes:
            queue.add(self._decoded(data), len(data) + MESSAGE_SIZE)
        else:
            try:
                value = link.parser.decode(data)
            except STOPPING:
                raise
            except BaseException as error:
                link._error(decode_error(error, data))
                return
            if not self._is_protocol(value, now):
                queue.add(self._transformed(value, data), len(data) + MESSAGE_SIZE)
        if queue.size > link._limits.held and not self._full:
            self._full = True
            link._hold_reading(True)

    def give_up(self) -> None:
        """Drop the messages that wait, and report them."""
        dropped = len(self.queue)
        text = f"{dropped} messages that had arrived were dropped: a transform or parser had not finished with them"
        self._link._error(TransformError(text, "incoming", None))
        self.queue.discard()

    def _changed(self) -> None:
        if self._full and self.queue.size <= self._link._limits.held // 2:
            self._full = False
            self._link._hold_reading(False)

    def _is_protocol(self, value: Any, now: float) -> bool:
        if type(value) is not str or not value.startswith(PREFIX):
            return False
        self._link._receive_protocol(value, now)
        return True

    def _decoded(self, data: str | bytes) -> Work:
        link = self._link
        try:
            value: Any = link.parser.decode(data)
            if inspect.isawaitable(value):
                value = yield value
        except STOPPING:
            raise
        except BaseException as error:
            link._error(decode_error(error, data))
            return
        if not self._is_protocol(value, self.queue.now):
            yield from self._transformed(value, data)

    def _transformed(self, value: Any, data: str | bytes) -> Work:
        link = self._link
        packet = Packet(value, data, link.face)
        try:
            goes_on = yield from run_steps(packet, link._steps("incoming"), "incoming")
        except PrimusError as error:
            link._error(error)
            return
        for topic, function, args in packet.deliveries or ():
            link._deliver(topic, function, args, len(data))
        if goes_on:
            link._data(packet.data, len(data))


class _Attempt:
    """One `write`. `direct` while it has not returned, so that it can still raise and say whether it was taken."""

    __slots__ = ("direct", "error", "taken")

    def __init__(self) -> None:
        self.direct = self.taken = True
        self.error: EncodeError | None = None


class Outgoing:
    """The values that are written, from the application to the pipe."""

    __slots__ = ("_link", "delivering", "encodes", "pipe", "queue")

    def __init__(self, link: Link, *, encodes: bool) -> None:
        self._link = link
        self.encodes: bool = encodes
        """Whether the parser is asynchronous, so that even protocol messages wait for their turn."""
        self.delivering = False
        """Whether the message that is being written comes from here."""
        self.pipe: Pipe | None = None  # of a session that has ended, and only waits for this
        self.queue: WorkQueue = WorkQueue(link._hold, link.drained)

    def write(self, value: Any, *, skip: int = 0, last: bool = False) -> bool:
        """Send a value, after everything that was written before. False if there is no room or a transform failed.

        `skip` transforms have been applied already. The `last` value of a session always has room.
        """
        link = self._link
        if not last and link.buffered > link._most:
            return False
        attempt = _Attempt()
        self.queue.add(self._transformed(value, skip, attempt), VALUE_SIZE)
        return self._outcome(attempt)

    def write_message(self, message: Message) -> bool:
        """Send a message that is encoded already, after everything that was written before."""
        attempt = _Attempt()
        self.queue.add(self._sent(message, attempt), message.size)
        return self._outcome(attempt)

    def say(self, text: str) -> None:
        """Send one of the protocol's own strings, by an asynchronous parser."""
        self.queue.add(self._said(text), len(text))

    def finish(self, pipe: Pipe, close: Callable[[], object]) -> None:
        """The session has ended: what waits goes to its `pipe`, and then `close` is called."""
        self.pipe = pipe
        self.queue.finish(lambda _: close())

    def give_up(self) -> None:
        """Drop the messages that wait, and report them."""
        if dropped := len(self.queue):
            text = f"{dropped} written values were not sent: a transform or parser had not finished with them"
            self._link._error(TransformError(text, "outgoing", None))
        self.queue.discard()

    def _outcome(self, attempt: _Attempt) -> bool:
        attempt.direct = False
        if attempt.error is not None:
            raise attempt.error
        link = self._link
        if self.queue.size > link._high_water:
            link.needs_drain = True
        return attempt.taken

    def _transformed(self, value: Any, skip: int, attempt: _Attempt) -> Work:
        link = self._link
        packet = Packet(value, None, link.face)
        try:
            if not (yield from run_steps(packet, link._steps("outgoing")[skip:], "outgoing")):
                return
            check_value(packet.data)
            message = message_of(Message, (yield from self._encoded(packet.data)), link.parser)
        except TransformError as error:
            attempt.taken = False
            link._error(error)
            return
        except STOPPING:
            raise
        except BaseException as error:
            attempt.error = encode_error(error)
            if not attempt.direct:
                link._error(attempt.error)
            return
        self._send(message, attempt)

    def _sent(self, message: Message, attempt: _Attempt) -> Work:
        self._send(message, attempt)
        yield from ()  # it never waits

    def _said(self, text: str) -> Work:
        try:
            message = message_of(ProtocolMessage, (yield from self._encoded(text)), self._link.parser)
        except STOPPING:
            raise
        except BaseException as error:
            self._link._error(encode_error(error))
            return
        self._send(message, _Attempt())

    def _encoded(self, value: Any) -> Waiting:
        payload: Any = self._link.parser.encode(value)
        if type(payload) is str or type(payload) is bytes or not inspect.isawaitable(payload):  # which takes time
            return payload
        return (yield payload)

    def _send(self, message: Message, attempt: _Attempt) -> None:
        link, why = self._link, "the session had ended, or its peer does not read"
        if self.pipe is not None:
            if self.pipe.ending is None:
                self.pipe.send(message)
                return
            taken, why = False, "the connection is gone"
        else:
            self.delivering = True
            try:
                taken = link.write_message(message)
            finally:
                self.delivering = False
        if not taken and not attempt.direct and type(message) is not ProtocolMessage:
            link._report_dropped([message.payload], why)
        attempt.taken = taken
