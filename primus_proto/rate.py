"""`Rate`, how much of something happens in a second."""

from __future__ import annotations

import math

__all__ = ["WINDOW", "Rate"]

WINDOW = 1.0
"""Seconds that are counted together."""


class Rate:
    """Counts what happens in a second, which begins with the first."""

    __slots__ = ("_count", "_most", "_since")

    def __init__(self, most: int) -> None:
        self._most = most
        self._since = -math.inf
        self._count = 0

    def takes(self, now: float) -> bool:
        """Count one more. False if there have been too many."""
        if now - self._since >= WINDOW:
            self._since = now
            self._count = 0
        self._count += 1
        return self._count <= self._most
