"""Our parsers beside the npm packages', on generated values: what each writes, the other reads."""

from __future__ import annotations

import base64
import json
import math
import random
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus_proto.parsers import RegExp, get_parser
from tests.interop.peers import HERE

# Among the keys are none that the packages trip over: JavaScript's own, such as `__proto__`, and `length`, by which
# `ejson` takes an object for a list.
KEYS = ("", "a", "é", "primus::x", "$date", "$binary", "$escape", "$InfNaN", "$type", "$value", "$x", "1", "name")
LETTERS = 'ab\x00\n"\\/é\u2028\uffff\U0001f600'
SURROGATES = ("\ud800", "a\udfff\u2028")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text(rng: random.Random) -> str:
    return "".join(rng.choices(LETTERS, k=rng.choice((0, 1, 3, 15, 16, 31, 32, 255, 256))))


def number(rng: random.Random) -> float:
    """A whole one of any size that is exact in JavaScript, or one with a fraction."""
    size = rng.randrange(54)
    return rng.choice((rng.randint(-(2**size), 2**size), 2**size, -(2**size), rng.uniform(-(2**size), 2**size)))


def date(rng: random.Random) -> datetime:
    return EPOCH + timedelta(milliseconds=rng.randint(-62_135_596_800_000, 253_402_300_799_999))


def data(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((1, 2, 15, 16, 255, 256)))


def regexp(rng: random.Random) -> RegExp:
    return RegExp(rng.choice(("a+b", "^[x]$", "é")), rng.choice(("", "g", "gi", "m")))


def unusual(rng: random.Random) -> float:
    return rng.choice((math.nan, math.inf, -math.inf))


def huge(rng: random.Random) -> float:
    return rng.choice((1e300, -5e-324, 2.0**70))


# The kinds of values that both have. `binary-pack` cannot write empty bytes, infinities, or whole numbers from 2**64.
PLAIN: tuple[Callable[[random.Random], Any], ...] = (text, number, lambda rng: rng.choice((None, True, False)))
LEAVES: dict[str, tuple[Callable[[random.Random], Any], ...]] = {
    "json": (*PLAIN, huge, lambda rng: rng.choice(SURROGATES)),
    "ejson": (*PLAIN, huge, data, date, unusual, lambda rng: rng.choice((b"", *SURROGATES))),
    "binary": (*PLAIN, data),
    "msgpack": (*PLAIN, huge, data, date, unusual, regexp, lambda rng: b""),
}


def generate(name: str, rng: random.Random, depth: int = 4) -> Any:
    kind = rng.randrange(8) if depth else 7
    if kind > 1:
        return rng.choice(LEAVES[name])(rng)
    size = rng.choice((0, 1, 2, 3, 17))
    if kind == 0:
        return [generate(name, rng, depth - 1) for _ in range(size)]
    return {rng.choice(KEYS) + "x" * rng.randrange(0, size): generate(name, rng, depth - 1) for _ in range(size)}


def told(value: Any) -> Any:
    """The value as codec.js is told it."""
    match value:
        case datetime():
            return ["date", (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)]
        case bytes():
            return ["bytes", base64.b64encode(value).decode()]
        case float() if not math.isfinite(value):
            return ["number", {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(value)]]
        case RegExp():
            return ["regexp", value.source, value.flags]
        case list():
            return ["list", *map(told, value)]
        case dict():
            return ["object", *([name, told(inner)] for name, inner in value.items())]
    return value


def comparable(value: Any) -> Any:
    """A value, ours or as codec.js tells it, in which what JavaScript does not tell apart is the same."""
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return f"number {float(value) + 0.0!r}"
        case datetime() | bytes() | RegExp():
            return comparable(told(value))
        case dict():
            return {name: comparable(inner) for name, inner in value.items()}
        case ["number", number]:
            return f"number {float(number) + 0.0!r}"
        case ["date" | "bytes" | "regexp" as kind, *rest]:
            return f"{kind} {rest}"
    return value


def theirs(value: Any) -> Any:
    """What codec.js tells, made comparable."""
    match value:
        case ["list", *inner]:
            return [theirs(each) for each in inner]
        case ["object", *pairs]:
            return {name: theirs(inner) for name, inner in pairs}
    return comparable(value)


def ours(value: Any) -> Any:
    """A value of ours, made comparable."""
    match value:
        case list():
            return [ours(each) for each in value]
        case dict():
            return {name: ours(inner) for name, inner in value.items()}
    return comparable(value)


class Codec:
    """One Node process with the codecs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def encode(self, parser: str, values: list[Any]) -> list[bytes]:
        encoded = self.ask(parser=parser, values=[told(value) for value in values])["encoded"]
        return [base64.b64decode(data) for data in encoded]

    def decode(self, parser: str, encoded: list[bytes]) -> list[Any]:
        data = [base64.b64encode(each).decode() for each in encoded]
        values: list[Any] = self.ask(parser=parser, encoded=data)["values"]
        return values


@pytest.fixture(scope="module")
def codec() -> Iterator[Codec]:
    command = ["node", str(HERE / "codec.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as node:
        yield Codec(node)
        assert node.stdin is not None
        node.stdin.close()


@pytest.mark.parametrize("name", LEAVES)
@given(seed=st.integers(0, 2**32))
def test_what_one_writes_the_other_reads(codec: Codec, name: str, seed: int) -> None:
    parser, rng = get_parser(name), random.Random(seed)
    values = [generate(name, rng) for _ in range(50)]
    expected = [ours(value) for value in values]
    messages = [parser.encode(value) for value in values]
    written = [message.encode() if isinstance(message, str) else message for message in messages]
    assert [theirs(value) for value in codec.decode(name, written)] == expected
    received: list[str | bytes] = [*codec.encode(name, values)]
    if not parser.binary:
        received = [message.decode() if isinstance(message, bytes) else message for message in received]
    assert [ours(parser.decode(message)) for message in received] == expected


def test_the_binary_parser_writes_the_same_bytes(codec: Codec) -> None:
    values = [
        0,
        -1,
        255,
        65536,
        -(2**31),
        2**32 - 1,
        1.5,
        "é" * 9,
        "x" * 70000,
        [b"x" * 16, None],
        {"a": {"b": [True]}},
    ]
    assert codec.encode("binary", values) == [get_parser("binary").encode(value) for value in values]
