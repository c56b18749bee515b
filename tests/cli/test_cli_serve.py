"""`primus serve`: what it prints, how it answers, how it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli.command import SIGNALS, Command, port_of, run, serving
from tests.conformance.peers import RawPeer, frame

SESSION = ["connection", "data", "rsc", "disconnection", "end"]


def client_of(url: str, query: str = "ping=false") -> RawPeer:
    """A client that does nothing by itself, not even answer."""
    return RawPeer(port_of(url)).open(f"/primus?{query}")


def test_a_session_from_connection_to_end() -> None:
    with serving() as (server, url):
        client = run("connect", f"{url}/?token=a%20b", "--json", stdin='{"hello": [1, null]}')
        assert client.process.returncode == 0
        end = server.wait("end")
        server.signal(signal.SIGTERM)
        assert server.status() == 0
    assert server.names == ["listening", "initialised", *SESSION, "close"]
    events = {event["event"]: event for event in server.events}
    assert events["listening"] == {"event": "listening", "url": url}
    assert end == {"event": "end", "id": events["connection"]["id"]}
    assert events["connection"]["ip"] == "127.0.0.1"
    query = events["connection"]["query"]
    assert (query["token"], query["ping"], query["pong"]) == ("a b", "25000", "10000")
    assert events["data"] == {"event": "data", "id": end["id"], "data": {"hello": [1, None]}}
    assert events["disconnection"] == {"event": "disconnection", "id": end["id"], "reason": "client", "code": 1000}
    assert server.stderr == ""


def test_echo_and_relay() -> None:
    args = ("connect", "--json")
    with serving() as (_, url), Command(*args, url) as one, Command(*args, url) as other:
        one.wait("open")
        other.wait("open")
        one.write("1", '"two"')
        assert [one.wait("data")["data"] for _ in range(2)] == [1, "two"]
        assert (one.finish(), other.finish()) == (0, 0)
        assert "data" not in other.names
    with serving("--mode", "relay") as (_, url), Command(*args, url) as one, Command(*args, url) as other:
        one.wait("open")
        other.wait("open")
        one.write("1", "2")
        assert [other.wait("data")["data"] for _ in range(2)] == [1, 2]
        other.write("3")
        assert one.wait("data")["data"] == 3
        assert (one.finish(), other.finish()) == (0, 0)
        assert (one.names.count("data"), other.names.count("data")) == (1, 2)


def test_messages_that_cannot_be_echoed_are_reported() -> None:
    with serving() as (server, url), client_of(url) as client:
        client.send(frame(b"{") + frame(b'"primus::nonsense"') + frame(b"\x00\x01\xff", 2) + frame(b"1"))
        assert "not JSON" in server.wait("error")["message"]
        assert server.wait("message ignored")["text"] == "primus::nonsense"
        data = server.wait("data")
        assert data == {"event": "data", "id": data["id"], "base64": "AAH/"}
        assert "binary message" in server.wait("error", id=data["id"])["message"]
        assert server.wait("data") == {"event": "data", "id": data["id"], "data": 1}  # it lives on
        assert client.frame() == (1, b"1")
    assert server.stderr == ""


def test_a_client_that_does_not_read_is_cut() -> None:
    """Above half the limit the sender waits for it for a while; above the limit it is disconnected."""
    options = ("--mode", "relay", "--limit-backlog", "200K", "--limit-stall", "1")
    text = '"' + "x" * 5_000 + '"'
    with serving(*options) as (server, url), client_of(url), client_of(url) as reader, ThreadPoolExecutor(1) as pool:

        def read_all() -> int:
            """It does nothing but read: one that a busy machine lets starve would count as slow, too."""
            count = 0
            while reader.frame() != (1, b'"last"'):
                count += 1
            return count

        read = pool.submit(read_all)
        with Command("connect", url, "--json") as writer:
            writer.write(*[text] * 2_000)  # 10 MB
            cut = server.wait("disconnection", reason="backlog")
            assert "does not read" in cut["message"]
            dropped = server.wait("messages dropped", id=cut["id"])
            assert dropped.keys() == {"event", "id", "count", "reason"}
            assert dropped["count"] >= 20  # of 5 KB each, half of the limit at least
            assert writer.finish('"last"') == 0
        assert read.result() == 2_000


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_tells_the_clients_not_to_come_back(number: int) -> None:
    with serving() as (server, url), Command("connect", url, "--json", "--linger", "inf") as client:
        id = server.wait("connection")["id"]
        server.signal(number)
        assert server.status() == 0
        assert server.names[-4:] == ["rsc", "disconnection", "end", "close"]
        assert server.events[-3] == {"event": "disconnection", "id": id, "reason": "local", "code": 1000}
        assert client.status() == 0
        assert client.wait("close") == {"event": "close", "reason": "server", "code": 1000}
        assert client.names[-3:] == ["rsc(end)", "close", "end"]
        assert (server.stderr, client.stderr) == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("more", [(), ("--reconnect",)])
def test_a_second_signal_does_not_wait_for_clients(more: tuple[str, ...]) -> None:
    with serving("--limit-close", "60", *more) as (server, url), client_of(url):
        server.wait("connection")
        server.signal(signal.SIGINT)
        server.wait("end")
        server.signal(signal.SIGINT)
        assert server.status() == 1
        assert server.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_clients_come_back_after_a_restart() -> None:
    with serving("--reconnect") as (server, url), Command("connect", url, "--json", "--min", "0.05") as client:
        client.wait("open")
        server.signal(signal.SIGTERM)
        assert server.status() == 0
        assert server.names[-4:] == ["rsc", "disconnection", "end", "close"]
        assert client.wait("close")["reason"] == "lost"
        client.wait("reconnect scheduled", attempt=1)
        client.write('"meanwhile"')
        with serving(port=port_of(url)) as (again, _):
            client.wait("reconnected")
            again.wait("data", data="meanwhile")
            assert client.finish() == 0
        assert (server.stderr, client.stderr) == ("", "")


def test_the_reader_of_the_output_leaves() -> None:
    """As `head` does: the server ends and tells its clients."""
    ours, theirs = os.pipe()
    with Command("serve", "--json", "--port", "0", stdout=theirs) as server, open(ours, "rb") as output:
        os.close(theirs)
        url = json.loads(output.readline())["url"]
        with Command("connect", url, "--json", "--linger", "inf") as client:
            client.wait("open")
            output.close()
            client.finish("1")
            client.wait("close", reason="server")
            assert client.status() == 0
        assert server.status() == 0
        assert server.stderr == ""


def test_a_port_in_use() -> None:
    with serving() as (_, url):
        port = port_of(url)
        failed = run("serve", "--json", "--port", str(port))
    assert failed.process.returncode == 1
    assert failed.lines == []
    where = f"primus serve: cannot listen on 127.0.0.1:{port}"
    assert failed.stderr == f"{where}: Address already in use; choose another --host or --port"


def test_require_refuses_clients() -> None:
    with serving("--require", "token=s3cret") as (server, url):
        refused = run("connect", f"{url}/?token=wrong", "--json", stdin="1")
        assert run("connect", f"{url}/?token=s3cret", "--json", stdin="1").process.returncode == 0
        server.wait("data", data=1)
        assert server.names.count("connection") == 1
    assert refused.process.returncode == 1
    error = refused.wait("error")
    assert (error["status"], error["body"][:9]) == (401, '{"error":')
    assert "401 Unauthorized" in error["message"]


def test_lines_for_a_person() -> None:
    with Command("serve", "--port", "0") as server:
        url = server.until(lambda: server.lines, "a line")[0].removeprefix("listening on ")
        assert run("connect", url, stdin='"\\u001b[31m\\u009b2J\\u202e"').process.returncode == 0
        server.until(lambda: any(line.startswith("end") for line in server.lines), "end")
        server.signal(signal.SIGTERM)
        assert server.status() == 0
    assert [line.split()[0] for line in server.lines if line[0] != "*"] == [
        *("listening", "connection", "data", "disconnection", "end")
    ]
    assert all(line.isprintable() for line in server.lines)
    assert '"\\u001b[31m\\u009b2J\\u202e"' in server.lines[3]
