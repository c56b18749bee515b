"""EJSON, binary and MessagePack as bytes: what each of the npm packages writes, and what none of ours takes.

The bytes were made by npm's `ejson` 2.1, `binary-pack` 1.0 and `primus-msgpack` 1.0; tests/interop compares with them.
"""

from __future__ import annotations

import math
import re
import sys
from array import array
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import IntEnum
from typing import Any

import msgpack
import pytest

from primus_proto import ConfigError, DecodeError, EncodeError
from primus_proto.parsers import BinaryParser, EJSONParser, EJSONType, RegExp
from primus_proto.parsers.msgpack import MsgpackParser

MOMENT = datetime(1970, 1, 1, 0, 0, 1, 234000, tzinfo=UTC)
ejson, binary, packed = EJSONParser(), BinaryParser(), MsgpackParser()

BOTH_WAYS: list[tuple[Any, Any, str | bytes]] = [
    (ejson, MOMENT, '{"$date":1234}'),
    (ejson, [b"hi", {"a": b""}], '[{"$binary":"aGk="},{"a":{"$binary":""}}]'),
    (ejson, [1.5, MOMENT], '[1.5,{"$date":1234}]'),
    (ejson, [math.nan, math.inf, -math.inf], '[{"$InfNaN":0},{"$InfNaN":1},{"$InfNaN":-1}]'),
    (ejson, {"$date": 1}, '{"$escape":{"$date":1}}'),
    (ejson, {"$date": MOMENT}, '{"$escape":{"$date":{"$date":1234}}}'),
    (ejson, {"$escape": {"$date": 1}}, '{"$escape":{"$escape":{"$escape":{"$date":1}}}}'),
    (ejson, {"$binary": "x", "$type": 1}, '{"$binary":"x","$type":1}'),
    (ejson, {"$x": 1, "$date": 2}, '{"$x":1,"$date":2}'),
    (ejson, RegExp("a", "gi"), '{"$regexp":"a","$flags":"gi"}'),
    (ejson, {"$regexp": "a"}, '{"$regexp":"a"}'),
    (ejson, "$date", '"$date"'),
    (binary, [None, True, False], b"\x93\xc0\xc3\xc2"),
    (binary, [0, 127, 128, 255, 256], b"\x95\x00\x7f\xcc\x80\xcc\xff\xcd\x01\x00"),
    (binary, [65535, 65536, 2**32 - 1], b"\x93\xcd\xff\xff\xce\x00\x01\x00\x00\xce\xff\xff\xff\xff"),
    (binary, [-1, -32, -33, -128, -129], b"\x95\xff\xe0\xd0\xdf\xd0\x80\xd1\xff\x7f"),
    (binary, [-32768, -32769, -(2**31)], b"\x93\xd1\x80\x00\xd2\xff\xff\x7f\xff\xd2\x80\x00\x00\x00"),
    (binary, 1.5, b"\xcb\x3f\xf8" + bytes(6)),
    (binary, ["", "é", "x" * 15], b"\x93\xb0\xb2\xc3\xa9\xbf" + b"x" * 15),
    (binary, "x" * 16, b"\xd8\x00\x10" + b"x" * 16),
    (binary, "x" * 65536, b"\xd9\x00\x01\x00\x00" + b"x" * 65536),
    (binary, [b"", b"hi", b"x" * 16], b"\x93\xa0\xa2hi\xda\x00\x10" + b"x" * 16),
    (binary, b"x" * 65536, b"\xdb\x00\x01\x00\x00" + b"x" * 65536),
    (binary, [1] * 16, b"\xdc\x00\x10" + b"\x01" * 16),
    (binary, [1] * 65536, b"\xdd\x00\x01\x00\x00" + b"\x01" * 65536),
    (binary, {"a": [{}, []], "b": {"": 1}}, b"\x82\xb1a\x92\x80\x90\xb1b\x81\xb0\x01"),
    (
        binary,
        {str(n): 0 for n in range(16)},
        b"\xde\x00\x10" + b"".join(binary.encode(str(n)) + b"\0" for n in range(16)),
    ),
    (binary, "primus::id::", b"\xbcprimus::id::"),
    (packed, MOMENT, b"\xc7\x03\x0d\xcd\x04\xd2"),
    (packed, [b"hi", None], b"\x92\xc4\x02hi\xc0"),
    (packed, RegExp("a/b", "gi"), b"\xd7\x0a\x92\xa3a/b\xa2gi"),
    (packed, array("h", [1, 2]), b"\xd6\x13\x01\x00\x02\x00"),
    (packed, array("f", [1.5]), b"\xd6\x17\x00\x00\xc0\x3f"),
    (packed, [2**32, 2**64 - 1], b"\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xcf" + b"\xff" * 8),
    (packed, msgpack.ExtType(100, b"x"), b"\xd4\x64x"),
    (packed, "primus::id::", b"\xacprimus::id::"),
]
READ: list[tuple[Any, str | bytes, Any]] = [
    (ejson, '{"$date":1234.9}', MOMENT),
    (ejson, '{"\\u0024date":1234}', MOMENT),
    (ejson, '{"$binary":"aGk"}', b"hi"),
    (ejson, '{"$InfNaN":7}', math.inf),
    (ejson, '{"$InfNaN":-' + "9" * 400 + "}", -math.inf),
    (ejson, '{"$escape":{"a":{"$date":1234}}}', {"a": MOMENT}),
    (ejson, '{"$regexp":1,"$flags":"g"}', {"$regexp": 1, "$flags": "g"}),
    (ejson, '{"$date":1,"$date":1234}', MOMENT),
    (ejson, '{"__proto__":{"$date":1234}}', {"__proto__": MOMENT}),
    (binary, b"\x96\xc1\xd4\xd5\xd6\xd7\xc0", [None] * 6),
    (binary, b"\x92\xd3\x00\x00\x01\x00\x00\x00\x00\x00\xcf\x80" + bytes(7), [2**40, 2**63]),
    (binary, b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", -(2**31) - 1),
    (binary, b"\xca\x3f\xc0\x00\x00", 1.5),
    (binary, b"\x82\x01\xb1a\xb11\xb1b", {"1": "b"}),
    (binary, b"\xdf\x00\x00\x00\x01\xd8\x00\x01a\xdd\x00\x00\x00\x00", {"a": []}),
    (binary, b"\xb9__proto__", "__proto__"),
    (packed, b"\x83\x01\x02\xff\x04\xa1a\x05", {"1": 2, "-1": 4, "a": 5}),
    (packed, b"\x83\xc0\x01\xc3\x02\xcb\x3f\xf8" + bytes(6) + b"\x03", {"null": 1, "true": 2, "1.5": 3}),
    (packed, b"\xd5\x12\x01\x02", b"\x01\x02"),
    (packed, b"\xc7\x03\x0a\x91\xa1a", RegExp("a")),
    (packed, b"\x93\xd4\x0b\xc3\xd5\x0c\xa1a\xd4\x0f\x03", [True, "a", 3]),
    (packed, b"\xc7\x08\x0e\x81\xa4name\xa1E", {"name": "E"}),
    (packed, b"\xd6\xff\x00\x00\x00\x01", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
]
BAD: list[tuple[Any, str | bytes, str]] = [
    (ejson, b"{}", "a binary message"),
    (ejson, '{"$date":', "not JSON"),
    (ejson, '{"$date":null}', "not a date that Python can hold"),
    (ejson, '{"$date":1e20}', "not a date that Python can hold"),
    (ejson, '{"$date":' + "9" * 400 + "}", "not a date that Python can hold"),
    (ejson, '{"$date":"' + "9" * 5000 + '"}', "not a date that Python can hold"),
    (ejson, '{"$binary":"!"}', "without base 64"),
    (ejson, '{"$binary":5}', "without a string"),
    (ejson, '{"$escape":[1]}', "without an object"),
    (ejson, '{"$type":"Point","$value":1}', r"no type 'Point': give it to EJSONParser\(types="),
    (ejson, '{"$type":[],"$value":1}', "no type"),
    (binary, "text", "a text message"),
    (binary, b"", "ends too early"),
    (binary, b"\x00\x00", "1 bytes follow the value"),
    (binary, b"\xc4", "no tag 0xc4"),
    (binary, b"\xb1\xff", "utf-8"),
    (binary, b"\x81\xc0\xc0", "a key of an object is no string"),
    (binary, b"\x81\x91\x01\xc0", "a key of an object is no string"),
    (packed, "text", "a text message"),
    (packed, b"\x81\x90\xc0", "no string"),
    (packed, b"\xc1", "not MessagePack"),
    (packed, b"\x01\x02", "not MessagePack"),
    (packed, b"\xa1\xff", "utf-8"),
    (packed, b"\xd4\x0d\xc0", "not a date that Python can hold"),
    (packed, b"\xd4\x0a\x90", "a regular expression without a source"),
    (packed, b"\xd4\x0c\x01", "extension 12 with int in it"),
    (packed, b"\xd4\x0e\x90", "an error without fields"),
    (packed, b"\xd4\x13\x01", "not MessagePack"),
    (packed, b"\x91" * 2000, "nested more than 500 levels deep"),
]
REFUSED: list[tuple[Any, Any, str]] = [
    (ejson, {1}, "EJSON has no set"),
    (packed, memoryview(b"y-z")[::2], "not C-contiguous"),
    (ejson, date(2020, 1, 1), "EJSON has no date; make it a datetime"),
    (ejson, datetime(2020, 1, 1), "without a time zone"),
    (ejson, re.compile(b"a"), "for strings only"),
    (ejson, re.compile("a", re.VERBOSE), "re.VERBOSE"),
    (binary, {1}, "has no set"),
    (binary, MOMENT, "has no datetime"),
    (binary, {None: 1}, "the keys of an object are strings; got None"),
    (binary, "\ud800", "surrogates not allowed"),
    (binary, 2**53 + 1, "an integer that a double cannot hold exactly"),
    (binary, 10**400, "cannot encode as binary"),
    (packed, {1}, "MessagePack has no set"),
    (packed, "\ud800", "surrogates not allowed"),
    (packed, 2**64, "an integer beyond 64 bits"),
    (packed, datetime(2020, 1, 1), "without a time zone"),
]


class Level(IntEnum):
    HIGH = 2


class Word(str):
    __slots__ = ()


class Amount(float):
    __slots__ = ()


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # tells 1 from 1.0 and True, and NaN is NaN


@pytest.mark.parametrize(("parser", "value", "data"), BOTH_WAYS)
def test_both_ways(parser: Any, value: Any, data: str | bytes) -> None:
    assert parser.encode(value) == data
    assert same(parser.decode(data), value)


@pytest.mark.parametrize(("parser", "data", "value"), READ)
def test_what_others_may_write(parser: Any, data: str | bytes, value: Any) -> None:
    assert same(parser.decode(data), value)


@pytest.mark.parametrize(("parser", "data", "why"), BAD)
def test_what_is_not_decoded(parser: Any, data: str | bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        parser.decode(data)
    assert caught.value.payload == data


@pytest.mark.parametrize(("parser", "value", "why"), REFUSED)
def test_what_is_not_encoded(parser: Any, value: Any, why: str) -> None:
    for each in (value, [value]):
        with pytest.raises(EncodeError, match=why):
            parser.encode(each)


@pytest.mark.parametrize(
    ("parser", "given", "arrives"),
    [
        (ejson, MOMENT.astimezone(timezone(timedelta(hours=5))), MOMENT),
        (ejson, MOMENT + timedelta(microseconds=999), MOMENT),
        (ejson, (1, bytearray(b"x"), memoryview(b"y-z")[::2]), [1, b"x", b"yz"]),
        (ejson, re.compile("a", re.IGNORECASE | re.MULTILINE), RegExp("a", "im")),
        (binary, (1, bytearray(b"x"), memoryview(b"y")), [1, b"x", b"y"]),
        (binary, [2**32, -(2**53)], [4294967296.0, -9007199254740992.0]),
        (binary, [math.inf, 1e300, -0.0, 5.0], [math.inf, 1e300, -0.0, 5.0]),
        (binary, {1: "a"}, {"1": "a"}),
        (binary, [Level.HIGH, Word("a"), Amount(1.5)], [2, "a", 1.5]),
        (packed, {1: "a"}, {"1": "a"}),
        (packed, re.compile("a", re.DOTALL), RegExp("a", "s")),
    ],
)
def test_what_a_round_trip_changes(parser: Any, given: Any, arrives: Any) -> None:
    assert same(parser.decode(parser.encode(given)), arrives)


def test_a_regular_expression_is_compiled_by_whoever_wants_it() -> None:
    assert RegExp("^A.", "gims").compile().search("x\na\n")
    with pytest.raises(ValueError, match="no flag 'q'"):
        RegExp("a", "q").compile()


@dataclass
class Point:
    x: int


POINT = EJSONType("Point", Point, lambda point: {"x": point.x}, lambda plain: Point(plain["x"]))


def test_typed_arrays_are_little_endian_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    there = packed.encode(array("h", [1, 2]))
    monkeypatch.setattr(sys, "byteorder", "big")
    given = array("h", [1, 2])
    assert packed.encode(given) == packed.encode(given) == there[:2] + b"\x00\x01\x00\x02"
    assert packed.decode(packed.encode(given)) == given


def test_ejson_with_types_of_ones_own() -> None:
    parser = EJSONParser(types=[POINT])
    text = '{"a":[{"$type":"Point","$value":{"x":3}}]}'
    assert parser.encode({"a": [Point(3)]}) == text
    assert parser.decode(text) == {"a": [Point(3)]}
    with pytest.raises(DecodeError, match="type 'Point' cannot load it: KeyError"):
        parser.decode('{"$type":"Point","$value":{}}')
    with pytest.raises(ConfigError, match="the same name"):
        EJSONParser(types=[POINT, POINT])


@pytest.mark.parametrize("key", ["$a", "$escape"])
def test_ejson_reads_as_deep_as_the_limit_allows(key: str) -> None:
    value, levels = ejson.decode(f'{{"{key}":' * 499 + "{}" + "}" * 499), 0
    while value:
        value, levels = value[key], levels + 1
    assert levels == (249 if key == "$escape" else 499)


def test_more_levels_than_python_recurses() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for parser in (ejson, binary, packed):
        with pytest.raises(EncodeError):
            parser.encode(deep)
    while deep:  # taken apart by hand: its destructor would recurse as deep
        deep = deep.pop()
