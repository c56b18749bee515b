"""What is fuzzed. A target is a function of bytes that raises where a law of the core is broken.

No target needs atheris, so the tests replay the corpus with these functions alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from wsproto.frame_protocol import FrameProtocol

from primus_proto import (
    ByteClient,
    ByteServer,
    ClientConfig,
    ConfigError,
    DecodeError,
    EncodeError,
    Limits,
    ServerConfig,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.parsers import get_parser
from primus_proto.parsers.json import HAS_ORJSON, FastJSONParser, JSONParser
from primus_proto.testing import VirtualNetwork

from .exchanges import HostExchange
from .references import RawParser, close_code, read_by_websockets, read_by_wsproto, regular_frames

TARGETS: dict[str, Callable[[bytes], None]] = {}

# All answers to the largest input have room: how many values are refused depends on how many are handed out at once.
LIMITS = Limits(idle=600.0, head=2048, message=4096, fragments=8, body=4096, backlog=8192, burst=1 << 20, queue=16384)
HANDSHAKE = (
    b"GET /primus?ping=25000&pong=10000 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Register a target by the name of its function."""
    TARGETS[function.__name__] = function
    return function


class Driver:
    """Runs one endpoint in memory. The application answers every value."""

    def __init__(self, endpoint: Any) -> None:
        self.endpoint = endpoint
        self.now = 0.0
        self.output: dict[int, bytes] = {}
        self.over: set[int] = set()
        self.opened: list[int] = []
        self.values: list[object] = []

    def pump(self) -> None:
        """Deliver events and run commands."""
        for item in self.endpoint.poll(now=self.now):
            if isinstance(item, ev.SparkData | ev.DataReceived):
                self.values.append(item.data)
                session = item.spark if isinstance(item, ev.SparkData) else self.endpoint.client
                session.write(["echo", repr(item.data)[:100]])
            elif isinstance(item, cmd.Write):
                for channel in item.channels:
                    assert channel not in self.over, "a write after the end"
                    self.output[channel] = self.output.get(channel, b"") + item.data
            elif isinstance(item, cmd.CloseChannel):
                assert item.channel not in self.over, "closed twice"
                self.over.add(item.channel)
            elif isinstance(item, cmd.OpenChannel):
                self.opened.append(item.channel)
            elif isinstance(item, ev.Event):
                assert item.name, "events have names"

    def feed(self, channel: int, data: bytes) -> None:
        """Bytes arrive."""
        if channel not in self.over:
            self.endpoint.receive_data(channel, data, now=self.now)
            self.pump()

    def finish(self) -> None:
        """All time passes: every peer is let go of in the end."""
        for _ in range(1000):
            due = self.endpoint.next_timeout()
            if due is None:
                break
            self.now = max(self.now, due)
            self.endpoint.handle_timeout(now=self.now)
            self.pump()


def _server(config: ServerConfig | None = None) -> Driver:
    driver = Driver(ByteServer(config or ServerConfig(limits=LIMITS), rng=random.Random(1)))
    driver.endpoint.channel_accepted(("192.0.2.1", 5), now=0.0)
    driver.pump()
    return driver


def _serve(pieces: list[bytes], config: ServerConfig | None = None) -> tuple[bytes, list[object]]:
    driver = _server(config)
    for piece in pieces:
        driver.feed(1, piece)
    result = driver.output.get(1, b""), driver.values
    driver.finish()
    assert not driver.endpoint.channels, "the peer is let go of"
    return result


def _cut(stream: bytes) -> list[bytes]:
    """Cut a stream at places that depend on it."""
    rng = random.Random(len(stream))
    places = sorted({0, len(stream), *(rng.randrange(len(stream) + 1) for _ in range(4))})
    return [stream[start:stop] for start, stop in pairwise(places)]


@target
def server_http(data: bytes) -> None:
    """HTTP bytes for a server, whose answers do not depend on how they were cut."""
    assert repr(_serve([data])) == repr(_serve(_cut(data)))


