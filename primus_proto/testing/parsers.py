"""`check_parser`, the tests that every parser has to pass, your own included."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable
from typing import Any

from ..parsers import AsyncParser, Parser, get_parser

__all__ = ["check_parser"]

PROTOCOL_MESSAGES = (
    "primus::ping::1795369060554",
    "primus::pong::1795369060554",
    "primus::server::close",
    "primus::id::",
    "primus::id::0123456789abcdef",
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 127, 128, -129, 65536, 1.5, -0.25, 1e300),
    *("", "a", "primus:", "é", "\u2028", "\U0001f600", "\x00", "x" * 300),
    *([], {}, [[], {}, [None]], {"": 0}, {"a": [1, {"b": "c"}], "primus::ping::1": None}, list(range(20))),
)
DEEP = 20_000


class _Unknown:
    """What no parser can know."""


def check_parser(
    parser: str | Parser | AsyncParser,
    values: Iterable[Any] = VALUES,
    *,
    seed: int = 0,
    run: Callable[[Any], Any] | None = None,
) -> None:
    """Raise AssertionError if a parser does not do what Primus needs. It takes a second or so.

    `run` returns the result of what an asynchronous parser's functions return, as `asyncio.Runner().run` does.

    - Each of `values` comes back from `encode` and `decode` as it was, with the same types.
    - So do the protocol's own strings, such as ``primus::ping::1``.
    - `encode` returns text, or bytes if the parser says that it is `binary`.
    - What cannot be encoded is refused with an exception, after which the parser still works.
    - No message makes `decode` do anything but return, or raise an exception other than MemoryError: messages that end
      too early, changed ones, random bytes, deep nesting. `seed` chooses them.
    """
    parser = _Awaited(get_parser(parser), run) if run is not None else get_parser(parser)
    rng = random.Random(seed)
    encoded = [_check_value(parser, value) for value in (*PROTOCOL_MESSAGES, *values)]
    loop: list[Any] = []
    loop.append(loop)
    for refused in (_Unknown(), [_Unknown()], loop):
        error = _attempt(lambda refused=refused: parser.encode(refused))  # type: ignore[misc]
        assert isinstance(error, Exception), f"{parser.name}: encode() must refuse {refused!r:.80} with an exception"
    for message in (*encoded, *_damaged(encoded, rng), *_hostile(rng)):
        error = _attempt(lambda message=message: parser.decode(message))  # type: ignore[misc]
        fine = error is None or (isinstance(error, Exception) and not isinstance(error, MemoryError))
        assert fine, f"{parser.name}: decode() of {message!r:.80} raised {error!r}"
    for value in PROTOCOL_MESSAGES:
        _check_value(parser, value)


class _Awaited:
    """An asynchronous parser as a synchronous one."""

    def __init__(self, parser: Parser, run: Callable[[Any], Any]) -> None:
        self.name = parser.name
        self.binary = parser.binary
        self.encode = lambda value: _result(parser.encode(value), run)
        self.decode = lambda data: _result(parser.decode(data), run)


def _result(result: Any, run: Callable[[Any], Any]) -> Any:
    return run(result) if inspect.isawaitable(result) else result


def _check_value(parser: Parser, value: Any) -> str | bytes:
    data = parser.encode(value)
    may = "str or bytes" if parser.binary else "str"
    fits = isinstance(data, str) or (parser.binary and isinstance(data, bytes))
    assert fits, f"{parser.name}: encode({value!r:.80}) must return {may}, not {data!r:.80}"
    again = parser.decode(data)
    assert _same(again, value), f"{parser.name}: {value!r:.80} came back as {again!r:.80}"
    return data


def _same(one: Any, other: Any) -> bool:
    """Like ==, but tells True from 1, and 1 from 1.0; NaN is the same as NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))


def _attempt(act: Callable[[], object]) -> BaseException | None:
    try:
        act()
    except BaseException as error:
        return error
    return None


def _hostile(rng: random.Random) -> Iterable[str | bytes]:
    for size in (0, 1, 5, 40, 400):
        yield rng.randbytes(size)
        yield "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0xD800)))) for _ in range(size))
    for tag in range(256):  # of a format in binary: a huge length, or deep nesting
        yield bytes((tag, 255, 255, 255, 255, 255, 255, 255, 255))
        yield bytes((tag,)) * 200
    for tag in (0x81, 0x91, 0x9F):
        yield bytes((tag,)) * DEEP
    yield from ("[" * DEEP, '{"a":' * DEEP, "[" * DEEP + "]" * DEEP, "9" * DEEP, "1e99999", '"\\ud800"', "\ud800")
    yield from ('{"__proto__":{"a":1}}', '{"constructor":null}', '{"$date":"x"}', '{"$escape":{"$escape":1}}')


def _damaged(messages: Iterable[str | bytes], rng: random.Random) -> Iterable[str | bytes]:
    """Each message cut short at every place, and with one place changed."""
    for message in messages:
        for end in range(len(message)):
            yield message[:end]
        for at in rng.choices(range(len(message)), k=10) if message else ():
            if isinstance(message, bytes):
                yield message[:at] + rng.randbytes(1) + message[at + 1 :]
            else:
                yield message[:at] + chr(rng.randrange(128)) + message[at + 1 :]
