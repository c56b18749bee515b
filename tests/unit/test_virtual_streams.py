"""asyncio's transports in virtual time: what protocols and streams can rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from primus_io.testing import VirtualNetwork, run


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.told: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool | None:
        self.told.append("eof")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(("lost", type(exc).__name__))

    def pause_writing(self) -> None:
        self.told.append(("pause", self.transport.get_write_buffer_size()))

    def resume_writing(self) -> None:
        self.told.append(("resume", self.transport.get_write_buffer_size()))


class Buffered(asyncio.BufferedProtocol):
    """Takes four bytes at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray(4)
        self.told: list[Any] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.told.append(bytes(self.buffer[:nbytes]))
        if self.told[-1] == b"stop":
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


async def pair(loop: Any, server: Any, client: Any) -> tuple[Any, Any]:
    """Connect two protocols."""
    await loop.create_server(lambda: server, "there", 5)
    await loop.create_connection(lambda: client, "there", 5)
    return server, client


def on_network(test: Callable[[Any, VirtualNetwork], Coroutine[Any, Any, None]], **options: Any) -> VirtualNetwork:
    """Run it, and close what it leaves."""
    network = VirtualNetwork(**options)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        await test(loop, network)
        for node in loop.runtime.nodes():
            node.close_all()

    run(main(), network)
    return network


async def later(seconds: float = 10.0) -> None:
    await asyncio.sleep(seconds)


# --- the usual ---


def test_a_connection_from_beginning_to_end() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Recorder(), Recorder())
        assert loop.time() == 2.0
        assert client.told == ["made"]
        assert server.told == ["made"]
        client.transport.write(b"hello")
        client.transport.writelines([b"1", memoryview(b"2"), bytearray(b"3")])
        await later()
        assert server.told[1:] in ([b"hello", b"123"], [b"hello", b"1", b"2", b"3"])
        server.transport.write(b"bye")
        server.transport.close()
        assert server.transport.is_closing()
        server.transport.write(b"ignored")
        await later()
        assert server.told[-1] == ("lost", "NoneType")
        assert client.told == ["made", b"bye", "eof", ("lost", "NoneType")]
        assert client.transport.is_closing()

    on_network(test, latency=1.0)


def test_extra_info_and_protocol_of_a_transport() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Recorder(), Recorder())
        info = client.transport.get_extra_info
        assert info("peername") == ("there", 5)
        assert info("sockname") == server.transport.get_extra_info("peername")
        assert info("sockname")[0] == "10.0.0.1"
        assert server.transport.get_extra_info("sockname") == ("there", 5)
        assert (info("sslcontext"), info("socket"), info("cipher", "none")) == (None, None, "none")
        assert repr(client.transport) == "<Stream of client1 with ('there', 5)>"
        assert client.transport.get_protocol() is client
        other = Recorder()
        client.transport.set_protocol(other)
        server.transport.write(b"x")
        await later()
        assert other.told == [b"x"]

    on_network(test)


def test_a_buffered_protocol_gets_one_buffer_at_a_time_and_none_while_paused() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Buffered(), Recorder())
        client.transport.write(b"123456stop")
        client.transport.write(b"7890ab")
        await later()
        assert server.told == [b"1234", b"56st", b"op", b"7890", b"ab"]
        server.told.clear()
        client.transport.write(b"stop1234")
        client.transport.write(b"56")
        client.transport.close()
        await later()
        assert server.told == [b"stop"]
        assert not server.transport.is_reading()
        server.transport.resume_reading()
        await later()
        assert server.told == [b"stop", b"1234", b"56", "lost"]

    on_network(test, latency=1.0)


def test_pausing_holds_back_data_and_the_end() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Recorder(), Recorder())
        server.transport.pause_reading()
        server.transport.pause_reading()
        client.transport.write(b"held")
        client.transport.close()
        await later()
        assert server.told == ["made"]
        server.transport.resume_reading()
        server.transport.resume_reading()
        await later()
        assert server.told == ["made", b"held", "eof", ("lost", "NoneType")]

    on_network(test)


# --- pressure ---


def test_the_write_buffer_and_its_limits() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Recorder(), Recorder())
        transport = client.transport
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        transport.set_write_buffer_limits(high=100)
        assert transport.get_write_buffer_limits() == (25, 100)
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(high=1, low=2)
        server.transport.pause_reading()
        transport.write(bytes(1000))
        assert transport.get_write_buffer_size() == 0, "the line took it"
        transport.write(bytes(100))
        assert (transport.get_write_buffer_size(), client.told) == (100, ["made"])
        transport.write(bytes(1))
        transport.write(bytes(1))
        assert client.told == ["made", ("pause", 101)], "once"
        server.transport.resume_reading()
        await later()
        assert client.told == ["made", ("pause", 101), ("resume", 0)]
        assert sum(map(len, server.told[1:])) == 1102

    on_network(test, window=1000)


def test_close_sends_what_is_buffered_and_abort_does_not() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        for abort in (False, True):
            server, client = Recorder(), Recorder()
            listening = await loop.create_server(lambda server=server: server, "there", 5)
            await loop.create_connection(lambda client=client: client, "there", 5)
            listening.close()
            server.transport.pause_reading()
            client.transport.write(bytes(3000))
            (client.transport.abort if abort else client.transport.close)()
            await later()
            assert client.told == (["made", ("lost", "NoneType")] if abort else ["made"])
            server.transport.resume_reading()
            await later()
            assert client.told == ["made", ("lost", "NoneType")]
            got = [len(data) for data in server.told if isinstance(data, bytes)]
            assert sum(got) == (0 if abort else 3000)
            assert server.told[-1] == ("lost", "ConnectionResetError" if abort else "NoneType")

    on_network(test, window=1000)


