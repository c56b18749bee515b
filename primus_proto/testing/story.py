"""The end of a trace, to be read by people: what goes on and on is told once.

The law kept here: a line is told as the trace has it; what is left out is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["story"]

LONGEST_REPEAT = 24  # lines of what is seen to repeat
WORTH_IT = 6  # lines left out


def story(trace: Sequence[str], lines: int) -> list[str]:
    """The last lines of a trace, of which each is a time, two spaces and what happened.

    Where lines come again and again but for their times, as heartbeats do, they are there once, and then one that says
    how often they came. So what went before is not out of sight.
    """
    told: list[str] = []  # backwards
    end = len(trace)
    while end and len(told) < lines:
        size, times = _repeated(trace, end)
        if times:
            what = f"these {size} lines" if size > 1 else "this line"
            told.append(f"              … {what} {times:,} times more, until {_split(trace[end - 1])[0]}")
            end -= size * times
            told += trace[end - size : end][::-1]
            end -= size
        else:
            end -= 1
            told.append(trace[end])
    return told[:lines][::-1]


def _repeated(trace: Sequence[str], end: int) -> tuple[int, int]:
    """How many lines before `end` come again and again, and how often more; no times where it is not worth telling."""
    for size in range(1, LONGEST_REPEAT + 1):
        at = end - 1
        while at >= size and _split(trace[at])[1] == _split(trace[at - size])[1]:
            at -= 1
        times = (end - 1 - at) // size
        if size * times >= WORTH_IT:
            return size, times
    return 0, 0


def _split(line: str) -> tuple[str, str]:
    time, _, what = line.lstrip().partition("  ")
    return time, what
