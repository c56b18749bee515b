"""The sessions of a SockJS server on the wire, over requests and over a WebSocket."""

from __future__ import annotations

import json

import pytest

from primus_proto import HOLD, Limits
from primus_proto import events as ev
from primus_proto.limits import SLICE
from tests.unit.transports.sockjs_peers import (
    H2048,
    ORIGIN,
    connected,
    opened,
    path,
    receive,
    server,
    streamed,
    texts,
)
from tests.unit.wires import CLOSE, PING, PONG, TEXT, Peer, close_frame, frame, handshake, request, values

# --- a session over requests ---


def test_messages_in() -> None:
    wire = server()
    opened(wire)
    post = wire.accept()
    reply = post.ask(
        "POST", path("xhr_send"), headers=ORIGIN, body=' ["1" ,"\\"\u00e9\\"", "\\"\\\\ud800\\""] '.encode()
    )
    assert (reply.status, reply.body, reply.headers["content-type"]) == (204, b"", "text/plain; charset=UTF-8")
    assert post.ask("POST", "/primus/other/session1/xhr_send", body=b"[]").status == 204
    assert post.ask("POST", path("jsonp_send"), body=b'["2"]').status == 404
    assert values(wire) == [1, "é", "\ud800"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"d=%5B%221%22%2c%22%5C%22%C3%A9+a%5C%22%22%5D", "application/x-www-form-urlencoded"),
        (b'["1","\\"\xc3\xa9 a\\""]', "text/plain"),
    ],
)
def test_messages_in_by_scripts(body: bytes, kind: str) -> None:
    wire = server()
    opened(wire, "jsonp?c=f")
    reply = wire.accept().ask("POST", path("jsonp_send"), headers={"Content-Type": kind}, body=body)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"ok", "text/plain; charset=UTF-8")
    assert values(wire) == [1, "é a"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Payload expected."), (b"{}", "Payload expected."), (b'"1"', "Payload expected."),
        (b'["1"', "Broken JSON encoding."), (b'["1",]', "Broken JSON encoding."), (b'["1"] x', "Broken JSON encoding."),
        (b"[1]", "Broken JSON encoding."), (b'["1" "2"]', "Broken JSON encoding."), (b"x", "Broken JSON encoding."),
        (b'["\xff"]', "Broken JSON encoding."), (b'["\n"]', "Broken JSON encoding."),
        (b"[" * 5000, "Broken JSON encoding."),
    ],
)  # fmt: skip
def test_a_broken_body_does_nothing(body: bytes, why: str) -> None:
    wire = server()
    opened(wire)
    reply = wire.accept().ask("POST", path("xhr_send"), body=body)
    assert (reply.status, reply.body) == (500, why.encode())
    assert values(wire) == []
    assert len(wire.server) == 1


def test_what_is_too_large() -> None:
    wire = server(limits=Limits(message=100, body=100))
    peer, spark = opened(wire, "xhr_streaming")
    post = wire.accept()
    assert post.ask("POST", path("xhr_send"), body=b" " * 317).status == 413
    lone = b'["' + rb"\"" + rb"\ud800" * 33 + rb"\"" + b'"]'
    assert wire.accept().ask("POST", path("xhr_send"), body=lone).status == 204
    assert str(spark.close_reason) == "lost (1009): SockJS: message larger than 100 bytes"
    assert streamed(peer) == b'c[1009,"message larger than 100 bytes"]\n<end>'


def test_a_repeated_poll_is_answered_like_the_first() -> None:
    wire = server()
    _, spark = opened(wire)
    peers = [Peer(wire, wire.endpoint.channel_accepted(("192.0.2.7", port), now=wire.now)) for port in range(1, 8)]
    for peer in peers[:3]:
        receive(wire, path("xhr?t=a.1"), peer)
    peers[0].eof()
    assert spark.is_open
    spark.write(1)
    wire.pump()
    assert [peer.reply().body for peer in peers[1:3]] == [b'a["1"]\n'] * 2
    assert receive(wire, path("xhr?t=a.1"), peers[3]).reply().body == b'a["1"]\n'
    receive(wire, path("xhr?t=a.2"), peers[4])
    spark.write(2)
    wire.pump()
    assert peers[4].reply().body == b'a["2"]\n'
    assert receive(wire, path("xhr?t=a.1"), peers[5]).reply().body == b"h\n"  # nobody waits for it any more
    receive(wire, path("xhr?t=123"), peers[4])
    another = receive(wire, path("xhr?t=123"), peers[6]).reply()  # two requests may share a millisecond
    assert another.body == b'c[2010,"Another connection still open"]\n'


