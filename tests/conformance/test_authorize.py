"""Authorization: who is asked, when, and what a refusal tells whom."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from primus_proto import ConnectError, Limits, Refused, Request
from tests.conformance.hosts import Host, scenario
from tests.conformance.test_sessions import stay
from tests.conformance.users import Gate, echo, take, why

REFUSALS = {
    "false": (lambda request: False, 401, "Unauthorized"),
    "refused": (Refused("not you"), 401, "not you"),
    "forbidden": (Refused("never", 403), 403, "never"),
    "unavailable": (Refused("later", 503), 503, "later"),
    "challenge": (Refused("who?", authenticate='Basic realm="x"'), 401, "who?"),
    "raises": (ZeroDivisionError("oops"), 500, "internal error"),
    "no such status": (Refused("fine", 200), 500, "internal error"),
}


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", REFUSALS)
@scenario()
async def test_a_refusal_tells_the_client_why(host: Host, way: str, awaits: bool) -> None:
    what, status, message = REFUSALS[way]

    def decide(request: Any) -> object:
        if isinstance(what, Exception):
            raise what
        return False

    async def decide_later(request: Any) -> object:
        await host.pause(0.01)
        return decide(request)

    async with host.serve(echo, authorize=decide_later if awaits else decide) as server:
        with pytest.raises(ConnectError, match=f"{status}") as caught:
            async with host.connect(server.url, strategy=False):
                raise AssertionError("it was let in")
        error = caught.value
        assert error.status == status
        headers = {name.lower(): value for name, value in error.headers}
        assert headers["content-type"] == "application/json"
        assert json.loads(error.body) == {"error": message}
        assert headers.get("www-authenticate") == ('Basic realm="x"' if way == "challenge" else None)
        assert isinstance(error.__cause__, ConnectError)
        assert not server.sparks


class Strange(BaseException):
    """No Exception."""


@scenario()
async def test_a_hook_that_raises_what_is_no_exception(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """It costs one request, answered at once; no other client notices."""

    def decide(request: Request) -> None:
        if "strange" in request.query:
            raise Strange

    async with host.serve(echo, authorize=decide) as server, host.connect(server.url) as primus:
        with pytest.raises(ConnectError, match="500"):
            async with host.connect(f"{server.url}/?strange", strategy=False):
                raise AssertionError("it was let in")
        primus.write(1)
        assert await take(primus, 1) == [1]
    assert "the authorization hook raised" in caplog.text


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("answer", [None, True, 0, ""])
@scenario()
async def test_a_hook_that_does_not_say_no_lets_in(host: Host, answer: object, awaits: bool) -> None:
    asked = []

    def decide(request: Any) -> object:
        asked.append((request.query["token"], request.path, request.peer.ip))
        return answer

    async def decide_later(request: Any) -> object:
        await host.pause(0.01)
        return decide(request)

    hook = decide_later if awaits else decide
    async with host.serve(echo, authorize=hook) as server, host.connect(f"{server.url}?token=x") as primus:
        primus.write(1)
        assert await take(primus, 1) == [1]
    assert asked == [("x", "/primus", "127.0.0.1")]


@scenario()
async def test_a_refusal_is_final_where_trying_again_would_be_pointless(host: Host) -> None:
    asked: list[object] = []

    def refuse(request: Any) -> bool:
        asked.append(request)
        return False

    async with host.serve(echo, authorize=refuse) as server:
        with pytest.raises(ConnectError, match="401"):
            async with host.connect(server.url, min=0.01):
                pass
    assert len(asked) == 1


@scenario()
async def test_a_server_that_is_not_well_is_tried_again(host: Host) -> None:
    asked: list[int] = []

    def decide(request: Any) -> None:
        asked.append(1)
        if len(asked) < 3:
            raise Refused("not yet", 503)

    async with host.serve(echo, authorize=decide) as server, host.connect(server.url, min=0.01) as primus:
        assert primus.state == "open"
    assert len(asked) == 3


@scenario(needs=["cancellation"])
async def test_a_hook_that_takes_too_long_is_answered_for(host: Host) -> None:
    """And cancelled: nobody is left who waits for what it says."""
    left = []

    async def decide(request: Any) -> None:
        try:
            await host.pause(30)
        finally:
            left.append(1)

    async with host.serve(echo, authorize=decide, limits=Limits(authorization=0.1)) as server:
        with pytest.raises(ConnectError) as caught:
            async with host.connect(server.url, strategy=False):
                pass
        assert caught.value.status == 503
        await host.until(lambda: left)
        assert not server.sparks


@scenario()
async def test_hooks_of_requests_that_have_gone_count_against_the_limit(host: Host) -> None:
    running = []

    async def decide(request: Any) -> None:
        running.append(1)
        await host.pause(30)

    async with host.serve(echo, authorize=decide, limits=Limits(authorizations=3, close=0.1)) as server:
        for _ in range(6):
            with pytest.raises(ConnectError):
                async with host.connect(server.url, strategy=False, timeout=0.1):
                    pass
        assert len(running) == 3


@scenario()
async def test_a_client_that_does_not_wait_for_the_decision(host: Host) -> None:
    asked, ended = [], []

    async def decide(request: Any) -> None:
        asked.append(1)
        await host.until(lambda: len(asked) == 2)
        ended.append(1)

    connections: list[object] = []
    async with host.serve(echo, authorize=decide) as server:
        server.on("connection", connections.append)
        with pytest.raises(ConnectError, match="no answer in time"):
            async with host.connect(server.url, strategy=False, timeout=0.1):
                pass
        async with host.connect(server.url) as primus:
            primus.write(1)
            assert await take(primus, 1) == [1]
        await host.until(lambda: len(ended) == 2)
    assert len(connections) == 1


@scenario()
async def test_a_server_that_closes_does_not_wait_for_a_hook_that_hangs(host: Host) -> None:
    asked = []

    async def decide(request: Any) -> None:
        asked.append(1)
        await host.pause(60)

    async with host.serve(echo, authorize=decide, limits=Limits(close=0.2)) as server:
        client = host.connect(server.url, wait=False, strategy=False)
        async with client as primus:
            await host.until(lambda: asked)
            await server.close()
            await primus.wait_ended()
            assert why(primus) == "refused"
            assert primus.close_reason is not None
            assert isinstance(primus.close_reason.error, ConnectError)
            assert primus.close_reason.error.status == 503


@scenario()
async def test_all_that_are_let_in_at_once_can_be_looked_at_at_once(host: Host) -> None:
    """From when the first of them is announced: nobody sees one that is there only by half."""
    gate = Gate(host)
    seen: list[set[str]] = []

    async def authorize(request: Request) -> None:
        await gate.wait()

    def look(spark: Any) -> None:
        seen.append({other.id for other in server.sparks.values()})

    async with host.serve(stay, authorize=authorize) as server:
        server.on("connection", look)
        async with contextlib.AsyncExitStack() as stack:
            connects = [host.connect(server.url, wait=False, strategy=False) for _ in range(5)]
            clients = [await stack.enter_async_context(connect) for connect in connects]
            await host.pause(0.05)
            gate.open()
            await host.until(lambda: len(seen) == len(clients))
            assert max(seen, key=len) == set(server.sparks)
