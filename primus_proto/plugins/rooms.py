"""`rooms`: named groups of sparks, as primus-rooms 3.4 has them (protocol 5.4). It has no wire of its own.

The laws kept here: a spark leaves its rooms when it ends; a room without members takes no memory; a broadcast to rooms
reaches each spark once, and is encoded once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, LocalProtocolError, PrimusError
from ..plugin_events import PluginEvent
from .base import Extension, Plugin, in_core_of
from .emitter import event_frame

if TYPE_CHECKING:
    from ..session.server import Server
    from ..session.spark import Spark

__all__ = ["Room", "RoomJoined", "RoomLeft", "Rooms", "RoomsLeft", "RoomsPlugin", "ServerRooms"]


@dataclass
class RoomJoined(PluginEvent):
    """The spark has joined `room`."""

    name = "joinroom"
    room: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.room,)


@dataclass
class RoomLeft(PluginEvent):
    """The spark has left `room`."""

    name = "leaveroom"
    room: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.room,)


@dataclass
class RoomsLeft(PluginEvent):
    """The spark has left all its `rooms`, by `leave_all` or because it has ended."""

    name = "leaveallrooms"
    rooms: tuple[str, ...]

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.rooms,)


LONGEST = 1000
"""Characters of a name, so that a spark in many rooms takes little memory though its client chose their names."""


def names_of(names: Collection[object]) -> list[str]:
    """The names of rooms; a string with spaces has several. Raises LocalProtocolError for an invalid name."""
    found: list[str] = []
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise LocalProtocolError(f"a room has a name, a string or a whole number; got {name!r}")
        if (len(name) if isinstance(name, str) else name.bit_length()) > LONGEST:
            raise LocalProtocolError(f"the name of a room has at most {LONGEST} characters")
        found += str(name).split()
    if not found:
        raise LocalProtocolError("name at least one room")
    return list(dict.fromkeys(found))


def matches(parts: list[str], name: str) -> bool:
    """Whether a name matches a pattern, which was split at its asterisks. Linear in the length of the name."""
    first, *middle, last = parts
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class Room:
    """One room or several, to write to: ``rooms.room("news sport").write(value)``."""

    def __init__(self, rooms: ServerRooms, names: list[str]) -> None:
        self._rooms = rooms
        self.names: tuple[str, ...] = tuple(names)
        """The names of the rooms."""

    def __repr__(self) -> str:
        return f"Room({', '.join(map(repr, self.names))})"

    @property
    def sparks(self) -> list[Any]:
        """The sparks in it, as their users hold them. Each is there once."""
        return self._rooms.faces(self.names)

    def write(self, data: Any, *, exclude: Collection[Any] = ()) -> int:
        """Send one value to every spark in it but those in `exclude`. Returns how many took it.

        The sender of a message is a member like all others: exclude it if it should not get the value. Raises
        EncodeError if the value cannot be sent.
        """
        return self._rooms.write(self.names, data, exclude)

    def send(self, name: str, *args: Any, exclude: Collection[Any] = ()) -> int:
        """Send an event of the plugin `emitter` to every spark in it but those in `exclude`."""
        return self.write(event_frame(name, args), exclude=exclude)


class Rooms(Extension):
    """The rooms of one spark: ``spark.extension(Rooms)``."""

    def __init__(self, core: Spark, server: ServerRooms, limit: int) -> None:
        super().__init__(core)
        self._spark = core
        self._server = server
        self._limit = limit
        self._names: dict[str, None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The rooms that the spark is in, in the order in which it joined."""
        return tuple(self._names)

    def join(self, *names: str | int) -> None:
        """Join rooms. Joining one twice changes nothing. A name may have ``*`` in it, which stands for any characters.

        Raises LocalProtocolError for a spark that has closed, and for too many rooms.
        """
        wanted = names_of(names)
        self.in_core(lambda: self._join(wanted))

    def leave(self, *names: str | int) -> None:
        """Leave rooms. Leaving one that the spark is not in changes nothing."""
        left = names_of(names)
        self.in_core(lambda: self._leave(left))

    def leave_all(self) -> None:
        """Leave all rooms."""
        self.in_core(self._leave_all)

    def room(self, *names: str | int) -> Room:
        """Rooms to write to; the spark need not be in them."""
        return self._server.room(*names)

    def closed(self, error: PrimusError) -> None:
        self._leave_all()

    def _join(self, names: list[str]) -> None:
        if not self._spark.is_open:
            raise LocalProtocolError("the spark has closed, so it cannot join a room")
        new = [name for name in names if name not in self._names]
        if len(self._names) + len(new) > self._limit:
            raise LocalProtocolError(f"a spark can be in {self._limit} rooms (the plugin's option `limit`)")
        for name in new:
            self._names[name] = None
            self._server.add(name, self._spark)
            self._spark.tell(RoomJoined(self.session, name))

    def _leave(self, names: list[str]) -> None:
        for name in names:
            if name in self._names:
                self._remove(name)
                self._spark.tell(RoomLeft(self.session, name))

    def _leave_all(self) -> None:
        left = self.names
        for name in left:
            self._remove(name)
        if left:
            self._spark.tell(RoomsLeft(self.session, left))

    def _remove(self, name: str) -> None:
        del self._names[name]
        self._server.remove(name, self._spark)