def test_a_repeated_post_does_nothing_twice() -> None:
    wire = server()
    opened(wire)
    again = Peer(wire, wire.endpoint.channel_accepted(("192.0.2.7", 5), now=wire.now))
    post = wire.accept()
    for target, peer in [("xhr_send?t=1", post), ("xhr_send?t=1", again), ("xhr_send?t=1", again), ("xhr_send", post)]:
        assert peer.ask("POST", path(target), body=b'["1"]').status == 204
    assert values(wire) == [1, 1]  # only what comes by another connection is a copy
    assert again.ask("POST", path("xhr_send"), body=b'["1"]').status == 204
    assert values(wire) == [1, 1, 1]


def test_while_the_spark_does_not_read_a_post_stays_unanswered() -> None:
    wire = server()
    _, spark = opened(wire)
    spark.pause()
    post = wire.accept()
    post.send(request("POST", path("xhr_send"), {}, b'["1"]'))
    assert (post.statuses(), values(wire)) == ([], [])
    spark.resume()
    wire.pump()
    assert (post.statuses(), values(wire)) == ([204], [1])


def test_a_second_receiver() -> None:
    wire = server()
    peer, _ = opened(wire, "xhr_streaming")
    assert streamed(receive(wire, path("xhr_streaming"))) == H2048 + b'c[2010,"Another connection still open"]\n<end>'
    assert receive(wire, path("xhr")).statuses() == [404]  # of another kind
    assert len(wire.server) == 1
    assert streamed(peer) == b""


def test_a_receiver_that_is_cut_off_ends_the_session() -> None:
    wire = server()
    peer, spark = opened(wire, "xhr_streaming")
    peer.eof("reset")
    assert str(spark.close_reason) == "client (1000)"
    assert receive(wire, path("xhr_streaming")).wire.told()[-1] == "end"
    assert len(wire.server) == 0
    assert wire.accept().ask("POST", path("xhr_send"), body=b'["1"]').status == 204
    wire.run(5)
    assert wire.accept().ask("POST", path("xhr_send"), body=b'["1"]').status == 404


@pytest.mark.parametrize("what", ["xhr", "jsonp?c=f"])
def test_a_client_that_does_not_come_back(what: str) -> None:
    wire = server()
    _, spark = opened(wire, what)
    wire.run(4.9)
    assert len(wire.server) == 1
    wire.run(0.1)
    assert str(spark.close_reason) == "lost (1006): the client did not come back"
    reply = receive(wire, path(what)).reply().body
    assert b"c[1006," in reply
    wire.run(5)
    opened(wire, what)


def test_a_streamed_answer_ends_and_goes_on() -> None:
    wire = server(transport={"response_limit": 2100})
    peer, spark = opened(wire, "xhr_streaming")
    spark.write("x" * 60)
    wire.pump()
    assert streamed(peer).endswith(b"\n<end>")
    spark.write(2)
    wire.run(3)
    receive(wire, path("xhr_streaming"), peer)
    assert streamed(peer) == H2048 + b'a["2"]\n'
    wire.run(10)
    assert len(wire.server) == 1


def test_an_answer_that_is_not_taken_holds_back_the_next() -> None:
    wire = server()
    peer, spark = opened(wire)
    receive(wire, path("xhr"), peer)
    wire.block(peer.channel)
    spark.write("x" * 1000)
    wire.run(6)  # busy with the last answer, so not missed
    other = receive(wire, path("xhr"))
    spark.write(2)
    wire.pump()
    assert other.statuses() == []
    assert spark.buffered > 1000
    wire.unblock(peer.channel)
    assert other.reply().body == b'a["2"]\n'


def test_a_client_that_does_not_come_for_much_is_cut() -> None:
    wire = server(limits=Limits(backlog=900, stall=1.0))
    _, spark = opened(wire)
    spark.write("x" * 1000)
    wire.run(1.0)
    assert spark.close_reason is not None
    assert spark.close_reason.kind == "backlog"
    wire.run(10.0)
    assert wire.endpoint.next_timeout() is None


@pytest.mark.parametrize("what", ["xhr", "xhr_streaming"])
def test_drained(what: str) -> None:
    wire = server(limits=Limits(backlog=900))
    peer, spark = opened(wire, what)
    if what == "xhr":
        receive(wire, path(what), peer)
    wire.block(peer.channel)
    spark.write("x" * 950)
    spark.write(1)
    wire.pump()
    assert spark.buffered > 900
    assert "drain" not in wire.told()
    wire.unblock(peer.channel)
    assert wire.told() == ["drain"]


