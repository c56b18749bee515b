"""Programs that only write: what they are told of values that nobody takes, and what is noticed all the same."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from primus_proto import Limits, LocalProtocolError
from primus_proto.events import SparkData
from primus_proto.session import neglect
from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import CLOSE, RawPeer, accept_websocket, frame, raw_server, silent
from tests.conformance.test_sessions import stay
from tests.conformance.users import why

VALUE = b'"' + 1000 * b"m" + b'"'
COUNT = 285  # more than what waits before reading stops, and little enough for the receive buffer of the socket
GOODBYE = b"\x03\xe8"


@scenario(needs=["clients", "sockets"])
async def test_a_client_that_takes_nothing_is_told_and_notices_the_end(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neglect, "PROBE", 0.05)

    def talk(peer: socket.socket) -> None:
        accept_websocket(peer)
        peer.sendall(COUNT * frame(VALUE, masked=False))
        peer.sendall(frame(b'"primus::server::close"', masked=False) + frame(GOODBYE, CLOSE, masked=False))
        peer.shutdown(socket.SHUT_WR)
        silent(peer)

    with raw_server(talk) as port:
        async with host.connect(f"http://127.0.0.1:{port}", dialect="happn", ping=0.2) as primus:
            await primus.wait_ended()
            assert why(primus) == "server"
            assert 0 < primus.discarded < COUNT
    assert caplog.text.count("nothing was read for 0.2 seconds") == 1


@scenario(needs=["sockets", "wire"])
async def test_a_spark_whose_handler_takes_nothing_notices_the_end(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neglect, "PROBE", 0.05)
    async with host.serve(stay, limits=Limits(heartbeat_min=0.1)) as server:
        with RawPeer(server.port) as peer:
            await host.thread(peer.open, "/primus?ping=100&pong=200")
            await host.until(lambda: server.sparks)
            [spark] = server.sparks.values()
            await host.thread(peer.send, COUNT * frame(VALUE) + frame(GOODBYE, CLOSE))
            peer.sock.shutdown(socket.SHUT_WR)
            await host.until(lambda: not server.sparks)
            assert why(spark) == "client"
            assert spark.discarded > 0
    assert caplog.text.count("nothing was read for 0.2 seconds") == 1


@scenario()
async def test_who_only_writes_can_say_so(host: Host) -> None:
    """Then values are dropped and counted, as many as come, and taking them is an error."""

    async def pour(spark: Any) -> None:
        for number in range(COUNT):
            await spark.send([number, "x" * 1000])
        with pytest.raises(LocalProtocolError, match="receive=False"):
            await spark.receive()
        await host.until(lambda: spark.discarded == COUNT)

    async with host.serve(pour, receive=False) as server, host.connect(server.url, receive=False) as primus:
        for number in range(COUNT):
            await primus.send([number, "x" * 1000])
        with pytest.raises(LocalProtocolError, match="receive=False"):
            primus.on("data", host.listener(stay))
        with pytest.raises(LocalProtocolError, match="receive=False"):
            server.on(SparkData, print)
        with pytest.raises(LocalProtocolError, match="receive=False"):
            await primus.receive()
        await primus.wait_ended()
        assert (why(primus), primus.discarded) == ("server", COUNT)
