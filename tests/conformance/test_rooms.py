"""The plugin `rooms`, on every binding."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto.plugins import RoomJoined, Rooms, RoomsLeft, ServerRooms
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Diary, take


@scenario()
async def test_what_is_written_to_a_room_reaches_its_members(host: Host) -> None:
    def connected(spark: Any) -> None:
        spark.extension(Rooms).join("all", spark.query["name"])

        def relay(value: Any) -> None:
            spark.extension(Rooms).room("all").write(value, exclude=[spark])

        spark.on("data", relay)

    async with host.serve(None, plugins=["rooms"]) as server:
        server.on("connection", connected)
        rooms = server.extension(ServerRooms)
        async with (
            host.connect(f"{server.url}/?name=a") as a,
            host.connect(f"{server.url}/?name=b") as b,
        ):
            await host.until(lambda: set(rooms.names) == {"all", "a", "b"})
            assert rooms.room("a").write("only a") == 1
            assert rooms.room("all").write(None) == 2
            a.write("from a")
            assert await take(a, 2) == ["only a", None]
            assert await take(b, 2) == [None, "from a"]
            [spark] = rooms.room("b").sparks
            assert spark is server.spark(await b.id())
            assert spark is not None
            spark.extension(Rooms).leave("all")
            assert rooms.room("all").write("a") == 1
        await host.until(lambda: not rooms.names)
        with pytest.raises(LocalProtocolError, match="closed"):
            spark.extension(Rooms).join("all")


@scenario()
async def test_events_of_rooms_reach_listeners_of_the_spark_and_of_the_server(host: Host) -> None:
    diaries: list[Diary] = []
    joined: list[RoomJoined] = []

    def connected(spark: Any) -> None:
        diaries.append(Diary(host, spark, "joinroom", "leaveroom", "leaveallrooms", "end"))
        spark.extension(Rooms).join("a b")

    async def note(event: RoomJoined) -> None:
        joined.append(event)

    async with host.serve(None, plugins=["rooms"]) as server:
        everyone = Diary(host, server, "leaveroom", "leaveallrooms")
        server.on("connection", connected)
        server.on(RoomJoined, host.listener(note))
        async with host.connect(server.url) as primus:
            spark = server.sparks[await primus.id()]
            await host.until(lambda: len(joined) == 2)
            spark.extension(Rooms).leave("b")
            await diaries[0].wait("leaveroom")
        await diaries[0].wait("end")
        assert diaries[0].entries == [
            *(("joinroom", "a"), ("joinroom", "b"), ("leaveroom", "b")),
            *(("leaveallrooms", ("a",)), ("end", ())),
        ]
        assert everyone.entries == [("leaveroom", ("b", spark)), ("leaveallrooms", (("a",), spark))]
        assert [(event.room, event.session) for event in joined] == [("a", spark), ("b", spark)]
        assert server.reserved("joinroom")
        assert spark.reserved("roomserror")
        assert not primus.reserved("joinroom")
        spark.on(RoomsLeft, print)
        other: Any = primus
        with pytest.raises(LocalProtocolError, match="no event 'joinroom'"):
            other.on("joinroom", print)
