"""The plugin `rooms`, on every binding."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import LocalProtocolError
from primus_proto.plugins import Rooms, ServerRooms
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import take


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