def test_asyncio_streams_with_drain() -> None:
    """All of asyncio.streams works on it."""
    got: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(10_000):
            got.append(len(data))
            await asyncio.sleep(1)
        writer.close()
        await writer.wait_closed()

    async def test(loop: Any, network: VirtualNetwork) -> None:
        async with await asyncio.start_server(serve, "there", 5) as server:
            assert server.is_serving()
            reader, writer = await asyncio.open_connection("there", 5)
            for _ in range(100):
                writer.write(bytes(10_000))
                await writer.drain()
            assert loop.time() > 50, "it went no faster than it was read"
            writer.close()
            await writer.wait_closed()
            assert await reader.read() == b""
            await later(100)
        assert sum(got) == 1_000_000

    on_network(test, window=10_000)


# --- trouble ---


@pytest.mark.parametrize("trouble", ["drop", "half_open", "break_after", "abort"])
def test_a_connection_that_is_lost(trouble: str) -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Recorder(), Recorder())
        if trouble == "break_after":
            network.break_after("client1", sent=3)
            client.transport.write(b"hello")
        elif trouble == "abort":
            server.transport.abort()
        else:
            getattr(network, trouble)("client1")
        await later()
        lost = ("lost", "ConnectionResetError")
        assert client.told == ["made", lost]
        told: dict[str, list[Any]] = {"drop": [lost], "half_open": [], "break_after": [b"hel", lost]}
        assert server.told == ["made", *told.get(trouble, [("lost", "NoneType")])]

    on_network(test)


def test_a_paused_protocol_sees_a_reset_once_it_reads_or_writes() -> None:
    for verb in ("resume_reading", "write"):

        async def test(loop: Any, network: VirtualNetwork, verb: str = verb) -> None:
            server, client = await pair(loop, Recorder(), Recorder())
            server.transport.pause_reading()
            client.transport.abort()
            await later()
            assert server.told == ["made"]
            if verb == "write":
                server.transport.write(b"x")
            else:
                server.transport.resume_reading()
            await later()
            assert server.told == ["made", ("lost", "ConnectionResetError")]

        on_network(test)


def test_writing_to_a_peer_that_has_closed_goes_nowhere() -> None:
    class Stays(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async def test(loop: Any, network: VirtualNetwork) -> None:
        server, client = await pair(loop, Stays(), Recorder())
        client.transport.close()
        await later()
        assert server.told == ["made", "eof"]
        server.transport.write(bytes(5000))
        assert server.transport.get_write_buffer_size() == 0
        server.transport.close()
        await later()
        assert server.told == ["made", "eof", ("lost", "NoneType")]

    on_network(test, window=1000)


@pytest.mark.parametrize("when", ["at once", "on its way", "when made", "when answered", "when refused"])
def test_connecting_can_be_cancelled_at_any_moment(when: str) -> None:
    """Wherever it is: nothing stays open, and both ends know what they ever knew of."""

    class Cancels(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            if when == "when made":
                calls[0].cancel()
            elif when == "when answered":  # that is in the queue already, what it wakes is not
                asyncio.get_running_loop().call_soon(calls[0].cancel)

    async def test(loop: Any, network: VirtualNetwork) -> None:
        if when != "when refused":
            await loop.create_server(lambda: server, "there", 5)
        call = loop.create_task(loop.create_connection(lambda: client, "there", 5))
        calls.append(call)
        if when == "at once":
            call.cancel()
        elif when == "on its way":
            loop.call_later(1.5, call.cancel)
        elif when == "when refused":
            network.call_at(2.0, lambda: loop.call_soon(call.cancel))
        with pytest.raises(asyncio.CancelledError):
            await call
        await later()
        assert client.told == (["made", ("lost", "NoneType")] if when in ("when made", "when answered") else [])
        assert server.told in ([], ["made", ("lost", "ConnectionResetError")])
        assert not network.links

    calls: list[asyncio.Task[Any]] = []
    server, client = Recorder(), Cancels()
    on_network(test, latency=1.0)


def test_a_connection_can_be_lost_before_it_is_open() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        await loop.create_server(Recorder, "there", 5)
        loop.call_later(1.5, network.drop, "client1")
        with pytest.raises(ConnectionResetError):
            await loop.create_connection(Recorder, "there", 5)

    on_network(test, latency=1.0)


def test_a_protocol_that_raises_loses_its_connection() -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def test(loop: Any, network: VirtualNetwork) -> None:
        said: list[Any] = []
        loop.set_exception_handler(lambda loop, context: said.append(context["exception"]))
        server, client = await pair(loop, Broken(), Recorder())
        client.transport.write(b"x")
        await later()
        assert [type(error) for error in said] == [ZeroDivisionError]
        assert server.told == ["made", ("lost", "ZeroDivisionError")]
        assert client.told == ["made", ("lost", "ConnectionResetError")]

    on_network(test)


def test_text_and_half_closing_are_refused() -> None:
    async def test(loop: Any, network: VirtualNetwork) -> None:
        _, client = await pair(loop, Recorder(), Recorder())
        with pytest.raises(TypeError, match="bytes-like"):
            client.transport.write("text")
        assert not client.transport.can_write_eof()
        with pytest.raises(NotImplementedError, match="both directions"):
            client.transport.write_eof()

    on_network(test)
