"""Ways to a server: names, proxies, sockets and certificates."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from primus_proto import ConfigError, ConnectError
from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import RawPeer, raw_server, unused_port
from tests.conformance.proxies import PROXIES, Asked
from tests.conformance.users import Diary, Gate, echo, take

HERE = "127.0.0.1"


async def can_talk(primus: Any) -> None:
    primus.write(1)
    assert await take(primus, 1) == [1]


@pytest.mark.parametrize(("trusted", "ip"), [(["unix"], "203.0.113.7"), (["0.0.0.0/0", "::/0"], "")])
@scenario(needs=["unix", "accepting"])
async def test_a_proxy_on_a_unix_socket_is_trusted_by_name(host: Host, tmp_path: Path, trusted: Any, ip: str) -> None:
    path = tmp_path / "primus.sock"
    seen: list[Any] = []
    async with host.serve(None, unix=path, trusted_proxies=trusted) as server:
        server.on("connection", lambda spark: seen.append(spark.address.ip))
        async with host.connect("http://localhost", unix=path, headers={"X-Forwarded-For": "203.0.113.7:50123"}):
            await host.until(lambda: seen)
    assert seen == [ip]


@scenario(needs=["clients", "sockets", "accepting"])
async def test_a_name_is_reached_by_the_address_that_answers(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second, socket.socket() as third:
        hole.bind(("127.0.0.2", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        for filling in (first, second, third):  # a listener whose queue is full swallows what comes
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.2", port))
        real = socket.getaddrinfo

        def resolve(name: Any, *args: Any, **options: Any) -> Any:
            if name in ("dual.test", b"dual.test"):
                return [info for each in ("127.0.0.2", HERE) for info in real(each, *args, **options)]
            return real(name, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        async with (
            host.serve(echo, HERE, port),
            host.connect(f"http://dual.test:{port}", timeout=5, strategy=False) as primus,
        ):
            await can_talk(primus)


@scenario(needs=["clients", "tls"])
async def test_a_context_that_cannot_be_made_is_told_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/nonexistent/keys.log")
    began = host.time()
    with raw_server(lambda peer: None) as port, pytest.raises(ConnectError, match="No such file") as caught:
        async with host.connect(f"https://{HERE}:{port}", strategy=False):
            pass
    assert host.time() - began < 5
    cause = caught.value.__cause__
    assert isinstance(cause, ConnectError)
    assert isinstance(cause.__cause__, FileNotFoundError)


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@scenario(needs=["clients", "tls", "sockets"])
async def test_through_a_proxy(host: Host, kind: str, secure: bool, tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Asked = []
    with raw_server(PROXIES[kind](asked)) as port:
        url = f"{kind}://me:secret@{HERE}:{port}"
        options = {"ssl": tls.client, "server_hostname": "localhost"} if secure else {}
        async with host.serve(echo, HERE, ssl=tls.server if secure else None) as server:
            there = f"{server.url.partition(':')[0]}://far.test:{server.port}"
            async with host.connect(there, proxy=url, **options, dialect="happn") as primus:
                await can_talk(primus)
            assert asked == [("far.test", server.port, "me")]
            monkeypatch.setenv("https_proxy" if secure and kind == "http" else "socks_proxy", url)
            monkeypatch.setenv("no_proxy", "near.test")
            if secure or kind == "socks5":
                spec = await host.fetch_spec(there, proxy=True, **options)  # type: ignore[call-arg]
                assert spec["pathname"] == "/primus"
                assert len(asked) == 2


@pytest.mark.parametrize("kind", PROXIES)
@scenario(needs=["clients", "sockets"])
async def test_a_proxy_that_refuses_is_named_without_its_password(host: Host, kind: str) -> None:
    with raw_server(PROXIES[kind]([])) as port:
        with pytest.raises(ConnectError, match=r"cannot connect to far\.test:80 through the proxy") as caught:
            async with host.connect("http://far.test", proxy=f"{kind}://me:s3cret@{HERE}:{port}", strategy=False):
                pass
        assert "s3cret" not in str(caught.value)
    with pytest.raises(ConnectError, match="no connection to the proxy: Connection refused"):
        async with host.connect("http://far.test", proxy=f"{kind}://{HERE}:{unused_port()}", strategy=False):
            pass


@scenario(needs=["clients"])
async def test_wrong_ways_are_named_at_once(host: Host) -> None:
    with socket.socket() as sock:
        for options, words in (
            ({"proxy": "ftp://h"}, "its scheme is one of http"),
            ({"proxy": "http://me:s3cret@h:port"}, "no valid host and port"),
            ({"proxy": False}, "proxy must be True, None or a URL"),
            ({"sock": 5}, "sock must be a connected socket"),
            ({"sock": sock, "strategy": "online"}, "leave out strategy="),
            ({"sock": sock, "unix": "/path"}, "unix and sock exclude each other"),
            ({"unix": "/path", "local_addr": ("::1", 0)}, "local_addr has no meaning with unix"),
            ({"local_addr": "127.0.0.1"}, "a pair of address and port"),
            ({"server_hostname": ""}, "server_hostname must be the name"),
        ):
            with pytest.raises(ConfigError, match=words) as caught:
                host.connect("http://localhost", **options)
            assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("port", [0, None], ids=["any port", "one port"])
@scenario(needs=["clients", "sockets"])
async def test_a_client_connects_from_the_address_it_was_told(host: Host, port: int | None) -> None:
    local = ("127.0.0.3", unused_port() if port is None else port)
    seen: list[Any] = []
    async with host.serve(echo) as server:
        server.on("connection", lambda spark: seen.append(spark.address))
        async with host.connect(server.url, local_addr=local, dialect="happn") as primus:
            await can_talk(primus)
    assert seen[0].ip == local[0]
    assert local[1] in (0, seen[0].port)


@scenario(needs=["clients", "sockets"])
async def test_a_connected_socket_is_good_for_one_connection(host: Host) -> None:
    async def once(spark: Any) -> None:
        async for value in spark:
            spark.write(value)
            spark.end(reconnect=True)

    async with host.serve(once) as server:
        sock = await host.thread(socket.create_connection, (HERE, server.port))
        async with host.connect("http://anything.test", sock=sock) as primus:
            await can_talk(primus)
            await primus.wait_ended()
        with pytest.raises(ConnectError, match="sock= is good for one connection"):
            async with host.connect("http://anything.test", sock=sock):
                pass


def contexts(version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext, Any]:
    """Contexts of a server that wants certificates, and of a client that has none yet."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert(HERE).configure_cert(server)
    authority.configure_trust(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.maximum_version = version
    return server, client, authority


@scenario(needs=["clients", "tls"])
async def test_the_server_sees_the_certificate_of_its_client(host: Host) -> None:
    server_tls, client_tls, authority = contexts(ssl.TLSVersion.TLSv1_3)
    certificate = authority.issue_cert("anna@example.org")
    certificate.configure_cert(client_tls)
    seen: list[Any] = []

    def authorize(request: Any) -> None:
        seen.append(request.peer_certificate)

    async with (
        host.serve(echo, HERE, ssl=server_tls, authorize=authorize) as server,
        host.connect(server.url, ssl=client_tls, dialect="happn") as primus,
    ):
        await can_talk(primus)
    assert ("email", "anna@example.org") in seen[0].fields["subjectAltName"]
    assert seen[0].der == ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@scenario(needs=["clients", "tls"])
async def test_a_client_without_a_certificate_is_told_so(host: Host, version: ssl.TLSVersion) -> None:
    server_tls, client_tls, _ = contexts(version)

    def demand(peer: socket.socket) -> None:
        with server_tls.wrap_socket(peer, server_side=True) as stream:
            stream.recv(1)

    with raw_server(demand) as port, pytest.raises(ConnectError, match=r"wants? a certificate of this client"):
        async with host.connect(f"https://{HERE}:{port}", ssl=client_tls, strategy=False):
            pass


# --- what each attempt begins with ---


async def report(spark: Any) -> None:
    """A handler that says who connected, and cuts the connection once it was told to."""
    await spark.send([spark.query.get("token"), spark.headers.get("x-token")])
    async for value in spark:
        spark.write(value)
        if value == "cut":
            spark.end(reconnect=True)


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
@scenario(needs=["clients"])
async def test_each_attempt_begins_with_fresh_values(host: Host, waits: bool) -> None:
    asked: list[str] = []

    def source(name: str, make: Any) -> Any:
        def function() -> Any:
            asked.append(name)
            return make(asked.count(name))

        async def later() -> Any:
            await host.pause(0.01)
            return function()

        return later if waits and host.handler_is == "an async function" else function

    async with host.serve(report) as server:
        sources = {
            "query": source("query", lambda count: {"token": f"q{count}"}),
            "headers": source("headers", lambda count: [("X-Token", f"h{count}")]),
            "first_message": source("first_message", lambda count: f"hello {count}"),
        }
        url = source("url", lambda count: server.url)
        async with host.connect(url, min=0.01, wait=False, **sources) as primus:
            primus.write("kept")
            await primus.wait_open()
            assert await take(primus, 3) == [["q1", "h1"], "hello 1", "kept"]
            primus.write("cut")
            assert await take(primus, 3) == ["cut", ["q2", "h2"], "hello 2"]
            assert server.url.partition("://")[2] in repr(primus)
        spec = await host.fetch_spec(url, query=sources["query"])
        assert spec["pathname"] == "/primus"
    assert asked.count("url") == 3


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("url", ZeroDivisionError("oops"), "the function for url failed: ZeroDivisionError: oops"),
        ("url", "nonsense", "the function for url failed: ConfigError: url must start with"),
        ("headers", {"Host": "x"}, "the function for headers failed: ConfigError: header Host"),
        ("query", 5, "query must be a mapping"),
        ("first_message", "primus::ping::1", "the function for first_message failed: EncodeError"),
    ],
)
@scenario(needs=["clients"])
async def test_a_function_that_fails_fails_the_attempt(
    host: Host, caplog: pytest.LogCaptureFixture, option: str, value: Any, words: str
) -> None:
    def function() -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    async with host.serve(echo) as server:
        options: dict[str, Any] = {"url": server.url, option: function}
        with pytest.raises(ConnectError, match=words):
            async with host.connect(**options, min=0.01, retries=1):
                pass
        caplog.clear()
        with pytest.raises(ConnectError, match=words):
            async with host.connect(**options, strategy=False):
                pass
    assert "has ended" not in caplog.text, "it was raised"


