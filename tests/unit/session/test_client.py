"""A client at the message seam: connecting, reading, the spark's id, pausing, and a parser that fails."""

from __future__ import annotations

import random

import pytest

from primus_proto import Client, ClientConfig, ClientState, EncodeError, LocalProtocolError
from primus_proto import commands as cmd
from primus_proto import events as ev
from tests.unit.sessions import START, ClientHost, Fussy, SlowPipe, commanded, opened, polled, slow, story

# --- connecting ---


def test_the_connect_command_has_url_and_headers() -> None:
    host = ClientHost("https://me:pw@h/?a=b", ping=5.0, pong=2.0, headers={"X-A": "1"})
    (connect,) = host.commanded()
    assert isinstance(connect, cmd.Connect)
    assert connect.url.startswith("wss://h/primus?a=b&_primuscb=")
    assert connect.url.endswith("&ping=5000&pong=2000")
    assert connect.headers == (("X-A", "1"), ("Authorization", "Basic bWU6cHc="))
    assert host.client.next_timeout() == START + 10.0
    assert host.client.context is None


def test_without_an_offset_the_drivers_clock_is_unix_time() -> None:
    client = Client(ClientConfig(url="http://server"), rng=random.Random(1))
    polled(client, now=0.0)
    client.opened(now=0.0)
    client.handle_timeout(now=25.0)
    assert commanded(client, now=25.0) == [cmd.SendMessage('"primus::ping::25000"')]


@pytest.mark.parametrize("again", [False, True])
def test_a_connection_that_opens_after_it_was_given_up_is_aborted(again: bool) -> None:
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


def test_a_late_loss_of_the_last_connection_does_not_touch_the_next() -> None:
    host = opened()
    host.client.end()
    host.client.open()
    host.client.connection_lost("late", now=host.now)
    assert host.client.state is ClientState.STARTING
    host.open()
    assert host.told()[-1] == "open"


# --- reading ---


def test_data_of_every_kind_is_told_with_its_size() -> None:
    host = opened()
    values = (0, False, None, "", "text", [1, {"a": None}])
    for value in values:
        host.receive(value)
    host.client.receive_message(b"\x00raw", now=host.now)
    events = host.fresh()
    assert events == [ev.DataReceived(value) for value in (*values, b"\x00raw")]
    assert [event.size for event in events if isinstance(event, ev.DataReceived)] == [1, 5, 4, 2, 6, 16, 4]


@pytest.mark.parametrize(
    "text",
    [
        *("primus::unknown::x", "primus::unknown", "primus::", "primus::ping", "primus::server::open"),
        "primus::ping::1",  # a client of happn is not pinged
        "primus::id::",
        "primus::id::0123",  # an answer to no question
        "primus::server::close ",
    ],
)
def test_an_unknown_protocol_message_is_ignored_and_reported(text: str) -> None:
    """Protocol 1."""
    host = opened(dialect="happn")
    host.receive(text)
    assert host.fresh() == [ev.MessageIgnored(text)]
    assert host.commanded() == []
    host.lose(code=1000)
    assert host.told()[-1] == "reconnect scheduled"


def test_protocol_messages_are_found_after_decoding() -> None:
    host = opened()
    host.client.receive_message('"\\u0070rimus::server::close"', now=host.now)
    assert host.told() == []
    host.lose(code=1000)
    assert host.told()[-1] == "end"


def test_messages_before_the_open_and_after_the_end_are_dropped() -> None:
    host = ClientHost()
    host.receive("early")
    host.open()
    host.client.end()
    host.told()
    for message in ("late", "primus::server::close", "primus::pong::1"):
        host.receive(message)
    assert host.told() == []
    assert not [event for event in host.seen if isinstance(event, ev.DataReceived)]


def test_a_client_that_ends_amid_events_gets_no_more_data() -> None:
    host = opened()
    for value in (1, 2, 3):
        host.client.receive_message(str(value), now=host.now)
    items = host.client.poll(now=host.now)
    assert next(items) == ev.DataReceived(1)
    with pytest.raises(EncodeError):
        host.client.end("primus::no")
    assert next(items) == ev.DataReceived(2)
    host.client.end()
    host.client.open()  # data of the session before is still withheld
    assert story(item for item in items if isinstance(item, ev.Event)) == ["rsc(end)", "close", "end", "rsc(opening)"]


@pytest.mark.parametrize("verb", ["end", "network_offline"])
def test_ending_a_lost_session_withholds_its_data(verb: str) -> None:
    host = opened()
    host.client.receive_message("1", now=host.now)
    host.client.connection_lost(now=host.now)
    getattr(host.client, verb)()
    assert "data" not in host.told()


# --- the id ---


def test_each_answer_to_request_id_is_told_once() -> None:
    host = opened()
    host.client.request_id()
    host.client.request_id()
    assert host.sent() == ["primus::id::", "primus::id::"]
    host.receive("primus::id::")  # a question, not an answer
    for _ in range(3):
        host.receive("primus::id::a:b")
    assert host.fresh() == [
        ev.MessageIgnored("primus::id::"),
        *[ev.IdReceived("a:b")] * 2,
        ev.MessageIgnored("primus::id::a:b"),
    ]


def test_the_id_asked_for_on_the_last_connection_does_not_count_on_the_next() -> None:
    host = opened()
    host.client.request_id()
    host.lose()
    host.run(0.5)
    host.open()
    host.told()
    host.receive("primus::id::old")
    assert host.fresh() == [ev.MessageIgnored("primus::id::old")]


def test_the_id_can_only_be_asked_for_while_open() -> None:
    host = ClientHost()
    host.told()
    with pytest.raises(LocalProtocolError, match=r"^the id can only be asked for while the connection is open$"):
        host.client.request_id()
    assert host.told() == []


# --- pausing ---


def test_a_pause_holds_for_the_next_connection_until_resume() -> None:
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


def test_pause_and_resume_work_without_a_connection() -> None:
    host = ClientHost()
    host.client.resume()
    host.client.pause()
    host.open()
    assert cmd.Pause() in host.commanded()


# --- a parser that fails ---


def test_a_failing_parser_raises_in_verbs_and_is_an_error_event_elsewhere() -> None:
    host = opened(parser=Fussy())
    host.client.write(7)
    assert host.commanded() == [cmd.SendMessage("7")]
    with pytest.raises(EncodeError):
        host.client.request_id()
    host.run(25.0)
    (event,) = host.fresh()
    assert isinstance(event, ev.ErrorOccurred)
    assert str(event.error).startswith("not primus::ping::")
    assert host.commanded() == []
    host.run(10.0)
    assert host.told() == ["offline", "rsc(end)", "close", "reconnect scheduled"]


def test_the_id_of_a_question_that_failed_is_not_expected() -> None:
    host = opened(parser=Fussy())
    with pytest.raises(EncodeError):
        host.client.request_id()
    host.client.receive_message("primus::id::x", now=host.now)
    assert host.fresh() == [ev.MessageIgnored("primus::id::x")]


def test_a_client_that_ends_while_it_is_paused_has_nothing_left_to_do() -> None:
    host = opened(retries=0)
    host.client.pause()
    host.run(1)
    host.client.connection_lost("gone", now=host.now)
    host.pump()
    assert (host.client.state, host.client.next_timeout()) == (ClientState.ENDED, None)