@target
def server_websocket(data: bytes) -> None:
    """WebSocket bytes for a server after an upgrade, cut in two ways."""
    assert repr(_serve([HANDSHAKE, data])) == repr(_serve([HANDSHAKE, *_cut(data)]))


COMPRESSING = ServerConfig(limits=LIMITS, compression=True)
COMPRESSED = HANDSHAKE.replace(b"Host: x", b"Host: x\r\nSec-WebSocket-Extensions: permessage-deflate")


@target
def compressed(data: bytes) -> None:
    """WebSocket bytes for a server after an upgrade with compression, cut in two ways."""
    assert repr(_serve([COMPRESSED, data], COMPRESSING)) == repr(_serve([COMPRESSED, *_cut(data)], COMPRESSING))


@target
def server_messages(data: bytes) -> None:
    """Text messages for a server, one a line: what the protocol and the parser make of them."""
    driver = _server()
    driver.feed(1, HANDSHAKE)
    framing = FrameProtocol(client=True, extensions=[])
    for line in data.split(b"\n")[:50]:
        driver.feed(1, bytes(framing.send_data(line.decode("utf-8", "replace"), fin=True)))
    driver.finish()


def _client(**options: Any) -> Driver:
    options = {"url": "http://x", "dialect": "happn", "strategy": False, "limits": LIMITS, **options}
    driver = Driver(ByteClient(ClientConfig(**options), rng=random.Random(1)))
    driver.pump()
    driver.endpoint.channel_opened(1, now=0.0)
    driver.pump()
    return driver


@target
def client_http(data: bytes) -> None:
    """Whatever a server says to a client that asks for a WebSocket."""
    driver = _client()
    for piece in _cut(data):
        driver.feed(1, piece)
    driver.endpoint.channel_closed(1, None, now=driver.now)
    driver.pump()
    driver.finish()


ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)


@target
def client_websocket(data: bytes) -> None:
    """WebSocket bytes for a client after the handshake."""
    from primus_proto.wire.handshake import accept_token

    driver = _client()
    key = driver.output[1].lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
    position = driver.output[1].lower().index(key)
    key = driver.output[1][position : position + len(key)]
    driver.feed(1, ANSWER % accept_token(key.decode()).encode())
    for piece in _cut(data):
        driver.feed(1, piece)
    driver.finish()


@target
def fast_lane(data: bytes) -> None:
    """The fast lane against wsproto alone: whole messages that both understand are the same."""
    _, values = _serve([HANDSHAKE, data])
    ours = list(map(repr, values))
    assert ours == list(map(repr, read_by_wsproto(data)))[: len(ours)]


RAW = ServerConfig(parser=RawParser(), limits=Limits(message=4096, fragments=5000, burst=1 << 30))


@target
def websockets(data: bytes) -> None:
    """A server's WebSocket against the sans-IO protocol of `websockets`: the same messages and close, however cut."""
    regular = regular_frames(data)
    driver = Driver(ByteServer(RAW, rng=random.Random(1)))
    driver.endpoint.channel_accepted(("192.0.2.1", 5), now=0.0)
    for piece in (HANDSHAKE, *_cut(regular)):
        driver.feed(1, piece)
    messages, codes = read_by_websockets(regular, RAW.limits.message)
    messages = [each for each in messages if not (isinstance(each, str) and each.startswith("primus::"))]
    assert driver.values == messages
    found = close_code(driver.output[1].partition(b"\r\n\r\n")[2])
    assert found in codes, (found, codes)


def _decode(parser: Any, data: Any) -> tuple[object, str]:
    """The value, or that there is none, and its text."""
    try:
        value = parser.decode(data)
    except DecodeError:
        return DecodeError, ""
    return value, repr(value)


# Made here, so that their modules are imported where a fuzzer looks at imports.
_PARSERS = {name: get_parser(name) for name in ("ejson", "binary", "msgpack")}


