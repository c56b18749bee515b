"""Drivers of byte endpoints with sockets to nowhere: what is fed in is scribbled over after, what comes out is checked.

The laws of the interface that every test runs under: no reference to what was fed is kept; a channel is written to,
paused and resumed only while it is open, and closed once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from primus_proto import ByteClient, ByteServer, ClientConfig, Limits, ServerConfig, Spark, SpecQuery
from primus_proto import commands as cmd
from primus_proto import events as ev

START = 1000.0
OFFSET = 1_700_000_000.0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

MASK = b"\x37\xfa\x21\x3d"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

E = TypeVar("E", bound=ev.Event)


class Frame(NamedTuple):
    """One WebSocket frame as it was read."""

    opcode: int
    payload: bytes
    fin: bool = True
    masked: bool = False


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    declare: int | None = None,
) -> bytes:
    """One frame, as a client sends it unless `mask` is off; `declare` is a length it claims and does not have."""
    data = payload.encode() if isinstance(payload, str) else payload
    length = len(data) if declare is None else declare
    first = (fin << 7) | (rsv << 4) | opcode
    if length < 126:
        head = struct.pack("!BB", first, (mask << 7) | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, (mask << 7) | 126, length)
    else:
        head = struct.pack("!BBQ", first, (mask << 7) | 127, length)
    if not mask:
        return head + data
    return head + MASK + bytes(byte ^ MASK[i & 3] for i, byte in enumerate(data))


def close_frame(code: int, reason: str = "", *, mask: bool = True) -> bytes:
    """A close frame with a code."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode(), mask=mask)


def frames(data: bytes) -> list[Frame]:
    """Whole frames read back, unmasked."""
    found = []
    while data:
        first, second = data[0], data[1]
        length, at = second & 0x7F, 2
        if length == 126:
            length, at = struct.unpack_from("!H", data, 2)[0], 4
        elif length == 127:
            length, at = struct.unpack_from("!Q", data, 2)[0], 10
        key = b""
        if second & 0x80:
            key, at = data[at : at + 4], at + 4
        payload = data[at : at + length]
        assert len(payload) == length, "the output ends within a frame"
        if key:
            payload = bytes(byte ^ key[i & 3] for i, byte in enumerate(payload))
        found.append(Frame(first & 0x0F, payload, bool(first & 0x80), bool(key)))
        data = data[at + length :]
    return found


def accept_key(key: str) -> str:
    """What answers a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


class Reply(NamedTuple):
    """One HTTP answer as it was read; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    head: bytes

    @property
    def error(self) -> str:
        """The message of a refusal in JSON."""
        assert self.headers["content-type"] == "application/json"
        return str(json.loads(self.body)["error"])


def replies(data: bytes, *, head: bool = False) -> tuple[list[Reply], bytes]:
    """The answers in `data`, and what comes behind a 101. `head`: they answer HEAD requests."""
    found = []
    while data:
        top, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"not a whole head: {top!r}"
        start, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(start.split()[1])
        body = b""
        if "transfer-encoding" in headers:
            while True:
                size, _, data = data.partition(b"\r\n")
                body += data[: int(size, 16)]
                assert data[int(size, 16) :][:2] == b"\r\n"
                data = data[int(size, 16) + 2 :]
                if size == b"0":
                    break
        elif not head:
            length = int(headers.get("content-length", 0))
            body, data = data[:length], data[length:]
            assert len(body) == length, "the output ends within a body"
        found.append(Reply(status, headers, body, top))
        if status == 101:
            break
    return found, data


