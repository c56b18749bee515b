"""The hosts once more, over each other transport: what a session is must not depend on how it travels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from tests.conformance.hosts import Host
from tests.conformance.hosts_asgi import HypercornHost, HypercornTrioHost, UvicornHost
from tests.conformance.hosts_asyncio import AnyioAsyncioHost, AsyncioHost, UvloopHost
from tests.conformance.hosts_threads import ThreadsHost
from tests.conformance.hosts_trio import AnyioTrioHost, TrioHost
from tests.conformance.hosts_virtual import VirtualHost

__all__ = ["TRANSPORT_HOSTS"]

WAYS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "engine.io": ("engine.io", {}),
    "engine.io-polling": ("engine.io", {"transports": ["polling"]}),
    "engine.io-websocket": ("engine.io", {"transports": ["websocket"]}),
    "engine.io-3": ("engine.io", {"protocol": 3}),
    "engine.io-3-polling": ("engine.io", {"protocol": 3, "transports": ["polling"]}),
    "sockjs": ("sockjs", {}),
    "sockjs-streaming": ("sockjs", {"transports": ["xhr-streaming"]}),
    "sockjs-polling": ("sockjs", {"transports": ["xhr-polling"]}),
}
"""Transports with their options. One joins the suite with a row here."""

SCENARIOS = frozenset({
    # open, messages, order, large ones
    "test_a_broadcast_reaches_everyone",
    "test_a_client_connects_and_both_ends_know_each_other",
    "test_bursts_of_every_size",
    "test_every_value_comes_back",
    "test_handlers_and_listeners",
    "test_large_messages",
    "test_opening_by_hand_and_again_after_an_end",
    "test_what_is_written_before_the_connection_is_there_waits_for_it",
    "test_what_was_not_read_before_leaving_can_be_read_afterwards",
    "test_what_was_written_before_the_end_arrives_before_it",
    # the ends, reconnecting, heartbeats
    "test_a_heartbeat_at_every_interval",
    "test_iteration_goes_on_over_reconnects_and_ends_with_the_end",
    "test_the_client_ends",
    "test_the_id_is_the_sparks",
    "test_the_network_goes_and_comes",
    "test_the_server_ends",
    "test_the_server_ends_and_wants_the_client_back",
    # authorization
    "test_a_client_that_does_not_wait_for_the_decision",
    "test_a_hook_that_takes_too_long_is_answered_for",
    "test_a_refusal_tells_the_client_why",
    "test_none_and_true_let_the_client_in",
    # shutdown
    "test_clients_are_told_and_stay_away",
    "test_clients_come_back_to_a_server_that_wants_them_back",
    "test_closing_later_serves_on_until_then",
    "test_last_words_come_after_all_that_was_written",
    # back-pressure
    "test_a_client_that_is_slow_blocks_the_servers_send",
    "test_a_peer_that_waits_for_a_slow_reader_does_not_flatline",
    "test_a_server_that_is_slow_blocks_the_clients_send",
})  # fmt: skip
"""What a session is, with both ends ours."""

FEW = frozenset({
    "test_every_value_comes_back",
    "test_the_client_ends",
    "test_the_server_ends_and_wants_the_client_back",
})  # fmt: skip
"""Enough for a real loop, where polling takes real time: that a session's rules hold has been seen in virtual time."""


def over(base: type[Host], way: str, scenarios: frozenset[str] = FEW) -> type[Host]:
    """A host whose `connect` and `serve` use a transport unless they are told which."""
    transformer, transport = WAYS[way]

    def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function, updated=())
        def chosen(*args: Any, **options: Any) -> Any:
            if "transformer" not in options:
                options |= {"transformer": transformer, "transport": transport}
            return function(*args, **options)

        return chosen

    only = scenarios if base.only is None else scenarios & base.only
    members = {
        "name": f"{base.name}-{way}",
        "only": only,
        "connect": staticmethod(choosing(base.connect)),
        "serve": staticmethod(choosing(base.serve)),
    }
    return type(f"{base.__name__} over {way}", (base,), members)


LOOPS = (UvloopHost, TrioHost, ThreadsHost, AnyioAsyncioHost, AnyioTrioHost)
ASGI = (UvicornHost, HypercornHost, HypercornTrioHost)

TRANSPORT_HOSTS = [
    *(over(VirtualHost, way, SCENARIOS) for way in WAYS),
    *(over(AsyncioHost, way) for way in WAYS),
    *(over(host, way) for host in LOOPS for way in ("engine.io", "sockjs-streaming")),
    *(over(host, way) for host in ASGI for way in ("engine.io", "engine.io-polling", "sockjs-streaming")),
]