def test_heartbeats() -> None:
    wire = server()
    peer, _ = opened(wire, "xhr_streaming?ping=false")
    wire.run(25)
    assert streamed(peer) == b"h\n"
    wire.run(25)
    assert streamed(peer) == b"h\n"
    wire.block(peer.channel)
    wire.run(50)
    wire.unblock(peer.channel)
    assert streamed(peer) == b"h\n"  # one is enough for a client that did not read
    wire = server()
    peer, _ = opened(wire)
    receive(wire, path("xhr?ping=false"), peer)
    wire.run(25)
    assert peer.reply().body == b"h\n"


def test_the_end_waits_for_what_was_written() -> None:
    wire = server()
    peer, spark = opened(wire)
    spark.end("bye")
    wire.pump()
    assert receive(wire, path("xhr"), peer).reply().body == b'a["\\"bye\\"","\\"primus::server::close\\""]\n'
    for _ in range(2):
        assert receive(wire, path("xhr"), peer).reply().body == b'c[1000,"Normal closure"]\n'
    assert len(wire.server) == 0


def test_a_server_that_closes_serves_its_sessions_to_the_end() -> None:
    wire = server()
    peer, _ = opened(wire)
    wire.server.close()
    wire.pump()
    assert receive(wire, path("xhr", "other")).statuses() == [503]
    assert "close" not in wire.told()
    assert receive(wire, path("xhr"), peer).reply().body == b'a["\\"primus::server::close\\""]\n'
    assert "close" in wire.told()


def test_sessions_that_nobody_comes_back_for_are_bounded() -> None:
    wire = server(limits=Limits(unclaimed=2))
    for key in ("a", "b"):
        assert receive(wire, path("xhr", key)).statuses() == [200]
    assert receive(wire, path("xhr", "c")).statuses() == [503]
    assert wire.accept().ask("POST", path("xhr_send", "a"), body=b"[]").status == 204
    assert receive(wire, path("xhr", "c")).statuses() == [200]


def test_sessions_that_have_ended_are_remembered_up_to_a_number() -> None:
    wire = server(limits=Limits(unclaimed=1))
    for key in ("a", "b"):
        receive(wire, path("xhr", key))
        next(iter(wire.server)).end(reconnect=True)
        wire.pump()
    replies = [receive(wire, path("xhr", key)).reply().body for key in ("b", "a")]
    assert replies == [b'c[1000,"Normal closure"]\n', b"o\n"]


def test_a_session_that_is_dropped_drops_its_answer() -> None:
    wire = server()
    peer, spark = opened(wire, "xhr_streaming")
    spark.cut("too slow")
    wire.pump()
    assert peer.aborted()


def test_a_request_whose_session_ends_while_a_layer_holds_it() -> None:
    wire = server()
    _, spark = opened(wire)
    wire.server.before("slow", lambda request: HOLD)
    poll = receive(wire, path("xhr"))
    spark.end(reconnect=True)
    wire.run(6)
    wire.endpoint.resume(wire.all(ev.RequestHeld)[-1].id)
    wire.pump()
    assert poll.statuses() == [404]


@pytest.mark.parametrize("target", [path("websocket"), "/primus/websocket"])
def test_a_handshake_that_is_none(target: str) -> None:
    wire = server()
    peer = wire.accept()
    peer.send(handshake(target, sec_websocket_version="12"))
    assert (peer.statuses(), len(wire.server)) == ([426], 0)


def test_authorization_comes_before_the_session() -> None:
    wire = server(authorization=True)
    peers = [receive(wire, path("xhr")) for _ in range(2)]
    assert wire.accept().ask("GET", "/primus/info").status == 200
    held = wire.all(ev.RequestHeld)
    assert len(held) == 2
    assert len(wire.server) == 0
    wire.endpoint.resume(held[0].id)
    wire.pump()
    assert peers[0].reply().body == b"o\n"
    wire.endpoint.resume(held[1].id)
    wire.pump()
    assert peers[1].statuses() == []  # the same session, so it is the poll
    assert len(wire.server) == 1


# --- a session over a WebSocket ---


