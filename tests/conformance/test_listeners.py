"""Listeners and handlers: which are called, when, in which order, and what happens to their exceptions."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from primus_io import Spark
from primus_io._server import MAX_LISTENER_TASKS
from primus_proto import DecodeError, LocalProtocolError
from primus_proto import events as ev
from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import CLOSE, RawPeer, frame
from tests.conformance.test_sessions import stay
from tests.conformance.users import Diary, Gate, echo, take, why


@scenario()
async def test_listeners_by_name_by_class_and_off(host: Host) -> None:
    said: list[Any] = []

    def connected(spark: Spark) -> None:
        said.append(("connection", spark))

        @spark.on("data")
        def data(value: Any) -> None:
            said.append(("name", value))
            if value == 1:
                spark.off("data", data)
                spark.off("data", data)  # harmless
                spark.off("heartbeat", print)

        @spark.on(ev.SparkData)
        def typed(event: ev.SparkData) -> None:
            said.append(("class", event.data))
            held: Any = event.spark
            assert held is spark

    async with host.serve(stay) as server:
        assert server.on("connection", connected) is connected
        async with host.connect(server.url) as primus:
            [spark] = server.sparks.values()
            for number in range(3):
                primus.write(number)
            await host.until(lambda: ("class", 2) in said)
        assert said == [("connection", spark), *(("name", 0), ("class", 0)), *(("name", 1), ("class", 1)), ("class", 2)]


@scenario()
async def test_an_unknown_event_is_refused_with_the_known_names(host: Host) -> None:
    async with host.serve(stay) as server, host.connect(server.url) as primus:
        [spark] = server.sparks.values()
        cases: list[tuple[Any, str, str]] = [
            (primus, "connection", "reconnect scheduled"),
            (primus, "mesage", "data"),
            (server, "data", "connection"),
            (spark, "flatline", "heartbeat"),
        ]
        for emitter, wrong, right in cases:
            with pytest.raises(LocalProtocolError, match=f"there is no event '{wrong}' here; there are: .*{right}"):
                emitter.on(wrong, print)
            with pytest.raises(LocalProtocolError):
                emitter.on(wrong)(print)
            for no_event in (5, int):
                with pytest.raises(LocalProtocolError, match="an event is a name, or a class of primus_proto"):
                    emitter.on(no_event, print)
            with pytest.raises(LocalProtocolError, match="a listener must be callable; got 5"):
                emitter.on(right, 5)


@pytest.mark.parametrize("event", ["data", ev.SparkData], ids=["name", "class"])
@scenario()
async def test_a_listener_that_removes_itself_leaves_later_messages_to_receive(host: Host, event: Any) -> None:
    said: list[Any] = []

    async def handler(spark: Any) -> None:
        def once(value: Any) -> None:
            said.append(value)
            spark.off(event, once)

        spark.on(event, once)
        await spark.wait_ended()

    async with host.serve(handler) as server, host.connect(server.url) as primus:
        for number in range(3):
            primus.write(number)
        await host.until(lambda: said)
        [spark] = server.sparks.values()
        assert [await spark.receive(), await spark.receive()] == [1, 2]
        assert len(said) == 1


@scenario(needs=["early listeners"])
async def test_a_listener_added_in_the_block_hears_initialised(host: Host) -> None:
    said: list[str] = []
    async with host.serve(stay) as server:
        server.on("initialised", lambda: said.append("initialised"))
        async with host.connect(server.url):
            pass
        await host.told(lambda: said == ["initialised"])


@scenario(needs=["sockets", "handshake limits"])
async def test_peers_cannot_pile_up_listeners_of_the_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """However slow those are and however many bad peers there come: what is too much for them is logged."""
    gate, said, ended = Gate(host), list[str](), list[str]()
    more = 10
    async with host.serve(stay) as server:

        @server.on("log")
        async def heard(level: str, text: str) -> None:
            said.append(text)
            await gate.wait()
            ended.append(text)

        for number in range(MAX_LISTENER_TASKS + more):
            with RawPeer(server.port) as peer:
                await host.thread(peer.connect)
                peer.send(b"nonsense %d\r\n\r\n" % number)
                assert (await host.thread(peer.head)).startswith(b"HTTP/1.1 400")
        await host.until(lambda: caplog.text.count("nonsense") == more)
        await host.until(lambda: len(said) == MAX_LISTENER_TASKS)
        gate.open()
        await host.until(lambda: len(ended) == MAX_LISTENER_TASKS)


@scenario()
async def test_a_listener_of_the_servers_close_that_waits_is_waited_for(host: Host) -> None:
    said: list[str] = []
    async with host.serve(stay) as server:

        @server.on("close")
        async def closed() -> None:
            await host.pause(0.02)
            said.append("close")

        async with host.connect(server.url):
            pass
        assert said == []
    assert said == ["close"]


# --- faults on the server ---


def broken(spark: Any) -> None:
    """A listener of `connection` whose spark's listeners raise at the word."""

    def data(value: Any) -> None:
        if value == "raise":
            raise ZeroDivisionError("in a listener")
        spark.write(value)

    spark.on("data", data)


