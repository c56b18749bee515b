"""What the two ends send each other: values that both languages hold, and texts that are no message."""

from __future__ import annotations

import json
from typing import Any

# Each is the same value in Python and in JavaScript, so that it comes back from an echo as it went.
JSON_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    -0.25,
    2**53 - 1,
    -(2**53) + 1,
    1e300,
    5e-324,
    "",
    "plain",
    " ",
    'line\nfeed\ttab "quote" back\\slash /slash \x00\x1f\x7f',
    "\u2028 and \u2029",
    "\u2028",
    "é ü ß €",
    "astral \U0001f600 \U00010348 \U0010ffff",
    "non-characters \ufffe \uffff and a BOM \ufeff",
    "primus:",
    "primus: :ping",
    " primus::ping::1",
    [],
    {},
    [[], {}, [[]], None],
    [1, "two", {"three": [3.5, None, True]}],
    {"": "empty key", "\u2028": "\u2029", "\U0001f600": "astral key", "primus::ping::1": "primus::pong::1"},
    {"nested": {"deeper": {"deepest": [{"list": [1, 2, 3]}]}}},
    ["primus::server::close"],
    {"constructor": 1, "hasOwnProperty": 2, "toString": 3},
]

# Texts that a peer can put into a frame and that are no message for us: an error in their place, no more.
# Node's own parser takes the three last ones.
UNDECODABLE = {
    "cut short": '{"a":',
    "no JSON": "hello",
    "nothing": "",
    "NaN": "NaN",
    "too deep": "[" * 200_000,
    "infinite": "1e999",
    "huge integer": "9" * 5000,
}


def canonical(value: Any) -> str:
    """A text that is the same for the same JSON value; unlike ==, it tells true from 1 and 1 from 1.0."""
    return json.dumps(value, sort_keys=True)


def mebibyte(seed: str) -> str:
    """A string that is 1 MiB long when encoded, and whose parts differ, so that a lost piece shows."""
    size = 1024 * 1024
    pieces: list[str] = []
    length = 0
    while length < size:
        piece = f"{seed}{len(pieces)},"
        pieces.append(piece)
        length += len(piece)
    return "".join(pieces)[: size - 2]  # the quotes make it 1 MiB on the wire
