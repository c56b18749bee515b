"""The limits on the values of a message and on their nesting, which each parser of ours keeps to (protocol 7)."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto import DecodeError, Limits
from primus_proto.parsers import BinaryParser, EJSONParser, JSONParser
from primus_proto.parsers.json import FastJSONParser
from primus_proto.parsers.msgpack import MsgpackParser

OURS: list[Any] = [
    pytest.param(JSONParser, id="json"),
    pytest.param(FastJSONParser, id="json-fast"),
    pytest.param(lambda limits: EJSONParser(limits=limits), id="ejson"),
    pytest.param(BinaryParser, id="binary"),
    pytest.param(MsgpackParser, id="msgpack"),
]
texts = st.text(st.sampled_from('[]{},"\\a é:'), max_size=6)
values = st.recursive(
    st.integers(-9, 9) | texts | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def count(value: Any, empty: int = 1) -> int:
    """How many values there are; in JSON an `empty` list or object counts as two."""
    inner = list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    alone = empty if value in ([], {}) else 1
    return alone + sum(count(each, empty) for each in inner)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def accepts(parser: Any, data: str | bytes) -> bool:
    try:
        parser.decode(data)
    except DecodeError as error:
        return "Limits." not in str(error)
    return True


@pytest.mark.parametrize("make", OURS)
@given(values, st.integers(-1, 1), st.integers(-1, 1))
def test_exactly_so_many_values_and_levels(make: Any, value: Any, more: int, deeper: int) -> None:
    number = count(value, empty=1 if make in (BinaryParser, MsgpackParser) else 2)
    many, deep = max(1, number + more), max(1, depth(value) + deeper)
    parser = make(Limits(values=many, nesting=deep))
    assert accepts(parser, parser.encode(value)) == (number <= many and depth(value) <= deep)


@given(values, st.integers(1, 9), st.integers(1, 5))
def test_json_as_others_write_it(value: Any, many: int, deep: int) -> None:
    parser = JSONParser(Limits(values=many, nesting=deep))
    fits = count(value, empty=2) <= many and depth(value) <= deep
    assert accepts(parser, json.dumps(value)) == fits
    assert accepts(parser, json.dumps(value, indent=1, ensure_ascii=False)) == fits


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("make", OURS)
def test_the_default_nesting(make: Any) -> None:
    parser = make(Limits())
    written: list[str | bytes]
    if make in (MsgpackParser, BinaryParser):
        written = [b"\x91" * (levels - 1) + b"\x90" for levels in (500, 501, 100_000)]
    else:
        written = ["[" * levels + "]" * levels for levels in (500, 501, 100_000)]
    assert parser.decode(written[0]) == nested(500)
    for data in written[1:]:
        with pytest.raises(DecodeError):
            parser.decode(data)


MIB = 1024 * 1024
HOSTILE: list[Any] = [
    ("json", "[" + "[]," * (3 * MIB) + "[]]"),
    ("json", "[" + '"[",' * (2 * MIB) + "1]"),
    ("json", '{"":' * MIB + "1" + "}" * MIB),
    ("ejson", "[" + '{"$date":1},' * (MIB // 2) + "1]"),
    ("binary", b"\xdd\x00\x90\x00\x00" + b"\x90" * (9 * MIB)),
    ("binary", b"\xdd\xff\xff\xff\xff" * MIB),
    ("msgpack", b"\xdd\x00\x90\x00\x00" + b"\x90" * (9 * MIB)),
    ("msgpack", b"\xdd\xff\xff\xff\xff" * MIB),
    ("msgpack", b"\xdd\x00\x03\xd0\x90" * 100 + b"\xc0" * (2 * MIB)),
    ("msgpack", b"\xdd\x00\x00\x13\x88" + (b"\xc8\x03\xe8\x01\x81\xa1a" + b"\x91" * 996 + b"\x01") * 5000),
    ("msgpack", b"\xdd\x00\x03\x00\x00" + (b"\xc7\x16\x01\x87" + b"\xa1%c\x01" * 7 % (*b"abcdefg",)) * 0x30000),
]


def test_bytes_in_a_long_message_of_msgpack_are_one_value() -> None:
    value = [b"x" * 10, b"y" * 10]
    data = msgpack.packb([msgpack.ExtType(0x1B, each) for each in value])
    assert MsgpackParser(Limits(values=3)).decode(data) == value
    assert not accepts(MsgpackParser(Limits(values=2)), data)


@pytest.mark.parametrize(("name", "data"), HOSTILE, ids=range(len(HOSTILE)))
def test_the_memory_for_ten_mebibytes_of_values_is_bounded(name: str, data: str | bytes) -> None:
    parsers = {"json": JSONParser, "ejson": EJSONParser, "binary": BinaryParser, "msgpack": MsgpackParser}
    parser = parsers[name]()
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            parser.decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB
