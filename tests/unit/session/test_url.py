"""The connect URL and its headers (protocol 2)."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ClientConfig
from primus_proto.session.url import ConnectURL, connect_headers

NOW = 1795369060554


class Made:
    """The URLs of one client."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.urls = ConnectURL()

    def make(self, epoch_ms: int) -> str:
        return self.urls.make(self.config, epoch_ms)

    def headers(self) -> tuple[tuple[str, str], ...]:
        return connect_headers(self.config)


def urls(url: str = "http://server:8080", **options: Any) -> Made:
    return Made(ClientConfig(url=url, **options))


def query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


@pytest.mark.parametrize(
    ("url", "options", "made"),
    [
        ("http://server:8080/?a=b", {}, "ws://server:8080/primus?a=b&"),
        ("https://server", {}, "wss://server/primus?"),
        ("ws://server/", {}, "ws://server/primus?"),
        ("wss://server:444/primus", {}, "wss://server:444/primus?"),
        ("http://me:pw@[::1]:81", {"pathname": "chat/room"}, "ws://[::1]:81/chat/room?"),
        ("http://server", {"pathname": "/chat/"}, "ws://server/chat/?"),
        ("http://server", {"pathname": "/"}, "ws://server/?"),
    ],
)
def test_the_url_has_host_path_query_and_heartbeat(url: str, options: dict[str, Any], made: str) -> None:
    assert urls(url, **options).make(NOW) == f"{made}_primuscb=Q84LSZA&ping=25000&pong=10000"


@pytest.mark.parametrize(
    ("options", "ping", "pong"),
    [
        ({"ping": False}, "false", "10000"),
        ({"ping": 0}, "false", "10000"),
        ({"ping": 1.5, "pong": 0.25}, "1500", "250"),
        ({"ping": 100, "pong": 1000}, "100000", "1000000"),
        ({"ping": 0.0005, "pong": 0.012345}, "0.5", "12.345"),
    ],
)
def test_the_heartbeat_is_told_in_milliseconds(options: dict[str, Any], ping: str, pong: str) -> None:
    assert query(urls(**options).make(NOW))[-2:] == [("ping", ping), ("pong", pong)]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("sig=%FF%00%e4&t=a%2Fb+c", "sig=%FF%00%e4&t=a%2Fb+c"),
        ("flag&empty=&a=b=c&=v", "flag&empty=&a=b=c&=v"),
        ("%70ing=1&a=1&&pon%67=2&Ping=3&_primuscb=x", "a=1&Ping=3"),
        ('q={"a":[1|2]}&half=%zz%', "q=%7B%22a%22:%5B1%7C2%5D%7D&half=%zz%"),
        ("u=!$'()*,;:@/?~-._", "u=!$'()*,;:@/?~-._"),
    ],
)
def test_the_users_query_is_kept_as_written_but_for_our_own_names(given: str, made: str) -> None:
    """Percent escapes need not be UTF-8; only what a URL must not have is escaped."""
    url = urls("http://h/?" + given).make(NOW)
    assert urlsplit(url).query.removesuffix("&_primuscb=Q84LSZA&ping=25000&pong=10000") == made


def buster(url: str) -> str:
    return dict(query(url))["_primuscb"]


@given(st.lists(st.integers(0, 3), max_size=8))
def test_no_two_attempts_share_a_cache_buster(steps: list[int]) -> None:
    maker, now, seen = urls(), NOW, set()
    for step in steps:
        now += step
        seen.add(buster(maker.make(now)))
    assert len(seen) == len(steps)


@pytest.mark.parametrize(("time", "digits"), [(0, "0"), (-5, "0"), (63, "_"), (64, "10"), (64**2 + 1, "101")])
def test_cache_buster_is_the_time_in_base_64(time: int, digits: str) -> None:
    assert buster(urls().make(time)) == digits


def basic(userinfo: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(userinfo.encode()).decode()


def test_userinfo_becomes_basic_authorization_unless_a_header_has_it() -> None:
    assert urls().headers() == ()
    assert urls(headers={"X-A": "1"}).headers() == (("X-A", "1"),)
    assert urls("http://me:p%40ss%3A@h", headers={"X-A": "1"}).headers() == (("X-A", "1"), basic("me:p@ss:"))
    assert urls("http://me@h").headers() == (basic("me:"),)
    assert urls("http://m%C3%BC:@h").headers() == (basic("mü:"),)
    own = (("authorization", "Bearer x"),)
    assert urls("http://me:pw@h", headers=own).headers() == own
