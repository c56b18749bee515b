"""What a transport may rely on: options, parsers that suit it, and what its carriers negotiate."""

from __future__ import annotations

from typing import Any

import pytest

import primus_io.asyncio
from primus_proto import ClientConfig, ConfigError, ServerConfig
from primus_proto import events as ev
from primus_proto.parsers import JSONParser
from primus_proto.transports.registry import TRANSPORTS
from primus_proto.transports.sockjs.options import SockJSOptions
from tests.unit.transports import packet_transport
from tests.unit.wires import TEXT, ClientWire, ServerWire, frame, handshake, replies


class Binary(JSONParser):
    binary = True


def client_config(**options: Any) -> ClientConfig:
    return ClientConfig(url="http://server", **options)


BOTH = pytest.mark.parametrize("config", [client_config, ServerConfig])


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORTS, "packets", packet_transport.PACKETS)


# --- configuration ---


@BOTH
def test_a_transport_for_text_refuses_a_binary_parser(config: Any) -> None:
    assert config(transformer="Packets").transformer == "packets"
    assert config(transformer="engine.io", parser=Binary()).parser.binary
    with pytest.raises(ConfigError, match="parser 'JSON' makes binary messages; transformer 'packets' carries text"):
        config(transformer="packets", parser=Binary())


@BOTH
@pytest.mark.parametrize(
    ("transformer", "options", "message"),
    [
        ("sockjs", {"absence": 3}, ""),
        ("engineio", {}, "unknown transformer 'engineio'; .*; did you mean engine.io?"),
        (
            "sockjs",
            {"absense": 3},
            "unknown option 'absense' in transport: transformer 'sockjs' takes transports, .*absence",
        ),
        (
            "websockets",
            {"absence": 3},
            "unknown option 'absence' in transport: transformer 'websockets' has no options",
        ),
        ("engine.io", {"pingInterval": 25}, "takes transports, .*; did you mean ping_interval, in seconds?"),
        ("engine.io", {"ping_interval": 25000}, "in seconds, not milliseconds .* did you mean 25"),
        ("sockjs", {"absence": 0}, r"transport\['absence'\] must be a number above 0"),
        ("sockjs", {5: 0}, "unknown option 5"),
        ("sockjs", ["absence"], "transport must be a mapping of options for transformer 'sockjs'; got"),
        ("sockjs", None, "transport must be a mapping"),
    ],
)
def test_options_of_the_transport(config: Any, transformer: str, options: Any, message: str) -> None:
    if message:
        with pytest.raises(ConfigError, match=message):
            config(transformer=transformer, transport=options)
    else:
        made = config(transformer=transformer, transport=options).transport_options
        assert made == SockJSOptions(absence=3)


def test_serve_and_connect_pass_them_on() -> None:
    wrong: Any = {"transformer": "sockjs", "transport": {"absense": 3}}
    with pytest.raises(ConfigError, match="unknown option 'absense'"):
        primus_io.asyncio.serve(None, **wrong)
    with pytest.raises(ConfigError, match="unknown option 'absense'"):
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
