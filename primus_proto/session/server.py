"""The server without its IO: the registry of sparks, broadcast, authorization's decisions, closing.

This is the message seam of a server: a host that has its own WebSockets calls `open_spark`, feeds the spark, and
does what `poll` says. `ByteServer` drives the same object from bytes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from .. import events as ev
from ..commands import MessageCommand
from ..config import ServerConfig, check_config
from ..errors import LocalProtocolError, Refused, TransformError
from ..http.forwarded import Network, client_address
from ..http.model import (
    UPGRADE_REQUIRED,
    Address,
    Headers,
    Request,
    Response,
    merge_headers,
    refusal,
    wants_websocket,
    without_headers,
)
from ..http.pipeline import Layer, LayerFunction, Pipeline
from ..limits import check_flag
from ..parsers import Parser, get_parser, limited
from ..plugins.registry import load_plugins
from ..timers import Timer
from ..transports.pipe import MessagePipe, Pipe, flush_pipes
from .core import Core, poll
from .encoding import encode, is_asynchronous, text_encoder
from .extensions import HasPlugins, Plugins
from .flow import run_steps, step_of
from .messages import NOTHING, Message
from .names import SERVER_EVENTS
from .spark import Spark
from .transforms import Direction, Packet, Transform, Transforms, copied

__all__ = ["Server"]


class Server(HasPlugins, Core):
    """All sparks of one server, and the verbs that concern them all. `rng` and `wall_offset` are as for `Core`."""

    EVENTS = SERVER_EVENTS

    def __init__(self, config: ServerConfig | None = None, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.config: ServerConfig = ServerConfig() if config is None else config
        check_config(self.config, ServerConfig)
        super().__init__(self.config.limits, rng, wall_offset)
        self.parser: Parser = limited(get_parser(self.config.parser), self.config.limits)
        self.asynchronous: bool = is_asynchronous(self.parser)
        """Whether the parser has to be awaited."""
        self.encode_text: Callable[[Any], bytes] | None = text_encoder(self.parser)
        """Encodes a value as a text in UTF-8; None: the parser has no such function."""
        self.transforms: Transforms = Transforms()
        """The transforms of all its sparks."""
        self.extensions: dict[type, Any] | None = None
        """What plugins have added to the server, by class."""
        self.context: Any = None  # its binding's to use
        self.spark_halves: tuple[Callable[[Spark], object], ...] = ()
        """The halves of plugins that are run for each new spark."""
        self._plugins = Plugins(self, "server", self._plugins_changed)
        self.tells_heartbeats: bool = True
        """Whether `SparkHeartbeat` events are emitted. They are most of what idle sparks cause, so a binding turns them
        off until somebody listens."""
        self.present: Callable[[Spark], Any] = lambda spark: spark
        """Returns a spark as its user holds it; set by a binding."""
        self.networks: tuple[Network, ...] = self.config.networks()
        self.sparks: dict[str, Spark] = {}
        """The open sparks by id; read it, do not change it."""
        self.pipeline: Pipeline = Pipeline(self)
        """The layers that every request walks."""
        self.closing = self.is_unsettled = False
        """Whether `close` was called."""
        self.closes_channels = False
        """Whether it was called for the connections too."""
        self.individual: bool = False
        """Whether a spark has, or had, outgoing transforms of its own."""
        self._farewell: _Farewell | None = None
        self._closed = False
        self._busy: Callable[[], bool] = lambda: False
        self._plugins.use_all(load_plugins(self.config.plugins))
        self.emit(ev.Initialised())

    # --- the application's side ---

    def spark(self, id: str) -> Spark | None:
        """The open spark with this id."""
        return self.sparks.get(id)

    def __iter__(self) -> Iterator[Spark]:
        """The sparks open now; they may end, and others come, while you iterate."""
        return iter(list(self.sparks.values()))

    def __len__(self) -> int:
        return len(self.sparks)

    def write(self, data: Any, *, to: Collection[Spark] | None = None, exclude: Collection[Spark] = ()) -> int:
        """Broadcast: send one value to every spark, or those in `to`, but not those in `exclude`.

        Returns how many took it. Encoded once and framed once. Raises EncodeError where the value cannot be sent,
        LocalProtocolError where `to` or `exclude` has anything but sparks of the core.
        """
        for name, sparks in (("to", to), ("exclude", exclude)):
            if sparks and not all(isinstance(spark, Spark) for spark in sparks):
                raise LocalProtocolError(f"{name} takes sparks as the core's events carry them; got {sparks!r}")
        if to and any(spark.server is not self and spark.is_open for spark in to):
            raise LocalProtocolError("to has a spark of another server")
        targets = [spark for spark in (self if to is None else dict.fromkeys(to)) if spark not in exclude]
        if not self.encodes_once:
            return self._write_each(data, targets)
        message = encode(self.parser, data)
        return sum([spark.write_message(message) for spark in targets])

    @property
    def face(self) -> Any:
        """It, as its user holds it."""
        return self.context if self.context is not None else self

    def use(self, name: Any, plugin: Any = None) -> None:
        """Add a plugin: ``use("name", plugin)``, ``use("name")`` or ``use(plugin)``. It joins sparks that open later.

        Raises ConfigError for an object that is not a plugin, and for a name in use. What its server half
        raises is raised, and what that half has done is undone.
        """
        self._plugins.use(name, plugin)

    def plugout(self, name: str) -> bool:
        """Remove a plugin and what its server half added; open sparks keep theirs. Returns whether there was one."""
        return self._plugins.plugout(name)

    def adopt(self, earlier: Server) -> None:
        """Take over from an earlier run of the same server: its layers, and what the extensions keep."""
        self.pipeline.adopt(earlier.pipeline)
        for kind, extension in (self.extensions or {}).items():
            before: Any = earlier.find_extension(kind)
            if before is not None and callable(getattr(extension, "adopt", None)):
                extension.adopt(before)

    def _plugins_changed(self, event: str, name: str, plugin: Any) -> None:
        halves = (getattr(one, "spark", None) for one in self._plugins.view.values())
        self.spark_halves = tuple(half for half in halves if callable(half))
        self.emit(ev.PluginAdded(name, plugin) if event == "plugin" else ev.PluginRemoved(name, plugin))

    @property
    def encodes_once(self) -> bool:
        """Whether a broadcast is one message for all: no outgoing transforms, and a synchronous parser."""
        return not (self.asynchronous or self.transforms.outgoing or self.individual)

    def transform(self, direction: Direction, function: Transform, *, shared: bool = False) -> None:
        """Add a transform for the ``incoming`` or ``outgoing`` messages of all sparks (protocol 5.1).

        It applies to open sparks at once. A `shared` one is called once for a broadcast, and must not be async. Raises
        LocalProtocolError for another direction, and for what is not callable.
        """
        self.transforms.add(direction, function, shared=shared)
        for spark in self.sparks.values():
            spark.use_transforms(direction)

    def close(self, data: Any = NOTHING, *, reconnect: bool = False, timeout: float = 0.0, close: bool = True) -> None:
        """Take no more sessions, and end all sparks, after `timeout` seconds if given (protocol 4.5).

        `data` is sent to each as it ends; `reconnect` tells the clients to come back. `ServerClosed` follows when
        all is over; without `close` it does not wait for connections, whose requests are answered 503. A second call
        only adds `close`. Raises EncodeError where `data` cannot be sent, LocalProtocolError for a `timeout` that is
        negative or never ends; neither closes anything.
        """
        if not 0 <= timeout < math.inf:
            raise LocalProtocolError(f"timeout must be a number of seconds of at least 0, and finite; got {timeout!r}")
        check_flag("reconnect", reconnect)
        plain = self.encodes_once
        message = encode(self.parser, data) if plain and data is not NOTHING else None
        if self._farewell is None:
            self._farewell = _Farewell(message, NOTHING if plain else data, reconnect, timeout)
            self.closing = self.is_unsettled = True
            if timeout == 0:
                self._end_all()
        self.closes_channels = self.closes_channels or close

    # --- the layers that every request walks ---

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers, in order, with those that are disabled."""
        return self.pipeline.names

    def before(
        self, name: str, layer: LayerFunction, *, index: int | None = None, http: bool = True, upgrade: bool = True
    ) -> None:
        """Add a layer: a function that sees each request under the pathname.

        It returns a `Response` to answer the request, `Headers` to add to whatever will be answered, None to pass, or
        `HOLD` to have the request held (`RequestHeld`). Raising `Refused` refuses the request, with 500 unless it says
        another status. Any other exception is logged and answered with 500.

        `index` is the place among `layers`, by default the end, behind authorization. A layer that is there already
        under this name is replaced at its place. `http` and `upgrade` say whether it sees plain requests and requests
        for a WebSocket. The change takes effect from the next request on. Raises LocalProtocolError for invalid
        arguments.
        """
        self.pipeline.before(Layer(name, layer, index, http, upgrade))

    def remove(self, name: str) -> None:
        """Remove a layer, a built-in one too. Raises LocalProtocolError if there is none of this name."""
        self.pipeline.remove(name)

    def enable(self, name: str) -> None:
        """Let a layer run again. Raises LocalProtocolError if there is none of this name."""
        self.pipeline.switch(name, True)

    def disable(self, name: str) -> None:
        """Pass over a layer until `enable`. Raises LocalProtocolError if there is none of this name."""
        self.pipeline.switch(name, False)

    # --- the driver's side (message seam) ---

    def answer(self, request: Request) -> Response | Headers:
        """Walk a request through the pipeline: return the answer to it, or headers to add when it is accepted. Pure.

        After headers (most often none) it is the host's turn: authorize the request (`refusal` refuses it), accept its
        WebSocket, and call `open_spark`. A layer that would hold the request, such as authorization, is passed over:
        the host can wait by itself.
        """
        answer, headers, held = self.pipeline.walk(request)
        while held is not None:
            answer, more, held = self.pipeline.walk(request, held)
            headers = merge_headers(headers, more)
        if answer is None and not wants_websocket(request):
            answer = UPGRADE_REQUIRED
        if answer is None:
            return Headers(headers)
        headers = without_headers(headers, answer.headers)
        return dataclasses.replace(answer, headers=(*answer.headers, *headers)) if headers else answer

    def refusal(self, message: str, *, status: int | None = None, authenticate: str | None = None) -> Response:
        """The answer to a request that authorization refused (protocol 6). A `status` of None is 401. Pure.

        Raises ConfigError for an invalid status or header.
        """
        return refusal(Refused(message, status, authenticate), 401)

    def open_spark(self, request: Request, *, now: float, pipe: Pipe | None = None) -> Spark:
        """A WebSocket was accepted for `request`: its new session.

        Without a `pipe` the spark sends by commands, which name it.
        """
        pipe = pipe or MessagePipe(self.queued_commands, self.dirty_pipes.append, request)
        before = len(self.queued_events)
        spark = Spark(self, pipe, request, pipe.session_id or self.new_id(), now=now)
        pipe.session = spark
        self.sparks[spark.id] = spark
        self.queued_events.insert(before, ev.SparkConnected(spark))  # before what plugins have emitted
        if spark.plugin_error is not None:
            spark.fail(spark.plugin_error)
        if self._farewell is not None:
            self._end(spark, self._farewell)
        return spark

    def poll(self, *, now: float) -> Iterator[ev.Event | MessageCommand[Spark]]:
        """Hand out what to know and to do, one item at a time: events, then the commands they caused."""
        self.check_clock(now)
        return poll(self.queued_events, self.queued_commands, self.work, now)

    # --- for sparks and endpoints ---

    def address_of(self, request: Request) -> Address:
        """See `PipelineHost`."""
        return client_address(request, self.networks, self.config.forwarded_by)

    def new_id(self) -> str:
        """32 hexadecimal digits, 128 random bits."""
        return f"{self.rng.getrandbits(128):032x}"

    def release(self, spark: Spark) -> None:
        """A spark has closed."""
        del self.sparks[spark.id]

    def watch_busy(self, busy: Callable[[], bool]) -> None:
        """`busy()` says whether something but the sparks must end before the server counts as closed."""
        self._busy = busy

    def work(self, now: float) -> None:
        """Do what takes time: set timers that were asked for, flush the pipes of the message seam, and close."""
        if self.timers.delays:
            self.set_delays(now)
        if self.dirty_pipes:
            flush_pipes(self.dirty_pipes, now=now)
        farewell = self._farewell
        if farewell is None or self._closed:
            return
        if farewell.timeout > 0 and farewell.timer is None:
            farewell.timer = self.timers.new(lambda _: self._end_all())
            farewell.timer.set(now + farewell.timeout)
        if not self.sparks and not (self.closes_channels and self._busy()):
            self._closed = True
            if farewell.timer is not None:
                farewell.timer.cancel()
            self.emit(ev.ServerClosed())

    def _end_all(self) -> None:
        assert self._farewell is not None
        for spark in self:
            self._end(spark, self._farewell)

    def _end(self, spark: Spark, farewell: _Farewell) -> None:
        if farewell.data is NOTHING:
            spark.end_with(farewell.message, reconnect=farewell.reconnect)
        else:
            spark.end(copied(farewell.data), reconnect=farewell.reconnect)

    def _write_each(self, data: Any, sparks: list[Spark]) -> int:
        """Broadcast through transforms. Those of each spark get a copy, so that they cannot disturb the others."""
        steps = self.transforms.outgoing
        shared = list(itertools.takewhile(lambda step: step.shared, steps))
        if shared:
            packet = Packet(copied(data), None, None)
            try:
                if not step_of(run_steps(packet, shared, "outgoing"), "a shared transform"):
                    return len(sparks)
            except TransformError as error:
                self.emit(ev.Logged("error", str(error), error))
                return 0
            data = packet.data
        message: Message | None = None
        count = 0
        for spark in sparks:
            if (
                self.asynchronous
                or len(shared) < len(steps)
                or (spark.transforms is not None and spark.transforms.outgoing)
            ):
                count += spark.write_copy(data, len(shared))
            else:
                message = message or encode(self.parser, data)
                count += spark.write_message(message)
        return count


@dataclass(slots=True)
class _Farewell:
    message: Message | None
    data: Any  # where transforms apply to it
    reconnect: bool
    timeout: float
    timer: Timer | None = None
