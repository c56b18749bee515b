"""The emitter plugin: its frames, acknowledgements, and what a peer may not do with them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

from primus_proto import ConfigError, ConnectionLost, EncodeError, LocalProtocolError, RemoteProtocolError, Spark
from primus_proto import events as ev
from primus_proto.plugins import Ack, Emitter, EmitterPlugin, Extension, Reply, ServerEmitter
from tests.unit.sessions import ServerHost, opened


class End:
    """A client or spark with the plugin, and its host."""

    def __init__(self, kind: str, plugin: EmitterPlugin) -> None:
        self.host: Any
        self.core: Any
        if kind == "spark":
            self.host = ServerHost(plugins=[plugin])
            self.core = self.host.connect()
            self.host.commanded()
        else:
            self.host = opened(plugins=[plugin])
            self.core = self.host.client
        self.emitter: Emitter = self.core.extension(Emitter)

    def receive(self, value: Any) -> list[ev.Event]:
        """A value arrives. Calls what it is delivered to, as a binding does; returns the events."""
        self.host.receive(*((self.core, value) if isinstance(self.core, Spark) else (value,)))
        events: list[ev.Event] = self.host.fresh()
        for event in events:
            if isinstance(event, ev.Delivery):
                event.function(*event.arguments)
        return events


@pytest.fixture(params=["spark", "client"])
def end(request: pytest.FixtureRequest) -> End:
    return End(request.param, EmitterPlugin(timeout=5, pending=2))


def test_an_event_is_a_frame_of_its_name_and_arguments(end: End) -> None:
    assert end.emitter.send("news", None, {"a": 1}) is True
    end.emitter.call("ask")
    end.emitter.call("ask", [])
    assert end.host.sent() == [
        {"type": 0, "data": ["news", None, {"a": 1}]},
        {"type": 0, "data": ["ask"], "id": 1},
        {"type": 0, "data": ["ask", []], "id": 2},
    ]


def test_a_frame_calls_the_listeners_of_its_event_and_is_no_data(end: End) -> None:
    heard: list[Any] = []
    end.emitter.on("news", lambda *args: heard.append(args))

    @end.emitter.on("news")
    def second(*args: Any) -> None:
        heard.append("second")

    events = end.receive({"type": 0, "data": ["news", None, 2]})
    assert heard == [(None, 2), "second"]
    assert not [event for event in events if isinstance(event, ev.SparkData | ev.DataReceived)]
    end.emitter.off("news", second)
    end.emitter.off("news", second)
    end.emitter.off("other", second)
    end.receive({"type": 0, "data": ["news"]})
    assert heard == [(None, 2), "second", ()]


@pytest.mark.parametrize(
    ("result", "data"), [(None, []), (3, [3]), ([1, 2], [[1, 2]]), (Ack(), []), (Ack(None, {"a": 1}), [None, {"a": 1}])]
)
@pytest.mark.parametrize("id", [1, 7.5])
def test_what_a_listener_returns_is_acknowledged_once(end: End, result: object, data: list[Any], id: float) -> None:
    end.emitter.on("ask", lambda: result)
    end.emitter.on("ask", lambda: "of no interest")
    end.receive({"type": 0, "data": ["ask"], "id": id})
    end.receive({"type": 0, "data": ["ask"], "id": 0})
    end.receive({"type": 0, "data": ["ask"]})
    assert end.host.sent() == [{"type": 1, "id": id, "data": data}]


def test_a_coroutine_is_acknowledged_when_it_returns(end: End) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    end.emitter.on("sum", add)
    end.host.receive(*((end.core,) if isinstance(end.core, Spark) else ()), {"type": 0, "data": ["sum", 1, 2], "id": 4})
    [delivery] = [event for event in end.host.fresh() if isinstance(event, ev.Delivery)]
    coroutine: Any = delivery.function(*delivery.arguments)
    assert end.host.sent() == []
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert end.host.sent() == [{"type": 1, "id": 4, "data": [3]}]


RESULTS: list[Any] = [([], None), ([3], 3), ([None], None), ([None, 1], [None, 1]), ([[1]], [1])]


@pytest.mark.parametrize(("data", "result"), RESULTS)
def test_the_acknowledgement_is_the_result_of_a_call(end: End, data: list[Any], result: object) -> None:
    reply = end.emitter.call("ask")
    assert (reply.done, end.emitter.pending) == (False, 1)
    for id, args in ((2, [9]), (1, data), (1, [9])):  # one that nobody waits for, and one that comes twice
        events = end.receive({"type": 1, "id": id, "data": args})
        assert not [event for event in events if isinstance(event, ev.SparkData | ev.DataReceived)]
    assert (reply.done, reply.result(), end.emitter.pending) == (True, result, 0)
    end.host.run(10)
    assert reply.result() == result


def test_a_call_ends_at_its_timeout(end: End) -> None:
    quick, slow = end.emitter.call("ask", timeout=1), end.emitter.call("ask")
    with pytest.raises(LocalProtocolError, match="2 calls wait"):
        end.emitter.call("ask")
    end.host.run(0.9)
    assert not quick.done
    end.host.run(0.2)
    with pytest.raises(TimeoutError, match="'ask' within 1 seconds"):
        quick.result()
    end.emitter.call("ask")
    end.host.run(4)
    assert slow.done


@pytest.mark.parametrize("how", ["lost", "ended"])
def test_a_call_fails_when_the_connection_is_gone(end: End, how: str) -> None:
    reply = end.emitter.call("ask")
    if how == "lost":
        end.core.connection_lost(now=end.host.now)
    else:
        end.core.end()
    with pytest.raises(ConnectionLost):
        reply.result()
    if how == "ended" or isinstance(end.core, Spark):
        with pytest.raises(ConnectionLost, match="not sent"):
            end.emitter.call("ask").result()


def test_a_call_that_a_client_makes_while_it_reconnects_is_answered_later() -> None:
    end = End("client", EmitterPlugin())
    end.host.lose()
    reply = end.emitter.call("ask")
    end.host.run(0.5)
    end.host.open()
    assert end.host.sent()[-1]["id"] == 1
    end.receive({"type": 1, "id": 1, "data": ["late"]})
    assert reply.result() == "late"


NO_EVENTS: list[Any] = [None, "x", {}, [], [5], [None]]
NO_IDS: list[Any] = ["1", True, [], {}]
NO_FRAMES: list[Any] = [
    *(None, 0, "", [], {}, {"type": 0}, {"data": ["x"]}, {"type": 2, "data": ["x"]}, {"type": True, "data": ["x"]}),
    *({"type": 0, "data": data} for data in NO_EVENTS),
    *({"type": 0, "data": ["x"], "id": id} for id in NO_IDS),
    *({"type": 1, "data": []}, {"type": 1, "data": None, "id": 1}, {"type": "0", "data": ["x"]}),
]


@pytest.mark.parametrize("value", NO_FRAMES, ids=repr)
def test_what_is_no_frame_is_data(end: End, value: Any) -> None:
    end.emitter.on("x", lambda *args: pytest.fail("it is no event"))
    [event] = [event for event in end.receive(value) if isinstance(event, ev.SparkData | ev.DataReceived)]
    assert event.data == value


def test_arguments_that_no_listener_takes_are_the_peers_error(end: End) -> None:
    end.emitter.on("sum", lambda a, b: pytest.fail("it cannot be called"))
    events = end.receive({"type": 0, "data": ["sum", 1], "id": 1})
    [error] = [event.error for event in events if isinstance(event, ev.SparkError | ev.ErrorOccurred)]
    assert isinstance(error, RemoteProtocolError)
    assert "missing" in str(error)
    assert end.host.sent() == []


@pytest.mark.parametrize("name", ["nobody", "data", "constructor", "x" * 1000])
def test_an_event_without_listeners_is_told_of(end: End, name: str) -> None:
    events = end.receive({"type": 0, "data": [name]})
    [text] = [event.text for event in events if isinstance(event, ev.SparkMessageIgnored | ev.MessageIgnored)]
    assert name[:80] in text
    assert len(text) < 150


@pytest.mark.parametrize(
    ("misuse", "error"),
    [
        (lambda emitter: emitter.send("data"), LocalProtocolError),
        (lambda emitter: emitter.send(""), LocalProtocolError),
        (lambda emitter: emitter.call("end"), LocalProtocolError),
        (lambda emitter: emitter.call(5), LocalProtocolError),
        (lambda emitter: emitter.on("incoming::x", print), LocalProtocolError),
        (lambda emitter: emitter.on("x", 5), LocalProtocolError),
        (lambda emitter: emitter.send("x", {1}), EncodeError),
        (lambda emitter: emitter.call("x", {1}), EncodeError),
        (lambda emitter: emitter.call("x", timeout=0), ConfigError),
        (lambda emitter: emitter.call("x", timeout="5"), ConfigError),
    ],
)
def test_misuse_changes_nothing(end: End, misuse: Callable[[Emitter], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        misuse(end.emitter)
    assert (end.host.sent(), end.emitter.pending) == ([], 0)


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": None}, {"pending": 0}, {"pending": 1.5}])
def test_options_of_the_plugin_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EmitterPlugin(**wrong)


def test_the_core_does_not_wait_for_a_reply(end: End) -> None:
    reply = end.emitter.call("ask")
    with pytest.raises(LocalProtocolError, match="does not wait"):
        reply.result()
    done: list[int] = []
    reply.add_done_callback(lambda: done.append(1))
    end.receive({"type": 1, "id": 1, "data": []})
    reply.add_done_callback(lambda: done.append(2))
    assert done == [1, 2]
    reply.set_result("again")
    reply.set_error(ValueError())
    assert (repr(reply), reply.result()) == ("<Reply done>", None)


def taken(reply: Reply[int], results: list[int]) -> Generator[Any, None, None]:
    """Awaits a reply: what it waits for."""
    results.append((yield from reply.__await__()))


def test_a_reply_is_awaited_or_waits_itself() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            yield "waiting"
            reply.set_result(5)

    class Binding(Extension):
        session = SimpleNamespace()

    extension: Any = Binding(None)  # type: ignore[arg-type]
    extension.session.wait_for_reply = lambda reply: Awaitable()
    reply = Reply[int](extension)
    with pytest.raises(LocalProtocolError, match="await the reply"):
        reply.result()
    assert repr(reply) == "<Reply pending>"
    results: list[int] = []
    assert list(taken(reply, results)) == ["waiting"]
    assert list(taken(reply, results)) == []
    assert results == [5, 5]
    extension.session.wait_for_reply = lambda reply: reply.set_error(TimeoutError())
    with pytest.raises(TimeoutError):
        next(Reply[int](extension).__await__())
    with pytest.raises(TimeoutError):
        Reply[int](extension).result()


def test_a_listener_may_be_written_in_c_and_answer_with_several_arguments(end: End) -> None:
    end.emitter.on("max", max)
    end.receive({"type": 0, "data": ["max", 3, 5], "id": 1})
    assert end.host.sent() == [{"type": 1, "id": 1, "data": [5]}]
    assert repr(Ack(None, 2)) == "Ack(None, 2)"


def test_a_call_that_ends_while_others_are_ended(end: End) -> None:
    replies = [end.emitter.call("ask"), end.emitter.call("ask")]
    replies[0].add_done_callback(lambda: end.emitter.closed(ConnectionLost("again")))
    end.emitter.closed(ConnectionLost("gone"))
    assert [str(reply._error) for reply in replies] == ["gone", "again"]


def test_a_servers_emitter_hears_all_sparks_and_speaks_to_all() -> None:
    host = ServerHost(plugins="emitter")
    sparks = [host.connect(), host.connect()]
    host.commanded()
    everyone = host.server.extension(ServerEmitter)
    everyone.on("who", lambda spark, *args: [sparks.index(spark), *args])
    host.receive(sparks[1], {"type": 0, "data": ["who", "x"], "id": 1})
    [delivery] = [event for event in host.fresh() if isinstance(event, ev.Delivery)]
    delivery.function(*delivery.arguments)
    assert host.sent() == [{"type": 1, "id": 1, "data": [[1, "x"]]}]
    assert everyone.send("news", 1) == 2
    assert everyone.send("news", 2, exclude=[sparks[0]]) == 1
    assert [frame["data"][1] for frame in host.sent()] == [1, 1, 2]
