"""The JSON parser: what JavaScript's JSON knows, no more and no less (protocol 1), with the extra `speedups` or not."""

from __future__ import annotations

import copy
import importlib
import json
import math
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import DecodeError, EncodeError, Limits
from primus_proto.parsers.json import FastJSONParser, JSONParser, make_json

plain = JSONParser()


@pytest.fixture(params=[JSONParser, FastJSONParser])
def parser(request: pytest.FixtureRequest) -> JSONParser:
    made: JSONParser = request.param()
    return made


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
    text = plain.encode(value)
    assert exactly(plain.decode(text)) == exactly(value)
    assert not {"\u2028", "\u2029", "\n"} & set(text)
    assert exactly(json.loads(text)) == exactly(value)


@given(values)
def test_what_others_write_is_read(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=1)):
        assert exactly(plain.decode(text)) == exactly(value)


@pytest.mark.parametrize("value", [0, False, None, "", [], {}])
def test_falsy_values_are_ordinary_messages(parser: JSONParser, value: Any) -> None:
    assert exactly(parser.decode(parser.encode(value))) == exactly(value)


def test_compact(parser: JSONParser) -> None:
    assert parser.encode({"a": [1, None]}) == '{"a":[1,null]}'


def test_line_separators_are_escaped_and_nothing_else_is(parser: JSONParser) -> None:
    assert parser.encode("\u2028é\u2029\U0001f600") == '"\\u2028é\\u2029\U0001f600"'
    assert parser.encode({"\u2028": 1}) == '{"\\u2028":1}'


def test_lone_surrogates_travel_as_escapes(parser: JSONParser) -> None:
    assert parser.encode({"\ud800": "a\udfffé\u2028"}) == '{"\\ud800":"a\\udfffé\\u2028"}'
    assert parser.decode('["\\ud800", "\\uDFFF"]') == ["\ud800", "\udfff"]


def test_an_interrupt_leaves_nothing_behind(parser: JSONParser) -> None:
    class Interrupting(dict[str, int]):
        def items(self) -> Any:
            raise KeyboardInterrupt

    inner: dict[str, Any] = {"a": Interrupting(b=1)}
    with pytest.raises(KeyboardInterrupt):
        parser.encode(inner)
    inner["a"] = 1
    assert parser.encode(inner) == '{"a":1}', "no loop is seen where there is none"


def test_the_text_of_a_subclass_is_text(parser: JSONParser) -> None:
    class Text(str):
        __slots__ = ()

    assert parser.decode(Text('{"a":1}')) == {"a": 1}


def test_binary_messages_are_handed_over_undecoded(parser: JSONParser) -> None:
    assert parser.decode(b"\x00[1]") == b"\x00[1]"


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        [math.nan],
        {"a": math.inf},
        {math.nan: 1},
        {1, 2},
        pytest.param(object(), id="object"),
        1j,
    ],
    ids=repr,
)
def test_refuses_to_encode(parser: JSONParser, value: Any) -> None:
    with pytest.raises(EncodeError, match="cannot encode as JSON"):
        parser.encode(value)


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_says_that_json_has_no_bytes(parser: JSONParser, value: Any) -> None:
    with pytest.raises(EncodeError, match="JSON has no bytes"):
        parser.encode(value)


def test_refuses_to_encode_what_is_too_deep_too_long_or_a_loop(parser: JSONParser) -> None:
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
def test_refuses_to_decode(parser: JSONParser, text: str) -> None:
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
def test_decodes(parser: JSONParser, text: str, value: Any) -> None:
    assert exactly(parser.decode(text)) == exactly(value)


# --- with the extra `speedups` the same is accepted, refused and made ---

fast = FastJSONParser()


def outcome(act: Callable[[], Any], refusal: type[Exception]) -> str:
    try:
        return exactly(act())
    except refusal:
        return "refused"


