"""`primus connect` on a terminal: what a person types and sees, with prompt_toolkit and without."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyte
import pytest

from tests.cli.command import WAIT, Command, environment, port_of, serving
from tests.conformance.peers import RawPeer, frame

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
if "--without-prompt" in sys.argv:
    sys.argv.remove("--without-prompt")
    sys.modules["prompt_toolkit"] = None
sys.argv = ["primus", *sys.argv[1:]]
runpy.run_module("primus_io", run_name="__main__", alter_sys=True)
"""


class Screen(pyte.Screen):
    """An emulated screen, which answers when it is asked for the position of its cursor."""

    terminal: int

    def write_process_input(self, data: str) -> None:
        os.write(self.terminal, data.encode())


class Terminal:
    """A pseudo-terminal with the command on it."""

    def __init__(self, ours: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.screen = Screen(80, 24)
        self.screen.terminal = ours
        self.raw = b""
        self._ours = ours
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        stream = pyte.ByteStream(self.screen)
        with suppress(OSError):  # EIO: the other side is closed
            while data := os.read(self._ours, 4096):
                with self._changed:
                    self.raw += data
                    stream.feed(data)
                    self._changed.notify_all()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    @property
    def rows(self) -> list[str]:
        """The rows of the screen that are not empty."""
        return [row.rstrip() for row in self.screen.display if row.strip()]

    def see(self, *rows: str) -> None:
        """Wait until the last rows are these."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.rows[-len(rows) :] == list(rows), WAIT):
                raise AssertionError("\n".join([f"not seen: {rows}", *self.rows]))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join(WAIT)


@contextmanager
def terminal(*args: str, term: str = "xterm") -> Iterator[Terminal]:
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        before = termios.tcgetattr(theirs)
        process = subprocess.Popen(
            [sys.executable, "-c", AS_ON_A_TERMINAL, *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM=term),
            start_new_session=True,
        )
        on = Terminal(ours, process)
        try:
            yield on
            assert process.wait(WAIT) == 0
            assert termios.tcgetattr(theirs) == before, "the terminal was not left as it was found"
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
    """A relaying server, another client that says things there, and a client on a terminal."""
    with (
        serving("--mode", "relay") as (server, url),
        RawPeer(port_of(url)).open() as other,
        terminal("connect", url, *args, **options) as on,
    ):
        server.wait("connection")
        server.wait("connection")
        yield server, lambda text: other.send(frame(text.encode())), on


def test_lines_appear_above_what_is_being_typed() -> None:
    with talking() as (server, other, on):
        on.see("* open", ">")
        on.type('{"a": 1')
        on.see("* open", '> {"a": 1')
        other('"\\u001b[2J\\u0007 evil \\u009b31m"')
        other("[1]")
        on.see("* open", '< "\\u001b[2J\\u0007 evil \\u009b31m"', "< [1]", '> {"a": 1')
        assert on.screen.buffer[2][0].fg == "green"
        on.type("}\r")
        assert server.wait("data", data={"a": 1})
        on.type("nonsense\r")
        hint = "primus connect: line 2 of the input was not sent: not JSON: Expecting value, col"
        on.see("> nonsense", hint, 'umn 1 (char 0); strings need quotes: "hello"', ">")
        on.type('\x1b[A\x1b[A\x7f, "b": 2}\r')  # up, up, backspace: the first line, changed
        assert server.wait("data", data={"a": 1, "b": 2})
        on.type("\x04")
        on.see("* close: local (1000)", "* end")  # and status 0: what was typed wrong was seen


@pytest.mark.parametrize("more", [(), ("--without-prompt",)], ids=["prompt", "plain"])
def test_ctrl_c_ends_it(more: tuple[str, ...]) -> None:
    with talking(*more) as (server, other, on):
        other("[1]")
        on.see("* open", "< [1]", *([">"] if not more else []))
        on.type("\x03")
        server.wait("disconnection", reason="client")
        on.see("* end")


def test_the_servers_end_while_typing() -> None:
    with talking() as (server, _, on):
        on.type('"half')
        on.see("* open", '> "half')
        server.process.terminate()
        on.see("* end")
        assert {"* close: server (1000)", '> "half'} <= set(on.rows)


@pytest.mark.parametrize(("more", "term"), [((), "dumb"), (("--without-prompt",), "xterm")])
def test_without_a_prompt(more: tuple[str, ...], term: str) -> None:
    with talking(*more, term=term) as (server, other, on):
        other("[1]")
        on.see("* open", "< [1]")
        assert on.screen.buffer[1][0].fg == ("default" if term == "dumb" else "green")
        on.type("5\n")
        assert server.wait("data", data=5)
        on.type("nonsense\n\x04")
        on.see("* close: local (1000)", "* end")


def test_json_on_a_terminal_has_no_prompt() -> None:
    with serving() as (_, url), terminal("connect", url, "--json") as on:
        on.type("1\n")
        with on._changed:
            assert on._changed.wait_for(lambda: b'{"event": "data", "data": 1}\r\n' in on.raw, WAIT)
        on.type("\x04")
        on.see('{"event": "close", "reason": "local", "code": 1000}', '{"event": "end"}')
        assert b"\x1b" not in on.raw
