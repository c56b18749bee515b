"""Docstrings that two classes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["copy_docs"]

K = TypeVar("K", bound=type)


def copy_docs(original: type) -> Callable[[K], K]:
    """Decorate a class whose undocumented members are documented in another class."""

    def copy(cls: K) -> K:
        for name, member in vars(cls).items():
            if not name.startswith("_") and getattr(member, "__doc__", "") is None:
                member.__doc__ = getattr(original, name).__doc__
        return cls

    return copy
