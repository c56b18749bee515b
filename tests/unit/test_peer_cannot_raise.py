"""Law 2: no bytes from a peer, at any time, raise. They become events and commands.

The peers here send noise, and good traffic that was cut, spliced, doubled and flipped. Their driver checks the laws of
the interface on the way (see `wires`): a channel is closed once, and nothing is written to it after.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ClientState, Limits, SpecQuery
from primus_proto import events as ev
from tests.unit.test_endpoint_client import SpecWire
from tests.unit.wires import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    ClientWire,
    ServerWire,
    close_frame,
    frame,
    handshake,
    request,
)

SMALL = Limits(
    head=600, body=200, pipelined=300, message=500, fragments=4, backlog=2000, queue=4000, authorizations=2
)  # fmt: skip

GOOD_REQUESTS = [
    request(),
    request("HEAD"),
    request("POST", "/primus", body=b"hello"),
    request("POST", "/primus", {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n"),
    request("POST", "/primus", {"Content-Length": "5", "Expect": "100-continue"}),
    request("GET", "http://server/primus/../x"),
    request(version="1.0"),
    handshake(),
    handshake("/primus?ping=%31&pong=-1&ping=x"),
    handshake(sec_websocket_key="x"),
]


def good_frames(mask: bool) -> list[bytes]:
    return [
        frame(TEXT, '"x"', mask=mask),
        frame(TEXT, '"primus::ping::1"', mask=mask),
        frame(TEXT, '"primus::pong::1"', mask=mask),
        frame(TEXT, '"primus::id::"', mask=mask),
        frame(TEXT, '"primus::id::x"', mask=mask),
        frame(TEXT, '"primus::server::close"', mask=mask),
        frame(TEXT, '"primus::"', mask=mask),
        frame(TEXT, '"\\ud800"', mask=mask),
        frame(TEXT, "[" * 400, mask=mask),
        frame(TEXT, "1e999", mask=mask),
        frame(TEXT, "not json", mask=mask),
        frame(TEXT, b"\xc3", fin=False, mask=mask),
        frame(0, b"\xa9", fin=False, mask=mask),
        frame(0, b"", mask=mask),
        frame(BINARY, b"\x00" * 300, mask=mask),
        frame(BINARY, b"\x00" * 600, mask=mask),
        frame(PING, b"x" * 125, mask=mask),
        frame(PONG, b"", mask=mask),
        frame(CLOSE, b"", mask=mask),
        close_frame(1000, "bye", mask=mask),
        close_frame(3000, mask=mask),
        close_frame(1005, mask=mask),
    ]


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    b"HTTP/1.0 401 No\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"SSH-2.0-x\r\n",
]


@st.composite
def traffic(draw: st.DrawFn, good: list[bytes]) -> list[bytes | None]:
    """Packets: good traffic, mutated and cut, and noise. None is the end of the stream."""
    noise = st.binary(max_size=60)
    stream = bytearray(
        b"".join(draw(st.lists(st.one_of(st.sampled_from(good), st.sampled_from(good), noise), max_size=8)))
    )
    for _ in range(draw(st.integers(0, 4))):
        if stream:
            at = draw(st.integers(0, len(stream) - 1))
            match draw(st.integers(0, 3)):
                case 0:
                    stream[at] ^= 1 << draw(st.integers(0, 7))
                case 1:
                    del stream[at : at + draw(st.integers(1, 20))]
                case 2:
                    stream[at:at] = stream[at : at + draw(st.integers(1, 20))]
                case _:
                    stream[at:at] = draw(noise)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    packets: list[bytes | None] = [bytes(stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    if draw(st.booleans()):
        packets.append(None)
    return packets


ACTS = ["wait", "long", "write", "end", "pause", "resume", "block", "unblock", "none"]
acts = st.lists(st.sampled_from(ACTS), max_size=12)


def act_on(wire: ServerWire | ClientWire, channel: int, act: str) -> None:
    """The application or the driver does something at the same time."""
    sessions = list(wire.server) if isinstance(wire, ServerWire) else [wire.client]
    match act:
        case "wait":
            wire.run(0.7)
        case "long":
            wire.run(20)
        case "write":
            for session in sessions:
                session.write("x" * 300)
        case "end" | "pause" | "resume":
            for session in sessions:
                getattr(session, act)()
        case "block":
            if channel not in wire.closed:
                wire.block(channel)
        case "unblock":
            wire.unblock(channel)
        case _:
            held = wire.all(ev.RequestHeld)
            if held and isinstance(wire, ServerWire):
                wire.endpoint.resume(held[-1].id)
    wire.pump()


def check_server(wire: ServerWire) -> None:
    """Each session began once and ended at most once, and nothing follows its end."""
    open_now: set[int] = set()
    for event in wire.seen:
        if isinstance(event, ev.SparkConnected):
            open_now.add(id(event.spark))
        elif isinstance(event, ev.SparkEvent) and not isinstance(event, ev.Flatlined):
            assert id(event.spark) in open_now
            if isinstance(event, ev.SparkEnded):
                open_now.remove(id(event.spark))
    assert open_now == {id(spark) for spark in wire.server}


@given(
    st.one_of(traffic(GOOD_REQUESTS), traffic([*GOOD_REQUESTS, *good_frames(True)]), traffic(good_frames(True))),
    acts,
    st.sampled_from(["http", "websocket", "authorization"]),
)
def test_no_bytes_make_a_server_raise(packets: list[bytes | None], acts: list[str], start: str) -> None:
    wire = ServerWire(limits=SMALL, authorization=start == "authorization")
    peer = wire.accept()
    if start == "websocket":
        peer.upgrade("/primus?ping=2000&pong=1000")
    steps = iter(acts)
    for packet in packets:
        if packet is None:
            peer.eof()
        else:
            peer.send(packet)
        act_on(wire, peer.channel, next(steps, "none"))
        if peer.closed():
            break
    before = len(wire.seen)
    if peer.closed():
        peer.send(request() + handshake() + frame(TEXT, "1"))
        assert len(wire.seen) == before
    check_server(wire)
    other = wire.accept()
    assert other.ask().status == 200  # others are still served
    wire.unblock(peer.channel)
    wire.server.close()
    wire.run(60)
    check_server(wire)
    assert (len(wire.server), wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, 0, None)
    assert wire.told()[-1] == "close"


@given(
    st.one_of(traffic(ANSWERS), traffic([*ANSWERS, *good_frames(False)]), traffic(good_frames(False))),
    acts,
    st.sampled_from(["asked", "up", "open"]),
)
def test_no_bytes_make_a_client_raise(packets: list[bytes | None], acts: list[str], start: str) -> None:
    wire = ClientWire(limits=SMALL, ping=3.0, pong=1.0, min=0.5, retries=3)
    channel = wire.channel
    if start == "up":
        wire.up()
    elif start == "open":
        wire.open()
    steps = iter(acts)
    for packet in packets:
        if packet is None:
            wire.eof(channel, "reset")
        elif start != "asked":
            wire.feed(channel, packet)
        act_on(wire, channel, next(steps, "none"))
    wire.client.end()
    wire.unblock(channel)
    wire.run(60)
    assert wire.client.state is ClientState.ENDED
    assert (wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, None)
    names = [event.name for event in wire.seen]
    assert names[-1] == "end"
    assert names.count("end") == 1


@given(traffic(ANSWERS))
def test_no_bytes_make_a_spec_query_raise(packets: list[bytes | None]) -> None:
    wire = SpecWire(limits=SMALL)
    assert isinstance(wire.endpoint, SpecQuery)
    wire.endpoint.channel_opened(1, now=wire.now)
    wire.pump()
    for packet in packets:
        if packet is None:
            wire.eof(1)
        else:
            wire.feed(1, packet)
    wire.run(60)
    assert len(wire.seen) == 1
    assert (wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, None)
