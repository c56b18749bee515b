"""trio's sockets on a virtual network: streams, listeners and sockets do what those of the system do."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio

from primus_io.testing import VirtualNetwork, run_trio

KIB = 1024


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Both ends of a connection: who accepted it, who asked for it."""
    async with await listening() as listener:
        client = await trio.open_tcp_stream("there", 5)
        async with await listener.accept() as server, client:
            yield server, client


async def listening(port: int = 5, host: str | None = "there") -> trio.SocketListener:
    [listener] = await trio.open_tcp_listeners(port, host=host)
    return listener


def on_pair(test: Callable[[Any, Any, VirtualNetwork], Awaitable[None]], **options: Any) -> VirtualNetwork:
    """Run it with both ends of a connection."""
    network = VirtualNetwork(**options)

    async def main() -> None:
        async with pair() as (server, client):
            await test(server, client, network)

    run_trio(main, network)
    return network


def test_a_connection_from_beginning_to_end() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        assert trio.current_time() == 2.0, "there and back"
        await client.send_all(b"hello")
        await client.send_all(memoryview(b" there"))
        assert await server.receive_some() == b"hello"
        assert trio.current_time() == 3.0
        assert await server.receive_some(3) == b" th"
        assert await server.receive_some() == b"ere"
        await server.send_all(b"bye")
        await server.aclose()
        assert [await client.receive_some() for _ in range(3)] == [b"bye", b"", b""]
        assert trio.current_time() == 4.0

    assert not on_pair(test, latency=1.0)._links


