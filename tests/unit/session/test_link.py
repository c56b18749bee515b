"""Parsers are the application's code: whatever they raise becomes an `EncodeError` or a `DecodeError`."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

import pytest

from primus_proto import Client, ConfigError, DecodeError, EncodeError, Spark
from primus_proto import events as ev
from primus_proto.parsers import JSONParser
from primus_proto.session.encoding import encode, encode_protocol
from tests.unit.sessions import ClientHost, ServerHost, opened

JSON = JSONParser()


class Broken:
    """A parser that raises `outcome` if it can, and otherwise returns it."""

    name = "broken"
    binary = False

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def encode(self, value: Any) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def decode(self, data: str | bytes) -> Any:
        raise self.outcome


@pytest.mark.parametrize("text", ["primus::", "primus::server::close", "primus::" + "x" * 1000])
def test_reserved_strings_are_refused_to_applications(text: str) -> None:
    with pytest.raises(EncodeError, match="reserved") as caught:
        encode(JSON, text)
    assert len(str(caught.value)) < 200
    assert encode_protocol(JSON, text).payload == f'"{text}"'


def test_a_string_of_a_class_of_its_own_is_checked_as_well() -> None:
    class Name(str):
        pass

    assert encode(JSON, Name("ada")).payload == '"ada"'
    with pytest.raises(EncodeError, match="reserved"):
        encode(JSON, Name("primus::ada"))


@pytest.mark.parametrize(
    "outcome",
    [
        KeyError("k"),
        RecursionError(),
        CancelledError(),
        None,
        5,
        "\ud800",
        b"x",
        bytearray(b"x"),
        EncodeError("my words"),
    ],
    ids=repr,
)
def test_a_parser_that_fails_to_encode_is_an_encode_error(outcome: Any) -> None:
    for function in (encode, encode_protocol):
        with pytest.raises(EncodeError) as caught:
            function(Broken(outcome), "1")
        if isinstance(outcome, EncodeError):
            assert caught.value is outcome
        else:
            assert str(caught.value).startswith("the parser failed")


@pytest.mark.parametrize(
    ("outcome", "text", "payload"),
    [
        (KeyError("k"), "the parser failed: KeyError('k')", "raw"),
        (CancelledError(), "the parser failed: CancelledError()", "raw"),
        (DecodeError("my words", b"mine"), "my words", b"mine"),
    ],
)
def test_a_parser_that_fails_to_decode_is_an_error_event(
    outcome: BaseException, text: str, payload: str | bytes
) -> None:
    host = ServerHost(parser=Broken(outcome))
    spark = host.connect()
    spark.receive_message("raw", now=host.now)
    (error,) = [event.error for event in host.fresh() if isinstance(event, ev.SparkError)]
    assert isinstance(error, DecodeError)
    assert (str(error), error.payload) == (text, payload)
    assert error.__cause__ is (None if error is outcome else outcome)


class Waiting(JSONParser):
    """A parser that a test answers for."""

    async def encode(self, value: Any) -> str:  # type: ignore[override]
        raise AssertionError("the core does not wait")

    async def decode(self, data: str | bytes) -> Any:
        raise AssertionError("the core does not wait")


def test_what_an_asynchronous_parser_refuses_is_an_error_event() -> None:
    host = ServerHost(parser=Waiting())
    spark = host.connect()

    def answer(result: Any) -> None:
        host.pump()
        step = [event.held for event in host.seen if isinstance(event, ev.StepHeld) and not event.held.over][-1]
        step.awaitable.close()  # type: ignore[attr-defined]
        if isinstance(result, Exception):
            step.fail(result, now=host.now)
        else:
            step.resume(result, now=host.now)

    def errors() -> list[Any]:
        return [event.error for event in host.fresh() if isinstance(event, ev.SparkError)]

    host.fresh()
    for _ in range(2):
        spark.receive_message("?", now=host.now)
    answer(ValueError("not this"))
    assert [str(error) for error in errors()] == ["the parser failed: ValueError('not this')"]
    answer("primus::ping::1")
    answer(ValueError("nor the pong"))
    assert [type(error) for error in errors()] == [EncodeError]
    assert host.sent() == []


class WaitingToEncode(Waiting):
    decode = JSONParser.decode


def test_a_parser_that_waits_in_one_direction_only() -> None:
    host = ServerHost(parser=WaitingToEncode())
    host.receive(host.connect(), 1)
    assert [event.data for event in host.fresh() if isinstance(event, ev.SparkData)] == [1]


def test_a_first_message_needs_a_parser_that_does_not_wait() -> None:
    with pytest.raises(ConfigError, match="does not wait"):
        ClientHost(parser=Waiting(), first_message="hello")


class Interrupted(JSONParser):
    def decode(self, data: str | bytes) -> Any:
        raise KeyboardInterrupt


class InterruptedLater(Waiting):
    decode = Interrupted.decode


class InterruptedSaying(Waiting):
    def encode(self, value: Any) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize("parser", [Interrupted(), InterruptedLater()])
@pytest.mark.parametrize("transformed", [False, True])
def test_an_interrupt_in_a_parser_goes_through(parser: JSONParser, transformed: bool) -> None:
    server, client = ServerHost(parser=parser), opened(parser=parser)
    end: Spark | Client
    for host, end in ((server, server.connect()), (client, client.client)):
        if transformed:
            end.transform("incoming", lambda packet: None)
        with pytest.raises(KeyboardInterrupt):
            end.receive_message("1", now=host.now)
    with pytest.raises(KeyboardInterrupt):
        ServerHost(parser=InterruptedSaying()).connect().say("ping", "1")
