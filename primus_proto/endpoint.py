"""The byte endpoints: channel -> wire -> exchange -> pipeline -> transport -> pipe -> session, composed.

This is what a driver with raw sockets runs. After every call into it, go through `poll(now=)`: give events to the
application, run commands. Then re-arm the one timer if `next_timeout()` has changed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from . import events as ev
from .commands import Connect, OpenChannel
from .compression import Compression, compression_of
from .config import ClientConfig, ServerConfig, check_config
from .endpoint_base import Endpoint
from .errors import ConfigError, ConnectError
from .http.connections import Connections
from .http.model import Address, Answer, Headers, PeerCertificate, Request, Response
from .http.requests import Requests
from .http.spec import read_spec
from .session.client import Client
from .session.core import Core
from .session.server import Server
from .session.states import ReadyState
from .session.url import connect_headers
from .timers import Deadlines
from .transports.base import ClientTransport, Exchange
from .transports.pipe import Pipe
from .transports.registry import TRANSPORTS
from .wire.channel import Channel
from .wire.client import HttpClient, Pool
from .wire.http1 import HttpServer

__all__ = ["ByteClient", "ByteServer", "SpecQuery"]


class ByteServer(Endpoint):
    """A Primus server over byte streams. `server` is the session side: sparks, broadcast, closing.

    `rng` and `wall_offset` are as for `Core`.
    """

    def __init__(self, config: ServerConfig | None = None, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.server: Server = Server(config, rng=rng, wall_offset=wall_offset)
        super().__init__(self.server)
        self.options = self.server.config.transport_options
        self.compression: Compression | None = compression_of(self.server.config.compression)
        """See `HttpServerHost`."""
        self.deadlines: Deadlines = Deadlines(self.timers, self.limits.handshake)
        """See `HttpServerHost`."""
        self._transport = TRANSPORTS[self.server.config.transformer].server(self)
        self._connections = Connections(self.limits, self.server.networks, self.bad_peer)
        self._requests = Requests(self.server, self.server.pipeline, self._transport)
        self._agenda += (self._requests.resumed,)
        self._closing = self._closed_idle = False
        self._host_busy: Callable[[], bool] = lambda: False
        self.server.watch_busy(lambda: bool(self._channels) or self._host_busy() or self._transport.busy)

    def channel_accepted(
        self, peer: tuple[str, int] = ("", 0), *, certificate: PeerCertificate | None = None, now: float
    ) -> int:
        """A byte stream was accepted from `peer` (ip, port); returns its number, never used again.

        `certificate` is the verified TLS certificate of the peer, for `Request.peer_certificate`.
        """
        channel = self._new_channel()
        channel.user = http = HttpServer(channel, self, Address(*peer[:2]), certificate, now=now)
        if not self._connections.admit(channel.number, http.peer.ip, len(self._channels)) or self.closing:
            http.abort()
        return channel.number

    def watch_host(self, busy: Callable[[], bool]) -> None:
        """A host with exchanges of its own says by `busy()` whether any is open; a closing server waits for them."""
        self._host_busy = busy

    def resume(self, id: int, answer: Response | Headers | None = None) -> bool:
        """Walk on with a request of `RequestHeld`; False if it has gone or timed out.

        None lets it pass the layer that held it, `Headers` too, and they are added to its answer; a `Response`, such as
        `Server.refusal` makes, answers it. Raises LocalProtocolError for an id that was never issued.
        """
        return self._requests.resume(id, answer)

    def fail(self, id: int, error: BaseException) -> bool:
        """Answer a request of `RequestHeld` whose layer raised; False if it has gone or timed out.

        A `Refused` becomes the refusal that it describes. Anything else is logged and answered with 500.
        """
        return self._requests.fail(id, error)

    # --- for channels and transports ---

    def request(self, exchange: Exchange, *, now: float) -> None:
        """A request's head is complete. A host that speaks HTTP itself gives exchanges of its own here."""
        self._requests.request(exchange, now=now)

    def admit(self, channel: int, request: Request) -> bool:
        """See `HttpServerHost`."""
        # Without trusted proxies the address is that of the channel, which was admitted.
        return not self.server.networks or self._connections.admit(channel, self.server.address_of(request).ip)

    def bad_peer(self, text: str) -> None:
        """See `HttpServerHost`."""
        self.server.emit(ev.Logged("warning", text))

    def epoch(self, now: float) -> float:
        """See `HttpServerHost`."""
        return self.server.epoch(now)

    @property
    def closing(self) -> bool:
        """See `HttpServerHost`."""
        return self.server.closes_channels and not self._transport.busy

    @property
    def pathname(self) -> str:
        """See `ServerHost`."""
        return self.server.config.base

    def new_id(self) -> str:
        """See `ServerHost`."""
        return self.server.new_id()

    def opened(self, pipe: Pipe, *, now: float) -> None:
        """See `PipeHost`."""
        assert pipe.request is not None
        self.server.open_spark(pipe.request, now=now, pipe=pipe)

    def _forget(self, number: int) -> None:
        super()._forget(number)
        self._connections.forget(number)

    def _prepare(self, now: float) -> None:
        if self._requests.resumed:
            self._requests.run(now=now)
        if self.server.timers.delays:
            self.server.set_delays(now)
        if self.server.closing:
            self._close(now)
            self.server.work(now)

    def _close(self, now: float) -> None:
        """Close what carries no session; the rest closes with its answer, or its session."""
        if not self._closing:
            self._closing = True
            self._transport.close(now=now)
            self._requests.close(now=now)
        if self.closing and not self._closed_idle:
            self._closed_idle = True
            for channel in self._channels.values():
                if isinstance(channel.user, HttpServer):
                    channel.user.close_when_idle()


