"""Connecting: to a server of ours, to one that refuses, and to servers that are not Primus."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from primus_proto import ConfigError, ConnectError, LocalProtocolError
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import SOON, Host, scenario
from tests.conformance.peers import raw_server, silent, unused_port
from tests.conformance.users import Diary, echo, take, why


@scenario()
async def test_a_client_connects_and_both_ends_know_each_other(host: Host) -> None:
    async with host.serve(echo) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        async with host.connect(f"{server.url}/?token=a%20b", headers={"X-From": "here"}) as primus:
            assert (primus.state, why(primus)) == ("open", None)
            [spark] = server.sparks.values()
            assert spark.query["token"] == "a b"
            assert spark.headers["x-from"] == "here"
            assert spark.address.ip == "127.0.0.1"
            assert spark.address.port > 0
            assert (spark.state, server.spark(spark.id)) == ("open", spark)
            assert primus.write({"hello": "world"})
            assert await take(primus, 1) == [{"hello": "world"}]
        assert primus.state == "closed"
        assert why(primus) == "local"
        await host.until(lambda: not server.sparks)
        assert spark.state == "closed"
        assert why(spark) == "client"
        assert not primus.write("too late")
        assert not spark.write("too late")


@scenario(needs=["clients"])
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
        await diary.says(["open", "end"] * 2)
        primus.open()
        primus.write("at once")
        assert await take(primus, 1) == ["at once"]


@scenario(needs=["clients"])
async def test_what_is_written_before_the_connection_is_there_waits_for_it(host: Host) -> None:
    port = unused_port()
    async with host.connect(f"http://127.0.0.1:{port}", wait=False, min=0.05, retries=20, factor=1) as primus:
        assert primus.state == "opening" or "one thread" in host.lacks  # there, the first attempt may have failed
        assert all(primus.write(number) for number in range(100))
        async with host.serve(echo, "127.0.0.1", port):
            assert await take(primus, 100) == list(range(100))


@scenario(needs=["clients"])
async def test_a_client_that_was_left_cannot_be_opened(host: Host) -> None:
    async with host.serve(echo) as server:
        started = host.time()
        async with host.connect(server.url, min=0.01) as primus:
            primus.on("end", primus.open)
        assert host.time() - started < SOON
        await host.until(lambda: not server.sparks)
        await host.pause(0.05)
        assert not server.sparks
        for call in (primus.open, primus.network_online):
            with pytest.raises(LocalProtocolError, match="has been left"):
                call()


# --- servers that are not Primus ---


@scenario(needs=["clients"])
async def test_a_block_is_entered_once_at_a_time(host: Host) -> None:
    async with host.serve(echo) as server:
        block = host.connect(server.url)
        for _ in range(2):
            async with block as primus:
                with pytest.raises(LocalProtocolError, match="entered and not left"):
                    await block.__aenter__()
                primus.write("alone")
                assert await take(primus, 1) == ["alone"]
        await host.until(lambda: not server.sparks)


@scenario(needs=["clients"])
async def test_nobody_listens(host: Host) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(ConnectError, match=r"cannot connect to 127\.0\.0\.1:") as caught:
        async with host.connect(url, strategy=False):
            pass
    assert caught.value.status is None
    with pytest.raises(ConnectError, match=r"cannot connect to nowhere\.invalid:80"):
        await host.fetch_spec("http://nowhere.invalid")
    with pytest.raises(ConnectError, match="gave up reconnecting: cannot connect"):
        async with host.connect(url, min=0.01, retries=2):
            pass


def web(peer: socket.socket) -> None:
    """A web server that answers everything with its home page."""
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nhello!")


def hasty(peer: socket.socket) -> None:
    """Something that talks before it is asked, so that the attempt may be over before the loop knows that it began."""
    peer.sendall(b"\x00" * 1000)
    silent(peer)


STRANGERS: dict[str, tuple[Callable[[socket.socket], object], str, int | None]] = {
    "silent": (silent, "no answer in time", None),
    "hasty": (hasty, "speak", None),
    "web server": (web, "the server answered 200 OK instead of a ", 200),
    "leaves": (lambda peer: peer.recv(10), "closed the connection without an answer|reset by peer", None),
}


@pytest.mark.parametrize("kind", STRANGERS)
@scenario(needs=["clients", "sockets"])
async def test_a_server_that_is_not_primus(host: Host, kind: str) -> None:
    talk, message, status = STRANGERS[kind]
    with raw_server(talk) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(ConnectError, match=message) as caught:
            async with host.connect(url, strategy=False, timeout=0.1):
                pass
        assert caught.value.status == status
        if status is not None:
            assert caught.value.body == b"hello!"
        with pytest.raises(ConnectError):
            await host.fetch_spec(url, timeout=0.1)


@scenario()
async def test_the_spec(host: Host) -> None:
    async with host.serve(echo, pathname="/elsewhere") as server:
        spec = await host.fetch_spec(server.url, pathname="/elsewhere")
        assert spec["pathname"] == "/elsewhere"
        assert (spec["parser"], spec["transformer"]) == ("json", "websockets")
        with pytest.raises(ConnectError, match="404") as caught:
            await host.fetch_spec(server.url)
        assert caught.value.status == 404
        with pytest.raises(ConnectError, match=r"404.*no Primus under this pathname"):
            async with host.connect(server.url):
                pass


@scenario(needs=["clients", "tls"])
async def test_tls_on_one_end_only(host: Host, tls: Certificates) -> None:
    async with host.serve(echo) as server:
        with pytest.raises(ConnectError, match=r"no TLS with localhost:.*does the server speak plain http"):
            async with host.connect(f"https://localhost:{server.port}", ssl=tls.client, strategy=False):
                pass
        with pytest.raises(ConnectError, match="no TLS"):
            await host.fetch_spec(f"https://localhost:{server.port}", ssl=tls.client)
    async with host.serve(echo, ssl=tls.server) as server:
        with pytest.raises(ConnectError) as caught:
            async with host.connect(f"http://localhost:{server.port}", strategy=False):
                pass
        assert "https" in str(caught.value) or "without an answer" in str(caught.value)


@scenario(needs=["clients", "tls"])
async def test_a_certificate_that_is_not_trusted(host: Host, tls: Certificates) -> None:
    async with host.serve(echo, ssl=tls.server) as server:
        with pytest.raises(ConnectError, match=r"(?i)certificate.verify.failed") as caught:
            async with host.connect(f"https://localhost:{server.port}", ssl=tls.stranger, strategy=False):
                pass
        assert str(caught.value).endswith("give ssl= a context that trusts it")
        url = f"https://localhost:{server.port}"
        async with host.connect(url, ssl=tls.client) as primus:
            assert primus.state == "open"
        assert (await host.fetch_spec(url, ssl=tls.client))["pathname"] == "/primus"


# --- listening ---


@scenario(needs=("sockets", "handshake limits"))
async def test_an_address_that_cannot_be_bound_is_named(host: Host) -> None:
    """In the same words everywhere; by class and number it is still the system's failure."""
    async with host.serve(echo) as server:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}: Address already in use") as taken:
            async with host.serve(echo, "127.0.0.1", server.port):
                pass
    assert taken.value.errno == errno.EADDRINUSE
    with pytest.raises(socket.gaierror, match=r"cannot listen on no\.such\.invalid:0: "):
        async with host.serve(echo, "no.such.invalid"):
            pass


