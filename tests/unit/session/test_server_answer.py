"""What a host that speaks HTTP itself answers to requests that get no session (protocol 2 and 6)."""

from __future__ import annotations

import json

import pytest

from primus_proto import ConfigError, Headers, Request, Response
from tests.unit.sessions import PEER, ServerHost
from tests.unit.wires import ServerWire


@pytest.fixture
def host() -> ServerHost:
    return ServerHost()


def head(target: str, *headers: tuple[str, str], method: str = "GET") -> Request:
    return Request(method, target, Headers(headers), PEER)


UPGRADE = ("Upgrade", "WebSocket")


@pytest.mark.parametrize("target", ["/primus", "/primus?a=b", "/primus/deeper", "/primus/spec", "/primus/primus.js"])
def test_a_handshake_under_the_pathname_asks_for_a_session(host: ServerHost, target: str) -> None:
    assert host.server.answer(head(target, UPGRADE)) == Headers()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head("/primus"), 426),
        (head("/primus", UPGRADE, method="POST"), 426),
        (head("/primus/spec"), 200),
        (head("/primus/spec", method="HEAD"), 200),
        (head("/primus/spec", method="POST"), 405),
        (head("/primus/primus.js"), 404),
        (head("/primusX", UPGRADE), 404),
        (head("/", UPGRADE), 404),
        (head("/primus/../primus", UPGRADE), 400),
    ],
)
def test_any_other_request_is_answered_as_at_the_other_seams(host: ServerHost, request_: Request, status: int) -> None:
    answer = host.server.answer(request_)
    assert isinstance(answer, Response)
    assert answer.status == status
    reply = ServerWire().accept().ask(request_.method, request_.target, headers=request_.headers.pairs)
    assert (reply.status, reply.body) == (status, b"" if request_.method == "HEAD" else answer.body)


def test_the_spec_is_json(host: ServerHost) -> None:
    answer = host.server.answer(head("/primus/spec"))
    assert isinstance(answer, Response)
    assert answer.headers == (("Content-Type", "application/json"),)
    assert json.loads(answer.body)["pathname"] == "/primus"


def test_a_closing_server_wants_nobody(host: ServerHost) -> None:
    host.connect()
    host.server.close(timeout=5.0)
    for request in (head("/primus", UPGRADE), head("/primus"), head("/primus/spec")):
        answer = host.server.answer(request)
        assert isinstance(answer, Response)
        assert (answer.status, json.loads(answer.body)) == (503, {"error": "the server is closing"})
    answer = host.server.answer(head("/"))
    assert isinstance(answer, Response)
    assert answer.status == 404


def test_a_refusal_is_in_the_form_that_primus_gives_it(host: ServerHost) -> None:
    answer = host.server.refusal("no entry", authenticate="Basic")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "no entry"})
    assert answer.headers == (("Content-Type", "application/json"), ("WWW-Authenticate", "Basic"))
    assert host.server.refusal("not you", status=403, authenticate="Basic").headers == answer.headers[:1]
    for wrong in ({"status": 200}, {"authenticate": "a\r\nb: c"}):
        with pytest.raises(ConfigError):
            host.server.refusal("no", **wrong)


def test_to_answer_changes_nothing(host: ServerHost) -> None:
    for _ in range(2):
        assert host.server.answer(head("/primus", UPGRADE)) == Headers()
        assert host.server.refusal("no") == host.server.refusal("no")
    assert (host.told(), host.commanded(), host.server.next_timeout()) == ([], [], None)
