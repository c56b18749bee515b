"""The server half of Engine.IO: the move to a WebSocket, heartbeats, and the end."""

from __future__ import annotations

import pytest

from primus_proto import Limits
from tests.unit.transports.engines import BAD, SESSION, Engine, engine
from tests.unit.wires import CLOSE, HANDSHAKE, TEXT, Frame, frames, replies, request, values

# --- the move to a WebSocket ---


@pytest.mark.parametrize("polling", [True, False])
def test_an_upgrade_amid_traffic(polling: bool) -> None:
    wire, client, spark = engine()
    if polling:
        client.poll()
    client.connect()
    assert client.say("2probe") == ["3probe"]
    if polling:
        assert client.gets.reply().body == b"6"
    spark.write(1)
    client.poll()
    wire.pump()
    assert client.gets.reply().body == b"41"
    client.poll()  # it has not heard of the probe's answer yet
    wire.run(0.1)
    assert client.gets.reply().body == b"6"
    client.post("41")
    spark.write(2)
    assert client.say("5", "42") == ["42"]
    assert client.post("43").body == client.get().body == BAD
    assert values(wire) == [1, 2]
    spark.write("bye")
    spark.end()
    wire.pump()
    assert client.say()[:2] == ['4"bye"', '4"primus::server::close"']


def test_an_upgrade_releases_a_poll_that_came_meanwhile() -> None:
    _, client, _ = engine()
    client.connect()
    client.say("2probe")
    client.poll()
    client.say("5")
    assert client.gets.reply().body == b"6"


@pytest.mark.parametrize("packets", [["5"], ["2probe", "2probe"], ["2probe", "41"], ["2"], ["x"]])
def test_a_probe_that_goes_wrong_is_no_loss(packets: list[str]) -> None:
    wire, client, spark = engine()
    client.connect()
    client.say(*packets)
    assert client.socket is not None
    client.poll()
    spark.write(1)
    wire.run(6)
    assert client.socket.closed()
    assert client.gets.reply().body == b"41"
    assert values(wire) == []
    client.upgrade()
    assert wire.told() == []


def test_one_probe_at_a_time_and_not_for_ever() -> None:
    wire, client, _ = engine(transport={"upgrade_timeout": 3.0})
    client.connect()
    first = client.socket
    assert first is not None
    assert wire.accept().ask("GET", client.target("websocket"), headers=HANDSHAKE).body == BAD
    client.poll()
    wire.run(3.1)
    assert [each.opcode for each in first.frames()] == [CLOSE]
    wire.run(5)
    assert first.aborted()
    client.upgrade()
    assert wire.accept().ask("GET", client.target("websocket"), headers=HANDSHAKE).body == BAD
    assert len(wire.server) == 1


def test_a_session_that_ends_takes_its_probe_along() -> None:
    wire, client, spark = engine()
    client.poll()
    client.connect()
    client.say("2probe")
    spark.end()
    client.poll()
    wire.run(20)
    polled, _ = replies(wire.take(client.gets.channel))
    assert [each.body for each in polled] == [b"6", b'4"primus::server::close"\x1e1']
    assert client.socket is not None
    assert client.socket.closed()
    client.gets.eof()
    wire.run(20)
    assert wire.endpoint.next_timeout() is None


# --- heartbeats ---


@pytest.mark.parametrize("how", ["poll", "websocket"])
def test_the_heartbeat_of_protocol_4(how: str) -> None:
    wire, client, spark = engine(limits=Limits(handshake=1000.0))
    if how == "websocket":
        client.upgrade()
    for _ in range(3):
        if how == "poll":
            client.poll()
            wire.run(25)
            assert client.gets.reply().body == b"2"
            assert client.post("3").body == b"ok"
        else:
            wire.run(25)
            assert client.say("3") == ["2"]
    if how == "poll":
        client.poll()
    wire.run(44.9)
    assert len(wire.server) == 1
    wire.run(0.2)
    assert str(spark.close_reason) == "lost (1006): no answer to a heartbeat came"


