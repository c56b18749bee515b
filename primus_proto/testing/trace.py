"""The trace of a virtual network: one readable line for each thing that happened."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["summarize", "trace_line"]

LONGEST_LINE = 200
LONGEST_REPEAT = 24  # lines in a block that is recognised as repeating
MIN_SAVED = 6  # lines that leaving out repeats must save


def trace_line(now: float, who: str, what: str) -> str:
    """A line of a trace. Long ones are shortened."""
    if len(what) > LONGEST_LINE:
        what = f"{what[:LONGEST_LINE]}… ({len(what)} characters)"
    return f"{now:12.3f}  {who}: {what}"


def summarize(trace: Sequence[str], lines: int) -> list[str]:
    """The last lines of a trace, with repeated blocks shown once.

    A block of lines that repeats with nothing but other times, as heartbeats do, is followed by a line that counts the
    repeats. So the lines before it stay in view.
    """
    shown: list[str] = []  # backwards
    end = len(trace)
    while end and len(shown) < lines:
        size, repeats = _repeated_block(trace, end)
        if repeats:
            what = f"these {size} lines" if size > 1 else "this line"
            shown.append(f"              … {what} {repeats:,} times more, until {_split(trace[end - 1])[0]}")
            end -= size * repeats
            shown += trace[end - size : end][::-1]
            end -= size
        else:
            end -= 1
            shown.append(trace[end])
    return shown[:lines][::-1]


def _repeated_block(trace: Sequence[str], end: int) -> tuple[int, int]:
    """The size of the block that repeats before `end`, and how often; (0, 0) if leaving it out saves too little."""
    for size in range(1, LONGEST_REPEAT + 1):
        at = end - 1
        while at >= size and _split(trace[at])[1] == _split(trace[at - size])[1]:
            at -= 1
        repeats = (end - 1 - at) // size
        if size * repeats >= MIN_SAVED:
            return size, repeats
    return 0, 0


def _split(line: str) -> tuple[str, str]:
    time, _, what = line.lstrip().partition("  ")
    return time, what