@scenario(needs=("sockets", "unix", "handshake limits"))
async def test_a_unix_path_that_cannot_be_bound_is_named(host: Host, tmp_path: Path) -> None:
    nowhere, long = str(tmp_path / "none" / "primus"), str(tmp_path / ("x" * 200))
    with pytest.raises(FileNotFoundError, match=f"cannot listen on {re.escape(nowhere)}: No such file"):
        async with host.serve(echo, unix=nowhere):
            pass
    with pytest.raises(OSError, match=f"cannot listen on {re.escape(long)}: .*too long"):
        async with host.serve(echo, unix=long):
            pass


@scenario(needs=["ipv6"])
async def test_ipv6(host: Host) -> None:
    async with host.serve(echo, "::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        async with host.connect(server.url) as primus:
            [spark] = server.sparks.values()
            assert spark.address.ip == "::1"
            primus.write(6)
            assert await take(primus, 1) == [6]
    async with host.serve(echo, "localhost") as server, host.connect(server.url) as primus:
        assert primus.state == "open"


@scenario(needs=("unix", "tls"))
async def test_unix_sockets(host: Host, tls: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "primus"
    for ssl, trust in ((None, None), (tls.server, tls.client)):
        async with host.serve(echo, unix=path, ssl=ssl) as server:
            assert (server.url, server.port) == ("https://localhost" if ssl else "http://localhost", 0)
            async with host.connect(server.url, unix=path, ssl=trust) as primus:
                [spark] = server.sparks.values()
                assert spark.address == ("", 0)
                primus.write("unix")
                assert await take(primus, 1) == ["unix"]
            assert (await host.fetch_spec(server.url, unix=path, ssl=trust))["parser"] == "json"
            with pytest.raises(OSError, match=r"(?i)in use"):
                async with host.serve(echo, unix=path):
                    pass
            async with host.connect(server.url, unix=path, ssl=trust):
                pass
        assert not os.path.exists(path), "a server takes its file with it"
    with pytest.raises(ConnectError, match=re.escape(f"cannot connect to {path}: ")):
        async with host.connect("http://localhost", unix=path, retries=0):
            pass


@scenario(needs=("unix",))
async def test_a_file_where_the_unix_socket_should_be(host: Host, tmp_path: Path) -> None:
    """That of a server that died is replaced; anything else is somebody's."""
    path = tmp_path / "primus"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with host.serve(echo, unix=str(path)) as server, host.connect(server.url, unix=str(path)) as primus:
        assert primus.state == "open"
    path.write_text("precious")
    with pytest.raises(OSError, match=r"(?i)in use"):
        async with host.serve(echo, unix=str(path)):
            pass
    assert path.read_text() == "precious"


@scenario()
async def test_mistakes_are_named_at_once(host: Host) -> None:
    async def handler(spark: object) -> None: ...

    for call, words in (
        (lambda: host.connect("localhost:8080"), "url must start with http://"),
        (lambda: host.connect("http://localhost", ping=-1), "ping must be a number above 0"),
        (lambda: host.connect("http://localhost", unix=""), "unix is empty"),
        (lambda: host.connect("http://localhost", queueSize=1), "no option 'queueSize'; did you mean queue_size"),
        (lambda: host.serve(None, loudness=3), "there is no option 'loudness'$"),
        (lambda: host.serve(42), f"the handler must be {host.handler_is}"),
        (lambda: host.serve(handler, authorize=42), "authorize must be a function taking a Request; got 42"),
        (lambda: host.serve(handler, authorization=True), "authorization= says for which"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()
    with pytest.raises(ConfigError, match="url must"):
        await host.fetch_spec("nothing")


@scenario(needs=["clients", "tls"])
async def test_a_client_refuses_the_tls_context_of_a_server(host: Host, tls: Certificates) -> None:
    for wrong, words in ((True, "must be an ssl.SSLContext"), (tls.server, "for the other end")):
        with pytest.raises(ConfigError, match=words):
            host.connect("https://localhost", ssl=wrong)
        with pytest.raises(ConfigError, match=words):
            await host.fetch_spec("https://localhost", ssl=wrong)


@scenario(needs=("tls", "handshake limits"))
async def test_where_and_how_to_listen_is_checked_at_once(host: Host, tls: Certificates) -> None:
    for args, options, words in (
        (("127.0.0.1", "8080"), {}, "port must be a whole number from 0 to 65535; got '8080'"),
        (("127.0.0.1", 65536), {}, "port must be a whole number from 0 to 65535"),
        ((b"localhost",), {}, "host must be a string, .*; got b'localhost'"),
        ((), {"ssl": True}, "must be an ssl.SSLContext"),
        ((), {"ssl": tls.client}, r"CLIENT_AUTH\), with a certificate"),
    ):
        with pytest.raises(ConfigError, match=words):
            host.serve(None, *args, **options)
