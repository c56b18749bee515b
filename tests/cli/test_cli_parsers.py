"""`--parser`: what is typed and printed where values are no JSON."""

from __future__ import annotations

import pytest

from tests.cli.command import run, serving

RICH = '[{"$date":1000},{"$binary":"aGk="},{"$InfNaN":1}]'


@pytest.mark.parametrize(
    ("parser", "typed", "printed"),
    [
        ("json", '{"$date":1000}', '{"$date": 1000}'),
        ("EJSON", RICH, '[{"$date": 1000}, {"$binary": "aGk="}, {"$InfNaN": 1}]'),
        ("msgpack", RICH, '[{"$date": 1000}, {"$binary": "aGk="}, {"$InfNaN": 1}]'),
        ("binary", '{"a":[{"$binary":"aGk="}]}', '{"a": [{"$binary": "aGk="}]}'),
    ],
)
def test_values_are_typed_and_printed_as_in_ejson(parser: str, typed: str, printed: str) -> None:
    with serving("--parser", parser) as (_, url):
        client = run("connect", url, "--values", "--parser", parser, stdin=typed)
    assert client.lines == [printed]
    assert client.status() == 0


def test_what_the_parser_has_not_is_named() -> None:
    with serving("--parser", "binary") as (_, url):
        client = run("connect", url, "--parser", "binary", stdin='{"$date":1000}')
    assert (
        "line 1 of the input was not sent: cannot encode as binary: the parser `binary` has no datetime"
        in client.stderr
    )
    assert client.status() == 2
