"""The log of what peers cause, which must not become a way to fill a disk.

The laws kept here: a warning is one line. At most `BURST` lines are written at once, and one a second over time; the
rest is counted.
"""

from __future__ import annotations

import logging
import time

__all__ = ["PeerLog", "printable"]

BURST = 20
LONGEST = 1000
"""Characters of one line."""

log = logging.getLogger("primus_io")


def printable(text: str) -> str:
    """Escape what is more than text to a terminal or a log reader, such as line breaks; cut what is long."""
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


class PeerLog:
    """Logs warnings about the peers of one server or client."""

    __slots__ = ("_lines_left", "_since", "_suppressed")

    def __init__(self) -> None:
        self._lines_left = float(BURST)
        self._since = time.monotonic()
        self._suppressed = 0

    def warning(self, text: str, *arguments: object) -> None:
        """Log a warning, or count it."""
        now = time.monotonic()
        self._lines_left = min(BURST, self._lines_left + now - self._since)
        self._since = now
        if self._lines_left < 1:
            self._suppressed += 1
            return
        self._lines_left -= 1
        self.report()
        log.warning("%s", printable(text % arguments))

    def report(self) -> None:
        """Log how many warnings were only counted, if any."""
        if self._suppressed:
            log.warning("%d more warnings about peers were not logged", self._suppressed)
            self._suppressed = 0
