"""Clients and servers on the virtual network: what they show, their listeners, and when they are polled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from primus_proto import Limits, LocalProtocolError
from primus_proto import commands as cmd
from primus_proto import events as ev
from primus_proto.plugins import Emitter, RoomJoined, Rooms, ServerEmitter
from primus_proto.testing import VirtualNetwork, VirtualServer, VirtualSpark
from primus_proto.testing.endpoints import VirtualEndpoint
from tests.unit.sessions import polled
from tests.unit.testing.virtual import connected, data, pair

# --- listeners ---


def test_an_application_written_with_listeners() -> None:
    def chat(server: VirtualServer) -> None:
        @server.on("connection")
        def connection(spark: VirtualSpark) -> None:
            name = spark.query["name"]
            spark.write(f"welcome, {name}")
            spark.on("data", lambda text: server.write(f"{name}: {text}"))
            spark.on("end", lambda: server.write(f"{name} is gone"))

    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    chat(server)
    ann, bob = (network.connect(f"http://server/?name={name}") for name in ("ann", "bob"))
    heard: list[str] = []
    bob.on("data", heard.append)
    ann.on(ev.Opened, lambda event: ann.write("hi"))
    network.run(1.0)
    assert len(server.sparks) == 2
    ann.end("bye")
    network.run(1.0)
    assert heard == ["welcome, bob", "ann: hi", "ann: bye", "ann is gone"]
    (spark,) = server.sparks
    assert spark.core is next(iter(server.server))
    assert repr(spark) == repr(spark.core)
    bob.off("data", heard.append)
    bob.off("open", print)
    spark.write("x")
    network.run(1.0)
    assert len(heard) == 4


def test_plugins_deliver_and_emit() -> None:
    network = VirtualNetwork()
    server = network.serve(plugins=["emitter", "rooms"])
    client = network.connect("http://server", plugins=["emitter"])
    told: list[Any] = []
    server.on(RoomJoined, told.append)
    server.server.extension(ServerEmitter).on("join", lambda spark, room: spark.extension(Rooms).join(room))
    network.run(1.0)
    client.client.extension(Emitter).send("join", "news")
    network.run(1.0)
    assert [event.room for event in told] == ["news"]


def test_events_of_a_server_come_with_their_sparks() -> None:
    network, server, client = connected()
    seen: list[Any] = []
    server.on("disconnection", seen.append)
    server.on("heartbeat-skipped", lambda spark, count: seen.append((spark, count)))
    server.on(ev.SparkEnded, seen.append)
    server.on("close", lambda: seen.append("close"))
    (spark,) = server.sparks
    network.partition(client)
    network.run(8.0)
    server.server.close()
    network.run(10.0)
    assert seen == [(spark, 1), spark, server.all(ev.SparkEnded)[0], "close"]


def test_a_broadcast_can_leave_out_sparks() -> None:
    network = VirtualNetwork()
    server = network.serve()
    server.on("connection", lambda spark: spark.on("data", lambda value: server.write(value, exclude=[spark])))
    clients = [network.connect("http://server") for _ in range(3)]
    network.run(1)
    clients[1].write("all but the second")
    network.run(1)
    assert [len(data(client)) for client in clients] == [1, 0, 1]
    assert server.write("the third alone", exclude=[spark.core for spark in server.sparks[:2]]) == 1
    assert server.write("nobody", exclude=server.sparks) == 0


def test_a_message_above_the_limit_ends_the_connection() -> None:
    network = VirtualNetwork()
    network.serve(limits=Limits(message=100))
    client = network.connect("http://server", strategy=False)
    client.on("open", lambda: client.write("x" * 200))
    network.run(1.0)
    assert client.client.close_reason is not None
    assert client.client.close_reason.code == 1009


def test_wrong_listeners_are_refused() -> None:
    async def asynchronous() -> None: ...

    server, client = pair(VirtualNetwork())
    for node in (server, client, server.sparks[0]):
        with pytest.raises(LocalProtocolError, match="there is no event 'dta' here; there are: "):
            node.on("dta", print)
        with pytest.raises(LocalProtocolError, match="an event is a name, or a class of primus_proto"):
            node.on(int, print)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=r"^a listener must be a plain function: nothing on the virtual"):
        client.on("data", asynchronous)
    with pytest.raises(LocalProtocolError, match=r"^a listener must be a function; got 5$"):
        client.on("data", 5)  # type: ignore[call-overload]


def test_an_exception_of_a_listener_comes_out_of_run_and_the_network_goes_on() -> None:
    network = VirtualNetwork(latency=0.01)
    server, client = pair(network)
    client.on("readyStateChange", lambda state: 1 // 0)
    client.end()
    with pytest.raises(ZeroDivisionError):
        network.run(1.0)
    network.run(1.0)
    assert server.seen(ev.SparkDisconnected) == 1


# --- polling ---


def test_an_unknown_command_is_an_error() -> None:
    server = VirtualNetwork().serve()
    with pytest.raises(AssertionError, match="a byte endpoint gave"):
        server._run(cmd.Close())  # type: ignore[arg-type]


def check_noticed(network: VirtualNetwork, node: VirtualEndpoint, verb: Callable[[], object]) -> None:
    """Call a verb while time passes, and see that the network polls the node for it."""
    network.call_at(network.now, verb)
    assert network.step(network.now)
    assert polled(node.endpoint, now=network.now) == ([], [])
    assert node.alarm == node.endpoint.next_timeout()


CLIENT_VERBS = [*("request_id", "pause", "resume", "network_offline", "network_online"), *("end", "open", "destroy")]


def test_every_verb_of_a_client_is_noticed() -> None:
    network, _, client = connected()
    verbs = [partial(client.client.write, 1), *(getattr(client.client, verb) for verb in CLIENT_VERBS)]
    for verb in verbs:
        check_noticed(network, client, verb)
        network.run(5.0)


@pytest.mark.parametrize("timeout", [0.0, 5.0])
def test_every_verb_of_a_server_is_noticed(timeout: float) -> None:
    network, server, _ = connected()
    core = server.server
    [spark] = core
    for verb in (partial(spark.write, 1), spark.pause, spark.resume, partial(core.write, 1), spark.end):
        check_noticed(network, server, verb)
        network.run(0.1)
    check_noticed(network, server, partial(core.close, timeout=timeout))


@pytest.mark.parametrize("accept", [True, False])
def test_the_decision_about_a_request_is_noticed(accept: bool) -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve(authorization=True)
    client = network.connect("http://server")
    network.run(1.0)
    [request] = server.all(ev.RequestHeld)
    endpoint = server.endpoint
    answer = None if accept else server.server.refusal("no")
    check_noticed(network, server, partial(endpoint.resume, request.id, answer))
    network.run(1.0)
    assert client.names[-1] == ("open" if accept else "end")


def test_a_node_is_not_polled_inside_its_own_listener() -> None:
    network = VirtualNetwork(latency=0.01)
    server = network.serve()
    one, two = (network.connect("http://server") for _ in range(2))
    network.run(1.0)
    order: list[str] = []

    def heard(value: Any) -> None:
        order.append(f"{value} begins")
        network.drop(two)
        one.write("answer")
        network.drop(two)
        order.append(f"{value} ends")

    one.on("data", heard)
    for value in (1, 2):
        server.write(value)
    network.run(0.015)
    assert order == ["1 begins", "1 ends", "2 begins", "2 ends"]
    assert two.seen(ev.Closed) == 1, "at once"


def test_timers_of_nodes_that_ended_do_not_fire() -> None:
    """One was ended before, the other at the same instant by a listener."""
    network = VirtualNetwork(latency=0.01)
    server = network.serve(dialect="happn")
    first, second, third = (network.connect("http://server", dialect="happn") for _ in range(3))
    network.run(10)
    third.end()
    network.run(1)
    wakes = third.wakes
    network.freeze(server)
    first.on("offline", second.end)
    network.run(60)
    assert (first.seen(ev.WentOffline), second.seen(ev.WentOffline), second.seen(ev.Ended)) == (1, 0, 1)
    assert third.wakes == wakes


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
def test_idle_clients_cost_each_other_nothing(heard: bool) -> None:
    """With listeners or without, no client is polled because of another one."""

    def polls_for_each_heartbeat(clients: int) -> float:
        network = VirtualNetwork(latency=0.01, jitter=0.01)
        server = network.serve(dialect="happn")
        nodes = [network.connect("http://server", dialect="happn") for _ in range(clients)]
        if heard:
            server.on(ev.SparkHeartbeat, lambda event: None)
        network.run(1)
        polls = 0

        def count(poll: Callable[[], None]) -> None:
            nonlocal polls
            polls += 1
            poll()

        for node in nodes:
            node._poll = partial(count, node._poll)  # type: ignore[method-assign]
        network.run(100)
        return polls / server.seen(ev.SparkHeartbeat)

    assert polls_for_each_heartbeat(40) < polls_for_each_heartbeat(4) * 1.5
