"""asyncio's transports in virtual time: what protocols and streams can rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


Test = Callable[[Any, Any, Any], Awaitable[None]]


def run_on(network: VirtualNetwork, main: Callable[[Any], Awaitable[None]]) -> None:
    """Run `main(loop)`, and close what it leaves."""

    async def run_and_close() -> None:
        loop: Any = asyncio.get_running_loop()
        await main(loop)
        for node in loop.runtime.nodes():
            node.close_all()

    run(run_and_close(), network)


def connected(
    server: type[Any] = Recorder, client: type[Any] = Recorder, **options: Any
) -> Callable[[Test], Callable[[], None]]:
    """Decorates `async def test(loop, server, client)`: runs it with two protocols that are connected."""

    def decorate(test: Test) -> Callable[[], None]:
        async def main(loop: Any) -> None:
            ends = server(), client()
            await loop.create_server(lambda: ends[0], "there", 5)
            await loop.create_connection(lambda: ends[1], "there", 5)
            await test(loop, *ends)

        return lambda: run_on(VirtualNetwork(**options), main)

    return decorate


async def later(seconds: float = 10.0) -> None:
    await asyncio.sleep(seconds)


# --- the usual ---


@connected(latency=1.0)
async def test_a_connection_from_beginning_to_end(loop: Any, server: Any, client: Any) -> None:
    assert loop.time() == 2.0
    assert client.told == server.told == ["made"]
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


@connected()
async def test_extra_info_and_protocol_of_a_transport(loop: Any, server: Any, client: Any) -> None:
    info = client.transport.get_extra_info
    assert info("peername") == server.transport.get_extra_info("sockname") == ("there", 5)
    assert info("sockname") == server.transport.get_extra_info("peername")
    assert info("sockname")[0] == "10.0.0.1"
    assert (info("sslcontext"), info("socket"), info("cipher", "none")) == (None, None, "none")
    assert repr(client.transport) == "<Stream of client1 with ('there', 5)>"
    assert client.transport.get_protocol() is client
    other = Recorder()
    client.transport.set_protocol(other)
    server.transport.write(b"x")
    await later()
    assert other.told == [b"x"]


@connected()
async def test_text_and_half_closing_are_refused(loop: Any, server: Any, client: Any) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        client.transport.write("text")
    assert not client.transport.can_write_eof()
    with pytest.raises(NotImplementedError, match="both directions"):
        client.transport.write_eof()


# --- pressure ---


@connected(window=1000)
async def test_the_write_buffer_and_its_limits(loop: Any, server: Any, client: Any) -> None:
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
    assert transport.get_write_buffer_size() == 0, "the network took it"
    transport.write(bytes(100))
    assert (transport.get_write_buffer_size(), client.told) == (100, ["made"])
    for _ in range(2):
        transport.write(bytes(1))
    assert client.told == ["made", ("pause", 101)], "once"
    server.transport.resume_reading()
    await later()
    assert client.told == ["made", ("pause", 101), ("resume", 0)]
    assert sum(map(len, server.told[1:])) == 1102


@pytest.mark.parametrize(
    ("verb", "arrives", "error"), [("close", 3000, "NoneType"), ("abort", 0, "ConnectionResetError")]
)
def test_close_sends_what_is_buffered_and_abort_does_not(verb: str, arrives: int, error: str) -> None:
    @connected(window=1000)
    async def test(loop: Any, server: Any, client: Any) -> None:
        server.transport.pause_reading()
        client.transport.write(bytes(3000))
        getattr(client.transport, verb)()
        await later()
        assert client.told == ["made"] + [("lost", "NoneType")] * (verb == "abort")
        server.transport.resume_reading()
        await later()
        assert client.told == ["made", ("lost", "NoneType")]
        assert sum(len(data) for data in server.told if isinstance(data, bytes)) == arrives
        assert server.told[-1] == ("lost", error)

    test()


@pytest.mark.parametrize(("verb", "error"), [("close", "NoneType"), ("abort", "ConnectionResetError")])
def test_buffered_data_is_lost_when_the_peer_leaves(verb: str, error: str) -> None:
    @connected(window=1000)
    async def test(loop: Any, server: Any, client: Any) -> None:
        server.transport.pause_reading()
        client.transport.write(bytes(3000))
        (client.transport.close if verb == "close" else client.transport.pause_reading)()
        getattr(server.transport, verb)()
        await later()
        assert client.told == ["made", ("lost", error)]

    test()


# --- trouble ---


@pytest.mark.parametrize("trouble", ["drop", "half_open", "break_after", "abort"])
def test_a_connection_that_is_lost(trouble: str) -> None:
    @connected()
    async def test(loop: Any, server: Any, client: Any) -> None:
        if trouble == "break_after":
            loop.network.break_after("client1", sent=3)
            client.transport.write(b"hello")
        elif trouble == "abort":
            server.transport.abort()
        else:
            getattr(loop.network, trouble)("client1")
        await later()
        lost = ("lost", "ConnectionResetError")
        assert client.told == ["made", lost]
        told: dict[str, list[Any]] = {"drop": [lost], "half_open": [], "break_after": [b"hel", lost]}
        assert server.told == ["made", *told.get(trouble, [("lost", "NoneType")])]

    test()


@connected()
async def test_a_paused_protocol_sees_a_reset_once_it_writes(loop: Any, server: Any, client: Any) -> None:
    server.transport.pause_reading()
    client.transport.abort()
    await later()
    assert server.told == ["made"]
    server.transport.write(b"x")
    await later()
    assert server.told == ["made", ("lost", "ConnectionResetError")]


class StaysOpen(Recorder):
    def eof_received(self) -> bool:
        super().eof_received()
        return True


@connected(StaysOpen, window=1000)
async def test_writing_to_a_peer_that_has_closed_goes_nowhere(loop: Any, server: Any, client: Any) -> None:
    client.transport.close()
    await later()
    assert server.told == ["made", "eof"]
    server.transport.write(bytes(5000))
    assert server.transport.get_write_buffer_size() == 0
    server.transport.close()
    await later()
    assert server.told == ["made", "eof", ("lost", "NoneType")]


def test_a_connection_can_be_lost_before_it_is_open() -> None:
    async def main(loop: Any) -> None:
        await loop.create_server(Recorder, "there", 5)
        loop.call_later(1.5, loop.network.drop, "client1")
        with pytest.raises(ConnectionResetError):
            await loop.create_connection(Recorder, "there", 5)

    run_on(VirtualNetwork(latency=1.0), main)


class Broken(Recorder):
    def data_received(self, data: bytes) -> None:
        raise ZeroDivisionError


@connected(Broken)
async def test_a_protocol_that_raises_loses_its_connection(loop: Any, server: Any, client: Any) -> None:
    errors: list[Any] = []
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    client.transport.write(b"x")
    await later()
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert server.told == ["made", ("lost", "ZeroDivisionError")]
    assert client.told == ["made", ("lost", "ConnectionResetError")]
