"""Whether an endpoint of the core may have something to do: noticed as it comes about, whoever has called what.

The law kept here: whatever the application can call comes to one of these: an event, a channel or a pipe that has
output, a decision that waits for the time. So nobody else has to be asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..endpoint import ByteClient, ByteServer

__all__ = ["watch"]

OF_THE_ENDPOINT = ("channel_dirty", "touch", "resume")
OF_THE_SESSION = ("emit", "close")  # of a server: its end is put off until `poll`


def watch(endpoint: ByteClient | ByteServer, told: Callable[[], None]) -> None:
    """Have `told` called whenever the endpoint comes to have something to do, by no call of its driver's."""
    for owner, names in ((endpoint, OF_THE_ENDPOINT), (endpoint._session, OF_THE_SESSION)):
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, _watched(getattr(owner, name), told))


def _watched(call: Callable[..., Any], told: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(call)
    def tell_and_call(*args: Any, **options: Any) -> Any:
        told()
        return call(*args, **options)

    return tell_and_call
