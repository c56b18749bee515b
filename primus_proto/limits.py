"""`Limits`, the bounds on everything a peer can make grow (protocol 7), and checks of numbers in options."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from .errors import ConfigError

__all__ = ["HOUR", "SLICE", "Limits", "check_count", "check_flag", "check_number", "check_seconds"]

HOUR = 3600.0
SLICE = 256 * 1024
"""Bytes of one connection that leave at once. Before the next ones it is asked again whether they can leave."""


def check_number(
    name: str, value: object, *, least: float = 0.0, above: bool = False, infinite: bool = False, other: str = ""
) -> None:
    """Raise ConfigError unless `value` is a number in range. `other` tells what else the option takes."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        enough = value > least if above else value >= least
        if enough and (value <= sys.float_info.max or (infinite and value == math.inf)):
            return
    want = f"a number {'above' if above else 'of at least'} {least:g}"
    raise ConfigError(f"{name} must be {want}{'' if infinite else ', and finite'}{other}; got {value!r}")


def check_seconds(
    name: str,
    value: object,
    *,
    most: float = HOUR,
    least: float = 0.0,
    above: bool = False,
    infinite: bool = False,
    other: str = "",
) -> None:
    """Raise ConfigError unless `value` is a duration. One above `most` was probably meant as milliseconds."""
    check_number(name, value, least=least, above=above, infinite=infinite, other=other)
    assert isinstance(value, int | float)
    if most < value < math.inf:
        no_limit = ", or math.inf for no limit" if infinite else other
        raise ConfigError(
            f"{name} must be a duration in seconds, not milliseconds as in JavaScript: "
            f"{value!r} would be {value / HOUR:.3g} hours; did you mean {value / 1000:g}{no_limit}?"
        )


def check_flag(name: str, value: object) -> None:
    """Raise ConfigError unless `value` is True or False. Anything else, such as "no", would count as a yes."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False; got {value!r}")


def check_count(name: str, value: object, *, least: int = 0, none: str = "") -> None:
    """Raise ConfigError unless `value` is a whole number in range. `none` says what None means, where it is allowed."""
    if value is None and none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        other = f", or None: {none}" if none else ""
        raise ConfigError(f"{name} must be a whole number of at least {least}{other}; got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything a peer can make grow (protocol 7). Sizes are bytes, durations are seconds."""

    connections: int = 50_000
    """The most connections of a server; one more is closed at once. Default: 50,000."""
    connections_per_address: int = 1000
    """The most connections from one IPv4 address or one /64 network of IPv6; one more is closed, or its request
    answered 503. Trusted proxies and this machine have no such limit; the clients behind the proxies have. Default:
    1000."""
    head: int = 16 * 1024
    """The largest head of an HTTP request or answer that is read, in bytes. Default: 16 KiB."""
    handshake: float = 10.0
    """Seconds to wait for a whole request head or body, and for the next request on a connection. Default: 10."""
    body: int = 1024 * 1024
    """The largest HTTP body that is read, in bytes. Default: 1 MiB."""
    pipelined: int = 16 * 1024
    """Bytes that may wait behind an unanswered request; above that, reading pauses. Default: 16 KiB."""
    headers: int = 100
    """The most header fields of one request. Default: 100."""
    parameters: int = 100
    """The most parameters in the query of one request. Default: 100."""
    message: int = 10 * 1024 * 1024
    """The largest message that is accepted, in bytes; a frame is refused by its declared length. Default: 10 MiB."""
    fragments: int = 1024
    """How many frames one message may consist of. Default: 1024."""
    values: int = 250_000
    """How many values a message may have, with its lists and objects; the parser checks it. Default: 250,000."""
    nesting: int = 500
    """How deeply lists and objects may be nested in a message; the parser checks it. Default: 500."""
    backlog: int = 1024 * 1024
    """Unsent bytes of one spark above which it ends if its client takes nothing for `stall` seconds. Default: 1 MiB."""
    burst: int = 16 * 1024 * 1024
    """Unsent bytes of one spark above which `write` refuses a value; never less than `backlog`. Default: 16 MiB."""
    stall: float = 10.0
    """Seconds in which a spark above `backlog` has to take something. Default: 10."""
    queue: int = 16 * 1024 * 1024
    """Bytes that a client keeps while it is not connected or the server does not read. Default: 16 MiB."""
    close: float = 5.0
    """Seconds that a closing handshake may take before the connection is aborted. Default: 5."""
    drain: int = 256 * 1024
    """Bytes that are read and discarded after a connection was refused, failed or closed, until the peer closes; a
    small message counts as what it costs. Default: 256 KiB."""
    idle: float = math.inf
    """Seconds without a message after which a spark is ended whose client has switched its heartbeat off. Default: inf,
    never."""
    replies: int = 100
    """Heartbeats, WebSocket pings and questions for the id that are answered within a second, of one peer. Behind that
    only the last of each kind is answered, a second later. Default: 100."""
    heartbeat_min: float = 1.0
    """The shortest heartbeat timeout that a client may ask for, in seconds. Default: 1."""
    heartbeat_max: float = 600.0
    """The longest silence that a client may ask for, skipped heartbeats included, in seconds. Default: 600."""
    authorizations: int = 1000
    """How many requests may be held at once, as for authorization; more are answered 503. Default: 1000."""
    authorization: float = 10.0
    """Seconds that a layer, such as authorization, may hold a request before it is answered 503, and a listener of
    `connection` a new spark before it is ended. Default: 10."""
    unclaimed: int = 1000
    """How many sessions may wait for their client's second request, for `handshake` seconds; more are answered 503.
    Only transports with sessions over several requests have any. Default: 1000."""
    held: int = 256 * 1024
    """Bytes of one session that may wait for an asynchronous transform or parser; above that, reading pauses. Default:
    256 KiB."""
    transform: float = 10.0
    """Seconds that an asynchronous transform or parser may take for one message. Default: 10."""

    def __post_init__(self) -> None:
        for name in (
            *("connections", "connections_per_address", "replies"),
            *("head", "headers", "parameters", "pipelined", "message", "fragments", "values", "nesting"),
        ):
            check_count(f"limits.{name}", getattr(self, name), least=1)
        for name in ("body", "backlog", "burst", "queue", "drain", "held", "authorizations", "unclaimed"):
            check_count(f"limits.{name}", getattr(self, name))
        for name in ("handshake", "stall", "close", "transform", "heartbeat_min", "authorization"):
            check_seconds(f"limits.{name}", getattr(self, name), above=True)
        check_seconds("limits.idle", self.idle, above=True, most=24 * HOUR, infinite=True)
        check_seconds("limits.heartbeat_max", self.heartbeat_max, above=True, most=24 * HOUR)
        if self.heartbeat_min > self.heartbeat_max:
            raise ConfigError("limits.heartbeat_min must not be above limits.heartbeat_max")
