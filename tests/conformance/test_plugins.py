"""Plugins, and `emitter` as one of them, on every binding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from primus_proto import DROP, ConfigError, ConnectionLost, LocalProtocolError, Packet
from primus_proto.plugins import Ack, Emitter, Extension, Plugin, PluginEvent, ServerEmitter
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Diary, take


@scenario()
async def test_events_are_acknowledged_both_ways(host: Host) -> None:
    async def slow(a: int, b: int) -> int:
        await host.pause(0.01)
        return a + b

    def connected(spark: Any) -> None:
        emitter = spark.extension(Emitter)
        emitter.on("sum", host.listener(slow))
        emitter.on("both", lambda *args: Ack(*args))

    async with host.serve(None, plugins=["emitter"]) as server:
        server.on("connection", connected)
        server.extension(ServerEmitter).on("who", lambda spark: spark.id)
        async with host.connect(server.url, plugins="emitter") as primus:
            emitter = primus.extension(Emitter)
            await host.until(lambda: len(server.sparks) == 1)
            [spark] = server.sparks.values()
            assert await host.result(emitter.call("who")) == spark.id
            replies = [emitter.call("sum", number, None if number == 9 else 1) for number in range(3)]
            replies.append(emitter.call("both", None, [1]))
            assert [await host.result(reply) for reply in replies] == [1, 2, 3, [None, [1]]]
            emitter.on("hello", lambda name: f"hello {name}")
            assert await host.result(spark.extension(Emitter).call("hello", "you")) == "hello you"
            assert server.extension(ServerEmitter).send("hello", "all") == 1
            assert primus.write("data") is True
            assert await take(spark, 1) == ["data"]


@scenario()
async def test_a_call_fails_at_its_time_and_with_the_connection(host: Host) -> None:
    async with host.serve(None, plugins="emitter") as server, host.connect(server.url, plugins="emitter") as primus:
        emitter = primus.extension(Emitter)
        with pytest.raises(TimeoutError, match="'nobody'"):
            await host.result(emitter.call("nobody", timeout=0.05))
        reply = emitter.call("nobody", timeout=60)
        await server.close()
        with pytest.raises(ConnectionLost):
            await host.result(reply)


@scenario()
async def test_a_listener_that_raises_ends_its_session(host: Host) -> None:
    async with host.serve(None, plugins="emitter") as server:
        server.extension(ServerEmitter).on("divide", lambda spark, a: 1 // a)
        async with host.connect(server.url, plugins="emitter", strategy=False) as primus:
            diary = Diary(host, primus, "end")
            primus.extension(Emitter).send("divide", 0)
            await diary.wait("end")


@scenario()
async def test_plugins_come_and_go_and_say_so(host: Host) -> None:
    class Greets(Plugin):
        name = "greets"

        def spark(self, spark: Any) -> None:
            spark.write("hello")

    class Broken(Plugin):
        name = "broken"

        def server(self, server: Any) -> None:
            raise ZeroDivisionError("oops")

    async with host.serve(None) as server:
        diary = Diary(host, server, "plugin", "plugout")
        plugin = Greets()
        server.use(plugin)
        assert server.plugin("greets") is plugin
        with pytest.raises(ZeroDivisionError):
            server.use(Broken())
        with pytest.raises(ConfigError, match="unknown plugin"):
            server.use("nothing")
        async with host.connect(server.url) as primus:
            assert await take(primus, 1) == ["hello"]
            assert primus.plugin("greets") is None
            with pytest.raises(LocalProtocolError, match="no extension Emitter"):
                primus.extension(Emitter)
        assert server.plugout("greets") is True
        assert (server.plugout("greets"), server.plugin("greets")) == (False, None)
        await diary.wait("plugout")
        assert diary.entries == [("plugin", ("greets", plugin)), ("plugout", ("greets", plugin))]


@scenario()
async def test_a_client_with_a_broken_plugin_is_not_made(host: Host) -> None:
    class Broken(Plugin):
        def client(self, client: Any) -> None:
            raise ZeroDivisionError("oops")

    async with host.serve(None) as server:
        with pytest.raises(ZeroDivisionError):
            async with host.connect(server.url, plugins={"broken": Broken()}):
                raise AssertionError("it was made")


@dataclass
class Heard(PluginEvent):
    """A word was said."""

    name = "heard"
    word: str

    @property
    def args(self) -> tuple[Any, ...]:
        return (self.word,)


class Hears(Plugin):
    """Emits an event of its own for each message that is a string."""

    name = "hears"
    events = (Heard,)

    def spark(self, spark: Any) -> Extension:
        return self.client(spark)

    def client(self, client: Any) -> Extension:
        extension = Extension(client)

        def hear(packet: Packet) -> object:
            if isinstance(packet.data, str):
                extension.emit(Heard(extension.session, packet.data))
                return DROP
            return None

        client.transform("incoming", hear)
        return extension


@scenario()
async def test_a_plugin_emits_events_of_its_own_at_both_ends(host: Host) -> None:
    async def answer(event: Heard) -> None:
        event.session.write(event.word.upper())

    async with host.serve(None, plugins=[Hears()]) as server:
        server.on(Heard, host.listener(answer))
        async with host.connect(server.url, plugins=[Hears()]) as primus:
            diary = Diary(host, primus, "heard")
            primus.write("hello")
            primus.write("again")
            await host.until(lambda: len(diary.entries) == 2)
            assert diary.entries == [("heard", "HELLO"), ("heard", "AGAIN")]
            extension = primus.extension(Extension)
            assert extension.emit(Heard(primus, "from outside")) is True
            await host.until(lambda: len(diary.entries) == 3)
            primus.end()
            assert extension.emit(Heard(primus, "too late")) is False
