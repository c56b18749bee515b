"""Messages: each value arrives once, in order, whatever its size and number."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

from primus_proto import ConnectionLost, EncodeError, Limits, LocalProtocolError
from primus_proto.events import SparkData
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import Host, needing, scenario
from tests.conformance.peers import accept_websocket, frame, raw_server, silent
from tests.conformance.test_sessions import stay
from tests.conformance.users import Diary, echo, mebibytes, take

VALUES: list[Any] = [0, False, None, "", [], {}, -1.5, "ü\u2028\ud800😀", {"a": [1, {"b": None}]}, 2**53, "primus:"]
SECURED = pytest.param(True, id="tls", marks=needing("tls"))
KINDS = pytest.mark.parametrize("secure", [pytest.param(False, id="plain"), SECURED])


def over(host: Host, tls: Certificates, secure: bool, handler: Any, **options: Any) -> Any:
    """A server, plain or not."""
    return host.serve(handler, "localhost", ssl=tls.server if secure else None, **options)


def to(host: Host, tls: Certificates, secure: bool, server: Any, **options: Any) -> Any:
    """A client of it."""
    return host.connect(server.url, ssl=tls.client if secure else None, **options)


@KINDS
@scenario()
async def test_every_value_comes_back(host: Host, tls: Certificates, secure: bool) -> None:
    async with over(host, tls, secure, echo) as server, to(host, tls, secure, server) as primus:
        for value in VALUES:
            assert primus.write(value)
        assert await take(primus, len(VALUES)) == VALUES
        [spark] = server.sparks.values()
        for wrong in (b"bytes", float("nan"), {1, 2}, "primus::server::close"):
            with pytest.raises(EncodeError):
                primus.write(wrong)
            with pytest.raises(EncodeError):
                server.write(wrong)
            with pytest.raises(EncodeError):
                await spark.send(wrong)
        primus.write("still here")
        assert await take(primus, 1) == ["still here"]


@KINDS
@scenario(timeout=40)
async def test_large_messages(host: Host, tls: Certificates, secure: bool) -> None:
    value = mebibytes(4)
    async with over(host, tls, secure, echo) as server, to(host, tls, secure, server) as primus:
        assert await primus.send(value)
        assert await take(primus, 1) == [value]


@KINDS
@scenario(timeout=40)
async def test_bursts_of_every_size(host: Host, tls: Certificates, secure: bool) -> None:
    """Around the sizes of a TLS record and of every buffer there is, from both ends at once."""
    sizes = [n + d for n in (1 << 14, 1 << 16, 1 << 17, 1 << 18, 3 << 17, 1 << 19) for d in (-300, -15, -1, 0, 1, 15)]
    values = [str(size) + "x" * size for size in sizes] + list(range(3000))

    async def handler(spark: Any) -> None:
        for value in values:
            await spark.send(value)
        heard.extend(await take(spark, len(values)))

    heard: list[Any] = []
    async with over(host, tls, secure, handler) as server, to(host, tls, secure, server) as primus:
        sending = host.start(send_all(primus, values))
        got = await take(primus, len(values))
        await sending.join()
        sending.result()
        await host.until(lambda: len(heard) == len(values))
    assert got == values
    assert heard == values


async def send_all(primus: Any, values: list[Any]) -> None:
    for value in values:
        assert await primus.send(value)


@scenario()
async def test_what_was_written_before_the_end_arrives_before_it(host: Host) -> None:
    heard: list[Any] = []

    async def handler(spark: Any) -> None:
        heard.extend([value async for value in spark])
        heard.append("end")

    async with host.serve(handler) as server:
        async with host.connect(server.url) as primus:
            primus.write(mebibytes(1))
            for number in range(100):
                primus.write(number)
            primus.end("last words")
        await host.until(lambda: heard and heard[-1] == "end")
    assert heard == [mebibytes(1), *range(100), "last words", "end"]


@scenario()
async def test_values_that_a_server_listener_hears_are_not_kept(host: Host) -> None:
    """More than would fit between reading and handling, so that what nobody else takes must not be kept."""
    count, heard = 40, []
    async with host.serve(None) as server, host.connect(server.url) as primus:
        server.on(SparkData, lambda event: heard.append(event.data[:2]))
        for number in range(count):
            await primus.send(f"{number:02}" + "x" * 30_000)
        await host.until(lambda: len(heard) == count)
    assert heard == [f"{number:02}" for number in range(count)]


@scenario()
async def test_a_broadcast_leaves_out_sparks_and_nothing_else(host: Host) -> None:
    async with host.serve(None) as server, host.connect(server.url) as primus:
        await host.until(lambda: len(server.sparks) == 1)
        [spark] = server.sparks.values()
        mistakes: list[Any] = [spark, spark.id, [spark.id], [primus]]
        for wrong in mistakes:
            with pytest.raises(LocalProtocolError, match="exclude takes a collection of sparks, as in "):
                server.write("to nobody", exclude=wrong)
        assert server.write("to nobody", exclude={spark}) == 0
        assert server.write("first") == 1
        assert await primus.receive() == "first"


@scenario(timeout=40)
async def test_a_broadcast_reaches_everyone(host: Host) -> None:
    crowd, rounds = 100, 5
    async with host.serve(None) as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(host.connect(server.url, ping=False)) for _ in range(crowd)]
            await host.until(lambda: len(server.sparks) == crowd)
            readers = [host.start(take(primus, rounds + 1)) for primus in clients]
            for number in range(rounds):
                assert server.write({"round": number}) == crowd
            [first, *_] = server.sparks.values()
            assert server.write("not you", exclude=[first]) == crowd - 1
            first.write("you")
            for reader in readers:
                await reader.join()
            results = [reader.result() for reader in readers]
            said = [{"round": number} for number in range(rounds)]
            assert sorted(result[-1] for result in results) == ["not you"] * (crowd - 1) + ["you"]
            assert all(result[:-1] == said for result in results)
        await host.until(lambda: not server.sparks)
        assert server.write("nobody there") == 0


@scenario()
async def test_a_broadcast_cuts_a_client_that_does_not_read(host: Host) -> None:
    """The one is cut, the others get it all."""
    limits = Limits(backlog=64 * 1024)
    async with host.serve(None, limits=limits) as server, host.connect(server.url) as good:
        await host.until(lambda: server.sparks)
        async with host.connect(server.url, strategy=False) as bad:
            reading = host.start(take(good, 200))
            await host.until(lambda: len(server.sparks) == 2)
            for _ in range(200):
                server.write("x" * 32 * 1024)  # `bad` has stopped reading after the first few
                await host.pause(0.001)
            await reading.join()
            assert len(reading.result()) == 200
            await host.until(lambda: len(server.sparks) == 1)
            assert bad.state == "open", "it has not read so far"


@scenario(needs=["clients", "sockets"])
async def test_a_late_listener_hears_earlier_values_first(host: Host) -> None:
    """Even if that is in the socket already when the listener is."""
    more, sent = threading.Event(), threading.Event()

    def talk(peer: socket.socket) -> None:
        accept_websocket(peer)
        peer.sendall(b"".join(frame(b"%d" % number, masked=False) for number in range(5)))
        more.wait()
        peer.sendall(frame(b"5", masked=False))
        sent.set()
        silent(peer)

    with raw_server(talk) as port:
        options = {"dialect": "happn", "limits": Limits(close=0.1)}
        async with host.connect(f"http://127.0.0.1:{port}", **options) as primus:
            await host.pause(0.05)
            more.set()
            sent.wait()  # the loop does not get to read it
            diary = Diary(host, primus, "data")
            await diary.wait("data", 6)
            assert diary.all("data") == list(range(6))


@scenario(needs=["clients"])
async def test_a_listener_and_iteration_both_get_everything(host: Host) -> None:

    async def handler(spark: Any) -> None:
        for number in range(500):
            await spark.send(number)

    async with host.serve(handler) as server, host.connect(server.url, manual=True) as primus:
        diary = Diary(host, primus, "data")
        primus.open()
        assert [value async for value in primus] == list(range(500))
        await host.told(lambda: len(diary.entries) == 500)
        assert diary.all("data") == list(range(500))


@scenario(needs=["clients"])
async def test_receive_takes_one_value_at_a_time(host: Host) -> None:
    """Without a loop; what came before the end is still there after it, and then that there is no more."""
    async with host.serve(stay) as server, host.connect(server.url) as primus:
        [spark] = server.sparks.values()
        for value in (1, None, "three"):
            spark.write(value)
        assert await primus.receive() == 1
        spark.end()
        await primus.wait_ended()
        assert [await primus.receive(), await primus.receive()] == [None, "three"]
        with pytest.raises(ConnectionLost, match="every value was taken"):
            await primus.receive()
