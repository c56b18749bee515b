"""`ByteClient` and `SpecQuery` as a driver sees them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from primus_proto import ClientConfig, ClientState, ConfigError, ConnectError, SpecQuery
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.wires import TEXT, ClientWire, Wire, frame


def test_each_attempt_has_a_channel_of_its_own_and_stale_news_is_ignored() -> None:
    wire = ClientWire(min=0.5, ping=False)
    first = wire.open()
    wire.eof(first, "reset")
    wire.run(0.5)
    second = wire.open()
    assert (first, second) == (1, 2)
    for stale in (frame(TEXT, '"stale"', mask=False), b"\xff\xff\xff"):
        wire.feed(first, stale)
    wire.endpoint.channel_opened(first, now=wire.now)
    wire.eof(first, "again")
    wire.feed(second, frame(TEXT, '"fresh"', mask=False))
    assert [event.data for event in wire.all(ev.DataReceived)] == ["fresh"]
    assert wire.client.state is ClientState.OPEN


def test_a_channel_opens_once() -> None:
    wire = ClientWire(ping=False)
    wire.pump()
    for _ in range(2):
        wire.endpoint.channel_opened(1, now=wire.now)
    wire.pump()
    said = wire.take(1)
    assert said.count(b"GET /primus?") == 1
    wire.feed(1, wire.answer(said))
    wire.endpoint.channel_opened(1, now=wire.now)
    wire.pump()
    assert wire.take(1) == b""


@pytest.mark.parametrize("moment", ["unasked", "asked", "up", "half"])
def test_a_client_may_end_at_any_moment_of_an_attempt(moment: str) -> None:
    wire = ClientWire(manual=moment == "unasked")
    if moment == "unasked":
        wire.client.open()
    elif moment != "asked":
        said = wire.up()
        if moment == "half":
            wire.feed(wire.channel, wire.answer(said)[:30])
    wire.client.end()
    assert wire.told() == ["readyStateChange", "readyStateChange", "close", "end"]
    assert wire.closed == ({} if moment == "unasked" else {1: True})
    assert wire.endpoint.next_timeout() is None
    if moment != "unasked":
        wire.endpoint.channel_opened(1, now=wire.now)
        wire.eof(1)
    assert wire.told() == []


# --- the spec ---


class SpecWire(Wire):
    """A `SpecQuery` and its driver."""

    def __init__(self, url: str = "http://server:8080", **options: Any) -> None:
        super().__init__(SpecQuery(ClientConfig(url=url, **options), rng=random.Random(1)))
        self.pump()

    def outcome(self) -> ev.SpecReceived | ev.ErrorOccurred:
        """The only event. Nothing is left behind it."""
        (event,) = self.fresh()
        assert isinstance(event, ev.SpecReceived | ev.ErrorOccurred)
        assert self.endpoint.channels == 0
        assert self.endpoint.next_timeout() is None
        assert set(self.closed) == {1}
        self.run(60)
        assert self.fresh() == []
        return event


def error(event: ev.SpecReceived | ev.ErrorOccurred) -> ConnectError:
    assert isinstance(event, ev.ErrorOccurred)
    assert isinstance(event.error, ConnectError)
    return event.error


def opened(**options: Any) -> tuple[SpecWire, bytes]:
    wire = SpecWire(**options)
    assert isinstance(wire.endpoint, SpecQuery)
    wire.endpoint.channel_opened(1, now=wire.now)
    wire.pump()
    return wire, wire.take(1)


def answer(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def test_a_spec_is_asked_for_and_told() -> None:
    wire, said = opened(url="https://me:secret@server", pathname="/p", headers={"X-A": "b"})
    assert wire.commands[0] == cmd.OpenChannel(1, "server", 443, True)
    assert said == (
        b"GET /p/spec HTTP/1.1\r\nHost: server\r\nAccept: application/json\r\nX-A: b\r\n"
        b"Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    )
    wire.feed(1, answer("200 OK", b'{"version":"6.0.1"}'))
    assert wire.outcome() == ev.SpecReceived({"version": "6.0.1"})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", b"<html>"),
        ("200 OK", b"[]"),
        ("200 OK", b"\xff"),
        ("200 OK", b"[" * 100_000),
        ("404 Not Found", b"{}"),
    ],
)
def test_any_other_answer_is_an_error(status: str, body: bytes) -> None:
    wire, _ = opened()
    wire.feed(1, answer(status, body))
    failed = error(wire.outcome())
    assert str(failed) == f"the server answered {status[:3]}, not with a spec: no Primus under this pathname?"
    assert (failed.status, failed.body[:100]) == (int(status[:3]), body[:100])
    assert failed.headers


def test_without_an_answer_in_time_the_query_fails() -> None:
    wire, _ = opened(timeout=3.0)
    wire.run(2.9)
    assert wire.fresh() == []
    wire.run(0.2)
    assert str(error(wire.outcome())) == "no answer in time"


def test_without_a_connection_the_query_fails() -> None:
    wire = SpecWire(timeout=False)
    assert wire.endpoint.next_timeout() is None
    wire.eof(1, "connection refused")
    assert str(error(wire.outcome())) == "connection refused"


def test_a_query_takes_no_functions() -> None:
    with pytest.raises(ConfigError, match="url: a spec query takes values"):
        SpecWire(lambda: "http://server")  # type: ignore[arg-type]
