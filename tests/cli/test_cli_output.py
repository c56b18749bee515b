"""What is printed, in memory: lines for a person that are safe to look at, and JSON that is always one line."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import threading
from typing import Any

import pytest

from primus_io.cli.advice import advice
from primus_io.cli.input import Chunks, lines
from primus_io.cli.output import Output
from primus_io.cli.report import detail, fault, printable, value
from primus_io.cli.runtime import load
from primus_io.cli.signals import stopping
from primus_proto import ConnectError, ConnectionLost
from tests.cli.command import each_io


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Ünïcode ✓ 漢 😀", "plain Ünïcode ✓ 漢 😀"),
        ("\x1b[31mred\x07", "\\u001b[31mred\\u0007"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x7f\x80\x9b", "\\u007f\\u0080\\u009b"),
        ("\u202e\u2066\u200b\ufeff\u2028", "\\u202e\\u2066\\u200b\\ufeff\\u2028"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_could_drive_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    line = detail("data", {"data": text})
    assert line.isprintable()
    assert json.loads(line.removeprefix("< ")) == text  # still the JSON of what came


@pytest.mark.parametrize(
    ("event", "fields", "line"),
    [
        ("open", {}, "* open"),
        ("listening", {"url": "http://localhost:1"}, "listening on http://localhost:1"),
        ("data", {"data": None}, "< null"),
        ("data", value(b"\x00"), "< binary, base 64: AA=="),
        ("data", value(b""), "< binary, base 64: (empty)"),
        ("data", {"id": "0123456789", "data": [1]}, "data              01234567 [1]"),
        ("readyStateChange", {"state": "opening"}, "* readyStateChange: opening"),
        ("readyStateChange", {"id": "0123456789"}, "readyStateChange  01234567"),
        ("flatline", {"id": "0123456789", "count": 3}, "flatline          01234567 3 in a row"),
        ("close", {"reason": "server", "code": 1000}, "* close: server (1000)"),
        ("error", fault(ConnectError("no", status=401, body=b"\x1b")), "* error: no; it said: \\u001b"),
        ("messages dropped", {"count": 2, "reason": "why", "messages": []}, "* messages dropped: 2, because why"),
        (
            "reconnect scheduled",
            {"attempt": 1, "retries": 10, "delay": 0.5, "error": "gone"},
            "* reconnect scheduled: attempt 1 of 10 in 0.5 s (gone)",
        ),
        ("reconnect", {"attempt": 12, "retries": None, "delay": 0.5}, "* reconnect: attempt 12"),
        ("message ignored", {"text": "primus::\n"}, "* message ignored: primus::\\n"),
        ("log", {"level": "warning", "message": "x"}, "* log: warning: x"),
    ],
)
def test_lines_for_a_person(event: str, fields: dict[str, Any], line: str) -> None:
    assert detail(event, fields) == line


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def test_json_is_one_ascii_line_whatever_is_in_it(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = Output("primus", load("asyncio"), json=True)
    output.event("data", data={"text": "\n\u2028é\x1b"})
    output.event("data", id="a", data=float("nan"))
    output.event("data", id="b", data=deep())
    output.note("first\nline")
    output.close()
    out, err = capfdbinary.readouterr()
    first, second, third = out.splitlines()
    assert first == b'{"event": "data", "data": {"text": "\\n\\u2028\\u00e9\\u001b"}}'
    assert json.loads(second).keys() == json.loads(third).keys() == {"event", "id", "message"}
    assert err == b"primus: first\\nline\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes that do not block are POSIX's")
@each_io
def test_pipes_that_somebody_made_non_blocking(io: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent process may have: neither reading nor writing then fails for want of data or room."""
    runtime, text = load(io), "x" * 2_000_000

    async def main() -> tuple[str, list[bytes]]:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        os.set_blocking(theirs, False)
        with open(ours, encoding="utf-8") as reading, open(theirs, "w", encoding="utf-8") as writing:
            monkeypatch.setattr(sys, "stdout", writing)
            output = Output("primus", runtime, json=True)
            output.event("data", data=text)
            monkeypatch.undo()
            assert output.crowded

            def close() -> None:
                output.close()
                writing.close()

            async def close_when_there_is_room() -> list[bytes]:
                await output.room()
                threading.Thread(target=close).start()
                await runtime.sleep(math.inf)
                return []

            async def collect() -> list[bytes]:
                return [line async for line in lines(Chunks(reading, runtime))]

            return text, await runtime.race(collect, close_when_there_is_room)

    sent, received = runtime.run(main)
    assert [json.loads(line) for line in received] == [{"event": "data", "data": sent}]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConnectError("cannot connect to x:1: Connection refused"),
            "is the server running, and are host and port right?",
        ),
        (ConnectError("no", status=403, body=b'{"error": "members only"}'), "no (it said: members only); give what"),
        (ConnectError("the answer", status=500, body=b"<html>"), "the answer."),
        (ConnectError("what about it?"), "what about it?"),
        (ConnectionLost("reset by peer"), "reset by peer."),
    ],
)
def test_advice(error: ConnectError | ConnectionLost, said: str) -> None:
    assert said in advice(error)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
@each_io
def test_signals_where_the_loop_has_no_way_to_handle_them(io: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, and with every library but asyncio."""
    runtime = load(io)

    def missing(*_: Any) -> None:
        raise NotImplementedError

    async def main() -> list[str]:
        reasons = []
        for number in (signal.SIGINT, signal.SIGTERM):
            with stopping(runtime) as stop:
                assert not stop
                runtime.soon(lambda: os.kill(os.getpid(), number))  # noqa: B023
                assert await runtime.within(10, stop.wait)
                reasons.append(stop.reason)
        return reasons

    monkeypatch.setattr(asyncio.unix_events._UnixSelectorEventLoop, "add_signal_handler", missing)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert runtime.run(main) == ["SIGINT", "SIGTERM"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