def broken_later(spark: Any) -> None:
    async def data(value: Any) -> None:
        if value == "raise":
            raise ZeroDivisionError("in a coroutine listener")
        await spark.send(value)

    spark.on("data", data)


async def broken_handler(spark: Any) -> None:
    async for value in spark:
        if value == "raise":
            raise ZeroDivisionError("in a handler")
        await spark.send(value)


FAULTS = [broken, broken_later, broken_handler]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
@scenario(needs=["sockets"])
async def test_a_fault_ends_its_spark_with_1011(host: Host, caplog: pytest.LogCaptureFixture, fault: Any) -> None:
    """What raises ends its spark with 1011 and without `primus::server::close`; the others do not notice."""
    async with host.serve(fault if fault is broken_handler else None) as server:
        if fault is not broken_handler:
            server.on("connection", fault)
        async with host.connect(server.url) as other:
            with RawPeer(server.port) as peer:
                await host.thread(peer.open)
                peer.send(frame(b'"raise"') + frame(b'"after"'))
                opcode, payload = await host.thread(peer.frame)
                assert (opcode, payload) == (CLOSE, b"\x03\xf3internal error")
                peer.send(frame(payload, CLOSE))
                assert await host.thread(peer.rest) == b""
            async with host.connect(server.url, min=0.01) as primus:
                diary = Diary(host, primus, "close", "reconnected", "end")
                primus.write("raise")
                await diary.wait("reconnected")
                assert diary.names == ["close", "reconnected"]
                primus.write("again")
                assert await take(primus, 1) == ["again"]
            other.write("fine")
            assert await take(other, 1) == ["fine"]
            assert list(server.sparks) == [await other.id()]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 2
    assert all("raised; ending it" in record.getMessage() and record.exc_info for record in errors)


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@scenario()
async def test_a_connection_listener_that_raises(host: Host, caplog: pytest.LogCaptureFixture, awaits: bool) -> None:
    """It stands in for a handler, so what it raises ends the spark like one's, and nobody is left unserved."""

    def connected(spark: Any) -> None:
        if spark.query["name"] == "bad":
            raise ZeroDivisionError
        spark.on("data", spark.write)

    async def connected_later(spark: Any) -> None:
        connected(spark)

    async with host.serve(None) as server:
        server.on("connection", connected_later if awaits else connected)
        async with host.connect(f"{server.url}?name=good") as good:
            async with host.connect(f"{server.url}?name=bad", strategy="timeout") as bad:
                await bad.wait_ended()
                assert bad.close_reason is not None
                assert (bad.close_reason.kind, bad.close_reason.code) == ("lost", 1011)
            good.write(1)
            assert await take(good, 1) == [1]
    assert "ZeroDivisionError" in caplog.text


