"""Plain requests through the exchange seam: bodies, answers that wait or stream. Polling transports stand on them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from primus_io.asgi import Primus
from primus_proto import ConfigError, Limits, LocalProtocolError
from tests.asgi.kit import Gate, body, calling, head, http, on_both, on_trio, turns
from tests.conformance.users import echo

POLL = "/primus/?EIO=4&transport=polling"
SHORT = Limits(close=0.05)  # for those that are not there to be said goodbye to


async def stay(spark: Any) -> None:
    await spark.wait_ended()


async def opened(primus: Any) -> str:
    async with calling(primus, http(f"{POLL}&ping=false")) as caller:
        await caller.end()
        return str(json.loads(body(caller)[1:])["sid"])


def post(sid: str, data: str, **headers: str) -> dict[str, Any]:
    return http(f"{POLL}&sid={sid}", "POST", {"content-length": str(len(data)), **headers})


@on_both
async def test_a_polling_session() -> None:
    async with Primus(echo, transformer="engine.io", limits=SHORT) as primus:
        sid = await opened(primus)
        assert list(primus.sparks) == [sid]
        say = '4"hello"'
        async with calling(primus, http(f"{POLL}&sid={sid}"), post(sid, say)) as (poll, saying):
            await poll.until(lambda: poll.received)
            saying.give("http.request", body=say[:5].encode(), more_body=True)
            saying.give("http.request", body=say[5:].encode())
            await saying.end()
            await poll.end()
            assert body(poll) == say.encode()


@on_both
async def test_a_body_that_is_too_large() -> None:
    async with Primus(stay, transformer="engine.io", limits=Limits(message=5, body=5, close=0.05)) as primus:
        sid = await opened(primus)
        declared, endless = post(sid, "x" * 11), http(f"{POLL}&sid={sid}", "POST")
        absurd = http(f"{POLL}&sid={sid}", "POST", {"content-length": "9" * 5000})
        async with calling(primus, declared, absurd, endless) as callers:
            for _ in range(3):
                callers[2].give("http.request", body=b"xxxxx", more_body=True)
            for caller in callers:
                await caller.end()
                status, headers = head(caller)
                assert (status, headers[b"connection"]) == (413, b"close")


@on_trio
async def test_a_body_that_does_not_come() -> None:
    async with Primus(stay, transformer="engine.io", limits=SHORT) as primus:
        sid = await opened(primus)
        async with calling(primus, post(sid, "hello")) as caller:
            caller.give("http.request", body=b"hel", more_body=True)
            await caller.end()
            assert head(caller)[0] == 408


@on_both
async def test_100_continue_is_sent_only_if_the_body_is_wanted() -> None:
    gate = Gate()

    async def decide(request: Any) -> bool:
        await gate.wait()
        return "no" not in request.query

    async with Primus(stay, transformer="engine.io", limits=SHORT, authorize=decide, authorization="all") as primus:
        gate.open()
        sid = await opened(primus)
        gate.is_open = False
        wanted, unwanted = post(sid, "41", expect="100-continue"), post(sid + "&no=1", "41", expect="100-continue")
        async with calling(primus, wanted, unwanted) as (good, bad):
            await turns()
            assert (good.received, bad.received) == (0, 0)
            gate.open()
            await bad.end()
            await good.until(lambda: good.received)
            good.give("http.request", body=b"41")
            await good.end()
            assert (head(bad)[0], bad.received) == (401, 0)
            assert head(good)[0] == 200


@on_trio
async def test_options_of_the_transport() -> None:
    with pytest.raises(ConfigError, match="unknown option 'ping_intervall'"):
        Primus(stay, transformer="engine.io", transport={"ping_intervall": 1.0})
    async with Primus(stay, transformer="engine.io", transport={"ping_interval": 1.0}, limits=SHORT) as primus:
        sid = await opened(primus)
        with anyio.fail_after(1.5):
            async with calling(primus, http(f"{POLL}&sid={sid}")) as poll:
                await poll.end()
        assert body(poll) == b"2"


@on_both
async def test_a_client_that_disconnects_gets_no_answer() -> None:
    async with Primus(stay, transformer="engine.io", limits=SHORT) as primus:
        sid = await opened(primus)
        async with calling(primus, http(f"{POLL}&sid={sid}")) as poll:
            await poll.until(lambda: poll.received)
            poll.give("http.request")
            poll.give("http.disconnect")
            assert await poll.end() == []
        assert not primus.sparks, "the client's poll was cut off"


# --- the seam itself ---


@on_both
async def test_an_answer_that_streams() -> None:
    async with Primus() as primus:
        drained: list[float] = []
        async with _exchange(primus) as (exchange, caller):
            with pytest.raises(LocalProtocolError, match="no answer to finish"):
                exchange.finish(now=0.0)
            exchange.extra_headers = (("X-Extra", "yes"),)
            exchange.stream(200, [("X-A", "b")], now=0.0)
            with pytest.raises(LocalProtocolError, match="has begun already"):
                exchange.respond(200, now=0.0)
            caller.full = True
            exchange.on_drained = drained.append
            exchange.write(b"one", now=0.0)
            exchange.write(b"", now=0.0)
            assert (exchange.buffered, exchange.sent, drained) == (3, 3, [])
            caller.drain()
            await caller.hear("http.response.body")
            await caller.until(lambda: drained)
            exchange.write(b"two", now=0.0)
            await caller.hear("http.response.body", 2)
            exchange.finish(now=0.0)
            for late in (exchange.finish, exchange.abort):
                late(now=0.0)
            exchange.respond(200, now=0.0)
            exchange.read(1, print, now=0.0)
            said = await caller.end()
        assert len(drained) == 1
        assert said[0]["headers"] == [(b"x-a", b"b"), (b"x-extra", b"yes")]
        assert [words.get("body") for words in said] == [None, b"one", b"two", b""]
        assert [words.get("more_body") for words in said] == [None, True, True, False]


@on_both
async def test_dropped_without_an_answer() -> None:
    async with Primus() as primus, _exchange(primus) as (exchange, caller):
        exchange.abort(now=0.0)
        assert not exchange.open
        assert await caller.end() == []


@contextlib.asynccontextmanager
async def _exchange(primus: Any) -> AsyncIterator[Any]:
    """An exchange that nobody answers but the test."""
    taken: list[Any] = []
    primus._endpoint.request = lambda exchange, now: taken.append(exchange)
    async with calling(primus, http("/primus")) as caller:
        await caller.until(lambda: caller.received)
        yield taken[0], caller
