"""The limits on connections, in total and from one address (protocol 7)."""

from __future__ import annotations

import pytest

from primus_proto import Limits
from primus_proto import events as ev
from tests.unit.wires import Peer, ServerWire

ONE = "192.0.2.7"


def accept(wire: ServerWire, ip: str) -> Peer:
    number = wire.endpoint.channel_accepted((ip, 4711), now=wire.now)
    wire.pump()
    return Peer(wire, number)


def warnings(wire: ServerWire) -> list[str]:
    return [event.text for event in wire.all(ev.Logged)]


def test_one_connection_too_many_is_closed_at_once() -> None:
    wire = ServerWire(limits=Limits(connections=2))
    first, second, third = (accept(wire, f"192.0.2.{number}") for number in (1, 2, 3))
    assert third.aborted()
    assert not wire.take(third.channel)
    assert "Limits.connections" in warnings(wire)[0]
    first.eof()
    assert accept(wire, "192.0.2.4").ask().status == 200, "there is room again"
    assert second.ask().status == 200


@pytest.mark.parametrize(
    ("ips", "counted"),
    [
        ([ONE, ONE, ONE], True),
        ([ONE, ONE, "192.0.2.8"], False),
        ([ONE, ONE, f"::ffff:{ONE}"], True),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3"], True),  # one customer has a /64
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::3"], False),
        (["127.0.0.1", "127.0.0.1", "127.0.0.1"], False),
        (["::1", "::1", "::1"], False),
        (["", "", ""], False),
        (["10.0.0.1", "10.0.0.2", "10.0.0.1"], False),
    ],
)
def test_connections_of_one_address_are_counted(ips: list[str], counted: bool) -> None:
    wire = ServerWire(limits=Limits(connections_per_address=2), trusted_proxies=["10.0.0.0/8"])
    *_, last = (accept(wire, ip) for ip in ips)
    assert last.aborted() is counted
    assert bool(warnings(wire)) is counted
    if counted:
        assert "name it in trusted_proxies" in warnings(wire)[0]


def test_behind_a_trusted_proxy_the_clients_are_counted() -> None:
    wire = ServerWire(limits=Limits(connections_per_address=2), trusted_proxies=["10.0.0.1"])

    def ask(peer: Peer, client: str) -> int:
        return peer.ask(headers={"X-Forwarded-For": client}).status

    first, second, third, fourth = (accept(wire, "10.0.0.1") for _ in range(4))
    assert [ask(peer, ONE) for peer in (first, second)] == [200, 200]
    assert ask(first, ONE) == 200, "a connection counts once"
    assert ask(third, f"{ONE}, 203.0.113.9") == 200, "what the client itself writes does not count"
    assert ask(fourth, ONE) == 503
    assert fourth.closed()
    assert ask(first, "203.0.113.9") == 200, "now it has another client"
    assert ask(accept(wire, "10.0.0.1"), ONE) == 200
    for _ in range(4):
        assert ask(first, "127.0.0.1") == 200, "this machine does not count"


def test_forwarding_headers_of_others_do_not_count() -> None:
    wire = ServerWire(limits=Limits(connections_per_address=2), trusted_proxies=["10.0.0.1"])
    for number in range(2):
        assert accept(wire, ONE).ask(headers={"X-Forwarded-For": f"203.0.113.{number}"}).status == 200
    assert accept(wire, ONE).aborted()


def test_connections_that_are_gone_are_forgotten() -> None:
    wire = ServerWire(limits=Limits(connections_per_address=2))
    for _ in range(5):
        peer = accept(wire, ONE)
        peer.upgrade()
        peer.eof()
    assert not warnings(wire)
