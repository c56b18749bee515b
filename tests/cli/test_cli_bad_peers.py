"""No server, or not a Primus server: one clear sentence, no traceback, exit status 1."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.cli.command import run, serving
from tests.conformance.peers import accept_websocket, raw_server, silent, unused_port
from tests.conformance.proxies import PROXIES, Asked

ONCE = ("--strategy", "none")


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n<html></html>"


def saying(data: bytes) -> Callable[[socket.socket], None]:
    """A peer that sends this and then nothing more."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        silent(connection)

    return talk


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with server.pem (chain and key), key.pem and ca.pem, for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder


def one_sentence(*args: str, stdin: str = "") -> str:
    """Run the command, which fails with status 1; returns the one line on stderr."""
    failed = run(*args, stdin=stdin)
    assert failed.process.returncode == 1, failed
    assert len(failed.notes) == 1, failed
    return failed.notes[0].removeprefix(f"primus {args[0]}: ")


def test_no_server() -> None:
    said = one_sentence("spec", f"http://127.0.0.1:{unused_port()}")
    assert said.startswith("cannot connect to 127.0.0.1:")
    assert said.endswith(". Is the server running, and are host and port right?")
    said = one_sentence("connect", "http://nothing.invalid", *ONCE)
    assert said.startswith("cannot connect to nothing.invalid:80: ")


@pytest.mark.parametrize(("command", "scheme"), [("connect", "http"), ("connect", "https"), ("spec", "http")])
def test_a_server_that_stays_silent(command: str, scheme: str) -> None:
    once = ONCE if command == "connect" else ()
    with raw_server(silent) as port:
        said = one_sentence(command, f"{scheme}://127.0.0.1:{port}", "--timeout", "0.2", *once)
    assert said == "no answer in time. Something accepts connections there. Is it a Primus server?"


@pytest.mark.parametrize("command", ["connect", "spec"])
def test_a_plain_web_server(command: str) -> None:
    """A first connect answered with 404 is final, whatever the strategy."""
    with raw_server(saying(NOT_FOUND)) as port:
        refused = run(command, f"http://127.0.0.1:{port}", "--json")
    assert refused.process.returncode == 1
    assert len(refused.notes) == 1
    assert refused.stderr.startswith(f"primus {command}: the server answered 404")
    assert refused.stderr.endswith("See --pathname.")
    error = refused.wait("error")
    assert error["status"] == 404
    assert error["body"] == "<html></html>"


def test_garbage_during_the_session() -> None:
    def talk(connection: socket.socket) -> None:
        accept_websocket(connection)
        saying(b"\x81\x011" + b"\xff" * 1000)(connection)

    options = ("--linger", "10", *ONCE)
    with raw_server(talk) as port:
        client = run("connect", f"http://127.0.0.1:{port}", "--json", "--limit-close", "0.2", *options, stdin="1")
    assert client.process.returncode == 1
    names = [name for name in client.names if name != "messages dropped"]  # had the line been sent, or not
    assert names == ["rsc(opening)", "rsc(open)", "open", "data", "error", "rsc(end)", "close", "end"]
    assert len(client.notes) == 1
    assert client.stderr.startswith("primus connect: connection lost for good: ")


def test_tls_both_ways(certificate: Path) -> None:
    with serving("--cert", str(certificate / "server.pem")) as (server, url):
        assert url.startswith("https://")
        ca = str(certificate / "ca.pem")
        trusting = run("connect", url, "--json", "--cacert", ca, stdin='"' + "x" * 200_000 + '"')
        assert trusting.process.returncode == 0
        assert server.wait("data")["data"] == "x" * 200_000
        assert run("connect", url, "--insecure").process.returncode == 0
        assert run("spec", url, "--cacert", ca).process.returncode == 0
        said = one_sentence("connect", url, *ONCE)
        assert "certificate" in said
        assert "--cacert FILE" in said


def test_a_certificate_of_the_client(certificate: Path) -> None:
    """The server wants one, and gets it; or the user is told which flags give it."""
    pem = str(certificate / "server.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pem)
    seen = []

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            seen.append(stream.getpeercert())
            accept_websocket(stream)

    with raw_server(talk) as port:
        url = f"https://127.0.0.1:{port}"
        assert "--cert FILE" in one_sentence("connect", url, "--insecure", *ONCE)
        run("connect", url, "--insecure", "--cert", pem, *ONCE)
    assert seen[0]


@pytest.mark.parametrize("kind", PROXIES)
def test_through_a_proxy(kind: str) -> None:
    asked: Asked = []
    with raw_server(PROXIES[kind](asked)) as port, serving() as (_, url):
        there, proxy = url.replace("127.0.0.1", "far.test"), f"{kind}://me:secret@127.0.0.1:{port}"
        client = run("connect", there, "--values", "--proxy", proxy, "--linger", "1", "--dialect", "happn", stdin="1")
        assert client.lines == ["1"]
        assert run("spec", there, "--proxy", proxy).process.returncode == 0
    assert [host for host, _, _ in asked] == ["far.test", "far.test"]