class _ClientEndpoint(Endpoint):
    """What connects: channels are opened towards the one origin of `config`."""

    def __init__(self, session: Core, config: ClientConfig) -> None:
        super().__init__(session)
        self._config = config
        self.options = config.transport_options
        self.pool = Pool(self, "", False) if callable(config.url) else self._new_pool()

    def channel_opened(self, channel: int, *, now: float) -> None:
        """The byte stream that `OpenChannel` asked for is up."""
        known = self._find(channel)
        if known is not None and isinstance(known.user, HttpClient):
            known.user.channel_opened(now=now)

    @property
    def compression(self) -> Compression | None:
        """See `PoolHost`."""
        return compression_of(self._config.compression)

    def _new_pool(self) -> Pool:
        return Pool(self, self._config.authority, self._config.secure)

    def open_channel(self) -> Channel:
        """See `PoolHost`."""
        channel = self._new_channel()
        config, (resolver, server_name, _) = self._config, self._config.host
        name = server_name if config.secure and server_name != resolver else None
        self._commands.append(OpenChannel(channel.number, resolver, config.port, config.secure, name))
        return channel


class ByteClient(_ClientEndpoint):
    """A Primus client over byte streams. `client` is the session side: write, end, state.

    `rng` and `wall_offset` are as for `Core`.
    """

    def __init__(self, config: ClientConfig, *, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.client: Client = Client(config, rng=rng, wall_offset=wall_offset)
        super().__init__(self.client, config)
        self._attempt: ClientTransport | None = None
        self._question = self.pool  # for /spec, beside the connection
        self._asking = False
        self._question_timer = self.timers.new(self._stop_asking)

    # --- for channels and transports ---

    def opened(self, pipe: Pipe, *, now: float) -> None:
        """See `PipeHost`."""
        pipe.session = self.client
        self._attempt = None
        self.client.opened(now=now, pipe=pipe)
        if self._config.dialect == "auto":
            self._ask(now)

    def failed(self, error: ConnectError, *, now: float) -> None:
        """See `ClientHost`."""
        self._attempt = None
        self.pool.abort(now=now)
        self.client.connection_lost(error, now=now)

    def _prepare(self, now: float) -> None:
        # A session that has let go of its pipe closed or aborted it, and such a pipe keeps silent; it sees to its
        # connections itself. An attempt that is dropped loses its connections and its requests here. So nothing that is
        # over can speak to the session.
        self.client.work(now)
        commands = self.client.queued_commands
        while commands:
            command = commands.popleft()
            if self._attempt is not None:
                self._attempt.abort(now=now)
                self._attempt = None
                self.pool.abort(now=now)
            if isinstance(command, Connect):
                self._config = self.client.attempts.target
                self.pool: Pool = self._new_pool()
                target = command.url[command.url.index("/", command.url.index("//") + 2) :]
                self._attempt = TRANSPORTS[self._config.transformer].client(self, target, command.headers)
                self._attempt.start(now=now)
        if self._asking and self.client.ready_state is not ReadyState.OPEN:
            self._stop_asking(now)

    def _ask(self, now: float) -> None:
        """Ask what dialect the server speaks (protocol 3.5). Nothing waits for the answer."""
        self._asking = True
        self._question = self._new_pool()
        self._question_timer.set(now + self.limits.handshake)
        _ask_spec(self._question, self._config, self._told, lambda error, now: self._stop_asking(now), now)

    def _told(self, answer: Answer, now: float) -> None:
        self._stop_asking(now)
        spec = read_spec(answer)
        if spec is not None:
            self.client.learn(spec, now=now)

    def _stop_asking(self, now: float) -> None:
        self._asking = False
        self._question_timer.cancel()
        self._question.abort(now=now)


class SpecQuery(_ClientEndpoint):
    """Asks a server, once, what it is (protocol 2): ends in one `SpecReceived` or one `ErrorOccurred`.

    Driven like a `ByteClient`. `ClientConfig.timeout` bounds it.
    """

    def __init__(self, config: ClientConfig, *, rng: random.Random) -> None:
        check_config(config, ClientConfig)
        if config.functions:
            raise ConfigError(f"{', '.join(config.functions)}: a spec query takes values, not functions")
        self._core = Core(config.limits, rng)
        self._timer = self._core.timers.new(lambda now: self._failed(ConnectError("no answer in time"), now))
        self._asked = False
        super().__init__(self._core, config)

    def _prepare(self, now: float) -> None:
        if self._asked:
            return
        self._asked = True
        if self._config.timeout is not False:
            self._timer.set(now + self._config.timeout)
        _ask_spec(self.pool, self._config, self._answered, self._failed, now)

    def _answered(self, answer: Answer, now: float) -> None:
        spec = read_spec(answer)
        if spec is not None:
            self._finish(ev.SpecReceived(spec), now)
        else:
            text = f"the server answered {answer.status}, not with a spec: no Primus under this pathname?"
            pairs = answer.headers.pairs
            self._failed(ConnectError(text, status=answer.status, headers=pairs, body=answer.body), now)

    def _failed(self, error: ConnectError, now: float) -> None:
        self._finish(ev.ErrorOccurred(error), now)

    def _finish(self, event: ev.Event, now: float) -> None:
        self._timer.cancel()
        self._core.emit(event)
        self.pool.abort(now=now)


def _ask_spec(
    pool: Pool,
    config: ClientConfig,
    answered: Callable[[Answer, float], None],
    failed: Callable[[ConnectError, float], None],
    now: float,
) -> None:
    headers = (("Accept", "application/json"), *connect_headers(config))
    pool.request("GET", config.base + "/spec", headers, b"", answered, failed, now=now)
