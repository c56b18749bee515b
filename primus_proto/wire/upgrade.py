"""A fast lane for requests to upgrade: an ordinary head that has come as a whole is read here, any other by h11.

The law kept here: the lane takes only what h11 takes too, and reads the same in it. A test compares the two.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..http.model import Headers

__all__ = ["read_upgrade"]

# Stricter than the standard wherever that allows more than one way: one space behind a colon, and none at the end of a
# line; no tabs, no letters beyond ASCII, no empty values.
_HEAD = re.compile(r"GET (/[!-~]*+) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: [!-~]++(?: ++[!-~]++)*+\r\n)++)\r\n")
_FIELD = re.compile("([^:]+): ([^\r]+)\r\n")

# The fields that announce a body.
_BODY = ("content-length", "transfer-encoding")


def read_upgrade(data: bytes) -> tuple[str, Headers] | None:
    """Target and header fields of a request to upgrade; None if `data` is not one whole and ordinary head."""
    match = _HEAD.fullmatch(data.decode("latin-1"))
    if match is None:
        return None
    target, lines = match.groups()
    headers = Headers(_FIELD.findall(lines))
    return (target, headers) if _are_ordinary(headers.names) else None


@lru_cache(maxsize=256)
def _are_ordinary(names: tuple[str, ...]) -> bool:
    """Whether header fields with these names make a request to upgrade, without a body."""
    lower = [name.lower() for name in names]
    return lower.count("host") == 1 and "upgrade" in lower and not any(name in lower for name in _BODY)
