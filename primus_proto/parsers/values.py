"""`RegExp`, JavaScript's regular expressions as values; and dates as JavaScript counts them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["RegExp", "from_milliseconds", "to_milliseconds", "to_regexp"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
_WITHOUT_MEANING = "dgyuv"  # in JavaScript they concern matching, or Unicode, which Python always has


@dataclass(frozen=True, slots=True)
class RegExp:
    """A regular expression of JavaScript that a peer sent. It is not compiled, since a peer may send any.

    Compare the length of `source` with what you expect before you compile it, and do not search long texts with it: an
    expression can be made to take hours.
    """

    source: str
    flags: str = ""

    def compile(self) -> re.Pattern[str]:
        """Compile it as a regular expression of Python, whose syntax is much the same, but not quite.

        Raises re.error where it differs, ValueError for an unknown flag.
        """
        flags = re.RegexFlag(0)
        for flag in self.flags:
            if flag not in _FLAGS and flag not in _WITHOUT_MEANING:
                raise ValueError(f"Python has no flag {flag!r} of regular expressions")
            flags |= _FLAGS.get(flag, 0)
        return re.compile(self.source, flags)


def to_regexp(pattern: re.Pattern[str] | re.Pattern[bytes]) -> RegExp:
    """A regular expression of Python for a peer that has JavaScript. Raises ValueError where it has no such thing."""
    source = pattern.pattern
    if not isinstance(source, str):
        raise ValueError("a regular expression for bytes: JavaScript has them for strings only")
    if pattern.flags & re.VERBOSE:
        raise ValueError("a regular expression with re.VERBOSE, which JavaScript does not have")
    return RegExp(source, "".join(flag for flag, meaning in _FLAGS.items() if pattern.flags & meaning))


def to_milliseconds(date: datetime) -> int:
    """Milliseconds since 1970, rounded down. Raises ValueError for a naive datetime."""
    if date.utcoffset() is None:
        raise ValueError(f"a datetime without a time zone, which names no moment: {date!r}; give it tzinfo=")
    return (date - _EPOCH) // _MILLISECOND


def from_milliseconds(number: object) -> datetime:
    """The aware datetime, in UTC. Raises ValueError for anything but a number whose year is from 1 to 9999."""
    if isinstance(number, int | float):
        try:
            return _EPOCH + timedelta(milliseconds=int(number))
        except (OverflowError, ValueError):  # an infinity or a NaN, too
            pass
    raise ValueError(f"not a date that Python can hold: {number!r:.80}")
