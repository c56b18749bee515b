"""Cookies that a server sets in one session: what load balancers know its process by (protocol 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Cookies"]

COOKIE = re.compile(r"([\w!#$%&'*+.^`|~-]+)=([!-+\--:<-\[\]-~]*)", re.ASCII)  # RFC 6265, with commas and quotes
EXPIRED = re.compile(r"max-age=(0|-\d*)|expires=.*\b(19\d\d|1-jan-70)\b.*", re.IGNORECASE)
# More than balancers need.
COUNT, SIZE = 20, 4096


class Cookies:
    """Keeps the last value of each cookie, of a bounded number and size. All belong to one origin and one pathname."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def learn(self, fields: Iterable[str]) -> None:
        """Take the values of `Set-Cookie` fields. Anything but a cookie, and one that is too long, is ignored."""
        for field in fields:
            pair, *attributes = (part.strip() for part in field.split(";"))
            cookie = COOKIE.fullmatch(pair)
            if cookie is None:
                continue
            name, value = cookie.groups()
            self._values.pop(name, None)
            size = sum(len(name) + len(value) for name, value in self._values.items())
            expired = any(EXPIRED.fullmatch(attribute) for attribute in attributes)
            if not expired and len(self._values) < COUNT and size + len(pair) <= SIZE:
                self._values[name] = value

    def added_to(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The header fields with the cookies; one that is there already is left alone."""
        fields = list(headers)
        if self._values:
            given = [value for name, value in fields if name.lower() == "cookie"]
            names = {pair.partition("=")[0].strip() for value in given for pair in value.split(";")}
            mine = [f"{name}={value}" for name, value in self._values.items() if name not in names]
            fields = [(name, value) for name, value in fields if name.lower() != "cookie"]
            fields.append(("Cookie", "; ".join(given + mine)))
        return fields
