"""Connecting: to a server of ours, to one that refuses, and to whatever else may be listening there."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import pytest

from primus_proto import ConfigError, ConnectError, Limits, LocalProtocolError, Refused
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import raw_server, silent, unused_port
from tests.conformance.users import Diary, echo, take


@scenario()
async def test_a_client_connects_and_both_ends_know_each_other(host: Host) -> None:
    async with host.serve(echo) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        async with host.connect(f"{server.url}/?token=a%20b", headers={"X-From": "here"}) as primus:
            assert primus.state == "open"
            assert primus.close_reason is None
            [spark] = server.sparks.values()
            assert spark.query["token"] == "a b"
            assert spark.headers["x-from"] == "here"
            assert spark.address.ip == "127.0.0.1"
            assert spark.address.port > 0
            assert spark.state == "open"
            assert server.spark(spark.id) is spark
            assert primus.write({"hello": "world"})
            assert await take(primus, 1) == [{"hello": "world"}]
        assert primus.state == "closed"
        assert primus.close_reason is not None
        assert primus.close_reason.kind == "local"
        await host.until(lambda: not server.sparks)
        assert spark.state == "closed"
        assert spark.close_reason is not None
        assert spark.close_reason.kind == "client"
        assert not primus.write("too late")
        assert not spark.write("too late")


@scenario()
async def test_opening_by_hand_and_again_after_an_end(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url, manual=True) as primus:
        assert primus.state == "closed"
        diary = Diary(host, primus, "open", "end")
        for count in (1, 2):
            primus.open()
            await diary.wait("open", count)
            await primus.send(count)
            assert await take(primus, 1) == [count]
            primus.end()
            await primus.wait_ended()
        assert diary.names == ["open", "end"] * 2


@scenario()
async def test_a_listener_of_end_may_open_again(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:

        @primus.on("end")
        def ended() -> None:
            primus.off("end", ended)
            primus.open()

        primus.end()
        first = await primus.id()
        assert len(first) == 32
        primus.write("again")
        assert await take(primus, 1) == ["again"]


@scenario()
async def test_what_is_written_before_the_connection_is_there_waits_for_it(host: Host) -> None:
    port = unused_port()
    async with host.connect(f"http://127.0.0.1:{port}", wait=False, min=0.05, retries=20, factor=1) as primus:
        assert primus.state == "opening"
        assert all(primus.write(number) for number in range(100))
        async with host.serve(echo, "127.0.0.1", port):
            assert await take(primus, 100) == list(range(100))


@scenario()
async def test_ended_and_opened_in_one_breath(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        first = await primus.id()
        primus.end()
        primus.open()
        assert await primus.id() != first
        primus.write("again")
        assert await take(primus, 1) == ["again"]


@scenario()
async def test_leaving_is_for_good(host: Host) -> None:
    async with host.serve(echo) as server:
        async with host.connect(server.url, min=0.01) as primus:
            primus.on("end", primus.open)
        await host.until(lambda: not server.sparks)
        await host.pause(0.05)
        assert not server.sparks
        for call in (primus.open, primus.network_online):
            with pytest.raises(LocalProtocolError, match="has been left"):
                call()


# --- authorization ---

REFUSALS = {
    "false": (lambda request: False, 401, "Unauthorized"),
    "refused": (Refused("not you"), 401, "not you"),
    "forbidden": (Refused("never", 403), 403, "never"),
    "unavailable": (Refused("later", 503), 503, "later"),
    "challenge": (Refused("who?", authenticate='Basic realm="x"'), 401, "who?"),
    "raises": (ZeroDivisionError("oops"), 500, "internal error"),
    "no such status": (Refused("fine", 200), 500, "internal error"),
}


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", REFUSALS)
@scenario()
async def test_a_refusal_tells_the_client_why(host: Host, way: str, awaits: bool) -> None:
    what, status, message = REFUSALS[way]

    def decide(request: Any) -> object:
        if isinstance(what, Exception):
            raise what
        return False

    async def decide_later(request: Any) -> object:
        await host.pause(0.01)
        return decide(request)

    async with host.serve(echo, authorize=decide_later if awaits else decide) as server:
        with pytest.raises(ConnectError, match=f"{status}") as caught:
            async with host.connect(server.url, strategy=False):
                raise AssertionError("it was let in")
        error = caught.value
        assert error.status == status
        headers = {name.lower(): value for name, value in error.headers}
        assert headers["content-type"] == "application/json"
        assert json.loads(error.body) == {"error": message}
        assert headers.get("www-authenticate") == ('Basic realm="x"' if way == "challenge" else None)
        assert isinstance(error.__cause__, ConnectError)
        assert not server.sparks


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("answer", [None, True, 0, ""])
@scenario()
async def test_a_hook_that_does_not_say_no_lets_in(host: Host, answer: object, awaits: bool) -> None:
    asked = []

    def decide(request: Any) -> object:
        asked.append((request.query["token"], request.path, request.peer.ip))
        return answer

    async def decide_later(request: Any) -> object:
        await host.pause(0.01)
        return decide(request)

    async with host.serve(echo, authorize=decide_later if awaits else decide) as server:
        async with host.connect(f"{server.url}?token=x") as primus:
            primus.write(1)
            assert await take(primus, 1) == [1]
    assert asked == [("x", "/primus", "127.0.0.1")]


@scenario()
async def test_a_refusal_is_final_where_trying_again_would_be_pointless(host: Host) -> None:
    asked = []
    async with host.serve(echo, authorize=lambda request: asked.append(1) is not None) as server:
        with pytest.raises(ConnectError, match="401"):
            async with host.connect(server.url, min=0.01):
                pass
    assert len(asked) == 1


@scenario()
async def test_a_server_that_is_not_well_is_tried_again(host: Host) -> None:
    asked: list[int] = []

    def decide(request: Any) -> None:
        asked.append(1)
        if len(asked) < 3:
            raise Refused("not yet", 503)

    async with host.serve(echo, authorize=decide) as server, host.connect(server.url, min=0.01) as primus:
        assert primus.state == "open"
    assert len(asked) == 3


@scenario()
async def test_a_hook_that_takes_too_long_is_answered_for(host: Host) -> None:
    ended = []

    async def decide(request: Any) -> None:
        await host.pause(0.4)
        ended.append(1)

    async with host.serve(echo, authorize=decide, limits=Limits(authorization=0.1)) as server:
        with pytest.raises(ConnectError) as caught:
            async with host.connect(server.url, strategy=False):
                pass
        assert caught.value.status == 503
        await host.until(lambda: ended)
        assert not server.sparks


@scenario()
async def test_a_client_that_does_not_wait_for_the_decision(host: Host) -> None:
    asked, ended = [], []

    async def decide(request: Any) -> None:
        asked.append(1)
        await host.until(lambda: len(asked) == 2)
        ended.append(1)

    connections: list[object] = []
    async with host.serve(echo, authorize=decide) as server:
        server.on("connection", connections.append)
        with pytest.raises(ConnectError, match="no answer in time"):
            async with host.connect(server.url, strategy=False, timeout=0.1):
                pass
        async with host.connect(server.url) as primus:
            primus.write(1)
            assert await take(primus, 1) == [1]
        await host.until(lambda: len(ended) == 2)
    assert len(connections) == 1


@scenario()
async def test_a_server_that_closes_does_not_wait_for_a_hook_that_hangs(host: Host) -> None:
    asked = []

    async def decide(request: Any) -> None:
        asked.append(1)
        await host.pause(60)

    async with host.serve(echo, authorize=decide, limits=Limits(close=0.2)) as server:
        async with host.connect(server.url, wait=False, strategy=False) as primus:
            await host.until(lambda: asked)
            await server.close()
            await primus.wait_ended()
            assert primus.close_reason is not None
            assert primus.close_reason.kind == "refused"
            assert isinstance(primus.close_reason.error, ConnectError)
            assert primus.close_reason.error.status == 503


# --- servers that are none ---


@scenario()
async def test_nobody_listens(host: Host) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(ConnectError, match="cannot connect to 127.0.0.1:") as caught:
        async with host.connect(url, strategy=False):
            pass
    assert caught.value.status is None
    with pytest.raises(ConnectError, match="cannot connect to 127.0.0.1:"):
        await host.fetch_spec(url)
    with pytest.raises(ConnectError, match="gave up reconnecting: cannot connect"):
        async with host.connect(url, min=0.01, retries=2):
            pass


@scenario()
async def test_a_name_that_does_not_exist(host: Host) -> None:
    for name in ("nowhere.invalid", "x" * 70 + ".invalid"):
        with pytest.raises(ConnectError, match=f"cannot connect to {name}:80"):
            async with host.connect(f"http://{name}", strategy=False):
                pass


def web(peer: socket.socket) -> None:
    """A web server that answers everything with its home page."""
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nhello!")


STRANGERS = {
    "silent": (silent, "no answer in time", None),
    "web server": (web, "the server answered 200 OK instead of a ", 200),
    "garbage": (lambda peer: (peer.sendall(b"\x00\xff" * 500), silent(peer)), "does not speak HTTP", None),
    "mail server": (
        lambda peer: (peer.sendall(b"220 mail.example ESMTP\r\n"), silent(peer)),
        "no answer in time",
        None,
    ),
    "leaves": (lambda peer: peer.recv(10), "closed without an answer|reset by peer", None),
    "endless": (lambda peer: [peer.sendall(b"HTTP/1.1 200 " + b"x" * 9999) for _ in range(9)], "speak HTTP", None),
    "tls alert": (
        lambda peer: (peer.sendall(b"\x15\x03\x01\x00\x02\x02\x0a"), silent(peer)),
        "speaks TLS here: use https",
        None,
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
@scenario()
async def test_something_else_answers(host: Host, kind: str) -> None:
    talk, message, status = STRANGERS[kind]
    with raw_server(talk) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(ConnectError, match=message) as caught:
            async with host.connect(url, strategy=False, timeout=0.3):
                pass
        assert caught.value.status == status
        if status is not None:
            assert caught.value.body == b"hello!"
        with pytest.raises(ConnectError):
            await host.fetch_spec(url, timeout=0.3)


@scenario()
async def test_the_spec(host: Host, tls: Certificates) -> None:
    async with host.serve(echo, pathname="/elsewhere") as server:
        spec = await host.fetch_spec(server.url, pathname="/elsewhere")
        assert spec["pathname"] == "/elsewhere"
        assert (spec["parser"], spec["transformer"]) == ("json", "websockets")
        with pytest.raises(ConnectError, match="404") as caught:
            await host.fetch_spec(server.url)
        assert caught.value.status == 404
        with pytest.raises(ConnectError, match="404.*no Primus under this pathname"):
            async with host.connect(server.url):
                pass
    async with host.serve(echo, ssl=tls.server) as server:
        url = f"https://localhost:{server.port}"
        assert (await host.fetch_spec(url, ssl=tls.client))["pathname"] == "/primus"


@scenario()
async def test_tls_on_one_end_only(host: Host, tls: Certificates) -> None:
    async with host.serve(echo) as server:
        with pytest.raises(ConnectError, match="no TLS with localhost:.*does the server speak plain http"):
            async with host.connect(f"https://localhost:{server.port}", ssl=tls.client, strategy=False):
                pass
        with pytest.raises(ConnectError, match="no TLS"):
            await host.fetch_spec(f"https://localhost:{server.port}", ssl=tls.client)
    async with host.serve(echo, ssl=tls.server) as server:
        with pytest.raises(ConnectError) as caught:
            async with host.connect(f"http://localhost:{server.port}", strategy=False):
                pass
        assert "https" in str(caught.value) or "without an answer" in str(caught.value)


@scenario()
async def test_a_certificate_that_is_not_trusted(host: Host, tls: Certificates) -> None:
    async with host.serve(echo, ssl=tls.server) as server:
        with pytest.raises(ConnectError, match="(?i)certificate.verify.failed") as caught:
            async with host.connect(f"https://localhost:{server.port}", ssl=tls.stranger, strategy=False):
                pass
        assert str(caught.value).endswith("give ssl= a context that trusts it")
        async with host.connect(f"https://localhost:{server.port}", ssl=tls.client) as primus:
            assert primus.state == "open"


# --- listening ---


@scenario()
async def test_a_port_that_is_taken(host: Host) -> None:
    async with host.serve(echo) as server:
        with pytest.raises(OSError, match=r"(?i)in use"):
            async with host.serve(echo, "127.0.0.1", server.port):
                pass
        async with host.connect(server.url) as primus:
            assert primus.state == "open"


@scenario()
async def test_ipv6(host: Host, tls: Certificates) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    async with host.serve(echo, "::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        async with host.connect(server.url) as primus:
            [spark] = server.sparks.values()
            assert spark.address.ip == "::1"
            primus.write(6)
            assert await take(primus, 1) == [6]
    async with host.serve(echo, "localhost") as server, host.connect(server.url) as primus:
        assert primus.state == "open"


@scenario()
async def test_mistakes_are_named_at_once(host: Host) -> None:
    async def handler(spark: object) -> None: ...

    for call, words in (
        (lambda: host.connect("localhost:8080"), "url must start with http://"),
        (lambda: host.connect("http://localhost:99999"), "is not a URL"),
        (lambda: host.connect("http://localhost", ping=-1), "ping must be a number above 0"),
        (lambda: host.connect("http://localhost", parser="yaml"), "unknown parser 'yaml'"),
        (lambda: host.connect("http://localhost", transformer="pigeon"), "unknown transformer 'pigeon'"),
        (lambda: host.connect("http://localhost", strategy="never"), "unknown strategy"),
        (lambda: host.serve(lambda spark: None), "the handler must be an async function"),
        (lambda: host.serve(42), "the handler must be an async function"),
        (lambda: host.serve(handler, authorization=True), "authorization= says for which"),
        (lambda: host.serve(handler, pathname="?"), "pathname must be"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()
    with pytest.raises(ConfigError, match="url must"):
        await host.fetch_spec("nothing")
    with contextlib.suppress(TypeError):
        host.connect("http://localhost", no_such_option=1)
        raise AssertionError("an option that does not exist was taken")
