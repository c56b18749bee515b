"""The names of events that are reserved: those of a client, of a spark and of a server (protocol 5)."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import LocalProtocolError

__all__ = ["CLIENT_EVENTS", "OWN_EVENTS", "SERVER_EVENTS", "SPARK_EVENTS", "is_reserved", "reserved"]

CLIENT_EVENTS = frozenset({
    "close", "data", "destroy", "end", "error", "offline", "online", "open", "readyStateChange", "reconnect",
    "reconnect failed", "reconnect scheduled", "reconnect timeout", "reconnected", "timeout",
})  # fmt: skip
SPARK_EVENTS = frozenset({"data", "end", "error", "heartbeat", "readyStateChange"})
SERVER_EVENTS = frozenset({
    "close", "connection", "disconnection", "flatline", "heartbeat-skipped", "initialised", "log", "plugin", "plugout",
})  # fmt: skip
OWN_EVENTS = frozenset({"drain", "message ignored", "messages dropped"})
"""Events that the original does not have. Their names never come over the wire, so they are not reserved."""


def is_reserved(name: str, *names: Collection[str]) -> bool:
    """Whether a name is among `names`, or is private. Raises LocalProtocolError for what is not a string."""
    if not isinstance(name, str):
        raise LocalProtocolError(f"the name of an event is a string; got {name!r}")
    return name.startswith(("incoming::", "outgoing::")) or any(name in each for each in names)


def reserved(name: str) -> bool:
    """Whether the name is one of a client's, a spark's or a server's own events (protocol 5).

    The methods `reserved` of these three know which names are theirs, and those of their plugins. Raises
    LocalProtocolError for what is not a string.
    """
    return is_reserved(name, CLIENT_EVENTS, SPARK_EVENTS, SERVER_EVENTS)
