"""The server half of Engine.IO on the wire: what each request is answered, in each state of its session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import HOLD, ConfigError, Limits, ServerConfig
from primus_proto import events as ev
from tests.unit.transports.engines import BAD, HELLO3, HELLO4, METHOD, SESSION, UNKNOWN, VERSION, Engine, engine
from tests.unit.wires import HANDSHAKE, ServerWire, handshake, request, values

# --- the beginning ---

QUOTED3, QUOTED4 = (json.dumps(hello)[1:-1] for hello in (HELLO3, HELLO4))


@pytest.mark.parametrize(
    ("protocol", "more", "kind", "body"),
    [
        (4, "", "text/plain; charset=UTF-8", "0" + HELLO4),
        (4, "&b64=1", "text/plain; charset=UTF-8", "0" + HELLO4),
        (4, "&j=7x", "text/javascript; charset=UTF-8", f'___eio[7]("0{QUOTED4}");'),
        (3, "&b64=1", "text/plain; charset=UTF-8", f"109:0{HELLO3}"),
        (3, "&j=0&b64=1", "text/javascript; charset=UTF-8", f'___eio[0]("109:0{QUOTED3}");'),
        (3, "", "application/octet-stream", f"\x00\x01\x00\x09\xff0{HELLO3}"),
        (7, "&b64=1", "text/plain; charset=UTF-8", f"109:0{HELLO3}"),
    ],
)
def test_the_packet_that_opens_a_session(protocol: int, more: str, kind: str, body: str) -> None:
    wire = ServerWire(transformer="engine.io")
    reply = Engine(wire, protocol, more).get()
    (spark,) = wire.server
    assert (reply.status, reply.headers["content-type"]) == (200, kind)
    assert reply.body == body.replace("SID", spark.id).encode("latin-1")
    assert reply.headers["set-cookie"] == f"io={spark.id}; Path=/; HttpOnly; SameSite=Lax"
    assert reply.headers["cache-control"] == "no-store"
    assert wire.told() == ["connection"]


def test_a_session_that_begins_with_a_websocket() -> None:
    wire = ServerWire(transformer="engine.io", transport={"cookie": None})
    client = Engine(wire)
    client.connect()
    (spark,) = wire.server
    hello, *rest = client.say('4"hello"', "2")
    assert json.loads(hello[1:])["upgrades"] == []
    assert (values(wire), rest) == (["hello"], [])
    assert str(wire.all(ev.SparkDisconnected)[0].reason) == "lost (1002): Engine.IO: the server sends the pings"
    assert spark.query["transport"] == "websocket"


@pytest.mark.parametrize(
    ("method", "query", "upgrade", "body"),
    [
        ("GET", "", False, UNKNOWN),
        ("GET", "transport=flashsocket&EIO=4", False, UNKNOWN),
        ("GET", "transport=polling&EIO=4&sid=x", False, SESSION),
        ("GET", "transport=polling&EIO=4&sid=", False, SESSION),
        ("GET", "transport=websocket&EIO=4&sid=x", True, SESSION),
        ("POST", "transport=polling&EIO=4", False, METHOD),
        ("GET", "transport=websocket&EIO=4", False, BAD),
        ("GET", "transport=polling&EIO=4", True, BAD),
        ("GET", "transport=polling&EIO=3", False, VERSION),
        ("GET", "transport=websocket&EIO=4&sid=SID", False, BAD),
        ("DELETE", "transport=polling&EIO=4&sid=SID", False, BAD),
        ("GET", "transport=polling&EIO=4&sid=SID", True, BAD),
    ],
)
def test_requests_that_are_refused(method: str, query: str, upgrade: bool, body: bytes) -> None:
    wire, client, _ = engine(transport={"protocol": 4})
    headers = HANDSHAKE if upgrade else {}
    reply = wire.accept().ask(method, f"/primus/?{query}".replace("SID", client.sid), headers=headers)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (400, body, "application/json")
    assert wire.told() == []


def test_only_what_is_configured() -> None:
    wire, client, _ = engine(transport={"transports": ["polling"]})
    assert wire.accept().ask("GET", client.target("websocket"), headers=HANDSHAKE).body == UNKNOWN
    wire, client, _ = engine(transport={"upgrade": False})
    assert wire.accept().ask("GET", client.target("websocket"), headers=HANDSHAKE).body == BAD


@pytest.mark.parametrize(
    "options",
    [
        {"transports": "polling"}, {"transports": []}, {"transports": ["flash"]}, {"upgrade": 1}, {"protocol": 2},
        {"encode_twice": None},
        {"upgrade_timeout": 0}, {"ping_interval": 0}, {"ping_timeout": -1}, {"cookie": "a b"}, {"cookie": ""},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"transport\['{next(iter(options))}'\] must be"):
        ServerConfig(transformer="engine.io", transport=options)


def test_sessions_that_nobody_comes_back_for_are_bounded() -> None:
    wire = ServerWire(transformer="engine.io", limits=Limits(unclaimed=2))
    for _ in range(2):
        Engine(wire).open()
    assert Engine(wire).get().status == 503
    wire.told()
    wire.run(10)
    assert [str(event.reason) for event in wire.all(ev.SparkDisconnected)] == [
        "lost (1006): the client made no second request"
    ] * 2
    client = Engine(wire)
    client.open()
    client.poll()
    wire.run(11)
    assert len(wire.server) == 1


# --- messages ---


@pytest.mark.parametrize(
    ("protocol", "more", "body", "answer"),
    [
        (4, "", '4"é"\x1e41'.encode(), '4"ü"\x1e42'.encode()),
        (3, "&b64=1", '5:4"Ã©"2:41'.encode(), '5:4"Ã¼"2:42'.encode()),
        (3, "", b'\x00\x05\xff4"\xc3\xa9"\x00\x02\xff41', b'\x00\x05\xff4"\xc3\xbc"\x00\x02\xff42'),
        (3, "&b64=1", '4:4"é"2:41'.encode(), '4:4"ü"2:42'.encode()),
    ],
    ids=["4", "3", "3 binary", "3 encoded once"],
)
def test_messages_both_ways(protocol: int, more: str, body: bytes, answer: bytes) -> None:
    wire, client, spark = engine(protocol, more)
    kind = "application/octet-stream" if body[:1] == b"\0" else "text/plain;charset=UTF-8"
    reply = client.post(body, kind=kind)
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/html", b"ok")
    assert values(wire) == ["é", 1]
    spark.write("ü")
    spark.write(2)
    assert client.get().body == answer
    client.poll()
    spark.write("later")
    wire.pump()
    assert client.gets.reply().body.endswith(b'4"later"')


def test_scripts() -> None:
    wire, client, spark = engine(more="&j=2")
    form = "application/x-www-form-urlencoded"
    assert client.post("d=" + "4%22a+b%C3%A9%22", kind=form).body == b"ok"
    spark.write("ü")
    reply = client.get()
    assert reply.body == rb'___eio[2]("4\"\u00fc\"");'
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert values(wire) == ["a bé"]


def test_a_long_answer_is_cut_into_several() -> None:
    _, client, spark = engine(limits=Limits(backlog=10_000_000))
    for _ in range(3):
        spark.write("x" * 700_000)
    assert [len(client.get().body) for _ in range(3)] == [700_003] * 3


@pytest.mark.parametrize(
    ("protocol", "body", "kind", "why"),
    [
        (4, "garbage", "text/plain", "no packet: 'garbage'"),
        (4, '41\x1e0{"sid":"x"}\x1e42', "text/plain", "a session opens once"),
        (4, "2", "text/plain", "the server sends the pings"),
        (3, "1:2x", "text/plain", "no length"),
        (3, b"\x05", "application/octet-stream", "no length"),
        (4, '4"' + "x" * 1000 + '"', "text/plain", "message larger than 1000 bytes"),
        (4, '4"' + "é" * 500 + '"', "text/plain", "message larger than 1000 bytes"),
    ],
)
def test_a_broken_post_ends_the_session(protocol: int, body: str | bytes, kind: str, why: str) -> None:
    wire, client, spark = engine(protocol, limits=Limits(message=1000))
    client.poll()
    assert client.post(body, kind=kind).status == 200
    assert client.gets.reply().status == 200
    assert spark.close_reason is not None
    assert (spark.close_reason.kind, spark.close_reason.reason) == ("lost", why)
    assert values(wire) == ([1] if b"41" in (body if isinstance(body, bytes) else body.encode()) else [])
    assert client.get().body == SESSION


def test_bytes_are_refused_in_protocol_4() -> None:
    wire, client, _ = engine()
    assert client.post(b"41", kind="application/octet-stream").body == BAD
    assert client.post("41").body == b"ok"
    assert values(wire) == [1]


def test_a_post_is_too_large() -> None:
    wire, client, _ = engine(limits=Limits(message=100, body=100))
    assert client.post("4" * 201).status == 413
    assert len(wire.server) == 1


def test_while_the_spark_does_not_read_a_post_stays_unanswered() -> None:
    wire, client, spark = engine()
    spark.pause()
    for number in range(3):
        peer = wire.accept()
        peer.send(request("POST", client.target(), {"Content-Type": "text/plain"}, b"4%d" % number))
        assert peer.statuses() == []
    assert values(wire) == []
    spark.resume()
    wire.pump()
    assert values(wire) == [0, 1, 2]
    spark.pause()
    client.posts.send(request("POST", client.target(), {}, b"43"))
    spark.end()
    wire.pump()
    assert client.posts.statuses() == [200]


# --- requests that are lost or repeated ---


def test_a_repeated_post_does_nothing_twice() -> None:
    wire, client, spark = engine()
    again = client.accept()
    assert client.post("41", t="a").body == client.post("41", t="a", peer=again).body == b"ok"
    assert values(wire) == [1]
    client.post("41", t="b")  # what only looks the same
    client.post("41", t="b")  # on the same connection: a client with coarse stamps
    client.post("42", t="b", peer=again)
    client.post("42", t="", peer=again)
    client.post("42", t="")
    assert values(wire) == [1, 1, 1, 2, 2, 2]
    spark.pause()
    for peer in (client.posts, again):
        peer.send(request("POST", client.target(t="c"), {}, b"43"))
        assert peer.statuses() == []
    spark.resume()
    wire.pump()
    assert (client.posts.statuses(), again.statuses()) == ([200], [200])
    assert values(wire)[6:] == [3]


def test_a_repeated_poll_gets_the_same_answer() -> None:
    wire, client, spark = engine()
    again, late = client.accept(), client.accept()
    client.poll("a")
    client.poll("a", again)
    client.gets.eof("reset")  # one copy is left
    assert wire.told() == []
    spark.write(1)
    wire.pump()
    assert again.reply().body == b"41"
    assert client.poll("a", late).reply().body == b"41"
    spark.write(2)
    assert client.poll("b", late).reply().body == b"42"
    spark.write(3)
    assert client.poll("b", late).reply().body == b"43"  # on the same connection nobody repeats what was answered


def test_a_poll_replaces_the_one_before() -> None:
    wire, client, spark = engine()
    again = client.accept()
    client.poll()
    client.poll(peer=again)
    assert client.gets.reply().body == b"6"
    client.gets.eof()
    spark.write(1)
    wire.pump()
    assert again.reply().body == b"41"


def test_a_poll_that_is_cut_off_ends_the_session() -> None:
    wire, client, spark = engine()
    client.poll()
    spark.write(1)
    client.gets.eof("reset")
    wire.pump()
    assert wire.told()[-3:] == ["disconnection", "messages dropped", "end"]
    assert str(spark.close_reason) == "lost (1006): the client's poll was cut off"


def test_an_answer_that_is_not_read_holds_back_the_next_and_counts() -> None:
    wire, client, spark = engine(limits=Limits(backlog=2000, burst=2000, stall=2.0))
    client.poll()
    wire.block(client.gets.channel)
    spark.write("x" * 1500)
    wire.pump()
    other = client.poll(peer=client.accept())
    assert spark.write("y" * 2500)
    wire.pump()
    assert other.statuses() == []
    assert spark.buffered > 4000
    assert not spark.write("z")
    wire.run(2.0)
    assert str(spark.close_reason).startswith("backlog")
    assert other.aborted()


@pytest.mark.parametrize("lost", [False, True])
def test_drained(lost: bool) -> None:
    wire, client, spark = engine(limits=Limits(backlog=1000))
    client.poll()
    wire.block(client.gets.channel)
    spark.write("x" * 900)
    wire.pump()
    assert "drain" not in wire.told()
    if lost:
        client.gets.eof("reset")
        client.poll(peer=client.accept())
    else:
        wire.unblock(client.gets.channel)
    assert wire.told() == ["drain"]


def test_a_request_whose_session_ends_while_a_layer_holds_it() -> None:
    wire, client, spark = engine()
    wire.server.before("slow", lambda request: HOLD)
    client.poll()
    spark.pipe.abort()
    wire.pump()
    wire.endpoint.resume(wire.all(ev.RequestHeld)[-1].id)
    wire.pump()
    assert client.gets.reply().body == SESSION


@pytest.mark.parametrize("sid", [True, False])
def test_a_handshake_that_is_none(sid: bool) -> None:
    wire, client, _ = engine()
    client.sid = client.sid if sid else ""
    peer = wire.accept()
    peer.send(handshake(client.target("websocket"), sec_websocket_version="12"))
    assert (peer.statuses(), len(wire.server)) == ([426], 1)
    wire.run(100)
    assert wire.endpoint.next_timeout() is None


def test_a_script_that_polls_for_a_session_of_bytes() -> None:
    wire, client, spark = engine(3)
    spark.write("x")
    wire.pump()
    reply = client.gets.ask("GET", client.target() + "&j=0")
    assert (reply.headers["content-type"], reply.body) == ("application/octet-stream", b'\x00\x04\xff4"x"')
