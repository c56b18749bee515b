"""The pool by itself: what transports over plain requests use. Connections are used again where that is safe."""

from __future__ import annotations

import random

import pytest

from primus_proto import ConnectError, Limits
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.compression import Compression
from primus_proto.http.model import Answer
from primus_proto.transports.base import WebSocketCarrier
from primus_proto.wire.channel import Channel
from primus_proto.wire.client import Pool
from tests.unit.wire.http_bench import Channels
from tests.unit.wires import TEXT, ClientWire, Frame, accept_key, frame, frames


class Bench(Channels):
    """A pool of one origin, and what became of each job."""

    def __init__(self, **limits: int) -> None:
        super().__init__(Limits(**limits))
        self.rng = random.Random(1)
        self.channels: list[Channel] = []
        self.closed: list[int] = []
        self.outcomes: list[object] = []
        self.compression: Compression | None = None
        self.pool = Pool(self, "server:80")

    def open_channel(self) -> Channel:
        channel = Channel(len(self.channels) + 1, self)
        self.channels.append(channel)
        return channel

    def ask(
        self,
        method: str = "GET",
        body: bytes = b"",
        *,
        limit: int | None = None,
        stream: bool = False,
        now: float = 0.0,
    ) -> None:
        def answered(answer: Answer, now: float) -> None:
            self.outcomes.append((answer.status, answer.body))

        def failed(error: ConnectError, now: float) -> None:
            self.outcomes.append(str(error))

        def received(data: bytes, now: float) -> None:
            self.outcomes.append(data)

        self.pool.request(
            method,
            "/x",
            (("X-A", "b"),),
            body,
            answered,
            failed,
            limit=limit,
            received=received if stream else None,
            now=now,
        )

    def up(self, number: int) -> None:
        self.channels[number - 1].user.channel_opened(now=0.0)  # type: ignore[attr-defined]  # as the endpoint does

    def paused(self, number: int) -> bool:
        """Whether the channel was told last not to read."""
        return self.channels[number - 1]._want_pause

    def feed(self, number: int, data: bytes) -> None:
        self.channels[number - 1].receive_data(data, now=0.0)

    def sent(self, number: int) -> bytes:
        commands = self.collected()
        self.closed += [command.channel for command in commands if isinstance(command, cmd.CloseChannel)]
        writes = [command for command in commands if isinstance(command, cmd.Write)]
        return b"".join(write.data for write in writes if number in write.channels)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_requests() -> None:
    bench = Bench()
    bench.ask()
    assert bench.sent(1) == b""
    bench.up(1)
    assert bench.sent(1) == b"GET /x HTTP/1.1\r\nHost: server:80\r\nX-A: b\r\n\r\n"
    for byte in OK:
        bench.feed(1, bytes([byte]))
    assert bench.outcomes == [(200, b"ok")]
    for body in (b"", b"hello"):
        bench.ask("POST", body)
        assert bench.sent(1).endswith(b"\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        bench.feed(1, OK)
    assert bench.outcomes == [(200, b"ok")] * 3
    assert (len(bench.channels), bench.closed) == (1, [])
    bench.ask()
    bench.channels[0].user.channel_closed(None, now=0.0)
    assert bench.outcomes[3:] == ["the server closed without an answer"], "it is a web server: it has answered before"


def test_two_at_once_need_two_channels_and_either_is_used_again() -> None:
    bench = Bench()
    bench.ask()
    bench.ask()
    assert len(bench.channels) == 2
    bench.up(1)
    bench.up(2)
    bench.feed(2, b"HTTP/1.1 204 No\r\n\r\n")
    bench.ask()
    assert len(bench.channels) == 2
    assert bench.sent(2).count(b"GET") == 2
    assert bench.outcomes == [(204, b"")]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + OK,
    ],
    ids=["close", "1.0", "more than was asked for"],
)
def test_channels_that_are_not_used_again(answer: bytes) -> None:
    bench = Bench()
    bench.ask()
    bench.up(1)
    bench.feed(1, answer)
    assert bench.outcomes == [(200, b"ok")]
    bench.sent(1)
    assert bench.closed == [1]
    bench.ask()
    assert len(bench.channels) == 2


