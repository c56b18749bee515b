"""Lines of text that are safe for a terminal, JSON in one line, and explanations of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_io.cli.errors import explain
from primus_io.cli.formatting import error_fields, printable, text_line
from primus_io.cli.output import Output
from primus_proto import ConnectError, ConnectionLost


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
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    line = text_line("data", {"data": text})
    assert line.isprintable()
    assert json.loads(line.removeprefix("< ")) == text  # still the JSON of what came


@pytest.mark.parametrize(
    ("event", "fields", "line"),
    [
        ("open", {}, "* open"),
        ("listening", {"url": "http://localhost:1"}, "listening on http://localhost:1"),
        ("data", {"data": None}, "< null"),
        ("data", {"base64": "AA=="}, "< binary, base 64: AA=="),
        ("data", {"base64": ""}, "< binary, base 64: (empty)"),
        ("data", {"id": "0123456789", "data": [1]}, "data              01234567 [1]"),
        ("readyStateChange", {"state": "opening"}, "* readyStateChange: opening"),
        ("readyStateChange", {"id": "0123456789"}, "readyStateChange  01234567"),
        ("flatline", {"id": "0123456789", "count": 3}, "flatline          01234567 3 in a row"),
        ("close", {"reason": "server", "code": 1000}, "* close: server (1000)"),
        ("error", error_fields(ConnectError("no", status=401, body=b"\x1b")), "* error: no; it said: \\u001b"),
        ("messages dropped", {"count": 2, "reason": "why", "messages": []}, "* messages dropped: 2 (why)"),
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
def test_lines_of_text(event: str, fields: dict[str, Any], line: str) -> None:
    assert text_line(event, fields) == line
    assert line in text_line(event, fields, colour=True)


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def test_json_is_one_ascii_line_whatever_is_in_it(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output, values = Output("primus", json=True), Output("primus", values=True)
    output.event("data", data={"text": "\n\u2028é\x1b"})
    output.event("data", id="b", data=deep())
    output.note("first\nline")
    output.close()
    for data in ([1, "é"], deep()):
        values.event("data", data=data)
    values.event("open")
    values.close()
    out, err = capfdbinary.readouterr()
    first, second, third, fourth = out.splitlines()
    assert first == b'{"event": "data", "data": {"text": "\\n\\u2028\\u00e9\\u001b"}}'
    assert json.loads(second).keys() == {"event", "id", "message"}
    assert third == b'[1, "\\u00e9"]'
    assert json.loads(fourth).keys() == {"message"}
    assert err == b"primus: first\\nline\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConnectError("cannot connect to x:1: Connection refused"),
            "Is the server running, and are host and port right?",
        ),
        (ConnectError("no (it said: members only)", status=403), "no (it said: members only). Give"),
        (ConnectError("the answer", status=500, body=b"<html>"), "the answer."),
        (ConnectError("what about it?"), "what about it?"),
        (ConnectionLost("reset by peer"), "reset by peer."),
    ],
)
def test_errors_are_explained(error: ConnectError | ConnectionLost, said: str) -> None:
    assert said in explain(error)
