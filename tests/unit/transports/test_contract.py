"""What a transport may rely on: ids, wrapping, options, parsers that suit it, and what its carriers negotiate."""

from __future__ import annotations

import json
from typing import Any

import pytest

import primus_io.asyncio
from primus_proto import ClientConfig, ConfigError, ServerConfig
from primus_proto import events as ev
from primus_proto.parsers import JSONParser
from primus_proto.transports.registry import TRANSPORTS
from primus_proto.wire import websocket
from tests.unit.transports import packet_transport, polling_transport
from tests.unit.wires import TEXT, ClientWire, Peer, ServerWire, frame, handshake, replies


class Binary(JSONParser):
    binary = True


def client_config(**options: Any) -> ClientConfig:
    return ClientConfig(url="http://server", **options)


BOTH = pytest.mark.parametrize("config", [client_config, ServerConfig])


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORTS, "polling", polling_transport.POLLING)
    monkeypatch.setitem(TRANSPORTS, "packets", packet_transport.PACKETS)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """What a function is called with from now on."""
    calls: list[Any] = []
    function = getattr(module, name)

    def counting(argument: Any) -> Any:
        calls.append(argument)
        return function(argument)

    monkeypatch.setattr(module, name, counting)
    return calls


# --- messages ---


def test_a_broadcast_is_wrapped_once_for_all_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = ServerWire(transformer="polling")
    polls: list[Peer] = []
    for _ in range(3):
        peer = wire.accept()
        ((_, sid),) = json.loads(peer.ask("GET", "/primus?ping=false").body)
        assert wire.server.spark(sid) is not None  # the pipe brings the session's id
        peer.send(b"GET /primus?sid=%s HTTP/1.1\r\nHost: x\r\n\r\n" % sid.encode())
        polls.append(peer)
    wrapped = counted(monkeypatch, polling_transport, "packet")
    assert wire.server.write("all") == 3
    wire.pump()
    assert {peer.reply().body for peer in polls} == {b'[["text", "\\"all\\""]]'}
    assert wrapped == ['"all"']


def test_a_broadcast_is_wrapped_and_framed_once_for_all_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = ServerWire(transformer="packets")
    peers = [wire.connect()[0] for _ in range(3)]
    wrapped = counted(monkeypatch, packet_transport, "packet")
    framed = counted(monkeypatch, websocket, "server_frame")
    assert wire.server.write("all") == 3
    wire.pump()
    assert {peer.frames()[0].payload for peer in peers} == {b'4"all"'}
    assert (wrapped, framed) == (['"all"'], ['4"all"'])


# --- configuration ---


@BOTH
def test_a_transport_for_text_refuses_a_binary_parser(config: Any) -> None:
    assert config(transformer="Packets").transformer == "packets"
    assert config(transformer="polling", parser=Binary()).parser.binary
    with pytest.raises(ConfigError, match="parser 'JSON' makes binary messages; transformer 'packets' carries text"):
        config(transformer="packets", parser=Binary())


@BOTH
@pytest.mark.parametrize(
    ("transformer", "options", "message"),
    [
        ("polling", {"hold": 3}, ""),
        ("engineio", {}, "unknown transformer 'engineio'; .*; did you mean engine.io?"),
        ("polling", {"hodl": 3}, "unknown option 'hodl' in transport: transformer 'polling' takes hold, absence"),
        ("websockets", {"hold": 3}, "unknown option 'hold' in transport: transformer 'websockets' has no options"),
        ("engine.io", {"pingInterval": 25}, "takes transports, .*; did you mean ping_interval, in seconds?"),
        ("engine.io", {"ping_interval": 25000}, "in seconds, not milliseconds .* did you mean 25"),
        ("polling", {"hold": 0}, r"transport\['hold'\] must be a number above 0"),
        ("polling", {5: 0}, "unknown option 5"),
        ("polling", ["hold"], "transport must be a mapping of options for transformer 'polling'; got"),
        ("polling", None, "transport must be a mapping"),
    ],
)
def test_options_of_the_transport(config: Any, transformer: str, options: Any, message: str) -> None:
    if message:
        with pytest.raises(ConfigError, match=message):
            config(transformer=transformer, transport=options)
    else:
        made = config(transformer=transformer, transport=options).transport_options
        assert made == polling_transport.PollingOptions(hold=3, absence=5.0)


def test_a_transport_gets_its_options_from_either_end() -> None:
    wire = ServerWire(transformer="polling", transport={"hold": 3.0})
    peer = wire.accept()
    ((_, sid),) = json.loads(peer.ask("GET", "/primus?ping=false").body)
    peer.send(b"GET /primus?sid=%s HTTP/1.1\r\nHost: x\r\n\r\n" % sid.encode())
    wire.run(3)
    assert peer.reply().body == b"[]"
    client = ClientWire(transformer="polling", transport={"hold": 3.0, "absence": 1.0}, ping=False)
    client.up()
    answer = b'[["open","x"]]'
    client.feed(client.channel, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
    client.run(4)
    (lost,) = client.all(ev.Closed)
    assert str(lost.reason) == "lost (1006): the server did not answer a poll"


def test_serve_and_connect_pass_them_on() -> None:
    wrong: Any = {"transformer": "polling", "transport": {"hodl": 3}}
    with pytest.raises(ConfigError, match="unknown option 'hodl'"):
        primus_io.asyncio.serve(None, **wrong)
    with pytest.raises(ConfigError, match="unknown option 'hodl'"):
        primus_io.asyncio.connect("http://server", **wrong)


# --- subprotocols ---


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        ("packets.v1", "packets.v1"),
        ("packets.v1, packets.v2", "packets.v2"),
        ("other,packets.v1", "packets.v1"),
        ("other", None),
    ],
)
def test_a_server_takes_a_subprotocol_that_is_offered(offered: str | None, chosen: str | None) -> None:
    wire = ServerWire(transformer="packets")
    peer = wire.accept()
    peer.send(handshake(sec_websocket_protocol=offered) + frame(TEXT, '4"hello"'))
    (reply,), _ = replies(wire.take(peer.channel))
    assert (reply.status, reply.headers.get("sec-websocket-protocol")) == (101, chosen)
    assert reply.headers["x-packets"] == "yes"
    (spark,) = wire.server
    assert isinstance(spark.pipe, packet_transport.PacketPipe)
    assert spark.pipe.carrier.subprotocol == chosen
    assert [event.data for event in wire.all(ev.SparkData)] == ["hello"]


@pytest.mark.parametrize(
    ("answered", "opens"),
    [(None, True), ("packets.v1", True), ("other", False), ("packets.v1, packets.v2", False), ("", False)],
)
def test_a_client_takes_only_what_it_offered(answered: str | None, opens: bool) -> None:
    wire = ClientWire(transformer="packets", strategy=False)
    said = wire.up()
    assert b"Sec-WebSocket-Protocol: packets.v2, packets.v1\r\n" in said
    wire.feed(wire.channel, wire.answer(said, sec_websocket_protocol=answered))
    if opens:
        pipe = wire.client._pipe
        assert isinstance(pipe, packet_transport.PacketPipe)
        assert pipe.carrier.subprotocol == answered
    else:
        (event,) = wire.all(ev.ErrorOccurred)
        assert "no valid WebSocket handshake" in str(event.error)
