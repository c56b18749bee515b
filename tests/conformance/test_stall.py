"""Programs that were suspended: what arrived meanwhile counts (protocol 3.3).

The law kept here: a timer that is late does not judge before what lies there to be read has been.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.conformance.hosts import Host, scenario
from tests.conformance.peers import RawPeer, frame
from tests.conformance.users import Diary

TIMEOUT = 0.25


async def stand_still(host: Host, server: Any) -> list[str]:
    """What a spark says first after its server has slept past the timeout, with a ping waiting; nothing: it was late.

    That is where the machine is so busy that the timeout may have been over before the ping was sent.
    """
    with RawPeer(server.port) as peer:
        began = time.monotonic()
        await host.thread(peer.open, "/primus")
        await host.until(lambda: len(server.sparks) == 1)
        [spark] = server.sparks.values()
        diary = Diary(host, spark, "heartbeat", "end")
        peer.send(frame(b'"primus::ping::1"'))
        if time.monotonic() - began > TIMEOUT:
            return []
        time.sleep(TIMEOUT + 0.05)
        await host.until(lambda: diary.names)
        return diary.names[:1]


@scenario(needs=["sockets", "one thread"])
async def test_a_ping_that_waited_while_the_server_stood_still_counts(host: Host) -> None:
    async with host.serve(None, dialect="primus6", timeout=TIMEOUT) as server:
        said: list[str] = []
        for _ in range(100):
            said += await stand_still(host, server)
            await host.until(lambda: not server.sparks)
            if len(said) == 2:
                break
    assert said == ["heartbeat"] * 2


@scenario(needs=["sockets", "one thread"])
async def test_a_ping_that_came_while_a_listener_computed_counts(host: Host) -> None:
    """Some loops look at their timers first, right after the callback that took so long."""
    said: list[str] = []
    async with host.serve(None, dialect="primus6", timeout=TIMEOUT) as server:
        for _ in range(3):
            with RawPeer(server.port) as busy, RawPeer(server.port) as peer:
                await host.thread(busy.open, "/primus")
                await host.thread(peer.open, "/primus?which=peer")
                await host.until(lambda: len(server.sparks) == 2)
                sparks = {spark.query.get("which"): spark for spark in server.sparks.values()}
                diary = Diary(host, sparks["peer"], "heartbeat", "end")

                def compute(value: Any) -> None:
                    sending = threading.Timer(TIMEOUT / 2, peer.send, [frame(b'"primus::ping::1"')])
                    sending.start()
                    time.sleep(TIMEOUT + 0.05)
                    sending.join()

                sparks[None].on("data", compute)
                began = time.monotonic()
                peer.send(frame(b"1"))
                busy.send(frame(b"1"))
                await host.until(lambda: diary.names)  # noqa: B023
                if time.monotonic() - began < 2 * TIMEOUT:  # a busy machine proves nothing
                    said += diary.names[:1]
    assert set(said) <= {"heartbeat"}
