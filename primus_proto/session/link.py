"""`Link`: what a spark and a client do alike with the messages of one connection, coming in and going out.

The laws kept here: a parser is the application's code, so whatever it raises becomes an `EncodeError` for the caller of
`write`, or a `DecodeError` in an event; protocol messages never reach the application as data; and a peer that does not
read costs at most one pending reply of each kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import STOPPING, EncodeError, PluginError, PrimusError
from ..event_base import Event
from ..limits import Limits
from ..parsers import Parser
from ..plugin_events import Delivery, PluginEvent, StepHeld
from ..rate import WINDOW, Rate
from ..timers import Timer
from ..transports.pipe import Pipe
from .encoding import decode_error, encode, encode_protocol
from .extensions import Extensible
from .flow import Incoming, Outgoing
from .messages import PREFIX, Message, protocol_message
from .neglect import Neglect
from .states import ClientState, SparkState
from .transforms import Direction, Step, Transform, Transforms, copied
from .work import Held

__all__ = ["CLOSING", "Link"]

# The reasons not to read are bits: 1 the application's, 2 of messages that wait for a transform, and this one: the peer
# has closed, and the application is busy.
CLOSING = 4


class Link(Extensible, ABC):
    """One end of a session: decoding, protocol messages, the high-water mark, pending replies and what was dropped.

    A subclass says whose parser and limits apply, and which events report what happens.
    """

    __slots__ = (
        "_asynchronous",
        "_high_water",
        "_incoming",
        "_late",
        "_limit",
        "_neglect",
        "_outgoing",
        "_pending",
        "_rate",
        "_slow",
        "_telling",
        "direct",
        "discarded",
        "extensions",
        "is_busy",
        "needs_drain",
        "parser",
        "receives",
        "transforms",
    )

    state: ClientState | SparkState
    _paused: int

    def __init__(self, parser: Parser, limit: int, asynchronous: bool, receives: bool) -> None:
        self.parser: Parser = parser
        """What encodes and decodes its messages."""
        self.is_busy: Callable[[], bool] | None = None
        """Set by a binding: whether the application still works on messages that it got, and may answer them.

        Asked when the peer has closed, or has broken a rule. If it is busy the end waits for `settle()`, for at most
        `Limits.close`. None: messages are answered, if at all, before the next event is handed out.
        """
        self.direct: Callable[[Any, str | bytes], object] | None = None
        """Set by a binding whose one listener does not wait: called with a value and the message it came in.

        A spark then gives it values at once, without an event, unless earlier events wait to be handed out. The data of
        a spark that it ends is withheld, as by `poll`. It must not raise.
        """
        self.receives: bool = receives
        """Whether values that arrive are handed out. Otherwise they are dropped and counted."""
        self.discarded: int = 0
        """How many values were dropped because of the option ``receive=False``, or because nobody took any."""
        self._neglect: Neglect | None = None
        self._limit = limit  # of unsent bytes
        self._high_water = limit // 2
        self.needs_drain = False
        """Whether unsent bytes passed half of their limit: wait for the `drain` event before you write more."""
        self._slow = False  # more than the limit was unsent after a flush, and it has not drained since
        self._pending: dict[str, Message] | None = None  # replies that wait for the backlog to fall, by name
        self._rate: Rate | None = None  # of replies
        self._late: dict[str, str] | None = None  # replies for which there were too many, by name
        self.transforms: Transforms | None = None
        """Its own transforms; None: it never had any."""
        self.extensions: dict[type, Any] | None = None
        """What plugins have added, by class."""
        self._telling = False  # the extensions are told of the end
        self._asynchronous = asynchronous  # the parser
        # Without transforms, and with a synchronous parser, messages take the short way, and these are None.
        self._incoming: Incoming | None = Incoming(self, decodes=True) if asynchronous else None
        self._outgoing: Outgoing | None = Outgoing(self, encodes=True) if asynchronous else None

    # --- what a subclass has ---

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes written that have not left the core."""

    @property
    def _most(self) -> int:
        """Unsent bytes above which a value is refused."""
        return self._limit

    @abstractmethod
    def _data(self, value: Any, size: int) -> None:
        """Report a message that arrived."""

    @abstractmethod
    def _protocol(self, name: str, value: str, now: float) -> bool:
        """Act on a protocol message. False: it is unknown, or makes no sense now."""

    @abstractmethod
    def _ignored(self, text: str) -> None:
        """Report a protocol message that was ignored."""

    @abstractmethod
    def _error(self, error: PrimusError) -> None:
        """Report an error."""

    @abstractmethod
    def _drain(self) -> None:
        """Tell that there is room again."""

    @abstractmethod
    def _dropped(self, payloads: tuple[str | bytes, ...], why: str) -> None:
        """Report messages that will not be sent."""

    @property
    @abstractmethod
    def _limits(self) -> Limits:
        """Its limits."""

    @property
    @abstractmethod
    def face(self) -> Any:
        """It, as its user holds it."""

    @abstractmethod
    def _steps(self, direction: Direction) -> tuple[Step, ...]:
        """All transforms that apply to it, in order."""

    @abstractmethod
    def _emit(self, event: Event) -> None:
        """Queue an event."""

    def tell(self, event: PluginEvent) -> bool:
        """Emit an event of a plugin. False, and nothing is emitted, once the session has ended."""
        if self.state.over and not self._telling:
            return False
        self._emit(event)
        return True

    def _deliver(self, topic: str, function: Callable[..., object], args: tuple[Any, ...], size: int) -> None:
        """Report a message that a transform delivers to a function."""
        self._emit(Delivery(self, function, args, topic, size))

    def _hold(self, held: Held) -> None:
        """Report a step that has to wait."""
        self._emit(StepHeld(held))

    def pause(self) -> None:
        """Stop reading from the peer: back-pressure. While paused, missed heartbeats are not counted.

        Call it again when the application has taken something while it was paused: otherwise, after as long as the
        heartbeat allows, a `log` event says that nobody takes values (protocol 4.5).
        """
        if self.state.over:
            return
        if self._neglect is None:
            host: Any = self  # a subclass has the rest
            self._neglect = Neglect(host)
        self._neglect.paused()
        self._pause(1)

    def resume(self) -> None:
        """Read again."""
        if self._neglect is not None:
            self._neglect.resumed()
        self._resume(1)

    @property
    def neglected(self) -> bool:
        """See `NeglectHost`."""
        return self._paused & 1 == 1 and not self.state.over

    @abstractmethod
    def warn(self, text: str) -> None:
        """See `NeglectHost`."""

    @abstractmethod
    def check_peer(self) -> None:
        """See `NeglectHost`."""

    @abstractmethod
    def _pause(self, by: int) -> None:
        """Stop reading, for one more reason."""

    @abstractmethod
    def _resume(self, by: int) -> None:
        """Read again, if there is no other reason not to."""

    def _hold_reading(self, hold: bool) -> None:
        """Stop reading while too much waits for a step, or read again."""
        (self._pause if hold else self._resume)(2)

    @abstractmethod
    def after(self, seconds: float, callback: Callable[[float], object]) -> Timer:
        """Call `callback(now)` so many seconds after the next `poll`. For plugins."""

    def ignore(self, what: str) -> None:
        """Report a message that a plugin ignored."""
        self._ignored(what)

    def _told_extensions(self, error: PrimusError) -> None:
        """Tell the extensions that the connection is gone."""
        self._telling = True
        for failure in self.tell_closed(error):
            self._error(PluginError(f"a plugin failed at the end of a connection: {failure!r}"))
        self._telling = False

    @abstractmethod
    def write_message(self, message: Message) -> bool:
        """`write` for a message that is encoded already."""

    @abstractmethod
    def drained(self) -> None:
        """Unsent bytes have fallen."""

    # --- transforms ---

    def transform(self, direction: Direction, function: Transform, *, shared: bool = False) -> None:
        """Add a transform for the ``incoming`` or ``outgoing`` messages of this session (protocol 5.1).

        Raises LocalProtocolError for another direction, and for what is not callable.
        """
        if self.transforms is None:
            self.transforms = Transforms()
        self.transforms.add(direction, function, shared=shared)
        self.use_transforms(direction)

    def use_transforms(self, direction: Direction) -> None:
        """From now on there are transforms in this direction."""
        if direction == "incoming":
            self._incoming = self._incoming or Incoming(self, decodes=False)
        else:
            self._outgoing = self._outgoing or Outgoing(self, encodes=False)

    @property
    def has_outgoing(self) -> bool:
        """Whether a written value passes transforms, or an asynchronous parser."""
        return self._asynchronous or bool(self._steps("outgoing"))

    # --- incoming ---

    def receive_messages(self, messages: Sequence[str | bytes], *, now: float) -> None:
        """`receive_message` for several that came at once."""
        for data in messages:
            self.receive_message(data, now=now)

    @abstractmethod
    def receive_message(self, data: str | bytes, *, now: float) -> None:
        """A WebSocket message came: str for a text message, bytes for a binary one."""

    def _receive(self, data: str | bytes, now: float) -> None:
        """Decode a message, and report it or act on it."""
        if self._incoming is not None:
            self._incoming.receive(data, now)
            return
        try:
            value = self.parser.decode(data)
        except STOPPING:
            raise
        except BaseException as error:
            self._error(decode_error(error, data))
            return
        if type(value) is str and value.startswith(PREFIX):
            self._receive_protocol(value, now)
        else:
            self._data(value, len(data))

    def _receive_protocol(self, text: str, now: float) -> None:
        """Act on a protocol message, or tell that it was ignored."""
        name, separator, value = text[len(PREFIX) :].partition("::")  # the value may have colons
        if not separator or not self._protocol(name, value, now):
            self._ignored(text)

    def connection_closing(self) -> bool:
        """See `SessionCore`."""
        if self.is_busy is None or not self.is_busy():
            return False
        self._pause(CLOSING)
        return True

    def settle(self) -> None:
        """The application has handled all that it got: go on with the end, if the peer has closed."""
        self._resume(CLOSING)

    def _after_incoming(self, then: Callable[[float], None], now: float) -> bool:
        """The connection is gone. Call `then(now)` once what arrived has been handled. Returns False if it has been.

        It has as much time for that as a closing handshake.
        """
        incoming = self._incoming
        if incoming is None or not incoming.queue.busy:
            return False
        timer = self.after(self._limits.close, lambda now: incoming.give_up())

        def handled(now: float) -> None:
            timer.cancel()
            then(now)

        incoming.queue.now = now
        incoming.queue.finish(handled)
        return True

    # --- outgoing ---

    def write_copy(self, data: Any, skip: int) -> bool:
        """`write` for a copy of a value for many sparks, which has passed the first `skip` transforms already.

        What its own transforms made unfit to be sent is an error of this spark only, and raises nothing.
        """
        if self._outgoing is None:
            return self.write_message(encode(self.parser, data))
        try:
            return self._outgoing.write(copied(data), skip=skip)
        except EncodeError as error:
            if self.transforms is None or not self.transforms.outgoing:
                raise
            self._error(error)
            return False

    def _after_outgoing(self, pipe: Pipe, close: Callable[[], object]) -> None:
        """This end ends. Close its `pipe` once what was written has left, which has the same time for that."""
        outgoing = self._outgoing
        if outgoing is None or not outgoing.queue.busy:
            close()
            return
        timer = self.after(self._limits.close, lambda now: outgoing.give_up())

        def left() -> None:
            timer.cancel()
            close()

        outgoing.finish(pipe, left)
        self._outgoing = Outgoing(self, encodes=outgoing.encodes)

    def _send(self, pipe: Pipe, message: Message) -> None:
        """Send a message, and note whether there is room for more."""
        if pipe.send(message) > self._high_water:
            self.needs_drain = pipe.high = True

    @abstractmethod
    def say(self, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``."""

    def reply(self, name: str, value: str, now: float) -> None:
        """`say` in answer to the peer: so many times in a second, and then the last of each kind when it is over."""
        if self._rate is None:
            self._rate = Rate(self._limits.replies)
        if self._rate.takes(now):
            self.say(name, value)
        elif self._late is not None:
            self._late[name] = value
        else:
            self._late = {name: value}
            self.after(WINDOW, self._reply_late)

    def _reply_late(self, now: float) -> None:
        late, self._late = self._late, None
        for name, value in late.items() if late else ():
            self.reply(name, value, now)

    def _say(self, pipe: Pipe, name: str, value: str) -> None:
        """Send ``primus::<name>::<value>``.

        A peer that much is still on its way to is slow, not dead, so it is answered later. Of each kind only the last
        reply is kept for that. While an application writes nothing can leave, so only a flush tells who is slow. A pipe
        that was closed before this message's turn came gets none.
        """
        if pipe.ending is not None:
            return
        if self._asynchronous:
            assert self._outgoing is not None
            self._outgoing.say(protocol_message(name, value))
            return
        message = self._protocol_message(protocol_message(name, value))
        if message is None:
            return
        if self._slow and pipe.buffered > self._limit:
            self._pending = {**(self._pending or {}), name: message}
        elif pipe.send(message) > self._high_water:  # as `_send` does, without the call
            self.needs_drain = pipe.high = True

    def _protocol_message(self, text: str) -> Message | None:
        """Encode one of the protocol's own strings; None, and an error told, where the parser refuses it."""
        try:
            return encode_protocol(self.parser, text)
        except EncodeError as error:
            self._error(error)
            return None

    def _drained(self, pipe: Pipe | None) -> None:
        """Unsent bytes have fallen: tell so once they are at the high-water mark, and send the pending replies."""
        if not self.needs_drain or self.buffered > self._high_water:
            return
        self.needs_drain = self._slow = False
        self._drain()
        if pipe is not None:
            pipe.high = False
            pending, self._pending = self._pending, None
            for message in pending.values() if pending else ():
                self._send(pipe, message)

    def unsent(self, payloads: tuple[str | bytes, ...]) -> None:
        """See `SessionCore`."""
        self._report_dropped(payloads, "the connection ended before they could be sent")

    def _report_dropped(self, payloads: Iterable[str | bytes], why: str) -> None:
        if dropped := tuple(payloads):
            self._dropped(dropped, why)
