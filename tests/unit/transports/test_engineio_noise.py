"""Law 2 on Engine.IO: no requests, answers or packets from a peer raise, in whatever order, and nothing is left."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ClientState
from tests.unit.test_peer_cannot_raise import SMALL, act_on, acts, check_server, traffic
from tests.unit.transports.engines import HELLO3, HELLO4, Engine
from tests.unit.wires import BINARY, HANDSHAKE, TEXT, ClientWire, ServerWire, close_frame, frame, request

SID = f"{random.Random(3).getrandbits(128):032x}"  # the first that a `ServerWire` makes
SESSION = f"/primus/?EIO=4&transport=polling&sid={SID}"

REQUESTS = [
    request("GET", SESSION + "&t=a"),
    request("GET", SESSION + "&t=b"),
    request("GET", SESSION),
    request("GET", SESSION + "&j=1"),
    request("POST", SESSION + "&t=a", body=b'4"x"\x1e3\x1e4"y"'),
    request("POST", SESSION + "&t=b", body=b'4:4"x"1:2'),
    request("POST", SESSION, {"Content-Type": "application/octet-stream"}, b"\x00\x02\xff41"),
    request("POST", SESSION, body=b"1"),
    request("POST", SESSION, body=b"4" * 300),
    request("POST", SESSION + "&j=1", body=b"d=41"),
    request("GET", SESSION.replace("polling", "websocket"), HANDSHAKE) + frame(TEXT, "2probe"),
    request("GET", SESSION.replace("polling", "websocket"), HANDSHAKE) + frame(TEXT, "2probe") + frame(TEXT, "5"),
    request("GET", "/primus/?EIO=3&transport=polling"),
    request("GET", "/primus/?EIO=4&transport=websocket", HANDSHAKE) + frame(TEXT, "41"),
]
PACKETS = [b"2probe", b"3probe", b"5", b"2", b"3", b"6", b"1", b'4"x"', b"bIng=", b"0{}", b"9", b""]
SOCKET = [
    *(frame(TEXT, packet) for packet in PACKETS),
    frame(BINARY, b'\x041'),
    frame(BINARY, b""),
    close_frame(1000),
]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.integers(0, 2), traffic(REQUESTS) | traffic(SOCKET) | traffic([*REQUESTS, *SOCKET])), max_size=5
    ),
    acts,
    st.sampled_from([3, 4]),
    st.booleans(),
)
def test_no_bytes_make_a_server_raise(
    talk: list[tuple[int, list[bytes | None]]], acts: list[str], protocol: int, upgraded: bool
) -> None:
    wire = ServerWire(transformer="engine.io", limits=SMALL)
    client = Engine(wire, protocol)
    client.open()
    peers = [client.accept() for _ in range(3)]
    if upgraded:
        client.upgrade()
        assert client.socket is not None
        peers[0] = client.socket
    steps = iter(acts)
    for number, packets in talk:
        peer = peers[number]
        for packet in packets:
            if peer.closed():
                break
            if packet is None:
                peer.eof()
            else:
                peer.send(packet)
            act_on(wire, peer.channel, next(steps, "none"))
    check_server(wire)
    for peer in peers:
        wire.unblock(peer.channel)
    wire.server.close()
    wire.run(200)
    check_server(wire)
    assert (len(wire.server), wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, 0, None)
    assert wire.told()[-1] == "close"


def answer(body: bytes, kind: str = "text/plain") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind.encode(), len(body), body)


ANSWERS = [
    answer(b"0" + HELLO4.encode()),
    answer(b"109:0" + HELLO3.encode()),
    answer(b"\x00\x01\x00\x09\xff0" + HELLO3.encode(), "application/octet-stream"),
    answer(b'0{"sid":"x","pingInterval":1,"pingTimeout":1e999}'),
    answer(b'0{"sid":"x","pingInterval":1%s,"pingTimeout":1}' % (b"0" * 400)),
    answer(b'0{"sid":"a b","pingInterval":1,"pingTimeout":1}'),
    answer(b"0[]"),
    answer(b"0" + b"[" * 100_000),
    *(answer(packet) for packet in PACKETS),
    answer(b"ok", "text/html"),
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
]
SERVER_SOCKET = [frame(TEXT, packet, mask=False) for packet in [*PACKETS, b"0" + HELLO4.encode()]]


@given(
    st.lists(st.tuples(st.integers(1, 4), traffic(ANSWERS) | traffic(SERVER_SOCKET)), max_size=6),
    acts,
    st.sampled_from([{}, {"transports": ["websocket"]}, {"transports": ["polling"], "protocol": 3}]),
    st.sampled_from(["asked", "open"]),
)
def test_no_bytes_make_a_client_raise(
    talk: list[tuple[int, list[bytes | None]]], acts: list[str], transport: dict[str, Any], start: str
) -> None:
    wire = ClientWire(transformer="engine.io", transport=transport, limits=SMALL, ping=3.0, pong=1.0, retries=3)
    if start == "open":
        if "polling" in transport.get("transports", ["polling"]):
            wire.up()
            wire.feed(wire.channel, ANSWERS[0] if "protocol" not in transport else ANSWERS[1])
        else:
            wire.open(more=SERVER_SOCKET[-1])
    up: set[int] = set()
    steps = iter(acts)
    for number, packets in talk:
        for packet in packets:
            asked = [command.channel for command in wire.opening if command.channel not in wire.closed]
            if not asked:
                break
            channel = asked[number % len(asked)]
            if channel not in up:
                up.add(channel)
                wire.endpoint.channel_opened(channel, now=wire.now)
                wire.pump()
            if packet is None:
                wire.eof(channel, "reset")
            else:
                wire.feed(channel, packet)
            act_on(wire, channel, next(steps, "none"))
    wire.client.end()
    for command in wire.opening:
        wire.unblock(command.channel)
    wire.run(60)
    assert wire.client.state is ClientState.ENDED
    assert (wire.endpoint.channels, wire.endpoint.next_timeout()) == (0, None)
    assert [event.name for event in wire.seen].count("end") == 1
