"""What a session does when its peer has closed and the application still works on what came before.

The law kept here: the core asks once, and is told once when all is handled; it bounds the time itself.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING

import primus_proto as pp

from ._io import IO

if TYPE_CHECKING:
    from ._turns import Turns

__all__ = ["Answering"]


class Answering:
    """Answers the core's question whether a peer's close should wait. A base of `Session`."""

    if TYPE_CHECKING:
        _core: pp.Spark | pp.Client
        _inbox: Sized | None
        _io: IO
        _iterating: bool
        _turns: Turns | None
        _waiters: Sized

    _end_waits = False
    """Whether the peer has closed, and the core keeps the session open for answers."""

    @property
    def _has_taker(self) -> bool:
        """Whether the application takes values from the inbox."""
        return self._iterating

    def _is_busy(self) -> bool:
        """Whether values are waiting or being handled."""
        # Only a value that came with the end makes it wait: of an earlier one nobody knows whether it is being handled.
        taking = self._end_waits and self._iterating and not self._waiters
        handled = self._turns is not None and self._turns.handles_values
        self._end_waits = handled or (self._has_taker and (bool(self._inbox) or taking))
        return self._end_waits

    def _check_end(self) -> None:
        """Let the core go on with the end, if it waits and all is handled."""
        if self._end_waits and not self._is_busy():
            self._core.settle()
            self._io.schedule()
