"""Authorization: when the hook is called, and what a refusal tells the client and the server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import ConnectError, Limits, Refused
from tests.conformance.hosts import Host, scenario
from tests.conformance.users import Gate, echo, take, why


class Strange(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize(
    ("what", "status", "message", "awaits"),
    [
        pytest.param(None, 401, "Unauthorized", False, id="false"),
        pytest.param(Refused("who?", authenticate='Basic realm="x"'), 401, "who?", True, id="challenge"),
        pytest.param(ZeroDivisionError("oops"), 500, "internal error", True, id="raises"),
        pytest.param(Strange(), 500, "internal error", False, id="raises a BaseException"),
        pytest.param(Refused("fine", 200), 500, "internal error", False, id="no such status"),
        *(pytest.param(result, 500, "internal error", False, id=repr(result)) for result in ("no", 0, 1)),
    ],
)
@scenario()
async def test_a_refusal_tells_the_client_why(
    host: Host, what: object, status: int, message: str, awaits: bool
) -> None:
    def decide(request: Any) -> object:
        if isinstance(what, BaseException):
            raise what
        return False if what is None else what

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
        assert "no-store" in headers.get("cache-control", "") or status != 401
        assert json.loads(error.body) == {"error": message}
        assert headers.get("www-authenticate") == ('Basic realm="x"' if message == "who?" else None)
        assert isinstance(error.__cause__, ConnectError)
        assert not server.sparks


@pytest.mark.parametrize(("answer", "awaits"), [(None, False), (True, False), (None, True)])
@scenario()
async def test_none_and_true_let_the_client_in(host: Host, answer: object, awaits: bool) -> None:
    asked = []

    def decide(request: Any) -> object:
        asked.append((request.query["token"], request.path[: len("/primus")], request.peer.ip))
        return answer

    async def decide_later(request: Any) -> object:
        await host.pause(0.01)
        return decide(request)

    hook = decide_later if awaits else decide
    async with host.serve(echo, authorize=hook) as server, host.connect(f"{server.url}?token=x") as primus:
        primus.write(1)
        assert await take(primus, 1) == [1]
    assert asked == [("x", "/primus", "127.0.0.1")]


@scenario(needs=["cancellation"])
async def test_a_hook_that_takes_too_long_is_answered_for(host: Host) -> None:
    """It is cancelled, too."""
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
    gate = Gate(host)

    async def decide(request: Any) -> None:
        running.append(1)
        await gate.wait()

    async with host.serve(echo, authorize=decide, limits=Limits(authorizations=3, close=0.1)) as server:
        for _ in range(4):
            with pytest.raises(ConnectError):
                async with host.connect(server.url, strategy=False, timeout=0.1):
                    pass
        assert len(running) == 3
        gate.open()


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
