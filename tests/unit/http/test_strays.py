"""Requests that lead to no session are said in the log, each cause once in a while."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import Response, ServerConfig
from primus_proto.http.strays import EVERY, Strays
from tests.unit.exchanges import foreign_request

UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
OURS = "?_primuscb=Q84LSZA&ping=25000&pong=10000"


def said(strays: Strays, log: list[str], target: str, headers: dict[str, str] | None = None, now: float = 0.0) -> str:
    log.clear()
    strays.look(foreign_request("GET", target, headers), None, now)
    return "".join(log)


@pytest.mark.parametrize(
    ("target", "headers", "options", "words"),
    [
        ("/primus" + OURS, UPGRADE, {}, ""),
        ("/primus" + OURS, {"Upgrade": "websocket", "Connection": "keep-alive, Upgrade"}, {}, ""),
        ("/primus", {}, {}, ""),  # a browser, or a health check
        ("/wp-login.php", {}, {}, ""),
        ("/other" + OURS, UPGRADE, {}, "the client has another pathname; this server's is '/primus'"),
        ("/other" + OURS, {}, {}, "another pathname"),
        ("/socket.io/?EIO=4&transport=polling", {}, {}, "another pathname"),
        ("/anything" + OURS, UPGRADE, {"pathname": "/"}, ""),
        ("/primus" + OURS, {}, {}, "without 'Upgrade': a proxy on the way may have removed it"),
        ("/primus" + OURS, {"Upgrade": "websocket", "Connection": "close"}, {}, "'Connection' does not say 'Upgrade'"),
        ("/primus/?EIO=3&transport=polling", {}, {}, "the client speaks Engine.IO"),
        ("/primus/info", {}, {}, "the client speaks SockJS"),
        (
            "/primus/000/abc/xhr_streaming",
            {},
            {"transformer": "lws"},
            "the client speaks SockJS; this server's transformer is",
        ),
        ("/primus/info" + OURS, {}, {"transformer": "engine.io"}, "the client speaks SockJS"),
        ("/primus" + OURS, UPGRADE, {"transformer": "engine.io"}, "the client speaks plain WebSockets"),
        ("/primus/?EIO=4&transport=polling", {}, {"transformer": "engine.io"}, ""),
        ("/primus/?EIO=4&transport=polling", {}, {"transformer": "sockjs"}, "the client speaks Engine.IO"),
        ("/primus" + OURS, UPGRADE, {"transformer": "sockjs"}, "the client speaks plain WebSockets"),
        ("/primus/info" + OURS, {}, {"transformer": "sockjs"}, ""),
        ("/primus/000/abc/websocket" + OURS, UPGRADE, {"transformer": "sockjs"}, ""),
        ("/primus?_primuscb=x", UPGRADE, {"dialect": "happn"}, "dialect 'happn'"),
        ("/primus?_primuscb=x", UPGRADE, {"dialect": "primus"}, ""),
    ],
)
def test_what_is_said(target: str, headers: dict[str, str], options: dict[str, Any], words: str) -> None:
    log: list[str] = []
    text = said(Strays(ServerConfig(**options), log.append), log, target, headers)
    assert words in text
    assert bool(words) == bool(text)
    assert "primuscb" not in text


def test_each_cause_is_said_once_in_a_while() -> None:
    log: list[str] = []
    strays = Strays(ServerConfig(), log.append)
    assert said(strays, log, "/one" + OURS, UPGRADE)
    assert not said(strays, log, "/two" + OURS, UPGRADE, EVERY - 1)
    assert said(strays, log, "/primus" + OURS, {}, EVERY - 1)
    assert said(strays, log, "/three" + OURS, UPGRADE, EVERY).endswith("(1 more since the last time)")


def test_answers_that_are_no_surprise_are_not_said() -> None:
    log: list[str] = []
    strays = Strays(ServerConfig(), log.append)
    for status in (401, 403, 500, 503):
        strays.look(foreign_request("GET", "/primus" + OURS, {}), Response(status), 0.0)
    assert log == []
