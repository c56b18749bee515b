"""HTTP as data: headers, requests, answers (protocol 2, 5, 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primus_proto import Address, ConfigError, Headers, Request, ServerConfig
from primus_proto.http.forwarded import client_address
from primus_proto.http.model import Response, check_status, error_response, text_response
from primus_proto.http.spec import spec_response

PEER = Address("10.0.0.1", 5000)


def request(target: str = "/primus", headers: Headers | None = None, peer: Address = PEER) -> Request:
    return Request("GET", target, headers or Headers(), peer)


class TestHeaders:
    pairs = (("Host", "h"), ("X-A", "1"), ("x-a", "2"), ("Via", "a, B,, c "))

    def test_names_ignore_case_and_order_is_kept(self) -> None:
        headers = Headers(self.pairs)
        assert headers["hOST"] == "h"
        assert headers.pairs == self.pairs
        assert list(headers) == ["host", "x-a", "via"]
        assert len(headers) == 3
        assert "VIA" in headers
        assert repr(headers) == f"Headers({list(self.pairs)!r})"

    def test_repeated(self) -> None:
        headers = Headers(self.pairs)
        assert headers["x-a"] == "2"
        assert headers.get_all("X-A") == ["1", "2"]
        assert headers.get_all("absent") == []

    def test_absent(self) -> None:
        headers = Headers()
        assert headers.get("x") is None
        with pytest.raises(KeyError):
            headers["x"]

    def test_tokens(self) -> None:
        headers = Headers([*self.pairs, ("VIA", "D")])
        assert headers.tokens("via") == ["a", "b", "c", "d"]
        assert headers.tokens("absent") == []

    def test_from_a_mapping_and_compared(self) -> None:
        assert Headers({"A": "1"}).pairs == (("A", "1"),)
        assert Headers({"A": "1"}) == Headers([("a", "1")])


class TestRequest:
    def test_target_is_taken_apart(self) -> None:
        made = request("/primus/x?a=1&b=%C3%BC&a=2&empty=&flag")
        assert (made.path, made.query_string) == ("/primus/x", "a=1&b=%C3%BC&a=2&empty=&flag")
        assert made.query_pairs == [("a", "1"), ("b", "ü"), ("a", "2"), ("empty", ""), ("flag", "")]
        assert made.query == {"a": "2", "b": "ü", "empty": "", "flag": ""}

    def test_no_query(self) -> None:
        assert request("/primus").query == {}
        assert request("/primus?").query_pairs == []

    def test_repr_is_short_and_tells_who(self) -> None:
        assert repr(request("/primus?token=secret")) == "<Request GET '/primus' from 10.0.0.1:5000>"


PROXIES = ("10.0.0.0/8", "fd00::/8")
UNIX = Address("", 0)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.7", ["1.2.3.4"], ("192.0.2.7", 5000)),  # not a proxy of ours: believed in nothing
        ("10.0.0.1", [], ("10.0.0.1", 5000)),
        ("testclient", ["1.2.3.4"], ("testclient", 5000)),  # a host of ASGI may give a name
        ("10.0.0.1", ["1.2.3.4"], ("1.2.3.4", 0)),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], ("1.2.3.4", 0)),  # the left end is the client's to forge
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4, 10.9.9.9"], ("1.2.3.4", 0)),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], ("10.0.0.1", 5000)),
        ("10.0.0.1", ["1.2.3.4, nonsense"], ("10.0.0.1", 5000)),
        ("10.0.0.1", ["nonsense, 1.2.3.4"], ("1.2.3.4", 0)),
        ("10.0.0.1", ["1.2.3.4:50123"], ("1.2.3.4", 50123)),  # gateways of Azure
        ("10.0.0.1", ["1.2.3.4:99999"], ("10.0.0.1", 5000)),
        ("10.0.0.1", ["[2001:db8::7]:50123"], ("2001:db8::7", 50123)),
        ("10.0.0.1", ["2001:db8::7"], ("2001:db8::7", 0)),
        ("fd00::1", ["[2001:DB8::1]"], ("2001:db8::1", 0)),
        ("::ffff:10.0.0.1", ["1.2.3.4"], ("1.2.3.4", 0)),  # a listener on both families
        ("10.0.0.1", ["1.2.3.4, ::ffff:10.0.0.9"], ("1.2.3.4", 0)),
        ("10.0.0.1", ["::ffff:1.2.3.4"], ("1.2.3.4", 0)),
    ],
)
def test_address_behind_proxies(peer: str, forwarded: list[str], expected: tuple[str, int]) -> None:
    """Protocol 5."""
    headers = Headers(("X-Forwarded-For", value) for value in forwarded)
    assert address(headers, Address(peer, 5000)) == expected


@pytest.mark.parametrize(
    ("forwarded_by", "value", "expected"),
    [
        ("forwarded", "for=1.2.3.4", ("1.2.3.4", 0)),
        ("forwarded", 'for=6.6.6.6, FOR="1.2.3.4:47011";proto=https', ("1.2.3.4", 47011)),
        ("forwarded", 'by=10.0.0.1; for="[2001:db8::7]:1"', ("2001:db8::7", 1)),
        ("forwarded", "for=1.2.3.4, for=10.0.0.9", ("1.2.3.4", 0)),
        ("forwarded", "for=10.0.0.9", UNIX),
        ("forwarded", 'for=1.2.3.4;host="a;for=6.6.6.6,for=6.6.6.6"', ("1.2.3.4", 0)),
        ("forwarded", "for=1.2.3.4;for=6.6.6.6", UNIX),
        ("forwarded", "for=1.2.3.4, for=unknown", UNIX),
        ("forwarded", "for=1.2.3.4, for=_hidden", UNIX),
        ("forwarded", 'for="1.2.3.4', UNIX),
        ("forwarded", "proto=https", UNIX),
        ("forwarded", 'for="[fe80::1%eth0]"', UNIX),
        pytest.param("forwarded", "a" * 100_000, UNIX, id="long"),  # in linear time
        ("x-real-ip", "1.2.3.4", ("1.2.3.4", 0)),
        ("x-real-ip", "1.2.3.4, 6.6.6.6", UNIX),
    ],
)
def test_only_the_chosen_header_is_believed(forwarded_by: Any, value: str, expected: tuple[str, int]) -> None:
    names = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
    headers = Headers((name, value if name.lower() == forwarded_by else "6.6.6.6") for name in names)
    assert address(headers, UNIX, "unix", "10.0.0.0/8", forwarded_by=forwarded_by) == expected


def address(headers: Headers, peer: Address, *trusted: str, **options: Any) -> Address:
    config = ServerConfig(trusted_proxies=trusted or PROXIES, **options)
    return client_address(request(headers=headers, peer=peer), config.networks(), config.forwarded_by)


def test_a_unix_socket_is_trusted_by_name_only() -> None:
    headers = Headers({"X-Forwarded-For": "1.2.3.4"})
    assert address(headers, UNIX, "0.0.0.0/0", "::/0") == UNIX
    assert address(headers, UNIX, "unix") == ("1.2.3.4", 0)
    assert address(headers, PEER, "unix") == PEER


def test_by_default_no_proxy_is_trusted() -> None:
    assert client_address(request(headers=Headers({"X-Forwarded-For": "1.2.3.4"})), ()) is PEER


def test_the_spec_of_a_server_that_is_mounted_somewhere() -> None:
    """Its pathname is the one that the client must use."""
    answer = spec_response(ServerConfig(pathname="chat"), "/app")
    assert json.loads(answer.body)["pathname"] == "/app/chat"


def test_a_refusal() -> None:
    """Protocol 6."""
    answer = error_response(401, 'no "entry"', 'Basic realm="x"')
    assert answer == Response(
        401,
        (("Content-Type", "application/json"), ("WWW-Authenticate", 'Basic realm="x"')),
        b'{"error":"no \\"entry\\""}',
    )
    assert error_response(403, "no", "Basic").headers == (("Content-Type", "application/json"),)
    assert error_response(401, "no").headers == (("Content-Type", "application/json"),)


def test_a_refusal_that_cannot_be_written_as_it_is() -> None:
    with pytest.raises(ConfigError, match="header WWW-Authenticate"):
        error_response(401, "no", "Basic\r\nX-Evil: 1")
    assert error_response(401, "lone \ud800 surrogate").body == b'{"error":"lone ? surrogate"}'


def test_text_is_for_people() -> None:
    assert text_response(404, "no", (("A", "b"),)) == Response(
        404, (("Content-Type", "text/plain; charset=utf-8"), ("A", "b")), b"no\n"
    )


@pytest.mark.parametrize("status", [200, 399, 600, 0, -401, True, "401", None, 401.0])
def test_statuses_that_do_not_refuse(status: object) -> None:
    with pytest.raises(ConfigError, match="from 400 to 599"):
        check_status(status)