def as_doubles(value: Any) -> Any:
    """What becomes of integers beyond 64 bits."""
    if isinstance(value, list):
        return [as_doubles(each) for each in value]
    if isinstance(value, dict):
        return {key: as_doubles(each) for key, each in value.items()}
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


odd = st.sampled_from([math.nan, math.inf, b"x", {1, 2}, (1, "a"), {1: 2}, {None: 1, 2.5: 3}, {True: 1}, object()])
more_values = st.recursive(
    values | odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(more_values)
def test_both_write_the_same(value: Any) -> None:
    one, other = (outcome(lambda each=each: each.decode(each.encode(value)), EncodeError) for each in (plain, fast))  # type: ignore[misc]
    assert one == other or one == exactly(as_doubles(value)) or other == exactly(as_doubles(json.loads(one)))


class Bad(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("bad")


def test_what_a_value_raises_is_an_encode_error(parser: JSONParser) -> None:
    with pytest.raises(EncodeError, match="bad"):
        parser.encode_text(Bad(a=1))


class Reserved(Enum):
    NAME = "primus::x"

    def __repr__(self) -> str:
        raise RuntimeError


@given(more_values | st.sampled_from(["primus:", "primus::", "primus::id::", Reserved.NAME, "\u2028", "é\ud800"]))
def test_a_text_is_what_is_encoded_in_utf_8_and_not_reserved(value: Any) -> None:
    for parser in (plain, fast):
        text = outcome(lambda each=parser: each.encode_text(value).decode(), EncodeError)  # type: ignore[misc]
        encoded = outcome(lambda each=parser: each.encode(value), EncodeError)  # type: ignore[misc]
        assert text == ("refused" if encoded.startswith('"\\"primus::') else encoded)


pieces = st.sampled_from(
    [*'[]{}:,"-+.0123456789eE \\', '"a"', "true", "null", "NaN", "\\ud800", "\\u0041", "1e400", "é"]
)


@given(st.lists(pieces, max_size=12).map("".join) | st.text(max_size=10) | values.map(json.dumps))
def test_both_read_the_same(text: str) -> None:
    one, other = (outcome(lambda each=each: each.decode(text), DecodeError) for each in (plain, fast))  # type: ignore[misc]
    assert one == other or exactly(as_doubles(json.loads(one))) == other


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '"\\ud800"',
        "-0",
        "-0.0",
        "1e400",
        "NaN",
        "[" * 501 + "]" * 501,
        "[" * 500 + "]" * 500,
        "9" * 4301,
    ],
)
def test_both_read_the_same_of_what_parsers_differ_in(text: str) -> None:
    one, other = (outcome(lambda each=each: each.decode(text), DecodeError) for each in (plain, fast))  # type: ignore[misc]
    assert one == other


class Null(Enum):
    NULL = "null"


def test_the_documented_exceptions() -> None:
    """What only orjson does: nothing that a peer can tell from the other."""
    assert plain.decode(str(2**64)) == 2**64
    assert fast.decode(str(2**64)) == float(2**64)
    assert fast.encode(UUID(int=1)) == '"00000000-0000-0000-0000-000000000001"'
    assert fast.encode(Null.NULL) == '"null"'
    assert fast.encode([Null.NULL, None, 1.5]) == '["null",null,1.5]'
    with pytest.raises(EncodeError):
        plain.encode(UUID(int=1))


def test_the_faster_one_is_used_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_json()) is FastJSONParser
    monkeypatch.setitem(sys.modules, "orjson", None)
    monkeypatch.delitem(sys.modules, "primus_proto.parsers.json")
    without = importlib.import_module("primus_proto.parsers.json")
    assert type(without.make_json()) is without.JSONParser


def test_a_copy_has_the_same_limits(parser: JSONParser) -> None:
    copied = copy.deepcopy(type(parser)(Limits(nesting=2)))
    assert copied.decode("[[1]]") == [[1]]
    with pytest.raises(DecodeError, match="nested more than 2 levels"):
        copied.decode("[[[1]]]")