def request(
    method: str = "GET",
    target: str = "/primus/spec",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    version: str = "1.1",
    host: bool = True,
) -> bytes:
    """One HTTP request; Content-Length is given where there is a body and no header says otherwise."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host:
        lines.append("Host: server")
    fields = dict(headers or {})
    if body and not {"content-length", "transfer-encoding"} & {name.lower() for name in fields}:
        fields["Content-Length"] = str(len(body))
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


TARGET = "/primus?ping=25000&pong=10000"
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}


def handshake(target: str = TARGET, /, **changes: str | None) -> bytes:
    """A WebSocket handshake; a field given is changed (`_` for `-`), one given as None is left out."""
    return request("GET", target, changed(HANDSHAKE, changes))


def changed(fields: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """The fields with other values; one changed to None is left out."""
    known = {name.lower().replace("-", "_"): name for name in fields}
    new = {known.get(name, name.replace("_", "-")): value for name, value in changes.items()}
    return {name: value for name, value in {**fields, **new}.items() if value is not None}


class Wire:
    """The driver: a clock, a pump, and what each channel has seen."""

    def __init__(self, endpoint: ByteServer | ByteClient | SpecQuery) -> None:
        self.endpoint = endpoint
        self.now = START
        self.seen: list[ev.Event] = []
        self.commands: list[cmd.Command] = []
        self.output: dict[int, bytearray] = {}
        self.closed: dict[int, bool] = {}
        """The channels that are closed, and whether at once."""
        self.ended: set[int] = set()
        """The channels on which EOF was sent."""
        self.paused: set[int] = set()
        self.blocked: set[int] = set()
        self.wakes = 0
        self.on_data: Callable[[ev.SparkData], object] | None = None
        """What the application does on a value."""
        self._told = 0

    def pump(self) -> None:
        """What every driver does after a call into the core."""
        for item in self.endpoint.poll(now=self.now):
            if isinstance(item, ev.Event):
                self.seen.append(item)
                if self.on_data is not None and isinstance(item, ev.SparkData):
                    self.on_data(item)
            else:
                self.commands.append(item)
                self._run(item)

    def _run(self, command: cmd.Command) -> None:
        match command:
            case cmd.Write(channels, data):
                assert data
                assert type(data) is bytes
                for channel in channels:
                    self._check(channel)
                    assert channel not in self.blocked
                    assert channel not in self.ended
                    self.output.setdefault(channel, bytearray()).extend(data)
            case cmd.CloseChannel(channel, abort):
                self._check(channel)
                self.closed[channel] = abort
            case cmd.EndWriting(channel):
                self._check(channel)
                assert channel not in self.ended
                self.ended.add(channel)
            case cmd.PauseReading(channel):
                self._check(channel)
                assert channel not in self.paused
                self.paused.add(channel)
            case cmd.ResumeReading(channel):
                self._check(channel)
                self.paused.remove(channel)
            case cmd.ProbeChannel(channel):
                self._check(channel)
                assert channel in self.paused
            case cmd.OpenChannel():
                assert isinstance(self.endpoint, ByteClient | SpecQuery)
            case _:
                raise AssertionError(f"a byte endpoint gave {command}")

    def _check(self, channel: int) -> None:
        assert channel not in self.closed, f"channel {channel} is closed, and was to be the last of it"

    def feed(self, channel: int, data: bytes, *, pump: bool = True) -> None:
        """Bytes arrive, in a buffer that is used for something else right after."""
        buffer = bytearray(data)
        with memoryview(buffer) as view:
            self.endpoint.receive_data(channel, view, now=self.now)
        buffer[:] = b"\xa5" * len(buffer)
        if pump:
            self.pump()

    def eof(self, channel: int, error: str | None = None) -> None:
        """The stream ends or breaks."""
        self.endpoint.channel_closed(channel, error, now=self.now)
        self.pump()

    def block(self, channel: int) -> None:
        """The driver's buffer is full."""
        self.blocked.add(channel)
        self.endpoint.channel_blocked(channel)

    def unblock(self, channel: int) -> None:
        """The driver can take output again."""
        self.blocked.discard(channel)
        self.endpoint.channel_writable(channel, now=self.now)
        self.pump()

    def run(self, seconds: float) -> None:
        """Let time pass; every timer fires at its exact time."""
        end = self.now + seconds
        self.pump()
        while (due := self.endpoint.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.wakes += 1
            self.endpoint.handle_timeout(now=self.now)
            self.pump()
        self.now = end

    def take(self, channel: int) -> bytes:
        """What was written to a channel since the last question."""
        return bytes(self.output.pop(channel, b""))

    def told(self) -> list[str]:
        """The names of the events since the last question."""
        return [event.name for event in self.fresh()]

    def fresh(self) -> list[ev.Event]:
        """The events since the last question."""
        self.pump()
        fresh = self.seen[self._told :]
        self._told = len(self.seen)
        return fresh

    def all(self, kind: type[E]) -> list[E]:
        """Every event of this class there was."""
        return [event for event in self.seen if isinstance(event, kind)]


class Peer:
    """The far end of one channel of a server."""

    def __init__(self, wire: ServerWire, channel: int) -> None:
        self.wire = wire
        self.channel = channel

    def send(self, data: bytes) -> None:
        """Bytes from the peer."""
        self.wire.feed(self.channel, data)

    def ask(self, method: str = "GET", target: str = "/primus/spec", **more: Any) -> Reply:
        """One request, and its one answer."""
        self.send(request(method, target, **more))
        return self.reply(head=method == "HEAD")

    def reply(self, *, head: bool = False) -> Reply:
        """The one answer there is."""
        found, rest = replies(self.wire.take(self.channel), head=head)
        assert len(found) == 1, found
        assert not rest
        return found[0]

    def statuses(self) -> list[int]:
        """The statuses of all answers there are."""
        return [reply.status for reply in replies(self.wire.take(self.channel))[0]]

    def frames(self) -> list[Frame]:
        """The frames there are."""
        return frames(self.wire.take(self.channel))

    def upgrade(self, target: str = TARGET, *, more: bytes = b"") -> Spark:
        """Become a WebSocket; `more` travels in the same packet."""
        self.send(handshake(target) + more)
        found, rest = replies(self.wire.take(self.channel))
        assert [reply.status for reply in found] == [101]
        assert found[0].headers["sec-websocket-accept"] == accept_key(KEY)
        if rest:
            self.wire.output[self.channel] = bytearray(rest)
        spark: Spark = self.wire.all(ev.SparkConnected)[-1].spark
        return spark

    def eof(self, error: str | None = None) -> None:
        """The peer leaves."""
        self.wire.eof(self.channel, error)

    def closed(self) -> bool:
        """Whether the server closed the channel, politely or not."""
        return self.channel in self.wire.closed

    def aborted(self) -> bool:
        """Whether the server closed the channel at once."""
        return self.wire.closed.get(self.channel, False)

    def paused(self) -> bool:
        """Whether the server does not read."""
        return self.channel in self.wire.paused


class ServerWire(Wire):
    """A server with sockets from nowhere. Options are those of `ServerConfig`; limits go by their own names."""

    endpoint: ByteServer

    def __init__(self, *, limits: Limits | None = None, **options: Any) -> None:
        config = ServerConfig(limits=limits or Limits(), **options)
        super().__init__(ByteServer(config, rng=random.Random(3), wall_offset=OFFSET))
        self.server = self.endpoint.server
        assert self.told() == ["initialised"]

    def accept(self) -> Peer:
        """A peer connects."""
        number = self.endpoint.channel_accepted(("192.0.2.7", 4711), now=self.now)
        self.pump()
        return Peer(self, number)

    def connect(self, target: str = TARGET) -> tuple[Peer, Spark]:
        """A peer connects and becomes a WebSocket."""
        peer = self.accept()
        spark = peer.upgrade(target)
        self.told()
        return peer, spark


def values(wire: ServerWire) -> list[Any]:
    """What the application of a server was given."""
    return [event.data for event in wire.all(ev.SparkData)]


class ClientWire(Wire):
    """A client with sockets to nowhere. Options are those of `ClientConfig`."""

    endpoint: ByteClient

    def __init__(self, url: str = "http://server:8080", **options: Any) -> None:
        options.setdefault("dialect", "happn")  # one channel, unless a test wants the question for the spec
        super().__init__(ByteClient(ClientConfig(url=url, **options), rng=random.Random(4), wall_offset=OFFSET))
        self.client = self.endpoint.client
        self.pump()

    @property
    def opening(self) -> list[cmd.OpenChannel]:
        """Every channel that was asked for."""
        return [command for command in self.commands if isinstance(command, cmd.OpenChannel)]

    @property
    def channel(self) -> int:
        """The channel asked for last."""
        return self.opening[-1].channel

    def up(self) -> bytes:
        """The channel opens; what the client says first."""
        self.endpoint.channel_opened(self.channel, now=self.now)
        self.pump()
        return self.take(self.channel)

    def answer(self, said: bytes, more: bytes = b"", /, **changes: str | None) -> bytes:
        """The 101 that answers what the client said; fields are changed as in `handshake`."""
        key = next(
            line.split(b": ")[1] for line in said.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_key(key.decode())}
        head = [f"{name}: {value}" for name, value in changed(fields, changes).items()]
        return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *head, "", ""]).encode() + more

    def open(self, *, more: bytes = b"") -> int:
        """The whole handshake; `more` travels in the same packet as its answer. The channel it runs on."""
        said = self.up()
        self.feed(self.channel, self.answer(said, more))
        return self.channel

    def frames(self) -> list[Frame]:
        """The frames the client sent since the last question."""
        return frames(self.take(self.channel))