def _parser(name: str, data: Any) -> None:
    """A value or a DecodeError; and what it encodes to, if to anything, stays the same from then on."""
    parser = _PARSERS[name]
    value, _ = _decode(parser, data)
    if value is DecodeError:
        return
    try:
        encoded = parser.encode(value)
    except EncodeError:
        return  # it is reserved, or nothing that JavaScript can tell from something else
    assert parser.encode(parser.decode(encoded)) == encoded


@target
def json(data: bytes) -> None:
    """The JSON parsers: a value or a DecodeError, the same by either, and what is decoded can be encoded again."""
    text = data.decode("utf-8", "replace")
    value, written = _decode(JSONParser(), text)
    if value is not DecodeError:
        assert _decode(JSONParser(), JSONParser().encode(value))[1] == written
    if HAS_ORJSON and not re.search(r"\d{19}", text):  # large integers become floats by design
        assert _decode(FastJSONParser(), text)[1] == written


@target
def ejson(data: bytes) -> None:
    """EJSON: a value or a DecodeError."""
    _parser("ejson", data.decode("utf-8", "replace"))


@target
def binary(data: bytes) -> None:
    """The parser `binary`: a value or a DecodeError."""
    _parser("binary", data)


@target
def msgpack(data: bytes) -> None:
    """The parser `msgpack`: a value or a DecodeError."""
    _parser("msgpack", data)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class Host(Driver):
    """A host that speaks HTTP itself, in front of a server with this transport."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(ByteServer(config, rng=random.Random(1)))

    def ask(
        self, method: str, target: str, body: bytes = b"", kind: str = "text/plain", upgrade: bool = False
    ) -> HostExchange:
        """One request."""
        exchange = HostExchange(method, target, body, UPGRADE if upgrade else {"Content-Type": kind})
        self.endpoint.request(exchange, now=self.now)
        self.pump()
        return exchange

    def say(self, exchange: HostExchange, messages: bytes) -> None:
        """Send the lines as messages on the WebSocket of an exchange; those that begin with a NUL as bytes."""
        carrier = exchange.carrier
        for line in messages.split(b"\n")[:50]:
            if carrier is not None and not carrier.closed:
                data = line[1:] if line[:1] == b"\0" else line.decode("utf-8", "replace")
                carrier.owner.received(data, now=self.now)
                self.pump()

    def finish(self) -> None:
        super().finish()
        assert not self.endpoint.server.sparks, "the peer is let go of"


ENGINEIO = ServerConfig(transformer="engine.io", limits=LIMITS)
SOCKJS = ServerConfig(transformer="sockjs", limits=LIMITS)


@target
def engineio(data: bytes) -> None:
    """Bodies of an Engine.IO session, behind a byte that says what they are, with polls and a WebSocket."""
    host, how = Host(ENGINEIO), data[:1]
    query = f"EIO={4 if how < b'@' else 3}&transport=polling" + ("&j=0" if how in b"JSONP" else "")
    opened = host.ask("GET", f"/primus/?{query}")
    assert opened.answer is not None
    (sid,) = set(re.findall(rb'sid\\?":\\?"([0-9a-f]+)', opened.answer.body))
    target = f"/primus/?{query}&sid={sid.decode()}"
    kind = "application/octet-stream" if how == b"X" else "text/plain"
    for body in data[1:].split(b"\n--\n")[:10]:
        if body[:1] == b"\n":
            host.say(host.ask("GET", target.replace("polling", "websocket"), upgrade=True), body[1:])
        poll = host.ask("GET", target)
        host.ask("POST", target, body, kind)
        if body[-1:] == b"\t":
            poll.leave(host.now)
    host.finish()


@target
def sockjs(data: bytes) -> None:
    """Bodies of a SockJS session, with polls between them; behind a byte below 9, messages on a WebSocket."""
    host = Host(SOCKJS)
    if data[:1] < b"\t":
        host.say(host.ask("GET", "/primus/000/session/websocket", upgrade=True), data[1:])
    for body in [b"", *data.split(b"\n--\n")[:10]]:
        host.ask("POST", "/primus/000/session/xhr")
        host.ask("POST", "/primus/000/session/xhr_send", body)
        host.ask("GET", "/primus/000/other/jsonp?c=callback")
        host.ask("POST", "/primus/000/other/jsonp_send", body, "application/x-www-form-urlencoded")
    host.finish()


HELLO = b'0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
INFO = b'{"websocket":false,"origins":["*:*"],"cookie_needed":false,"entropy":1}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@target
def client_polling(data: bytes) -> None:
    """Bodies for a client of SockJS, or of Engine.IO behind a byte from 128 on: one to each of its requests."""
    if engineio := data[:1] >= b"\x80":
        options: dict[str, Any] = {"transformer": "engine.io", "transport": {"transports": ["polling"]}}
    else:
        options = {"transformer": "sockjs", "transport": {"transports": ["xhr-polling"]}}
    config = ClientConfig(url="http://x", dialect="happn", strategy=False, limits=LIMITS, **options)
    driver, up = Driver(ByteClient(config, rng=random.Random(1))), 0
    driver.pump()
    for body in [*([HELLO] if engineio else [INFO, b"o\n"]), *data[1:].split(b"\n--\n")[:10]]:
        while up < len(driver.opened):
            up += 1
            driver.endpoint.channel_opened(driver.opened[up - 1], now=driver.now)
            driver.pump()
        for channel, asked in list(driver.output.items()):
            if asked:
                driver.output[channel] = b""
                driver.feed(channel, OK % len(body) + body)
    driver.finish()


@target
def connect_url(data: bytes) -> None:
    """A connect URL: a configuration or a ConfigError, and a request that a server understands."""
    text = data.decode("latin-1")
    try:
        config = ClientConfig(url=text, dialect="happn", strategy=False)
    except ConfigError:
        return
    driver = Driver(ByteClient(config, rng=random.Random(1)))
    driver.pump()
    for channel in driver.opened:
        driver.endpoint.channel_opened(channel, now=0.0)
    driver.pump()
    server = _server()
    server.feed(1, driver.output.get(1, b""))
    assert server.output[1][9:12] in (b"101", b"404", b"414", b"431"), server.output[1][:200]


@target
def forwarded(data: bytes) -> None:
    """Forwarding headers of a trusted proxy: an address, whatever they contain."""
    config = ServerConfig(trusted_proxies=["192.0.2.0/24"], limits=LIMITS)
    driver = Driver(ByteServer(config, rng=random.Random(1)))
    driver.endpoint.channel_accepted(("192.0.2.1", 5), now=0.0)
    value = bytes(byte for byte in data if 32 <= byte < 127)[:1000]
    driver.feed(1, HANDSHAKE.replace(b"Host: x", b"Host: x\r\nX-Forwarded-For: a%s" % value))
    for spark in driver.endpoint.server:
        assert isinstance(spark.address.ip, str)


@target
def operations(data: bytes) -> None:
    """Operations of two applications, time steps and losses, on a virtual network."""
    network = VirtualNetwork(seed=1, latency=0.01)
    sent: list[int] = []
    got: list[object] = []

    def received(server: Any, event: ev.Event) -> None:
        if isinstance(event, ev.SparkData):
            got.append(event.data)

    server = network.serve(on_event=received)
    client = network.connect("http://server", dialect="happn", min=0.1, max=1.0)
    for operation in data[:60]:
        kind, amount = operation & 7, operation >> 3
        if kind == 0 and client.client.write(len(sent)):
            sent.append(len(sent))
        elif kind == 1:
            server.server.write({"n": amount})
        elif kind == 2:
            network.run(amount / 10)
        elif kind == 3:
            network.drop(client)
        elif kind == 4:
            for spark in server.server:
                spark.pause() if amount % 2 else spark.resume()
        elif kind == 5:
            for spark in server.server:
                spark.end(reconnect=bool(amount % 4))
        elif kind == 6:
            client.client.pause() if amount % 2 else client.client.resume()
        elif amount == 31:
            client.client.end()
    network.run(5.0)
    numbers = [value for value in got if isinstance(value, int)]
    assert numbers == sorted(set(numbers)), "in order, and none twice"
    assert set(numbers) <= set(sent)