def test_who_is_who() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        here = client.socket.getsockname()
        assert here[0] == "10.0.0.1"
        assert server.socket.getpeername() == here
        assert server.socket.getsockname() == client.socket.getpeername() == ("there", 5)
        assert repr(server.socket) == f"<Socket of there:5 with {here}>"
        assert repr(client.socket) == "<Socket of client1 with ('there', 5)>"
        assert (client.socket.family, client.socket.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert client.socket.proto == socket.IPPROTO_TCP
        async with await trio.open_tcp_stream("there", 5):
            assert network.node("client2").name == "client2"

    on_pair(test)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", None])
def test_a_machine_is_reached_from_itself_by_any_of_its_names(host: str | None) -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(8080, host=host)
        assert len(listeners) == (2 if host is None else 1), "one for IPv4, one for IPv6"
        for name in ("localhost", "127.0.0.1", "::1"):
            stream = await trio.open_tcp_stream(name, 8080)
            accepted = await listeners[0].accept()
            assert accepted.socket.getpeername()[0] == ("::1" if name == "::1" else "127.0.0.1")
            await accepted.aclose()
            await stream.aclose()
        for listener in listeners:
            await listener.aclose()

    run_trio(main)


def test_where_nobody_listens_connections_are_refused() -> None:
    async def main() -> None:
        listener = await listening()
        await listener.aclose()
        for host, port in (("there", 5), ("there", 6), ("127.0.0.1", 5)):
            with pytest.raises(OSError, match="all attempts to connect") as caught:
                await trio.open_tcp_stream(host, port)
            assert isinstance(caught.value.__cause__, ExceptionGroup)
            [cause] = caught.value.__cause__.exceptions
            assert isinstance(cause, ConnectionRefusedError)

    run_trio(main)


def test_an_address_is_taken_or_picked() -> None:
    async def main() -> None:
        async with await listening(), await listening(0) as one, await listening(0) as two:
            with pytest.raises(OSError, match=r"in use") as caught:
                await listening()
            assert caught.value.errno == errno.EADDRINUSE
            ports = [listener.socket.getsockname()[1] for listener in (one, two)]
            assert ports[0] != ports[1]
            assert all(port >= 49152 for port in ports)
            await (await trio.open_tcp_stream("there", ports[1])).aclose()
            await (await two.accept()).aclose()
        async with await listening():
            """It is free again."""

    run_trio(main)


def test_who_was_not_accepted_is_reset() -> None:
    async def main() -> None:
        listener = await listening()
        async with await trio.open_tcp_stream("there", 5) as stream:
            await listener.aclose()
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await stream.receive_some()

    run_trio(main, VirtualNetwork(latency=1.0))


def test_a_connection_that_is_lost_breaks_after_what_had_arrived() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        await client.send_all(b"before")
        await trio.sleep(5)
        network.drop("there:5")
        assert await server.receive_some() == b"before"
        for stream in (server, client, server):
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await stream.receive_some()
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await stream.send_all(b"x")

    on_pair(test, latency=1.0)


def test_who_closes_with_something_unread_resets() -> None:
    """As the system does: the other end would else believe that it had been read."""

    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        await client.send_all(b"unread")
        await trio.sleep(5)
        await server.aclose()
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await client.receive_some()

    on_pair(test)


def test_what_is_written_to_someone_who_has_gone_goes_nowhere() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        await server.aclose()
        await trio.sleep(5)
        await client.send_all(b"x" * 100)
        assert await client.receive_some() == b""

    on_pair(test)


def test_a_window_makes_who_sends_wait() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        async def send() -> None:
            await client.send_all(bytes(range(256)) * KIB)
            sent.append(trio.current_time())

        sent: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(100)
            assert sent == []
            received = bytearray()
            while len(received) < 256 * KIB:
                received += await server.receive_some(10 * KIB)
            await trio.sleep(10)
            assert sent == [100]
        assert received == bytes(range(256)) * KIB

    on_pair(test, window=64 * KIB)


def test_waiting_for_room_waits_for_none_but_is_a_checkpoint() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        await client.wait_send_all_might_not_block()
        await client.send_all(b"")
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.wait_send_all_might_not_block()
        assert scope.cancelled_caught

    on_pair(test)


def test_what_is_cancelled_has_done_nothing() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        await server.send_all(b"kept")
        await trio.sleep(5)
        for wait in (client.receive_some, lambda: client.send_all(b"never")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await wait()
            assert scope.cancelled_caught
        with trio.move_on_after(60) as scope:
            await server.receive_some()
        assert scope.cancelled_caught
        assert await client.receive_some() == b"kept"

    on_pair(test)


def test_connecting_may_be_cancelled_at_any_moment() -> None:
    async def main() -> None:
        seconds = 0.0
        async with await listening():
            while True:
                with trio.move_on_after(seconds):
                    await (await trio.open_tcp_stream("there", 5)).aclose()
                    break
                await trio.sleep(10)
                assert not network._links, f"cancelled after {seconds} s"
                seconds += 0.25
            assert seconds > 2

    network = VirtualNetwork(latency=1.0)
    run_trio(main, network)


def test_what_is_closed_while_somebody_waits_for_it() -> None:
    async def main() -> None:
        async def wait(what: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await what()
            with pytest.raises(trio.ClosedResourceError):
                await what()

        listener = await listening(6)
        async with pair() as (server, _), trio.open_nursery() as nursery:
            for resource, what in ((server, server.receive_some), (listener, listener.accept)):
                nursery.start_soon(wait, what)
                await trio.testing.wait_all_tasks_blocked()
                await resource.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await server.send_all(b"x")
            assert server.socket.fileno() == -1

    run_trio(main)


def test_what_is_closed_just_before_anybody_waits_for_it() -> None:
    """Both in one turn of trio's, which picks who goes first: where it is the one who waits, within its checkpoint."""

    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        async def wait(what: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await what()

        async def close(resource: Any) -> None:
            resource.socket.close()

        listener = await listening(6)
        waits: list[tuple[Any, Callable[[], Awaitable[object]]]] = [
            (client, client.receive_some),
            (server, lambda: server.send_all(b"x")),
            (listener, listener.accept),
        ]
        for resource, what in waits:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, what)
                nursery.start_soon(close, resource)

    for seed in range(20):
        on_pair(test, seed=seed)


def test_the_plain_socket() -> None:
    async def main() -> None:
        async with await listening() as listener:
            with trio.socket.socket() as sock:
                for call in (sock.recv, sock.send):
                    with pytest.raises(OSError, match="not connected"):
                        await call(b"" if call == sock.send else 1)  # type: ignore[arg-type]
                with pytest.raises(OSError, match="not connected"):
                    sock.getpeername()
                assert repr(sock) == "<Socket at ('', 0)>"
                await sock.connect(("there", 5))
                with pytest.raises(OSError, match="already connected"):
                    await sock.connect(("there", 5))
                accepted = await listener.accept()
                await accepted.send_all(b"hello")
                buffer = bytearray(4)
                assert await sock.recv_into(buffer) == 4
                assert await sock.recv_into(buffer, 1) == 1
                assert buffer == b"oell"
            assert await accepted.receive_some() == b""
            await accepted.aclose()
            with pytest.raises(OSError, match="Bad file descriptor"):
                await sock.bind(("there", 7))
        assert await trio.socket.getnameinfo(("10.0.0.1", 80), 0) == ("10.0.0.1", "80")

    run_trio(main)


def test_what_there_is_not_says_so() -> None:
    async def test(server: Any, client: Any, network: VirtualNetwork) -> None:
        for name in ("detach", "recvfrom", "sendto", "dup"):
            with pytest.raises(NotImplementedError, match=f"has no {name}, but recv and send"):
                getattr(client.socket, name)()
        with pytest.raises(NotImplementedError, match="closes in both directions at once"):
            await client.send_eof()
        for family, kind in ((socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET + 1000, socket.SOCK_STREAM)):
            with pytest.raises(OSError, match="no sockets but those of TCP: use a host and a port"):
                trio.socket.socket(family, kind)

    on_pair(test)


def test_everything_a_socket_has_is_here_or_refused() -> None:
    """With words, so that nobody is left alone with a bare NotImplementedError."""
    from primus_io._virtual.sockets import Socket

    public = {name for name in vars(trio.socket.SocketType) if not name.startswith("_")}
    assert {name for name in public if getattr(Socket, name) is getattr(trio.socket.SocketType, name)} == set()


def test_anyios_own_streams_are_carried_too() -> None:
    async def main() -> None:
        async with await listening() as listener, await anyio.connect_tcp("there", 5) as stream:
            server = await listener.accept()
            await stream.send(b"ping")
            assert await server.receive_some() == b"ping"
            await server.send_all(b"pong")
            assert await stream.receive() == b"pong"
            await server.aclose()

    run_trio(main)
