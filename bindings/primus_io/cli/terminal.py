"""A prompt on a terminal: one row in which a person types, while lines appear above it.

`Editor` is what is typed, without IO; `Terminal` puts the terminal into the mode that takes, and back. Where there is
no such mode (Windows, a dumb terminal) `PlainPrompt` leaves the typing to the terminal itself.
"""

from __future__ import annotations

import codecs
import os
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, TextIO

from .input import Chunks
from .output import Output
from .runtime import Runtime

try:
    import termios
except ImportError:  # Windows
    TERMIOS = False
else:
    TERMIOS = True

__all__ = ["Editor", "PlainPrompt", "Terminal", "can_edit", "is_terminal"]

PROMPT = "> "
ERASE = "\r\x1b[K"
LONGEST_HISTORY = 1000

# What keys send, as the name of the method of Editor that does it.
KEYS = {
    "\x01": "_home",
    "\x02": "_left",
    "\x04": "_delete",
    "\x05": "_end",
    "\x06": "_right",
    "\x08": "_backspace",
    "\x0b": "_cut_after",
    "\x0e": "_down",
    "\x10": "_up",
    "\x15": "_cut_before",
    "\x17": "_cut_word",
    "\x7f": "_backspace",
    "\x1b[A": "_up",
    "\x1b[B": "_down",
    "\x1b[C": "_right",
    "\x1b[D": "_left",
    "\x1b[F": "_end",
    "\x1b[H": "_home",
    "\x1bOA": "_up",
    "\x1bOB": "_down",
    "\x1bOC": "_right",
    "\x1bOD": "_left",
    "\x1bOF": "_end",
    "\x1bOH": "_home",
    "\x1b[1~": "_home",
    "\x1b[3~": "_delete",
    "\x1b[4~": "_end",
    "\x1b[7~": "_home",
    "\x1b[8~": "_end",
}


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end."""
    try:
        return stream is not None and os.isatty(stream.fileno())
    except (OSError, ValueError):
        return False


def can_edit() -> bool:
    """Whether terminals here understand what `Terminal` sends them."""
    return TERMIOS and os.environ.get("TERM", "dumb") != "dumb"


class Editor:
    """What a person is typing: keys in, finished lines out."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""
        self._history: list[str] = []
        self._place = 0  # in the history; behind its end: what is being typed

    def feed(self, data: bytes) -> list[str | None]:
        """Take what the terminal sent; returns the lines that were finished, None for the end of input."""
        done: list[str | None] = []
        for key in self._decoder.decode(data):
            if self._escape or key == "\x1b":
                self._escape += key
                if _complete(self._escape):
                    self._press(self._escape)
                    self._escape = ""
            elif key in "\r\n":
                done.append(self._enter())
            elif key == "\x04" and not self.text:
                done.append(None)
            elif key in KEYS:
                self._press(key)
            elif key == "\t" or key.isprintable() or key > "\x9f":
                self._insert(" " if key == "\t" else key)
        return done

    def row(self, width: int) -> str:
        """The prompt and as much of the text as fits, the cursor in it."""
        room = max(width - len(PROMPT) - 1, 1)
        start, used = self.cursor, 0
        while start > 0 and used + _width(self.text[start - 1]) <= room:
            start -= 1
            used += _width(self.text[start])
        end, behind = self.cursor, 0
        while end < len(self.text) and used + behind + _width(self.text[end]) <= room:
            behind += _width(self.text[end])
            end += 1
        back = f"\x1b[{behind}D" if behind else ""
        return PROMPT + _visible(self.text[start:end]) + back

    def _press(self, key: str) -> None:
        if key in KEYS:
            getattr(self, KEYS[key])()

    def _insert(self, key: str) -> None:
        self.text = self.text[: self.cursor] + key + self.text[self.cursor :]
        self.cursor += 1

    def _enter(self) -> str:
        line = self.text
        if line.strip() and self._history[-1:] != [line]:
            self._history = [*self._history[1 - LONGEST_HISTORY :], line]
        self._place = len(self._history)
        self.text, self.cursor = "", 0
        return line

    def _keep(self, before: int, after: int) -> None:
        """Take out what lies between two places; the cursor goes there."""
        self.text = self.text[:before] + self.text[after:]
        self.cursor = before

    def _home(self) -> None:
        self.cursor = 0

    def _end(self) -> None:
        self.cursor = len(self.text)

    def _left(self) -> None:
        self.cursor = max(self.cursor - 1, 0)

    def _right(self) -> None:
        self.cursor = min(self.cursor + 1, len(self.text))

    def _backspace(self) -> None:
        self._keep(max(self.cursor - 1, 0), self.cursor)

    def _delete(self) -> None:
        self._keep(self.cursor, self.cursor + 1)

    def _cut_before(self) -> None:
        self._keep(0, self.cursor)

    def _cut_after(self) -> None:
        self._keep(self.cursor, len(self.text))

    def _cut_word(self) -> None:
        self._keep(self.text[: self.cursor].rstrip().rfind(" ") + 1, self.cursor)

    def _up(self) -> None:
        self._recall(max(self._place - 1, 0))

    def _down(self) -> None:
        self._recall(min(self._place + 1, len(self._history)))

    def _recall(self, place: int) -> None:
        if place != self._place:
            self._place = place
            self.text = (*self._history, "")[place]
            self.cursor = len(self.text)


def _complete(escape: str) -> bool:
    """Whether an escape sequence is all there (ECMA-48: ESC [ parameters final, or ESC O final, or ESC any)."""
    if escape[1:2] == "[":
        return len(escape) > 2 and "@" <= escape[-1] <= "~"
    return len(escape) > (2 if escape[1:2] == "O" else 1)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


class PlainPrompt:
    """A prompt where the terminal itself does the editing and echoing."""

    def erased(self) -> str:
        return "\r"  # every line is longer than the prompt

    def shown(self) -> str:
        return PROMPT


class Terminal:
    """The terminal that stdin and stdout are, with an `Editor` in its last row."""

    def __init__(self, stream: TextIO, output: Output, runtime: Runtime) -> None:
        self._stream = stream
        self._output = output
        self._runtime = runtime
        self._editor = Editor()
        self._saved: list[Any] | None = None

    def __enter__(self) -> Terminal:
        self._saved = termios.tcgetattr(self._stream)
        self._enter_mode()
        self._output.show(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._output.hide(ERASE)
        with suppress(termios.error, ValueError):  # the terminal has gone
            termios.tcsetattr(self._stream, termios.TCSADRAIN, self._saved or [])

    def continued(self) -> None:
        """The process was stopped, and goes on: whoever had the terminal meanwhile has set its mode."""
        with suppress(termios.error):
            self._enter_mode()
            self._redraw()

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """What the person enters, line by line, until they end it."""
        chunks = Chunks(self._stream, self._runtime)
        while data := await chunks.read():
            with self._output.screen:
                entered = self._editor.feed(data)
            for line in entered:
                if line is None:
                    return
                self._output.draw(f"{ERASE}{PROMPT}{_visible(line)}\n")
                yield line.encode("utf-8", "replace")
            self._redraw()

    def erased(self) -> str:
        return ERASE

    def shown(self) -> str:
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            width = 80
        return self._editor.row(width or 80)

    def _redraw(self) -> None:
        with self._output.screen:
            self._output.draw(self.erased() + self.shown())

    def _enter_mode(self) -> None:
        """Each key at once and no echo; Ctrl-C and Ctrl-Z keep their meaning."""
        mode = termios.tcgetattr(self._stream)
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._stream, termios.TCSADRAIN, mode)
