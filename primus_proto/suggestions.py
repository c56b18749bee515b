"""What was probably meant by a word that is not known."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["suggestion"]

SECONDS = frozenset({
    *("ping", "pong", "ping_timeout", "timeout", "min", "max", "reconnect_timeout"),
    *("ping_interval", "detect_after", "pong_skip_time", "upgrade_timeout", "fallback_timeout"),
})  # fmt: skip


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a misspelt word, or nothing if no known one is like it. Finds camelCase too."""
    import difflib  # here, because few programs need it

    plain = {re.sub("[-_.]", "", name): name for name in known}
    similar = difflib.get_close_matches(re.sub("[-_.]", "", word).lower(), plain, n=1, cutoff=0.7)
    if not similar:
        return ""
    found = plain[similar[0]]
    return f"; did you mean {found}{', in seconds' if found in SECONDS else ''}?"