def test_a_websocket() -> None:
    wire = server()
    peer, spark = connected(wire)
    assert texts(peer) == ["o"]
    for data in ('["1","2"]', '"3"', "", "[]", ' [ "\\"\\\\ud800\\"" ]'):
        peer.send(frame(TEXT, data))
    assert values(wire) == [1, 2, 3, "\ud800"]
    spark.write(1)
    spark.write("é")
    wire.pump()
    assert texts(peer) == ['a["1"]', r'a["\"\u00e9\""]']
    wire.run(25)
    assert [each.opcode for each in peer.frames()] == [PING]
    spark.end("bye")
    wire.pump()
    found = peer.frames()
    assert [each.payload for each in found[:-1]] == [
        rb'a["\"bye\""]', rb'a["\"primus::server::close\""]', b'c[1000,"Normal closure"]',
    ]  # fmt: skip
    assert found[-1].opcode == CLOSE
    assert wire.accept().ask("POST", path("xhr_send"), body=b"[]").status == 404


@pytest.mark.parametrize("data", ["x", "[1]", "{}", "[,]", '"1', b"bytes", "[" * 5000])
def test_a_broken_frame_ends_the_session(data: str | bytes) -> None:
    wire = server()
    peer, spark = connected(wire)
    peer.send(frame(TEXT if isinstance(data, str) else 2, data) + frame(TEXT, '["1"]'))
    assert str(spark.close_reason) == "lost (3000): SockJS: Broken framing."
    assert texts(peer) == ["o", 'c[3000,"Broken framing."]']
    assert values(wire) == []


def test_many_messages_in_one_frame_take_turns() -> None:
    """So that a frame of many megabytes holds nobody up, and a session can stop in the middle of one."""
    wire = server()
    peer, spark = connected(wire)
    wire.on_data = lambda event: spark.pause() if event.data == 700 else None
    numbers = list(range(1500))
    peer.send(frame(TEXT, json.dumps([str(number) for number in numbers])))
    assert values(wire) == numbers[:500]
    assert peer.paused()
    peer.send(frame(TEXT, '["1500"]') + close_frame(1000))
    wire.run(0.1)
    assert values(wire) == numbers[:1000]
    assert spark.is_open, "what came before the close is handled first"
    spark.resume()
    wire.run(0.1)
    assert values(wire) == [*numbers, 1500]
    assert not spark.is_open


@pytest.mark.parametrize("end", ["close", "gone", "by a transform"])
def test_a_session_that_ends_among_many_messages_gets_no_more(end: str) -> None:
    wire = server()
    peer, spark = connected(wire)
    if end == "by a transform":
        seen: list[object] = []
        spark.transform("incoming", lambda packet: spark.end() if len(seen) == 500 else seen.append(packet.data))
    peer.send(frame(TEXT, json.dumps(["1"] * 600)))
    assert peer.paused()
    if end == "by a transform":
        wire.run(0.1)
    else:
        wire.eof(peer.channel) if end == "gone" else spark.end()
    wire.pump()
    assert end == "gone" or not peer.paused()
    wire.run(10.0)
    assert len(values(wire)) == 500
    assert peer.closed()


@pytest.mark.parametrize("way", ["websocket", "xhr_send"])
def test_more_messages_than_values_are_refused(way: str) -> None:
    wire = server(limits=Limits(values=2000))
    many = json.dumps(["1"] * 2000)
    if way == "xhr_send":
        opened(wire)
        assert wire.accept().ask("POST", path(way), body=many.encode()).status == 500
    else:
        peer, spark = connected(wire)
        peer.send(frame(TEXT, many))
        assert str(spark.close_reason) == "lost (3000): SockJS: Broken framing."
    assert values(wire) == []


def test_a_message_too_large_on_a_websocket() -> None:
    wire = server(limits=Limits(message=100))
    _, spark = connected(wire)
    peer = next(iter(wire.output))
    Peer(wire, peer).send(frame(TEXT, '["' + "1" * 101 + '"]'))
    assert str(spark.close_reason).startswith("lost (1009)")


def test_more_than_a_slice_leaves_in_parts() -> None:
    wire = server()
    peer, spark = connected(wire)
    texts(peer)
    for value in ("x" * SLICE, "y"):
        spark.write(value)
    wire.pump()
    assert [len(text) for text in texts(peer)] == [SLICE + 9, 10]


def test_a_raw_websocket() -> None:
    wire = server()
    peer, spark = connected(wire, "/primus/websocket")
    peer.send(frame(TEXT, "1"))
    spark.write(2)
    wire.pump()
    assert (values(wire), texts(peer)) == ([1], ["2"])
    peer.send(frame(PING))
    assert [each.opcode for each in peer.frames()] == [PONG]
    spark.end()
    wire.pump()
    assert [each.opcode for each in peer.frames()] == [TEXT, CLOSE]
