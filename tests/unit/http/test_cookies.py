"""Cookies that a client sends back, as load balancers need it."""

from __future__ import annotations

import pytest

from primus_proto.http.cookies import COUNT, SIZE, Cookies
from tests.unit.transports.far_server import FarServer, answer


@pytest.mark.parametrize(
    ("fields", "cookie"),
    [
        (["SRV=one; path=/; HttpOnly"], "SRV=one"),
        (["a=1", "b=2; Secure", "a=3"], "b=2; a=3"),
        (["a=1; Max-Age=0", "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "c=1; max-age=60"], "c=1"),
        (["a=1", "a=; Max-Age=-1"], ""),
        (["", "=", "=x", "a b=1", "a=b c", "a=\u00e9", "a=b\r\nX: y", "name"], ""),
        ([f"c{number}=" for number in range(COUNT + 9)], "; ".join(f"c{number}=" for number in range(COUNT))),
        (["a=" + SIZE * "x", "b=1"], "b=1"),
        (["mine=2", "a=1"], "a=1"),
    ],
)
def test_cookies(fields: list[str], cookie: str) -> None:
    cookies = Cookies()
    cookies.learn(fields)
    headers = [("X-Other", "1"), ("cookie", "mine=1; yours=2")]
    together = "; ".join(filter(None, ["mine=1; yours=2", cookie]))
    assert sorted(value for _, value in cookies.added_to(headers)) == ["1", together]


@pytest.mark.parametrize("transformer", ["engine.io", "sockjs"])
def test_a_session_comes_back_with_the_cookies_of_its_first_answer(transformer: str) -> None:
    server = FarServer(transformer=transformer, headers={"Cookie": "mine=1"})
    hello = '0{"sid":"x","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}'
    body = hello if transformer == "engine.io" else '{"websocket":true}'
    first = server.one()
    assert "Cookie: mine=1\r\n" in first.head + "\r\n"
    server.give(first, answer(200, body, "Set-Cookie: SRV=two; path=/"))
    asked = server.asked()
    assert asked
    assert all("Cookie: mine=1; SRV=two\r\n" in each.head + "\r\n" for each in asked)