@scenario()
async def test_listeners_that_end_and_write_from_inside(host: Host) -> None:
    """Everything may be called from a listener, and its events come after the one that is under way."""
    said: list[str] = []

    def connected(spark: Spark) -> None:
        said.append("connection")
        spark.on("end", lambda: said.append("end"))

        @spark.on("data")
        def data(value: Any) -> None:
            spark.write("not yet")
            spark.end("bye")
            said.append("data")

        server.write("hello")
        said.append("wrote")

    async with host.serve(None) as server:
        server.on("connection", connected)
        server.on("disconnection", lambda spark: said.append("disconnection"))
        async with host.connect(server.url, manual=True) as primus:
            primus.on("data", lambda value: value == "hello" and primus.write("go"))
            values = aiter(primus)  # first, or what comes before it goes to the listener only
            primus.open()
            assert [value async for value in values] == ["hello", "not yet", "bye"]
        await host.told(lambda: len(said) == 5)
        assert said == ["connection", "wrote", "data", "disconnection", "end"]


# --- faults on the client ---


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@scenario(needs=["clients"])
async def test_what_a_clients_listener_raises_comes_out_on_leaving(host: Host, awaits: bool) -> None:
    def data(value: Any) -> None:
        raise ZeroDivisionError(value)

    async def data_later(value: Any) -> None:
        await host.pause(0.01)
        data(value)

    async def use(server: Any, error: Exception | None) -> None:
        async with host.connect(server.url) as primus:
            primus.on("data", data_later if awaits else data)
            primus.write("first")
            primus.write("second")
            await primus.wait_ended()
            assert isinstance(primus.failure, ZeroDivisionError)
            assert why(primus) == "local"
            if error is not None:
                raise error

    async with host.serve(echo) as server:
        with pytest.raises(ZeroDivisionError, match="first"):
            await use(server, None)
        with pytest.raises(KeyError, match="mine"):
            await use(server, KeyError("mine"))
        await host.until(lambda: not server.sparks)


@scenario(needs=["clients"])
async def test_a_listener_beside_a_loop_gets_long_values_too(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        primus.write(["x" * 600, 1])
        assert await primus.receive() == ["x" * 600, 1]
        [spark] = server.sparks.values()
        diary = Diary(host, spark, "data")
        primus.write(["y" * 600, 2])
        primus.write(3)
        assert [await primus.receive(), await primus.receive()] == [["y" * 600, 2], 3]
        await host.told(lambda: diary.all("data") == [["y" * 600, 2], 3])


@pytest.mark.parametrize("padding", ["", " " * 600])  # a long text is decoded when it is taken
@scenario(needs=["sockets"])
async def test_an_undecodable_message_is_an_error_and_the_connection_lives_on(
    host: Host, padding: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = f"[{padding}1e999]"
    async with host.serve(echo) as server:
        with RawPeer(server.port) as peer:
            await host.thread(peer.open)
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()
            peer.send(frame(b"nonsense"))
            await host.until(lambda: "not JSON" in caplog.text)
            diary, log = Diary(host, spark, "error", "message ignored"), Diary(host, server, "log")
            peer.send(frame(wrong.encode()) + frame(b'"primus::what::ever"') + frame(b"1"))
            assert await host.thread(peer.frame) == (1, b"1")
            await host.told(lambda: len(diary.entries) == 2)
            [error] = diary.all("error")
            assert isinstance(error, DecodeError)
            assert error.payload == wrong
            await host.told(lambda: log.entries)
            assert log.entries == [("log", ("error", f"spark {spark.id}: {error}"))]
            assert diary.all("message ignored") == ["primus::what::ever"]


@scenario(needs=["clients"])
async def test_what_a_client_logs_has_no_secrets(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the secrets in its URL nor what the user wrote."""
    async with host.serve(None) as server:
        url = f"{server.url.replace('//', '//ann:SECRET@')}/?token=SECRET"
    async with host.connect(url, wait=False, retries=1, min=0.01) as primus:
        assert "SECRET" not in repr(primus)
        primus.write("SECRET")
        primus.write("SECRET")
        await primus.wait_ended()
    expected = (">: 2 written values will not be sent: the client ended", "cannot connect to ")
    await host.until(lambda: all(text in caplog.text for text in expected))
    assert "SECRET" not in caplog.text
