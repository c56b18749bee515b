"""`primus connect`: what it prints, what becomes of its input, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from primus_io.asyncio import Spark, serve
from tests.cli.command import PRIMUS, WAIT, Command, environment, run, serving
from tests.conformance.peers import accept_websocket, frame, raw_server, silent, unused_port

if sys.platform != "win32":
    import fcntl
    import termios

OPENED = ["rsc(opening)", "rsc(open)", "open"]
ENDED = ["rsc(end)", "close", "end"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")


@contextmanager
def own_server(handler: Any, **options: Any) -> Iterator[str]:
    """A server in this process, with a handler of the test."""
    started: Future[tuple[str, Callable[[], object]]] = Future()

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with serve(handler, **options) as server:
            started.set_result((server.url, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    url, stop = started.result(WAIT)
    try:
        yield url
    finally:
        stop()
        thread.join()


def test_a_session_from_opening_to_end() -> None:
    with serving() as (_, url):
        client = run("connect", url, "--json", stdin='1\n"ü\\u2028"\n\n  \n{"a": {}}')
        without_input = run("connect", url, "--json")
    assert client.process.returncode == 0
    assert client.names == [*OPENED, "data", "data", "data", *ENDED]
    values = [event["data"] for event in client.events if event["event"] == "data"]
    assert values == [1, "ü\u2028", {"a": {}}]
    assert client.events[-2:] == [{"event": "close", "reason": "local", "code": 1000}, {"event": "end"}]
    assert client.stderr == ""
    assert (without_input.process.returncode, without_input.names) == (0, [*OPENED, *ENDED])


def test_linger_waits_for_answers() -> None:
    async def late(spark: Spark) -> None:
        async for value in spark:
            await asyncio.sleep(0.3)
            spark.write({"late": value})

    with own_server(late) as url:
        with Command("connect", url, "--json", "--linger", "30") as client:
            client.write("1")
            assert client.process.stdin is not None
            client.process.stdin.close()
            client.wait("data", data={"late": 1})
            client.signal(signal.SIGTERM)
            assert client.status() == 0
        assert "data" not in run("connect", url, "--json", stdin="1").names


def test_lines_that_cannot_be_sent_are_reported() -> None:
    lines = ["1", "{", "", "NaN", '"primus::server::close"', "1e999", "nope", "2"]
    with serving() as (server, url):
        client = run("connect", url, "--json", stdin="\n".join(lines))
        server.wait("end")
    assert client.process.returncode == 2
    assert [event["data"] for event in server.events if event["event"] == "data"] == [1, 2]
    said = [note.partition(" was not sent: ") for note in client.notes]
    assert [who for who, _, _ in said] == [f"primus connect: line {n} of the input" for n in (2, 4, 5, 6, 7)]
    assert [why[:8] for _, _, why in said] == ["not JSON", "not JSON", "strings ", "not JSON", "not JSON"]
    assert said[4][2].endswith('strings need quotes: "hello"')


def test_input_is_utf8_from_a_file_with_any_line_ends(tmp_path: Any) -> None:
    (tmp_path / "input").write_bytes(b'\xef\xbb\xbf"\xc3\xa4"\r\n"\xff"\r\n2')
    with serving() as (server, url), open(tmp_path / "input", "rb") as file:
        with Command("connect", url, "--json", stdin=file) as client:
            assert client.status() == 2
        server.wait("end")
        assert [event["data"] for event in server.events if event["event"] == "data"] == ["ä", 2]
    assert client.stderr == "primus connect: line 2 of the input was not sent: " + (
        "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"
    )


def test_everything_arrives_at_a_slow_server() -> None:
    """The client waits until the server has read more than all buffers hold."""
    received: list[int] = []
    line = json.dumps("x" * 50_000)

    async def slow(spark: Spark) -> None:
        await asyncio.sleep(0.7)
        async for value in spark:
            received.append(len(value))

    with own_server(slow) as url:
        client = run(
            "connect", url, "--json", "--limit-queue", "1M", "--limit-close", "0.1", stdin="\n".join([line] * 400)
        )
        assert client.process.returncode == 0
        assert received == [50_000] * 400
    assert client.stderr == ""


def test_no_server() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    client = run("connect", url, "--json", "--retries", "2", "--min", "0.05", stdin="1")
    assert client.process.returncode == 1
    again = ["reconnect", "rsc(opening)", "rsc(end)"]
    assert client.names == [
        *("rsc(opening)", "error", "rsc(end)", "reconnect scheduled", *again, "reconnect scheduled", *again),
        *("reconnect failed", "messages dropped", "end"),
    ]
    assert client.wait("messages dropped") == {
        "event": "messages dropped",
        "count": 1,
        "reason": "the client ended",
        "messages": ["1"],
    }
    assert client.wait("reconnect failed")["error"].startswith(f"cannot connect to {url[7:]}: ")
    hint = "Is the server running, and are host and port right?"
    assert client.notes[0].endswith(f"{hint} Retrying; press Ctrl-C to stop.")
    assert client.notes[-1].startswith("primus connect: gave up after 2 more attempts: cannot connect to ")


def test_manual_connects_with_the_first_line() -> None:
    with serving() as (server, url), Command("connect", url, "--json", "--manual") as client:
        client.write("", "nonsense")
        client.wait_note("line 2")
        assert client.lines == []
        client.write("1")
        server.wait("data", data=1)
        assert client.finish() == 2
    silent = run("connect", f"http://127.0.0.1:{unused_port()}", "--json", "--manual")
    assert (silent.process.returncode, silent.names) == (0, ["end"])


def test_headers_queries_and_paths_reach_the_server() -> None:
    with serving("--pathname", "/deep/er", "--require", "a=b") as (server, url):
        options = ("--pathname", "deep/er/", "--header", "X-One: 1", "--header", "Cookie: a=b; c", "--ping", "off")
        assert run("connect", f"{url}/?a=b", *options, stdin="1").process.returncode == 0
        assert server.wait("connection")["query"]["ping"] == "false"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_connection(number: int) -> None:
    with serving() as (server, url), Command("connect", url, "--json") as client:
        client.wait("open")
        client.signal(number)
        assert client.status() == 0
        assert client.names == [*OPENED, *ENDED]
        server.wait("disconnection", reason="client")
        assert client.stderr == ""


@posix
def test_a_signal_before_the_first_connection_is_a_failure() -> None:
    with Command("connect", f"http://127.0.0.1:{unused_port()}", "--json", "--min", "60") as client:
        client.wait("reconnect scheduled")
        client.signal(signal.SIGINT)
        assert client.status() == 1
        assert client.names[-1] == "end"
        assert client.notes[-1] == "primus connect: ended before the connection was open"
    with raw_server(silent) as port, Command("connect", f"http://127.0.0.1:{port}", "--json") as client:
        client.wait("readyStateChange")
        client.signal(signal.SIGINT)
        assert client.status() == 1
        assert client.names == ["rsc(opening)", *ENDED]


@posix
def test_a_signal_while_messages_are_unsent_is_a_failure() -> None:
    with serving() as (server, url), Command("connect", url, "--json", "--min", "60") as client:
        client.wait("open")
        server.kill()
        client.wait("close", reason="lost")
        scheduled = client.wait("reconnect scheduled")
        assert (scheduled["attempt"], scheduled["retries"], scheduled["delay"]) == (1, 10, 60)
        assert abs(scheduled["start"] - time.time()) < 60
        client.write("1", "2")
        client.write("nonsense")
        client.wait_note("line 3")  # now the others are in the queue
        client.signal(signal.SIGINT)
        assert client.status() == 1
        assert client.wait("messages dropped")["messages"] == ["1", "2"]
        assert client.notes[-1] == "primus connect: messages that were not sent: 2"


def test_values_only() -> None:
    with serving() as (_, url):
        client = run("connect", url, "--values", stdin='{"a": "ü"}\n"text"\nnull')
        assert client.process.returncode == 0
        assert client.lines == ['{"a": "\\u00fc"}', '"text"', "null"]
        assert client.stderr == ""


def test_text_for_a_person() -> None:
    opening = ["* readyStateChange: opening", "* readyStateChange: open", "* open"]
    with serving() as (_, url):
        quiet = run("connect", url, stdin="[1]")
        assert quiet.lines == ["* open", "< [1]", "* close: local (1000)", "* end"]
        assert run("-v", "connect", url, stdin="[1]").lines[:3] == opening
        timed = run("connect", url, "--timestamps", stdin="[1]").lines
        assert [re.sub(r"^\d\d:\d\d:\d\d\.\d{6} ", "", line) for line in timed] == quiet.lines
        assert quiet.lines[0] != timed[0]
        events = run("--timestamps", "--json", "connect", url, stdin="[1]").events
        assert all(abs(event["time"] - time.time()) < 60 for event in events)


@posix
def test_a_connection_outlives_an_output_that_nobody_reads() -> None:
    """As with a pager: heartbeats go on, and nothing is lost."""
    ours, theirs = os.pipe()
    silent, unused = os.pipe()
    os.set_blocking(theirs, False)  # as a parent process may have done
    os.set_blocking(silent, False)
    text = "x" * 1_000
    options = ("--json", "--ping", "0.2", "--pong", "0.2", "--linger", "inf")
    heartbeats = ("--mode", "relay", "--limit-heartbeat-min", "0.1")
    with (
        serving(*heartbeats) as (server, url),
        open(ours, "rb") as output,
        open(unused, "wb"),
        Command("connect", url, *options, stdin=silent, stdout=theirs) as client,
    ):
        os.close(theirs)
        os.close(silent)
        id = server.wait("connection")["id"]
        writer = run("connect", url, stdin="\n".join([json.dumps(text)] * 300))  # a pipe holds 64 KiB
        assert writer.process.returncode == 0
        for _ in range(8):  # of which the client sends one each 0.2 s
            server.wait("heartbeat", id=id)
        assert not [event for event in server.events if event["event"] == "heartbeat-skipped"]
        received: list[str] = []
        while len(received) < 300:
            event = json.loads(output.readline())
            received += [event["data"]] if event["event"] == "data" else []
        assert received == [text] * 300
        client.signal(signal.SIGTERM)
        assert client.status() == 0
        assert client.stderr == ""


@posix
def test_more_signals_end_it_at_once() -> None:
    """Without waiting for a server that does not close, or for an output that nobody reads."""
    ours, theirs = os.pipe()

    def talk(connection: socket.socket) -> None:
        accept_websocket(connection)
        connection.sendall(frame(b'"' + b"x" * 998 + b'"', masked=False) * 300)
        silent(connection)

    options = ("--json", "--limit-close", "60")
    with (
        raw_server(talk) as port,
        open(ours, "rb") as output,
        Command("connect", f"http://127.0.0.1:{port}", *options, stdout=theirs) as client,
    ):
        os.close(theirs)
        deadline = time.monotonic() + WAIT
        while array("i", fcntl.ioctl(output, termios.FIONREAD, bytes(4)))[0] < 30_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while client.process.poll() is None:
            assert time.monotonic() < deadline
            client.signal(signal.SIGINT)
            time.sleep(0.1)
        assert client.status() == 1
        assert client.stderr == ""


@posix
def test_a_full_disk_is_reported() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full, Command("serve", "--port", "0", stdout=full) as server:
        assert server.status() == 1
        assert server.stderr == "primus serve: cannot write to the standard output: No space left on device"


@posix
def test_streams_that_are_closed() -> None:
    with serving() as (server, url):
        for streams in (">&-", "<&- >&- 2>&-"):
            command = " ".join([*PRIMUS, "connect", url, "--ping", "off"])
            done = subprocess.run(
                ["sh", "-c", f"{command} {streams}"], env=environment(), stdin=subprocess.DEVNULL, capture_output=True
            )
            assert (done.returncode, done.stderr) == (0, b"")
            server.wait("disconnection", reason="client")


def test_another_transport() -> None:
    with serving("--transformer", "sockjs", "--transport", "heartbeat=10") as (_, url):
        options = ("--transformer", "sockjs", "--transport", "transports=xhr-polling")
        client = run("connect", url, *options, "--values", stdin='"hello"')
    assert client.lines == ['"hello"']
    assert client.status() == 0
