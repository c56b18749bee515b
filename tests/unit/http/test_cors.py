"""The options that concern cross-origin requests: what they take, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from primus_proto import ConfigError, ServerConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"origins": None}, "origins must be a collection of strings; got None"),
        ({"origins": b"*"}, "origins must be a collection of strings"),
        ({"origins": [1]}, r"origins must be a collection of strings; got \[1\]"),
        ({"origins": ["*", "https://a.example"]}, "for every origin, or names them, not both"),
        ({"origins": "a.example"}, "origins has 'a.example': give an origin as browsers send it"),
        ({"origins": "https://a.example/path"}, "without a path"),
        ({"origins": "https://user@a.example"}, "give an origin as browsers send it"),
        ({"origins": ["https://\u20ac.example"]}, "give an origin as browsers send it, with a scheme, in ASCII"),
        ({"origins": ["https://*.example"]}, "without a path or wildcards"),
        ({"origins": ["https://a.example:443"]}, "leave out the default port"),
        ({"methods": "GET;POST"}, "methods has an element that is not a valid name: 'GET;POST'"),
        ({"allow_headers": ["X-A:"]}, "allow_headers has an element that is not a valid name"),
        ({"exposed": 5}, "exposed must be a collection of strings"),
        ({"credentials": 1}, "credentials must be True or False"),
        ({"max_age": -1}, "max_age must be a number of seconds from 0 to"),
        ({"max_age": "30 days"}, "max_age must be a number of seconds from 0 to"),
        ({"max_age": 2592000000}, "max_age must be a number of seconds from 0 to"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerConfig(**options)


@pytest.mark.parametrize("origins", ["https://A.example, null", ["https://a.example", " null "]])
def test_lists_may_be_strings(origins: Any) -> None:
    cors = ServerConfig(origins=origins, methods="get, Post", exposed="X-A X-B").cors()
    assert cors.origins == frozenset(("https://a.example", "null"))
    assert (cors.methods, cors.exposed) == (("GET", "POST"), "X-A, X-B")
