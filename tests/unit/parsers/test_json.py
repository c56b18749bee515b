"""The JSON parser: what JavaScript's JSON knows, no more and no less (protocol 1); and how a parser is chosen."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import ConfigError, DecodeError, EncodeError, Parser
from primus_proto.parsers import PARSERS, JSONParser, get_parser

parser = JSONParser()

# Every value that JSON has and both languages agree on: no infinities.
texts = st.text(st.characters()) | st.sampled_from(["\ud800", "a\udc00\u2028"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


def exactly(value: Any) -> str:
    """Unlike ==, this tells true from 1 and 1 from 1.0."""
    return json.dumps(value, sort_keys=True)


@given(values)
def test_what_goes_out_comes_back(value: Any) -> None:
    text = parser.encode(value)
    assert exactly(parser.decode(text)) == exactly(value)
    assert not {"\u2028", "\u2029", "\n"} & set(text)
    assert exactly(json.loads(text)) == exactly(value)


@given(values)
def test_what_others_write_is_read(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=1)):
        assert exactly(parser.decode(text)) == exactly(value)


@given(st.text() | st.binary())
def test_any_input_gives_a_value_or_a_decode_error(data: str | bytes) -> None:
    with contextlib.suppress(DecodeError):
        parser.decode(data)


@pytest.mark.parametrize("value", [0, False, None, "", [], {}])
def test_falsy_values_are_ordinary_messages(value: Any) -> None:
    assert exactly(parser.decode(parser.encode(value))) == exactly(value)


def test_compact() -> None:
    assert parser.encode({"a": [1, None]}) == '{"a":[1,null]}'


def test_line_separators_are_escaped_and_nothing_else_is() -> None:
    assert parser.encode("\u2028é\u2029\U0001f600") == '"\\u2028é\\u2029\U0001f600"'
    assert parser.encode({"\u2028": 1}) == '{"\\u2028":1}'


def test_lone_surrogates_travel_as_escapes() -> None:
    assert parser.encode({"\ud800": "a\udfffé\u2028"}) == '{"\\ud800":"a\\udfffé\\u2028"}'
    assert parser.decode('["\\ud800", "\\uDFFF"]') == ["\ud800", "\udfff"]


def test_an_interrupt_leaves_nothing_behind() -> None:
    class Interrupting(dict[str, int]):
        def items(self) -> Any:
            raise KeyboardInterrupt

    inner: dict[str, Any] = {"a": Interrupting(b=1)}
    with pytest.raises(KeyboardInterrupt):
        parser.encode(inner)
    inner["a"] = 1
    assert parser.encode(inner) == '{"a":1}', "no loop is seen where there is none"


def test_the_text_of_a_subclass_is_text() -> None:
    class Text(str):
        __slots__ = ()

    assert parser.decode(Text('{"a":1}')) == {"a": 1}


def test_binary_messages_are_handed_over_undecoded() -> None:
    assert parser.decode(b"\x00[1]") == b"\x00[1]"


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}, {math.nan: 1}, {1, 2}, object(), 1j],
    ids=repr,
)
def test_refuses_to_encode(value: Any) -> None:
    with pytest.raises(EncodeError, match="cannot encode as JSON"):
        parser.encode(value)


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_says_that_json_has_no_bytes(value: Any) -> None:
    with pytest.raises(EncodeError, match="JSON has no bytes"):
        parser.encode(value)


def test_refuses_to_encode_what_is_too_deep_too_long_or_a_loop() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    loop: list[Any] = []
    loop.append(loop)
    for value in (deep, loop, 10**5000):
        with pytest.raises(EncodeError):
            parser.encode(value)
    assert parser.encode([1]) == "[1]", "a failure leaves no trace in the encoder"
    while deep:  # taken apart by hand: its destructor would recurse as deep
        deep = deep.pop()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        '{"a":',
        "[1,]",
        "{'a':1}",
        "NaN",
        "Infinity",
        "[-Infinity]",
        "1e999",
        "[-1e999]",
        "\ufeff1",
        "1 2",
        "9" * 5000,
        "[" * 200_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_refuses_to_decode(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parser.decode(text)
    assert caught.value.payload == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "\U0001f600"),  # a pair is one character
        ('"\\\\ud800"', "\\ud800"),  # an escaped backslash, and letters
        (" 1 ", 1),
        ("1e3", 1000.0),
        ("-0", 0),
        ('"primus::ping::1"', "primus::ping::1"),
    ],
)
def test_decodes(text: str, value: Any) -> None:
    assert exactly(parser.decode(text)) == exactly(value)


class Upper:
    """A parser of one's own."""

    name = "upper"
    binary = False

    def encode(self, value: Any) -> str:
        return str(value).upper()

    def decode(self, data: str | bytes) -> Any:
        return data


def test_choosing_a_parser() -> None:
    assert get_parser("json") is get_parser("JSON") is PARSERS["json"]
    mine = Upper()
    assert get_parser(mine) is mine
    assert isinstance(mine, Parser)


@pytest.mark.parametrize("wrong", ["yaml", ""])
def test_an_unknown_parser(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown parser .*; known: json"):
        get_parser(wrong)


@pytest.mark.parametrize("wrong", [None, 5, object(), JSONParser])
def test_an_object_that_is_not_a_parser(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="parser must be a name or have name, binary, encode and decode"):
        get_parser(wrong)
