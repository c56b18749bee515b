"""The rooms plugin: who is in which room, what reaches whom, and that nothing stays behind."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ConfigError, EncodeError, LocalProtocolError, Spark
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.plugins import RoomJoined, Rooms, RoomsPlugin, ServerRooms
from primus_proto.plugins.rooms import matches
from tests.unit.sessions import ServerHost


class World:
    """A server with three sparks, a, b and c."""

    def __init__(self, **options: Any) -> None:
        self.host = ServerHost(plugins=[RoomsPlugin(**options)])
        self.sparks = {name: self.host.connect() for name in "abc"}
        self.rooms: ServerRooms = self.host.server.extension(ServerRooms)
        self.host.commanded()

    def of(self, name: str) -> Rooms:
        """The rooms of a spark."""
        return self.sparks[name].extension(Rooms)

    def reached(self) -> str:
        """The sparks that were written to since the last call."""
        names: dict[Any, str] = {spark: name for name, spark in self.sparks.items()}
        sent = [command for command in self.host.commanded() if isinstance(command, cmd.SendMessage)]
        return "".join(names[command.spark] for command in sent)


@pytest.fixture
def world() -> World:
    return World()


def test_a_room_reaches_its_members_once_the_sender_included(world: World) -> None:
    world.of("a").join("news", "sport")
    world.of("b").join("news sport", 7)
    world.of("b").join("news")
    assert world.of("b").names == ("news", "sport", "7")
    assert world.rooms.names == ("news", "sport", "7")
    assert world.rooms.room("news", "sport").write(None) == 2
    assert world.reached() == "ab"
    assert world.of("b").room("news").write("x", exclude=[world.sparks["b"]]) == 1
    assert world.reached() == "a"
    assert world.rooms.room(7).write("x") == 1
    assert world.reached() == "b"
    assert world.rooms.room("nobody").write("x") == 0
    assert world.rooms.room("news").sparks == [world.sparks["a"], world.sparks["b"]]


def test_an_event_of_the_emitter_goes_to_a_room(world: World) -> None:
    world.of("a").join("news")
    assert world.rooms.room("news").send("new", 1) == 1
    assert world.host.sent() == [{"type": 0, "data": ["new", 1]}]
    with pytest.raises(LocalProtocolError, match="reserved"):
        world.rooms.room("news").send("data", 1)


def test_events_tell_of_what_has_changed(world: World) -> None:
    a, spark = world.of("a"), world.sparks["a"]
    a.join("news sport", 7, "news")
    a.join("news")
    a.leave("sport", "nothing")
    world.rooms.empty("7")
    a.leave_all()
    a.leave_all()
    a.join("x")
    spark.end()
    a.leave_all()
    told = [event for event in world.host.fresh() if isinstance(event, ev.PluginEvent | ev.SparkEnded)]
    assert [(event.name, event.args) for event in told] == [
        *(("joinroom", (name,)) for name in ("news", "sport", "7")),
        *(("leaveroom", (name,)) for name in ("sport", "7")),
        ("leaveallrooms", (("news",),)),
        ("joinroom", ("x",)),
        ("leaveallrooms", (("x",),)),
        ("end", ()),
    ]
    assert isinstance(told[0], RoomJoined)
    assert told[0].server_args == ("news", spark)


def test_a_room_is_gone_with_its_last_member(world: World) -> None:
    world.of("a").join("news", "n*")
    world.of("b").join("news")
    world.of("a").leave("news", "never joined")
    assert world.rooms.names == ("news", "n*")
    assert repr(world.rooms.room("news")) == "Room('news')"
    world.sparks["a"].end()
    world.sparks["b"].connection_lost(now=world.host.now)
    for left in (world.rooms.names, world.of("a").names, world.rooms._patterns):
        assert not left
    assert world.rooms.room("news").write("x") == 0


def test_leave_all_and_empty(world: World) -> None:
    for name in "abc":
        world.of(name).join("news", name)
    world.of("a").leave_all()
    world.rooms.empty("news nothing")
    assert world.of("b").names == ("b",)
    assert world.rooms.names == ("b", "c")


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("news:*", "news:1", True),
        ("news:*", "news:", True),
        ("news:*", "new", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*:x", "a:b:x", True),
        ("a*c*e", "abcde", True),
        ("a*c*e", "aec", False),
        ("a.*", "abc", False),
        ("a**b", "a--b", True),
        ("*a*a*a*", "aa", False),
    ],
)
def test_patterns(pattern: str, name: str, does: bool) -> None:
    assert matches(pattern.split("*"), name) is does


def test_a_pattern_is_joined_and_not_written_to(world: World) -> None:
    world.of("a").join("news:*")
    world.of("b").join("news:1")
    for room, reached in (("news:1", "ba"), ("news:2", "a"), ("news:*", "a"), ("*", "")):
        world.rooms.room(room).write("x")
        assert world.reached() == reached
    world.of("a").leave("news:*")
    assert world.rooms.room("news:2").write("x") == 0


def test_a_hostile_pattern_takes_no_time(world: World) -> None:
    world.of("a").join("*a" * 500)
    assert world.rooms.room("a" * 499).write("x") == 0


def test_mistakes_change_nothing() -> None:
    world = World(limit=2)
    rooms = world.of("a")
    rooms.join("one")
    wrong: Any
    for wrong in ((), ("",), (" ",), (None,), (True,), (b"x",), (["x"],), ("x" * 1001,), (1 << 5000,)):
        with pytest.raises(LocalProtocolError, match="room"):
            rooms.join(*wrong)
    with pytest.raises(LocalProtocolError, match="2 rooms"):
        rooms.join("two three")
    with pytest.raises(EncodeError):
        world.rooms.room("one").write({1})
    with pytest.raises(LocalProtocolError, match="exclude"):
        world.rooms.room("one").write("x", exclude=["a"])
    assert (rooms.names, world.rooms.names, world.reached()) == (("one",), ("one",), "")
    spark: Spark = world.sparks["a"]
    spark.end()
    with pytest.raises(LocalProtocolError, match="closed"):
        rooms.join("one")
    for limit in (0, None, "5"):
        with pytest.raises(ConfigError):
            RoomsPlugin(limit=limit)  # type: ignore[arg-type]