class ServerRooms:
    """The rooms of a server: ``server.extension(ServerRooms)``."""

    def __init__(self, core: Server) -> None:
        self.core: Server = core
        """The core's server."""
        self._members: dict[str, dict[Spark, None]] = {}
        self._patterns: dict[str, list[str]] = {}

    def adopt(self, earlier: ServerRooms) -> None:
        """Take over from an earlier run of the server, whose sparks have left. Both show the same rooms."""
        self._members, self._patterns = earlier._members, earlier._patterns

    @property
    def names(self) -> tuple[str, ...]:
        """The rooms that have members."""
        return tuple(self._members)

    def room(self, *names: str | int) -> Room:
        """Rooms to write to."""
        return Room(self, names_of(names))

    def empty(self, *names: str | int) -> None:
        """Have all members leave these rooms. A name with ``*`` in it is a room like any other here."""
        emptied = names_of(names)

        def leave() -> None:
            for name in emptied:
                for spark in tuple(self._members.get(name, ())):
                    spark.extension(Rooms)._leave([name])

        in_core_of(self.core.face, leave)

    def members(self, names: Collection[str]) -> list[Spark]:
        """The core's sparks in any of these rooms, or in one whose pattern matches. Each is there once."""
        found: dict[Spark, None] = {}
        for name in names:
            found.update(self._members.get(name, {}))
            for pattern, parts in self._patterns.items():
                if matches(parts, name):
                    found.update(self._members[pattern])
        return list(found)

    def write(self, names: Collection[str], data: Any, exclude: Collection[Any] = ()) -> int:
        """Send one value to the members of rooms."""
        server = self.core.face
        return int(server.write(data, to=self.faces(names), exclude=exclude))

    def faces(self, names: Collection[str]) -> list[Any]:
        """The members of rooms, as their users hold them."""
        return in_core_of(self.core.face, lambda: [core.face for core in self.members(names)])

    def add(self, name: str, spark: Spark) -> None:
        """A spark has joined."""
        self._members.setdefault(name, {})[spark] = None
        if "*" in name:
            self._patterns[name] = name.split("*")

    def remove(self, name: str, spark: Spark) -> None:
        """A spark has left."""
        members = self._members[name]
        del members[spark]
        if not members:
            del self._members[name]
            self._patterns.pop(name, None)


class RoomsPlugin(Plugin):
    """The plugin. A spark can be in at most `limit` rooms."""

    name = "rooms"
    events = (RoomJoined, RoomLeft, RoomsLeft)
    reserved = ("roomserror",)  # of the original; here errors are raised

    def __init__(self, *, limit: int = 1000) -> None:
        if type(limit) is not int or limit < 1:
            raise ConfigError(f"limit must be a whole number of at least 1; got {limit!r}")
        self.limit: int = limit

    def server(self, server: Server) -> ServerRooms:
        return ServerRooms(server)

    def spark(self, spark: Spark) -> Rooms:
        return Rooms(spark, spark.server.extension(ServerRooms), self.limit)
