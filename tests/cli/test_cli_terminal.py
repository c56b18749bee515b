"""`primus connect` on a terminal: a prompt, an editable row, and lines that appear above it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from primus_io.cli.terminal import Editor
from tests.cli.command import WAIT, Command, each_io, environment, on_io, serving
from tests.cli.peers import frame, raw_client

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

import fcntl
import struct
import subprocess
import termios

# The subprocess takes the pseudo-terminal as its own, so that Ctrl-C there is a signal.
AS_ON_A_TERMINAL = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv = ["primus", *sys.argv[1:]]
runpy.run_module("primus_io", run_name="__main__", alter_sys=True)
"""


class Screen:
    """As much of a terminal as it takes: rows, and what moves the cursor in the last of them."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = [""]
        self.column = 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|.|\n|\r", text):
            row = self.rows[-1]
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.rows.append("")
                self.column = 0
            elif part == "\x1b[K":
                self.rows[-1] = row[: self.column]
            elif part.startswith("\x1b["):
                assert part[-1] == "D", repr(part)
                self.column -= int(part[2:-1])
            else:
                if self.column == self.width:
                    self.rows.append("")
                    self.column, row = 0, ""
                self.rows[-1] = row[: self.column] + part + row[self.column + 1 :]
                self.column += 1


class Terminal:
    """A pseudo-terminal with the command on it, and what a person would see."""

    def __init__(self, ours: int, theirs: int, process: subprocess.Popen[bytes], width: int) -> None:
        self.process = process
        self.theirs = theirs
        self.screen = Screen(width)
        self.raw = ""
        self._ours = ours
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        pending = b""
        with suppress(OSError):  # EIO: nobody has the other side open any more
            while data := os.read(self._ours, 4096):
                pending += data
                with suppress(UnicodeDecodeError):  # else a character was cut
                    text = pending.decode()
                    pending = b""
                    with self._changed:
                        self.raw += text
                        self.screen.feed(text)
                        self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, condition: Callable[[list[str]], Any], wanted: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.screen.rows), WAIT):
                raise AssertionError("\n".join([f"not seen: {wanted}", *self.screen.rows]))

    def row(self, text: str) -> None:
        """Wait until the last row is that."""
        self.until(lambda rows: rows[-1] == text, repr(text))

    def above(self, *texts: str) -> None:
        """Wait until the rows above the last are these."""
        self.until(lambda rows: tuple(rows[-1 - len(texts) : -1]) == texts, repr(texts))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join(WAIT)


@contextmanager
def terminal(*args: str, width: int = 80, term: str = "xterm") -> Iterator[Terminal]:
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        before = termios.tcgetattr(theirs)
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", AS_ON_A_TERMINAL, *on_io(args)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM=term),
            start_new_session=True,
        )
        # `theirs` stays open here, so that the terminal's mode can be looked at in the end.
        on = Terminal(ours, theirs, process, width)
        try:
            yield on
            after = termios.tcgetattr(theirs)
            assert after == before, "the terminal was not left as it was found"
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            os.close(theirs)
            on.close()
    finally:
        os.close(ours)


@contextmanager
def talking(*args: str, **options: Any) -> Iterator[tuple[Command, Callable[[str], None], Terminal]]:
    """A relaying server, somebody else who says things there, and a client on a terminal that is open."""
    with (
        serving("--mode", "relay") as (server, url),
        raw_client(url) as other,
        terminal("connect", url, *args, **options) as on,
    ):
        on.above("* open")
        yield server, lambda text: other.sendall(frame(1, text.encode())), on


@each_io
def test_lines_appear_above_what_is_being_typed() -> None:
    with talking() as (server, other, on):
        on.above("* readyStateChange: opening", "* readyStateChange: open", "* open")
        on.row("> ")
        on.type('{"a": 1')
        on.row('> {"a": 1')
        other('"\\u001b[2J\\u0007 evil \\u009b31m"')
        other("[1]")
        on.above('< "\\u001b[2J\\u0007 evil \\u009b31m"', "< [1]")
        on.row('> {"a": 1')  # as it was
        on.type("}\r")
        on.above('> {"a": 1}')
        assert server.wait("data", data={"a": 1})
        on.type("nonsense\r")
        on.until(lambda rows: any(row.startswith("primus connect: line 2 of the input") for row in rows), "a note")
        on.row("> ")
        on.type("\x04")
        assert on.process.wait(WAIT) == 0  # what was typed wrong was seen, and is no failure
        on.above("* readyStateChange: end", "* close: local (1000)", "* end")
        assert not set(re.findall(r"[\x00-\x1f\x7f-\x9f]", on.raw)) - {"\r", "\n", "\x1b"}
        assert set(re.findall(r"\x1b[^K]*?[A-Za-z]", on.raw)) <= {"\x1b[K", "\x1b[D", "\x1b[1D"}


def test_keys_that_edit() -> None:
    with talking() as (server, _, on):
        on.type('bc"\x1b[D\x1b[D\x1b[D"a\x1b[C\x05\r')  # left three times, right, end
        assert server.wait("data", data="abc")
        on.type("[1, 2]\x1b[D\x7f3\r")
        assert server.wait("data", data=[1, 3])
        on.type("\x1b[A\x1b[A\x1b[B\r")  # up, up, down: the last one again
        assert server.wait("data", data=[1, 3])
        on.type("1 2 3\x15true\r")
        assert server.wait("data", data=True)
        on.type("\x04")
        assert on.process.wait(WAIT) == 0


@each_io
def test_ctrl_c_ends_it_and_leaves_the_terminal_as_it_was() -> None:
    with talking() as (server, _, on):
        on.type('"half')
        on.row('> "half')
        on.type("\x03")
        assert on.process.wait(WAIT) == 0
        on.above("* readyStateChange: end", "* close: local (1000)", "* end")
        server.wait("disconnection", reason="client")


@each_io
def test_it_goes_on_after_it_was_stopped() -> None:
    """As by Ctrl-Z and `fg`: whoever had the terminal meanwhile has left it in their own mode."""
    with talking() as (server, _, on):
        on.row("> ")
        on.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, on.process.pid, os.WSTOPPED | os.WNOWAIT)
        mode = termios.tcgetattr(on.theirs)
        mode[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(on.theirs, termios.TCSANOW, mode)
        prompts = on.raw.count("> ")
        on.process.send_signal(signal.SIGCONT)
        on.until(lambda _: on.raw.count("> ") > prompts, "another prompt")
        assert not termios.tcgetattr(on.theirs)[3] & (termios.ECHO | termios.ICANON)
        on.type("5\r")
        assert server.wait("data", data=5)
        on.type("\x04")
        assert on.process.wait(WAIT) == 0


@each_io
def test_the_servers_end_while_typing() -> None:
    with talking() as (server, _, on):
        on.type('"half')
        on.row('> "half')
        server.signal(signal.SIGTERM)
        assert on.process.wait(WAIT) == 0
        on.above("* readyStateChange: end", "* close: server (1000)", "* end")


def test_more_than_fits_in_the_row() -> None:
    text = json.dumps("0123456789" * 5)
    with talking(width=20) as (server, other, on):
        on.type(text)
        on.row(f"> {text[-17:]}")
        other("1")
        on.above("< 1")
        on.row(f"> {text[-17:]}")
        on.type("\r")
        assert server.wait("data", data="0123456789" * 5)
        on.type("\x04")
        assert on.process.wait(WAIT) == 0


@each_io
def test_a_terminal_that_cannot_do_this() -> None:
    """It echoes itself; a line takes the place of the prompt, and there is a new one."""
    with talking(term="dumb") as (server, other, on):
        other("[1]")
        on.above("< [1]")
        on.row("> ")
        on.type("5\n")
        assert server.wait("data", data=5)
        assert "\x1b" not in on.raw
        on.type("\x04")
        assert on.process.wait(WAIT) == 0


def test_json_on_a_terminal_has_no_prompt() -> None:
    with serving() as (_, url), terminal("connect", url, "--json") as on:
        on.type("1\n")
        on.above('{"event": "data", "data": 1}')
        on.type("\x04")
        assert on.process.wait(WAIT) == 0
        assert "> " not in on.raw


# --- the editor by itself ---


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("a\rb\n", ["a", "b"]),
        ("é漢😀\r", ["é漢😀"]),
        ("\x04", [None]),
        ("ab\x01\x04\r", ["b"]),
        ("a\tb\r", ["a b"]),
        ("one two\x17\r", ["one "]),
        ("ab\x02\x0b\r", ["a"]),
        ("a\x1b[3~\x1b[1;5C\x1bxb\r", ["ab"]),
        ("a\x00\x07\x1b[200~b\r", ["ab"]),
        ("x\r\x1b[Ay\r\x10\x0ez\r", ["x", "xy", "z"]),
    ],
)
def test_editing(typed: str, lines: list[str | None]) -> None:
    whole, bytewise = Editor(), Editor()
    assert whole.feed(typed.encode()) == lines
    assert [line for byte in typed.encode() for line in bytewise.feed(bytes([byte]))] == lines


def test_the_row_shows_where_the_cursor_is() -> None:
    editor = Editor()
    editor.feed(b"0123456789")
    assert editor.row(80) == "> 0123456789"
    assert editor.row(8) == "> 56789"
    editor.feed(b"\x1b[D\x1b[D")
    assert editor.row(80) == "> 0123456789\x1b[2D"
    editor.feed(b"\x01")
    assert editor.row(8) == "> 01234\x1b[5D"
    wide = Editor()
    wide.feed("漢字\u202e".encode())
    assert wide.row(80) == "> 漢字\ufffd"
    assert wide.row(6) == "> 字\ufffd"
