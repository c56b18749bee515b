"""Through the codec, a parser can raise what it likes: only the two documented errors come out."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import DecodeError, EncodeError
from primus_proto import events as ev
from primus_proto.parsers import JSONParser
from primus_proto.session.link import encode, encode_protocol
from tests.unit.sessions import ServerHost

JSON = JSONParser()


class Broken:
    """A parser that raises, or returns nonsense."""

    name = "broken"
    binary = False

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def encode(self, value: Any) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def decode(self, data: str | bytes) -> Any:
        raise self.outcome


@pytest.mark.parametrize("text", ["primus::", "primus::server::close", "primus::" + "x" * 1000])
def test_reserved_strings_are_refused(text: str) -> None:
    with pytest.raises(EncodeError, match="reserved") as caught:
        encode(JSON, text)
    assert len(str(caught.value)) < 200
    assert encode_protocol(JSON, text).payload == f'"{text}"'


def test_inside_a_value_they_are_data() -> None:
    assert encode(JSON, ["primus::server::close"]).payload == '["primus::server::close"]'


@pytest.mark.parametrize(
    "outcome",
    [KeyError("k"), RecursionError(), AttributeError("a"), None, 5, {"a": 1}, "\ud800", bytearray(b"x")],
    ids=repr,
)
def test_whatever_a_parser_does_encoding_raises_one_error(outcome: Any) -> None:
    for function in (encode, encode_protocol):
        with pytest.raises(EncodeError, match="the parser failed"):
            function(Broken(outcome), "1")


def test_a_parsers_own_encode_error_is_kept() -> None:
    error = EncodeError("my words")
    with pytest.raises(EncodeError) as caught:
        encode(Broken(error), 1)
    assert caught.value is error


def test_whatever_a_parser_raises_decoding_is_one_error_event() -> None:
    error = DecodeError("my words", b"raw")
    for outcome, words in ((KeyError("k"), "the parser failed: KeyError('k')"), (error, "my words")):
        host = ServerHost(parser=Broken(outcome))
        spark = host.connect()
        spark.receive_message("raw", now=host.now)
        host.pump()
        (told,) = [event.error for event in host.seen if isinstance(event, ev.SparkError)]
        assert isinstance(told, DecodeError)
        assert str(told) == words
        assert told.payload == ("raw" if outcome is not error else b"raw")