@pytest.mark.parametrize("how", ["poll", "websocket"])
def test_the_heartbeat_of_protocol_3(how: str) -> None:
    wire, client, spark = engine(3, "&b64=1", limits=Limits(handshake=1000.0))
    if how == "websocket":
        client.upgrade()
    for number in range(3):
        if how == "poll":
            client.poll()
            wire.run(84)
            assert client.post(f"2:2{number}").body == b"ok"
            assert client.gets.reply().body == f"2:3{number}".encode()
        else:
            wire.run(84)
            assert client.say(f"2{number}") == [f"3{number}"]
    wire.run(85.1)
    assert str(spark.close_reason) == "lost (1006): no heartbeat came"


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_client_that_is_not_read_is_not_lost(protocol: int) -> None:
    wire, client, spark = engine(protocol, "&b64=1", limits=Limits(handshake=1000.0))
    spark.pause()
    said = []
    for _ in range(10):
        client.poll()
        wire.run(25)
        said.append(client.gets.reply().body)
    assert set(said) == ({b"1:3"} if protocol == 3 else {b"2"})
    spark.resume()
    client.poll()
    wire.run(100)
    assert len(wire.server) == 0


def test_many_pings_have_one_answer() -> None:
    _, client, _ = engine(3, "&b64=1")
    client.post("".join(f"5:2{number}" for number in range(1000, 1100)) + "101:2" + "x" * 100)
    assert client.get().body == b"65:3" + b"x" * 64


# --- the end ---


@pytest.mark.parametrize("polling", [True, False])
def test_the_spark_ends(polling: bool) -> None:
    wire, client, spark = engine()
    if polling:
        client.poll()
    spark.end("bye")
    wire.pump()
    if not polling:
        client.poll()
    assert client.gets.reply().body == b'4"bye"\x1e4"primus::server::close"\x1e1'
    assert client.get().body == SESSION
    wire.run(20)
    assert wire.endpoint.next_timeout() is None


def test_a_client_that_does_not_come_for_the_end() -> None:
    wire, client, spark = engine()
    spark.end("bye")
    wire.server.close()
    wire.run(4.9)
    assert "close" not in wire.told()
    wire.run(0.2)
    assert client.gets.statuses() == []
    assert wire.told() == ["log", "close"], "what was not sent is reported"


@pytest.mark.parametrize("how", ["poll", "websocket"])
def test_the_client_ends(how: str) -> None:
    wire, client, spark = engine()
    if how == "websocket":
        client.upgrade()
        client.say("41", "1", "42")
        assert client.socket is not None
        wire.run(6)
        assert client.socket.closed()
    else:
        client.poll()
        client.post("41\x1e1\x1e42")
        assert client.gets.reply().body == b"6"
    assert values(wire) == [1]
    assert str(spark.close_reason) == "client (1000)"


def test_what_a_websocket_brings_behind_a_held_post_stays_behind_it() -> None:
    wire, client, spark = engine()
    spark.pause()
    client.posts.send(request("POST", client.target(), {}, b"41\x1e42"))
    client.upgrade()
    client.say("43")
    assert values(wire) == []
    spark.resume()
    wire.pump()
    assert client.say("44") == []
    assert values(wire) == [1, 2, 3, 4]


def test_the_websocket_is_lost() -> None:
    wire, client, spark = engine()
    client.upgrade()
    assert client.socket is not None
    client.socket.eof("reset")
    assert str(spark.close_reason) == "lost (1006): reset"
    assert client.get().body == SESSION
    assert wire.endpoint.server.sparks == {}


def test_pipelined_polls() -> None:
    """An answer lets the next request in at once, which finds the session between two states."""
    wire, client, spark = engine()
    client.gets.send(b"".join(request("GET", client.target()) for _ in range(3)))
    for number in range(3):
        spark.write(number)
        wire.pump()
        assert client.gets.reply().body == b"4%d" % number


def test_a_broadcast_is_framed_once() -> None:
    wire, client, _ = engine()
    clients = [client]
    for _ in range(2):
        clients.append(Engine(wire))
        clients[-1].open()
    for each in clients:
        each.upgrade()
    before = len(wire.commands)
    assert wire.server.write("all") == 3
    wire.pump()
    assert len(wire.commands) == before + 1
    assert frames(wire.take(client.socket.channel)) == [Frame(TEXT, b'4"all"')]  # type: ignore[union-attr]