def test_an_answer_without_a_request_closes_the_channel() -> None:
    bench = Bench()
    bench.ask()
    bench.up(1)
    bench.feed(1, OK)
    bench.feed(1, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    bench.sent(1)
    assert bench.closed == [1]
    bench.ask()
    assert (bench.outcomes, len(bench.channels)) == ([(200, b"ok")], 2)


def test_an_idle_channel_that_ends_is_forgotten() -> None:
    bench = Bench()
    bench.ask()
    bench.up(1)
    bench.feed(1, OK)
    bench.channels[0].channel_closed(None, now=0.0)
    bench.ask()
    assert (bench.outcomes, len(bench.channels)) == ([(200, b"ok")], 2)


def test_an_answer_that_is_too_large() -> None:
    bench = Bench(body=10)
    for limit, text in ((None, "10"), (3, "3")):
        bench.ask(limit=limit)
        number = len(bench.channels)
        bench.up(number)
        bench.feed(number, b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 11)
        assert bench.outcomes.pop() == f"the answer is larger than {text} bytes"
    bench.ask(limit=20)
    bench.up(3)
    bench.feed(3, b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20)
    assert bench.outcomes == [(200, b"x" * 20)]
    bench.sent(1)
    assert bench.closed == [1, 2]


def test_a_stream() -> None:
    bench = Bench()
    for _ in range(2):
        bench.ask(stream=True)
        bench.up(1)
        bench.feed(1, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        bench.feed(1, b"3\r\ntwo\r\n")
        assert bench.outcomes == [b"one", b"two"]
        bench.feed(1, b"0\r\n\r\n")
        assert bench.outcomes[2:] == [(200, b"")]
        bench.outcomes.clear()
    assert len(bench.channels) == 1
    bench.ask(stream=True, limit=5)
    bench.feed(1, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n")
    assert bench.outcomes == [b"one", "the answer is larger than 5 bytes"]


def test_the_body_of_an_answer_that_is_no_200_is_no_stream() -> None:
    bench = Bench()
    bench.ask(stream=True)
    bench.up(1)
    bench.feed(1, b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone")
    assert bench.outcomes == [(404, b"none")]


def test_a_paused_pool_reads_its_streams_no_further_and_all_else() -> None:
    bench = Bench()
    bench.ask(stream=True)
    bench.ask()
    bench.pool.pause()
    bench.ask(stream=True)
    assert [bench.paused(number) for number in (1, 2, 3)] == [True, False, True]
    bench.up(1)
    bench.feed(1, OK)  # had been read already
    assert bench.outcomes == [b"ok", (200, b"")]
    assert not bench.paused(1)
    bench.pool.resume()
    assert not bench.paused(3)


@pytest.mark.parametrize(("idle", "channels"), [(4.0, 1), (4.1, 2)])
def test_a_connection_that_the_server_may_be_closing_is_not_used_again(idle: float, channels: int) -> None:
    bench = Bench()
    bench.ask()
    bench.up(1)
    bench.feed(1, OK)
    bench.ask(now=idle)
    bench.sent(1)
    assert (len(bench.channels), bench.closed) == (channels, [1] * (channels - 1))


def test_a_101_to_a_request_with_an_upgrade_of_its_own() -> None:
    bench = Bench()
    bench.pool.request(
        "GET",
        "/",
        (("Upgrade", "websocket"), ("Connection", "Upgrade")),
        b"",
        lambda answer, now: bench.outcomes.append(answer),
        lambda error, now: bench.outcomes.append(str(error)),
        now=0.0,
    )
    bench.up(1)
    fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key('')}\r\n\r\n"
    bench.feed(1, b"HTTP/1.1 101 Switching Protocols\r\n" + fields.encode())
    assert bench.outcomes == ["the server's answer is no valid WebSocket handshake"]


def test_aborted_jobs_are_told_nothing() -> None:
    bench = Bench()
    bench.ask()
    bench.ask()
    bench.up(1)
    bench.pool.abort(now=0.0)
    bench.feed(1, OK)
    bench.channels[0].channel_closed("reset", now=0.0)
    bench.up(2)
    bench.sent(2)
    assert (bench.outcomes, sorted(bench.closed)) == ([], [1, 2])
    bench.ask()
    assert len(bench.channels) == 3


def test_a_websocket_leaves_the_pool() -> None:
    wire = ClientWire(ping=False)
    channel = wire.open()
    wire.endpoint.pool.abort(now=wire.now)
    wire.pump()
    assert wire.closed == {}
    carriers: list[WebSocketCarrier] = []
    wire.endpoint.pool.websocket("/", (), lambda carrier, now: carriers.append(carrier), print, now=wire.now)
    wire.pump()
    assert wire.channel != channel
    wire.feed(channel, frame(TEXT, "1", mask=False))
    assert [event.data for event in wire.all(ev.DataReceived)] == [1]
    wire.client.write("x")
    wire.pump()
    assert frames(wire.take(channel)) == [Frame(TEXT, b'"x"', masked=True)]
