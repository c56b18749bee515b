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
from primus_proto.transports.registry import TRANSPORTS
from tests.asgi.kit import Gate, body, calling, head, http, on_both, on_trio, turns
from tests.conformance.users import echo
from tests.unit.transports import polling_transport

SHORT = Limits(close=0.05)  # for those that are not there to be said goodbye to


async def stay(spark: Any) -> None:
    await spark.wait_ended()


@pytest.fixture
def polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORTS, "polling", polling_transport.POLLING)


async def opened(primus: Any) -> str:
    async with calling(primus, http("/primus?ping=false")) as caller:
        await caller.end()
        [[kind, sid]] = json.loads(body(caller))
        assert kind == "open"
        return str(sid)


def post(sid: str, data: str, **headers: str) -> dict[str, Any]:
    return http(f"/primus?sid={sid}", "POST", {"content-length": str(len(data)), **headers})


@pytest.mark.usefixtures("polling")
@on_both
async def test_a_polling_session() -> None:
    async with Primus(echo, transformer="polling", limits=SHORT) as primus:
        sid = await opened(primus)
        assert list(primus.sparks) == [sid]
        say = json.dumps([["text", '"hello"']])
        async with calling(primus, http(f"/primus?sid={sid}"), post(sid, say)) as (poll, saying):
            await poll.until(lambda: poll.received)
            saying.give("http.request", body=say[:5].encode(), more_body=True)
            saying.give("http.request", body=say[5:].encode())
            await saying.end()
            await poll.end()
            assert json.loads(body(poll)) == [["text", '"hello"']]


@pytest.mark.usefixtures("polling")
@on_both
async def test_a_body_that_is_too_large() -> None:
    async with Primus(stay, transformer="polling", limits=Limits(message=5, close=0.05)) as primus:
        sid = await opened(primus)
        declared, endless = post(sid, "x" * 11), http(f"/primus?sid={sid}", "POST")
        absurd = http(f"/primus?sid={sid}", "POST", {"content-length": "9" * 5000})
        async with calling(primus, declared, absurd, endless) as callers:
            for _ in range(3):
                callers[2].give("http.request", body=b"xxxxx", more_body=True)
            for caller in callers:
                await caller.end()
                status, headers = head(caller)
                assert (status, headers[b"connection"]) == (413, b"close")


@pytest.mark.usefixtures("polling")
@on_trio
async def test_a_body_that_does_not_come() -> None:
    async with Primus(stay, transformer="polling", limits=SHORT) as primus:
        sid = await opened(primus)
        async with calling(primus, post(sid, "hello")) as caller:
            caller.give("http.request", body=b"hel", more_body=True)
            await caller.end()
            assert head(caller)[0] == 408


@pytest.mark.usefixtures("polling")
@on_both
async def test_who_waits_to_be_asked_for_the_body_is_asked_only_if_it_is_wanted() -> None:
    gate = Gate()

    async def decide(request: Any) -> bool:
        await gate.wait()
        return "no" not in request.query

    async with Primus(stay, transformer="polling", limits=SHORT, authorize=decide, authorization="all") as primus:
        gate.open()
        sid = await opened(primus)
        gate.is_open = False
        wanted, unwanted = post(sid, "[]", expect="100-continue"), post(sid + "&no=1", "[]", expect="100-continue")
        async with calling(primus, wanted, unwanted) as (good, bad):
            await turns()
            assert (good.received, bad.received) == (0, 0)
            gate.open()
            await bad.end()
            await good.until(lambda: good.received)
            good.give("http.request", body=b"[]")
            await good.end()
            assert (head(bad)[0], bad.received) == (401, 0)
            assert head(good)[0] == 204


@pytest.mark.usefixtures("polling")
@on_trio
async def test_options_of_the_transport() -> None:
    with pytest.raises(ConfigError, match="unknown option 'hodl'"):
        Primus(stay, transformer="polling", transport={"hodl": 1.0})
    async with Primus(stay, transformer="polling", transport={"hold": 1.0}, limits=SHORT) as primus:
        sid = await opened(primus)
        with anyio.fail_after(1.5):
            async with calling(primus, http(f"/primus?sid={sid}")) as poll:
                await poll.end()
        assert json.loads(body(poll)) == []


@pytest.mark.usefixtures("polling")
@on_both
async def test_a_broadcast_is_wrapped_once() -> None:
    wrapped: list[Any] = []

    def packet(payload: Any) -> str:
        wrapped.append(payload)
        return "[5]"

    async with Primus(stay, transformer="polling", limits=SHORT) as primus:
        scopes = [http(f"/primus?sid={await opened(primus)}") for _ in range(3)]
        async with calling(primus, *scopes) as polls:
            for poll in polls:
                await poll.until(lambda poll=poll: poll.received)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(polling_transport, "packet", packet)
                assert primus.write("all") == 3
                for poll in polls:
                    await poll.end()
    assert wrapped == ['"all"']


@pytest.mark.usefixtures("polling")
@on_both
async def test_who_stops_waiting_for_an_answer_has_gone() -> None:
    async with Primus(stay, transformer="polling", limits=SHORT) as primus:
        sid = await opened(primus)
        async with calling(primus, http(f"/primus?sid={sid}")) as poll:
            await poll.until(lambda: poll.received)
            poll.give("http.request")
            poll.give("http.disconnect")
            assert await poll.end() == []


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
            exchange.finish(now=0.0)
            for late in (exchange.finish, exchange.abort):
                late(now=0.0)
            exchange.respond(200, now=0.0)
            exchange.read(1, print, now=0.0)
            said = await caller.end()
        assert said[0]["headers"] == [(b"x-a", b"b"), (b"x-extra", b"yes")]
        assert [words.get("body") for words in said] == [None, b"one", b""]
        assert [words.get("more_body") for words in said] == [None, True, False]


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
