"""Values from elsewhere into a session, and from one session into another; clients with options set once."""

from __future__ import annotations

from typing import Any

import pytest

from primus_io._sockets import SocketFactory, make_create_socket
from primus_proto import ConfigError, EncodeError, LocalProtocolError
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import echo, take


@scenario()
async def test_a_source_is_pumped_into_a_session(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        assert await primus.pump(range(5)) == 5
        assert await primus.pump(iter([None, {}])) == 2
        assert await take(primus, 7) == [0, 1, 2, 3, 4, None, {}]
        for wrong in (5, None, "text", b"bytes"):
            with pytest.raises(LocalProtocolError, match="source"):
                await primus.pump(wrong)  # type: ignore[arg-type]
        with pytest.raises(EncodeError):
            await primus.pump([1, {1}])
        primus.end()
        assert await primus.pump([1, 2]) == 0


@scenario()
async def test_a_session_is_relayed_to_another_until_one_ends(host: Host) -> None:
    async def through(spark: Any) -> None:
        async with host.connect(inner.url) as upstream:
            task = host.start(upstream.relay(spark))
            counts.append(await spark.relay(upstream))
            upstream.end()
            await task.join()
            counts.append(task.result())

    counts: list[int] = []
    async with host.serve(echo) as inner, host.serve(through) as outer:
        async with host.connect(outer.url) as primus:
            for number in range(3):
                primus.write(number)
            assert await take(primus, 3) == [0, 1, 2]
            [spark] = outer.sparks.values()
            with pytest.raises(LocalProtocolError, match="relay"):
                await spark.relay(5)  # type: ignore[arg-type]
        await host.until(lambda: len(counts) == 2)
    assert counts == [3, 3]


@scenario()
async def test_a_socket_factory_has_its_options_and_takes_more(host: Host) -> None:
    create_socket = make_create_socket(__name__, host.connect)
    async with host.serve(echo, pathname="/live", plugins=["emitter"]) as server:
        socket = create_socket(pathname="/live", plugins=["emitter"])
        assert (socket.url, set(socket.options)) == ("http://127.0.0.1", {"pathname", "plugins"})
        assert socket == create_socket(plugins=["emitter"], pathname="/live") != create_socket()
        async with socket(server.url) as one, create_socket(server.url, pathname="/live")(timeout=5) as two:
            one.write("one")
            two.write("two")
            assert await take(one, 1) + await take(two, 1) == ["one", "two"]
            assert one.plugin("emitter") is not None
        for wrong in ({"pathnam": "/x"}, {"parser": "none"}, {"url": 5}):
            with pytest.raises(ConfigError):
                create_socket(**wrong)


@scenario()
async def test_a_server_says_how_its_clients_connect(host: Host) -> None:
    async with host.serve(echo, pathname="/live", parser="ejson", plugins="emitter") as server:
        factory = server.Socket
        assert factory == server.Socket
        assert factory.url in (server.url, "http://127.0.0.1")  # an application does not know its URL
        async with SocketFactory(host.connect, server.url, factory.options)(strategy=False) as primus:
            primus.write(b"bytes")
            assert await take(primus, 1) == [b"bytes"]
            assert primus.plugin("emitter") is server.plugin("emitter")
