"""The server half of SockJS on the wire: what belongs to no session, and how each way carries frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import ConfigError, Limits, ServerConfig
from tests.unit.transports.sockjs_peers import H2048, ORIGIN, opened, path, receive, server, streamed
from tests.unit.wires import HANDSHAKE, request

JAVASCRIPT = "application/javascript; charset=UTF-8"


# --- what belongs to no session ---


@pytest.mark.parametrize(
    ("method", "target", "status", "headers", "body"),
    [
        ("GET", "/primus", 200, {"content-type": "text/plain; charset=UTF-8"}, b"Welcome to SockJS!\n"),
        ("GET", "/primus/?x=1", 200, {}, b"Welcome to SockJS!\n"),
        ("POST", "/primus", 405, {"allow": "OPTIONS, GET"}, b""),
        ("OPTIONS", "/primus/info", 204, {"access-control-allow-methods": "OPTIONS, GET"}, b""),
        ("OPTIONS", path("xhr_send"), 204, {"access-control-max-age": "31536000"}, b""),
        ("OPTIONS", path("xhr"), 204, {"access-control-allow-methods": "OPTIONS, POST"}, b""),
        ("GET", path("xhr"), 405, {"allow": "OPTIONS, POST"}, b""),
        ("POST", path("xhr_send"), 404, {"access-control-allow-origin": "https://example.org"}, b""),
        ("POST", path("jsonp_send"), 404, {}, b""),
        ("GET", path("jsonp"), 500, {}, b'"callback" parameter required'),
        ("GET", path("jsonp?c=a%20b"), 500, {}, b'invalid "callback" parameter'),
        ("GET", path("htmlfile?c=" + "a" * 33), 500, {}, b'invalid "callback" parameter'),
        ("GET", path("htmlfile?callback="), 500, {}, b'"callback" parameter required'),
        ("GET", path("websocket"), 426, {}, b"Upgrade Required: this address speaks WebSocket\n"),
        ("GET", "/primus/websocket", 426, {}, b"Upgrade Required: this address speaks WebSocket\n"),
        ("POST", "/primus/000/a.b/xhr", 404, {}, b"Not Found: no SockJS under this path"),
        ("POST", "/primus/a.b/000/xhr", 404, {}, b"Not Found: no SockJS under this path"),
        ("POST", "/primus/000/xhr", 404, {}, b"Not Found: no SockJS under this path"),
        ("GET", "/primus/iframe.htm", 404, {}, b"Not Found: no SockJS under this path"),
        ("GET", "/primus/IFRAME.html", 404, {}, b"Not Found: no SockJS under this path"),
    ],
)
def test_requests_without_a_session(
    method: str, target: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    wire = server()
    reply = wire.accept().ask(method, target, headers=ORIGIN)
    assert (reply.status, reply.body) == (status, body)
    assert headers.items() <= reply.headers.items()
    assert wire.told() == []


@pytest.mark.parametrize("headers", [{}, ORIGIN])
@pytest.mark.parametrize("transports", [["xhr-polling"], ["websocket"]])
def test_info(headers: dict[str, str], transports: list[str]) -> None:
    wire = server(transport={"transports": transports})
    reply = wire.accept().ask("GET", "/primus/info", headers=headers)
    info = json.loads(reply.body)
    assert 0 <= info.pop("entropy") < 2**32
    assert info == {"websocket": transports == ["websocket"], "origins": ["*:*"], "cookie_needed": False}
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert reply.headers["access-control-allow-origin"] == headers.get("Origin", "*")
    assert reply.headers.get("access-control-allow-credentials") == ("true" if headers else None)
    assert "no-store" in reply.headers["cache-control"]


def test_the_page_for_iframes() -> None:
    wire = server(transport={"client_url": "/lib?a&b"})
    reply = wire.accept().ask("GET", "/primus/iframe-1.2.3_a.html")
    assert reply.status == 200
    assert b'<script src="/lib?a&amp;b"></script>' in reply.body
    assert b"SockJS.bootstrap_iframe();" in reply.body
    assert reply.headers["cache-control"] == "public, max-age=31536000"
    again = wire.accept().ask("GET", "/primus/iframe.html", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", reply.headers["etag"])


def test_the_chunking_test() -> None:
    wire = server()
    peer = wire.accept()
    peer.send(request("POST", "/primus/chunking_test"))
    pieces = [streamed(peer)]
    for seconds in (0, 0.001, 0.005, 0.025, 0.125, 0.625, 3.125):
        wire.run(seconds)
        pieces.append(streamed(peer))
    assert b"".join(pieces) == b"h\n" + b" " * 2048 + b"h\n" * 6 + b"<end>"
    peer.eof()
    peer = wire.accept()
    peer.send(request("POST", "/primus/chunking_test"))
    peer.eof("reset")
    assert wire.endpoint.next_timeout() is None


def test_only_what_is_configured() -> None:
    wire = server(transport={"transports": ["xhr-polling"]})
    for method, target, headers in [
        ("GET", "/primus/websocket", HANDSHAKE),
        ("GET", path("websocket"), HANDSHAKE),
        ("POST", path("xhr_streaming"), {}),
        ("GET", path("jsonp?c=f"), {}),
    ]:
        assert wire.accept().ask(method, target, headers=headers).status == 404
    assert wire.accept().ask("GET", path("xhr"), headers=HANDSHAKE).status == 404


@pytest.mark.parametrize(
    "options",
    [
        {"transports": "websocket"}, {"transports": []}, {"transports": ["polling"]}, {"heartbeat": 0},
        {"absence": -1}, {"response_limit": 0}, {"client_url": "javascript:x"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"transport\['{next(iter(options))}'\] must be"):
        ServerConfig(transformer="sockjs", transport=options)


def test_text_only() -> None:
    with pytest.raises(ConfigError, match="carries text only"):
        ServerConfig(transformer="sockjs", parser="binary")


# --- frames ---

TRICKY = '</script>%\u2028"'
QUOTED = rb'a["\"</script>%\\u2028\\\"\""]'


@pytest.mark.parametrize(
    ("what", "content_type", "prelude", "opening", "message", "end"),
    [
        ("xhr", JAVASCRIPT, b"", b"o\n", QUOTED + b"\n", b'c[1000,"Normal closure"]\n'),
        ("xhr_streaming", JAVASCRIPT, H2048, b"o\n", QUOTED + b"\n", b'c[1000,"Normal closure"]\n'),
        (
            "eventsource", "text/event-stream; charset=UTF-8", b"\r\n", b"data: o\r\n\r\n",
            b"data: " + QUOTED.replace(b"%", b"%25") + b"\r\n\r\n", b'data: c[1000,"Normal closure"]\r\n\r\n',
        ),
        (
            "htmlfile?c=a.b-c_1", "text/html; charset=UTF-8", None, b'<script>\np("o");\n</script>\r\n',
            b"<script>\np(" + json.dumps(QUOTED.decode()).replace("<", "\\u003c").encode() + b");\n</script>\r\n",
            rb"""<script>
