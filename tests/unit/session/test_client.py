"""A client while it is open, or not yet: connecting, reading, its spark's id, pausing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from primus_proto import (
    Client,
    ClientConfig,
    ClientState,
    DecodeError,
    EncodeError,
    LocalProtocolError,
)
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import START, ClientHost, SlowPipe, commanded, opened, slow

# --- connecting ---


def test_what_it_asks_for() -> None:
    host = ClientHost("https://me:pw@h/?a=b", ping=5.0, pong=2.0, headers={"X-A": "1"})
    (connect,) = host.commanded()
    assert isinstance(connect, cmd.Connect)
    assert connect.url.startswith("wss://h/primus?a=b&_primuscb=")
    assert connect.url.endswith("&ping=5000&pong=2000")
    assert connect.headers == (("X-A", "1"), ("Authorization", "Basic bWU6cHc="))
    assert host.client.next_timeout() == START + 10.0


def test_wall_clock_only_shows_in_what_is_written() -> None:
    near, far = (Client(ClientConfig(url="http://h"), rng=random.Random(1), wall_offset=x) for x in (0.0, 9e9))
    (first,), (second,) = (commanded(client, now=START) for client in (near, far))
    assert isinstance(first, cmd.Connect)
    assert isinstance(second, cmd.Connect)
    assert first.url != second.url
    assert near.next_timeout() == far.next_timeout() == START + 10.0


def test_opened_when_nobody_asked() -> None:
    host = ClientHost(manual=True)
    host.open()
    assert host.told() == []
    host = opened()
    host.open()
    host.client.end()
    host.told()
    host.open()
    assert host.told() == []


@pytest.mark.parametrize("again", [False, True])
def test_opened_after_the_attempt_was_given_up(again: bool) -> None:
    """The connection came about before the host heard that it is not wanted: it is dropped, and speaks to nobody."""
    host = ClientHost()
    host.pump()
    host.client.end()
    if again:
        host.client.open()
    pipe = SlowPipe()
    host.client.opened(now=host.now, pipe=pipe)
    assert pipe.aborted
    assert host.client.state is (ClientState.STARTING if again else ClientState.ENDED)
    assert [type(command) for command in host.commanded()[1:]] == [cmd.Abort, *([cmd.Connect] if again else [])]


def test_the_loss_of_a_connection_that_is_not_asked_for_yet() -> None:
    host = opened()
    host.client.end()
    host.client.open()
    host.client.connection_lost("late news of the one before", now=host.now)
    assert host.client.state is ClientState.STARTING
    host.open()
    assert host.told()[-1] == "open"


def test_a_loss_when_there_is_nothing_to_lose() -> None:
    host = ClientHost(manual=True)
    host.lose("no")
    assert host.told() == []


# --- reading ---


def test_data_of_every_kind() -> None:
    host = opened()
    for value in (0, False, None, "", "text", [1, {"a": None}]):
        host.receive(value)
    host.client.receive_message(b"\x00raw", now=host.now)
    events = host.fresh()
    assert events == [ev.DataReceived(value) for value in (0, False, None, "", "text", [1, {"a": None}], b"\x00raw")]
    assert [event.size for event in events if isinstance(event, ev.DataReceived)] == [1, 5, 4, 2, 6, 16, 4]


def test_what_cannot_be_decoded_is_an_error_in_its_place() -> None:
    host = opened()
    host.receive(1)
    host.client.receive_message("{", now=host.now)
    host.receive(2)
    first, error, second = host.fresh()
    assert (first, second) == (ev.DataReceived(1), ev.DataReceived(2))
    assert isinstance(error, ev.ErrorOccurred)
    assert isinstance(error.error, DecodeError)
    assert error.error.payload == "{"
    assert host.client.state is ClientState.OPEN


@pytest.mark.parametrize(
    "text",
    [
        "primus::unknown::x",
        "primus::",
        "primus::ping",
        "primus::ping::1",  # the wrong way round for this dialect
        "primus::id::",
        "primus::id::0123",  # nobody asked
        "primus::server::open",
        "primus::server::close ",
    ],
)
def test_unknown_protocol_messages_are_ignored_but_not_unseen(text: str) -> None:
    """Protocol 1."""
    host = opened(dialect="happn")
    host.receive(text)
    assert host.fresh() == [ev.MessageIgnored(text)]
    assert host.commanded() == []
    host.lose(code=1000)
    assert host.told()[-1] == "reconnect scheduled"


def test_the_prefix_is_looked_for_after_decoding() -> None:
    host = opened()
    host.client.receive_message('"\\u0070rimus::server::close"', now=host.now)
    assert host.told() == []
    host.lose(code=1000)
    assert host.told()[-1] == "end"


def test_nothing_is_taken_in_unless_open() -> None:
    host = ClientHost()
    host.told()
    host.receive("early")
    host.open()
    host.told()
    host.client.end()
    host.told()
    for message in ("late", "primus::server::close", "primus::pong::1"):
        host.receive(message)
    assert host.told() == []


def test_a_servers_close_is_forgotten_with_its_connection() -> None:
    host = opened()
    host.receive("primus::server::close")
    host.lose()
    host.client.open()
    host.open()
    host.told()
    host.lose()
    assert host.told()[-1] == "reconnect scheduled"


def test_a_websocket_ping_means_nothing() -> None:
    host = opened()
    due = host.client.next_timeout()
    host.client.receive_ping(now=host.now)
    assert (host.told(), host.commanded(), host.client.next_timeout()) == ([], [], due)


# --- the id ---


def test_the_id_is_asked_for_and_answered() -> None:
    host = opened()
    host.client.request_id()
    host.client.request_id()
    assert host.sent() == ["primus::id::", "primus::id::"]
    for _ in range(3):
        host.receive("primus::id::a:b")
    assert host.fresh() == [ev.IdReceived("a:b"), ev.IdReceived("a:b"), ev.MessageIgnored("primus::id::a:b")]


def test_the_id_of_another_connection_is_no_answer() -> None:
    host = opened()
    host.client.request_id()
    host.lose()
    host.run(0.5)
    host.open()
    host.told()
    host.receive("primus::id::old")
    assert host.fresh() == [ev.MessageIgnored("primus::id::old")]


def test_no_id_is_no_answer() -> None:
    """An empty one is the question, which no server asks; the answer may still come."""
    host = opened()
    host.client.request_id()
    host.receive("primus::id::")
    host.receive("primus::id::x")
    assert host.fresh() == [ev.MessageIgnored("primus::id::"), ev.IdReceived("x")]


def test_the_id_can_only_be_asked_for_when_open() -> None:
    for host in (ClientHost(), ClientHost(manual=True)):
        host.told()
        with pytest.raises(LocalProtocolError, match="while the connection is open"):
            host.client.request_id()
        assert host.told() == []


# --- pausing ---


def test_pausing_is_the_pipes_and_outlives_it() -> None:
    host, first = slow()
    host.client.pause()
    host.client.resume()
    host.client.pause()
    assert first.heard == ["pause", "resume", "pause"]
    host.lose()
    host.run(0.5)
    second = SlowPipe()
    host.client.opened(now=host.now, pipe=second)
    host.client.resume()
    assert second.heard == ["pause", "resume"]
    host.lose()
    host.run(30.0)
    third = SlowPipe()
    host.client.opened(now=host.now, pipe=third)
    assert third.heard == []


def test_pausing_before_there_is_a_connection() -> None:
    host = ClientHost()
    host.client.resume()
    host.client.pause()
    host.open()  # at the message seam, not reading is the host's own affair
    assert host.told() == ["rsc(opening)", "rsc(open)", "open"]


# --- parsers of one's own ---


class Fussy:
    """A parser that refuses the protocol's own strings."""

    name = "fussy"

    binary = False

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            raise KeyError(value)
        return bytes([value])

    def decode(self, data: str | bytes) -> Any:
        raise ZeroDivisionError


def test_a_failing_parser_raises_for_the_caller_and_is_an_event_elsewhere() -> None:
    host = opened(parser=Fussy())
    host.client.write(7)
    assert host.commanded() == [cmd.SendMessage(b"\x07")]
    with pytest.raises(EncodeError):
        host.client.request_id()
    host.client.receive_message(b"x", now=host.now)
    host.run(25.0)
    assert host.told() == ["error", "error"]
    assert host.commanded() == []
    host.client.receive_message(b"x", now=host.now)
    host.run(10.0)
    assert host.told() == ["error", "offline", "rsc(end)", "close", "reconnect scheduled"]
