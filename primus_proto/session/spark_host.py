"""`SparkHost`: what a spark needs of its server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from .. import events as ev
from ..config import ServerConfig
from ..http.forwarded import Network
from ..http.model import Address, Request
from ..limits import Limits
from ..parsers import Parser
from ..timers import Timer, Timers
from .transforms import Transforms

__all__ = ["SparkHost"]

X = TypeVar("X")


class SparkHost(Protocol):
    """What a spark needs of its server."""

    asynchronous: bool
    config: ServerConfig
    emit: Callable[[ev.Event], None]
    encode_text: Callable[[Any], bytes] | None
    individual: bool
    limits: Limits
    networks: tuple[Network, ...]
    parser: Parser
    present: Callable[[Any], Any]
    queued_events: deque[Any]
    received: int
    tells_heartbeats: bool
    timers: Timers
    transforms: Transforms

    sparks: dict[str, Any]
    spark_halves: tuple[Callable[[Any], object], ...]

    def address_of(self, request: Request) -> Address:
        """The address of the client, behind trusted proxies."""

    @property
    def plugin_events(self) -> Mapping[str, type[ev.PluginEvent] | None]: ...

    def after(self, seconds: float, callback: Callable[[float], object]) -> Timer: ...

    def find_extension(self, kind: type[X]) -> X | None: ...

    def extension(self, kind: type[X]) -> X: ...

    def defer(self, call: Callable[[float], object]) -> None: ...

    def epoch_ms(self, now: float) -> int: ...

    def release(self, spark: Any) -> None:
        """The spark has closed."""
