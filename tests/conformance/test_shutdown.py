"""A server that stops while it is in use: every client is notified, and none can delay the end beyond the limit."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from primus_proto import ConnectError, EncodeError, Limits, LocalProtocolError
from tests.conformance.conftest import Certificates
from tests.conformance.hosts import SOON, Host, needing, scenario
from tests.conformance.peers import RawPeer
from tests.conformance.test_messages import KINDS, over
from tests.conformance.test_sessions import stay
from tests.conformance.users import Diary, echo, mebibytes, take, why

CLOSE = 0.3
LIMITS = Limits(close=CLOSE)
GRACE = CLOSE + 1  # what `close` allows for all that hangs


class Clock:
    """How long something took, seconds."""

    def __init__(self, host: Host) -> None:
        self._host, self._start = host, host.time()

    def __call__(self) -> float:
        return self._host.time() - self._start


@scenario()
async def test_clients_are_told_and_stay_away(host: Host) -> None:
    ended: list[str] = []

    async def handler(spark: Any) -> None:
        async for value in spark:
            await spark.send(value)
        ended.append(spark.close_reason.kind)

    async with host.serve(handler) as server, host.connect(server.url) as one, host.connect(server.url) as two:
        clock = Clock(host)
        diary = Diary(host, server, "disconnection", "close")
        closing = host.start(server.close())
        for primus in (one, two):
            assert [value async for value in primus] == []
            assert why(primus) == "server"
        await closing.join()
        assert sorted(diary.names) == ["close", "disconnection", "disconnection"]
        assert diary.names[-1] == "close" or "one thread" in host.lacks
        assert ended == ["local", "local"]
        assert clock() < SOON
        with pytest.raises(ConnectError):
            async with host.connect(server.url, strategy=False):
                pass
        await server.close()  # again
        await server.serve_forever()


@scenario()
async def test_last_words_come_after_all_that_was_written(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        [spark] = server.sparks.values()
        spark.write(mebibytes(1))
        closing = host.start(server.close({"bye": "all"}))
        assert [value async for value in primus] == [mebibytes(1), {"bye": "all"}]
        await closing.join()


@scenario()
async def test_a_bad_argument_closes_nothing(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        with pytest.raises(EncodeError):
            await server.close(b"bytes")
        with pytest.raises(LocalProtocolError):
            await server.close(timeout=-1)
        primus.write(1)
        assert await take(primus, 1) == [1]
        async with host.connect(server.url) as another:
            assert another.state == "open"


@scenario()
async def test_clients_come_back_to_a_server_that_wants_them_back(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url, min=0.02, factor=1, retries=99) as primus:
        diary = Diary(host, primus, "close", "reconnected", "end")
        await server.close(reconnect=True)
        await diary.wait("close")
        async with host.serve(echo, "127.0.0.1", server.port):
            await diary.wait("reconnected")
            primus.write("here again")
            assert await take(primus, 1) == ["here again"]
            assert diary.names == ["close", "reconnected"]


@scenario()
async def test_closing_later_serves_on_until_then(host: Host) -> None:
    async with host.serve(echo) as server, host.connect(server.url) as primus:
        clock = Clock(host)
        closing = host.start(server.close(timeout=0.3))
        await host.pause(0.05)
        with pytest.raises(ConnectError):
            async with host.connect(server.url, strategy=False):
                pass
        primus.write("still served")
        assert await take(primus, 1) == ["still served"]
        assert [value async for value in primus] == []
        await closing.join()
        assert 0.3 <= clock() < 0.3 + SOON


@pytest.mark.parametrize(
    ("secure", "flood"),
    [
        pytest.param(False, 0, id="idle"),
        pytest.param(False, 1, id="full"),
        pytest.param(False, 2, id="overfull"),
        pytest.param(True, 2, id="tls-overfull", marks=needing("tls")),
    ],
)
@scenario(needs=["sockets"])
async def test_a_peer_that_never_answers_the_close(host: Host, tls: Certificates, secure: bool, flood: int) -> None:
    """It does not read either: with nothing to read, with a full kernel, and with a full transport and core."""
    async with over(host, tls, secure, stay, limits=LIMITS) as server:
        with RawPeer(server.port, "localhost", tls=tls.client if secure else None, receive_buffer=4096) as peer:
            await host.thread(peer.open)
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()
            if flood:
                while not spark.buffered:
                    spark.write("x" * 10_000)
                    await host.pause(0)
            for _ in range(flood - 1):
                spark.write(mebibytes(1))
            clock = Clock(host)
            await server.close()
            assert clock() < GRACE


@KINDS
@scenario(needs=["sockets"])
async def test_connections_without_a_session_are_not_waited_for(host: Host, tls: Certificates, secure: bool) -> None:
    """Nothing said yet, half a request, kept alive after a whole one."""
    limits, soon = (LIMITS, GRACE) if secure else (Limits(), SOON)  # TLS says goodbye, and waits for an answer
    async with over(host, tls, secure, stay, limits=limits) as server:
        with contextlib.ExitStack() as stack:
            for said in (b"", b"GET /primus HTTP/1.1\r\nHos", b"GET /primus/spec HTTP/1.1\r\nHost: x\r\n\r\n"):
                peer = stack.enter_context(RawPeer(server.port, "localhost", tls=tls.client if secure else None))
                await host.thread(peer.connect)
                peer.send(said)
                if said.endswith(b"\r\n\r\n"):
                    assert (await host.thread(peer.head)).startswith(b"HTTP/1.1 200")
            await host.pause(0.02)
            clock = Clock(host)
            await server.close()
            assert clock() < soon
            assert host.leftovers() == []


@scenario(needs=["sockets", "tls", "handshake limits"])
async def test_a_tls_handshake_is_not_waited_for(host: Host, tls: Certificates) -> None:
    async with host.serve(stay, "localhost", ssl=tls.server, limits=Limits(handshake=1.0)) as server:
        with RawPeer(server.port, "localhost") as peer:
            await host.thread(peer.connect)
            await host.pause(0.05)
            clock = Clock(host)
            await server.close()
            assert clock() < 0.9
            # The loops know no way to be rid of it before its time, but that is short.
            await host.until(lambda: host.leftovers() == [])
            assert await host.thread(peer.rest) == b"", "it was cut off"
            assert clock() < 1.0 + SOON


@scenario()
async def test_a_handler_that_takes_its_time_may_finish(host: Host) -> None:
    said: list[Any] = []

    async def handler(spark: Any) -> None:
        said.extend([value async for value in spark])
        await host.pause(0.1)
        said.append("cleaned up")

    async with host.serve(handler) as server, host.connect(server.url) as primus:
        await host.until(lambda: server.sparks)
        primus.write("something")
    assert said == ["something", "cleaned up"]


@scenario()
async def test_a_handler_or_listener_may_close_the_server(host: Host) -> None:
    """By a handler, by a listener, by several at once: it is all the same end."""

    async def handler(spark: Any) -> None:
        async for value in spark:
            if value == "close":
                await server.close("closing")

    async with host.serve(handler, limits=LIMITS) as server:
        clock = Clock(host)
        async with host.connect(server.url) as one, host.connect(server.url) as two:
            one.write("close")
            two.write("close")
            assert [value async for value in one] == ["closing"]
            assert [value async for value in two] == ["closing"]
        await server.serve_forever()
    assert clock() < 2 * GRACE + SOON

    async with host.serve(None, limits=LIMITS) as server:

        @server.on("connection")
        async def connected(spark: Any) -> None:
            await server.close("closing")

        async with host.connect(server.url) as primus:
            assert [value async for value in primus] == ["closing"]


@KINDS
@scenario(needs=["sockets", "accepting"])
async def test_a_connection_that_arrives_in_the_moment_of_closing_is_closed(
    host: Host, tls: Certificates, secure: bool
) -> None:
    """However far the library is with accepting it; at once, or when its handshake has taken long enough."""
    for turns in range(6):
        async with over(host, tls, secure, None, limits=Limits(handshake=0.2)) as server:
            peer = RawPeer(server.port)
            peer.connect()  # there is room for it: nobody has to accept it for that
            for _ in range(turns):
                await host.pause(0)
            clock = Clock(host)
            await server.close()
        assert clock() < SOON
        assert await host.thread(peer.rest) == b""
        peer.close()


@scenario()
async def test_an_error_in_the_block_closes_it_too(host: Host) -> None:
    entered: list[Any] = []

    async def use() -> None:
        async with host.serve(echo) as server, host.connect(server.url) as primus:
            entered.extend([server, primus, host.start(server.serve_forever())])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()
    server, primus, serving = entered
    assert primus.state == "closed"
    await serving.join()
    assert not server.sparks