@scenario(needs=["clients"])
async def test_a_function_has_as_much_time_as_the_attempt(host: Host) -> None:
    gate = Gate(host)

    async def hang() -> Any:
        await gate.wait()

    if host.handler_is != "an async function":
        with pytest.raises(ConfigError, match="headers= must be a plain function"):
            host.connect("http://localhost", headers=hang)
        return
    with pytest.raises(ConnectError, match="no answer in time from the functions"):
        async with host.connect("http://localhost", headers=hang, timeout=0.05, strategy=False):
            pass


@scenario(needs=["clients"])
async def test_waiting_for_the_connection_ends_with_the_client(host: Host) -> None:
    async with host.connect(f"http://{HERE}:{unused_port()}", wait=False, strategy=False) as primus:
        with pytest.raises(ConnectError, match="could not connect: cannot connect to"):
            await primus.wait_open()


@scenario(needs=["sockets"])
async def test_the_server_says_that_a_proxy_took_the_upgrade(host: Host) -> None:
    async with host.serve(echo) as server:
        diary = Diary(host, server, "log")

        def ask() -> bytes:
            with RawPeer(server.port).connect() as peer:
                peer.send(b"GET /primus?_primuscb=1&ping=false HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return peer.head()

        for _ in range(2):
            assert b" 426 " in await host.thread(ask)
        level, text = await diary.wait("log")
        assert (level, len(diary.all("log"))) == ("warning", 1)
        assert "without 'Upgrade': a proxy on the way may have removed it" in text
