"""What a subcommand gives to be run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from .output import Output

__all__ = ["Job"]

Job = Callable[[Output], Coroutine[Any, Any, int]]
