"""Notices when a call into the core gives an endpoint something to do.

Whatever the application calls ends in one of the methods below: an event is emitted, a channel or pipe has output, or a
decision is put off until the time is known. So the network polls only the endpoints that may have something to do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..endpoint import ByteClient, ByteServer

__all__ = ["watch_activity"]


def watch_activity(endpoint: ByteClient | ByteServer, callback: Callable[[], None]) -> None:
    """Call `callback` whenever the endpoint may have got something to do."""
    _watch(endpoint, ("channel_dirty", "touch"), callback)
    _watch(endpoint._session, ("emit",), callback)
    if isinstance(endpoint, ByteServer):
        _watch(endpoint, ("resume",), callback)
        _watch(endpoint.server, ("close",), callback)


def _watch(owner: object, names: tuple[str, ...], callback: Callable[[], None]) -> None:
    for name in names:
        setattr(owner, name, _calling_first(callback, getattr(owner, name)))


def _calling_first(callback: Callable[[], None], method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **options: Any) -> Any:
        callback()
        return method(*args, **options)

    return wrapper
