"""`Limits`: bounds on everything a peer can make grow (protocol 7), and the checks of numbers that options share."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from .errors import ConfigError

__all__ = ["Limits", "check_count", "check_number"]


def check_number(
    name: str, value: object, *, least: float = 0.0, above: bool = False, infinite: bool = False, other: str = ""
) -> None:
    """`other` says what else is as good, and is not looked for here."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        enough = value > least if above else value >= least
        if enough and (value <= sys.float_info.max or (infinite and value == math.inf)):
            return
    want = f"a number {'above' if above else 'of at least'} {least:g}"
    raise ConfigError(f"{name} must be {want}{'' if infinite else ', and finite'}{other}; got {value!r}")


def check_count(name: str, value: object, *, least: int = 0, none: str = "") -> None:
    """None is as good as a number where `none` says what it means."""
    if value is None and none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        other = f", or None: {none}" if none else ""
        raise ConfigError(f"{name} must be a whole number of at least {least}{other}; got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything a peer can make grow (protocol 7). Sizes in bytes, durations in seconds."""

    head: int = 16 * 1024
    """The largest HTTP head (request or response) that is read."""
    handshake: float = 10.0
    """How long a request head, a request body, or an idle keep-alive connection may take."""
    body: int = 1024 * 1024
    """The largest HTTP body that is read."""
    pipelined: int = 16 * 1024
    """Unread bytes behind an unanswered request, above which reading stops until it is answered."""
    message: int = 10 * 1024 * 1024
    """The largest message accepted, by its declared length."""
    fragments: int = 1024
    """The largest number of frames that one message may be cut into."""
    backlog: int = 1024 * 1024
    """Unsent bytes of one spark, counted before the message at hand, above which it is cut."""
    queue: int = 16 * 1024 * 1024
    """Bytes a client keeps for later, while it is not connected or the server does not read."""
    close: float = 5.0
    """How long a closing handshake may take before the connection is dropped."""
    heartbeat_min: float = 1.0
    """The shortest heartbeat timeout that a client may ask of a server."""
    heartbeat_max: float = 600.0
    """Times `allow_skipped_heartbeats` + 1: the longest silence that a client may ask of a server."""
    authorizations: int = 1000
    """How many requests may wait for authorization at once; more are answered 503."""
    authorization: float = 10.0
    """How long a request may wait for authorization before it is answered 503."""

    def __post_init__(self) -> None:
        for name in ("head", "pipelined", "message", "fragments"):
            check_count(f"limits.{name}", getattr(self, name), least=1)
        for name in ("body", "backlog", "queue", "authorizations"):
            check_count(f"limits.{name}", getattr(self, name))
        for name in ("handshake", "close", "heartbeat_min", "heartbeat_max", "authorization"):
            check_number(f"limits.{name}", getattr(self, name), above=True)
        if self.heartbeat_min > self.heartbeat_max:
            raise ConfigError("limits.heartbeat_min must not be above limits.heartbeat_max")