p("c[1000,\"Normal closure\"]");
</script>""" + b"\r\n",
        ),
        (
            "jsonp?c=f", JAVASCRIPT, b"", b'/**/f("o");\r\n',
            b"/**/f(" + json.dumps(QUOTED.decode()).replace("<", "\\u003c").encode() + b");\r\n",
            rb'/**/f("c[1000,\"Normal closure\"]");' + b"\r\n",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" not in value else "",
)  # fmt: skip
def test_frames(
    what: str, content_type: str, prelude: bytes | None, opening: bytes, message: bytes, end: bytes
) -> None:
    wire = server(parser="json")
    peer = receive(wire, path(what))
    raw = wire.take(peer.channel)
    assert f"Content-Type: {content_type}".lower().encode() in raw.lower()
    wire.output[peer.channel] = bytearray(raw)
    (spark,) = wire.server
    assert spark.id != "session1"
    assert spark.request.path == path(what).partition("?")[0]
    if what in ("xhr", "jsonp?c=f"):
        assert peer.reply().body == opening
        receive(wire, path(what), peer)
        spark.write(TRICKY)
        wire.pump()
        assert peer.reply().body == message
        spark.end()
        wire.pump()
        assert b"primus::server::close" in receive(wire, path(what), peer).reply().body
        assert receive(wire, path(what), peer).reply().body == end
        return
    body = streamed(peer)
    assert body.endswith(opening)
    if prelude is None:
        assert len(body) == 1024 + 4 + len(opening)
        assert b"var c = parent.a.b-c_1;" in body
    else:
        assert body == prelude + opening
    spark.write(TRICKY)
    wire.pump()
    assert streamed(peer) == message
    spark.end()
    wire.pump()
    assert streamed(peer).endswith(end + b"<end>")
    assert wire.told()[-1] == "end"


def test_several_messages_are_one_frame_and_what_does_not_fit_follows() -> None:
    wire = server(limits=Limits(backlog=10_000_000))
    peer, spark = opened(wire)
    spark.write(1)
    spark.write("é")
    assert receive(wire, path("xhr"), peer).reply().body == rb'a["1","\"\u00e9\""]' + b"\n"
    for _ in range(3):
        spark.write("x" * 200_000)
    assert [len(receive(wire, path("xhr"), peer).reply().body) for _ in range(2)] == [400_017, 200_010]
