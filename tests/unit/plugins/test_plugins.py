"""Plugins: how they are given, which halves run when, and what is left of one that fails."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace
from typing import Any

import pytest

from primus_proto import ClientConfig, ConfigError, LocalProtocolError, Packet, PluginError, ServerConfig, Spark
from primus_proto import events as ev
from primus_proto.plugins import Emitter, EmitterPlugin, Extension, Plugin, Rooms, ServerEmitter, ServerRooms
from tests.unit.sessions import LOST, ClientHost, ServerHost, opened


class Counter(Extension):
    """State of one session."""

    def __init__(self, core: Any) -> None:
        super().__init__(core)
        self.count = 0
        self.ends: list[str] = []

    def see(self, packet: Packet) -> None:
        self.count += 1

    def closed(self, error: Exception) -> None:
        self.ends.append(type(error).__name__)


class ServerCounter:
    """State of the server."""


class Counting(Plugin):
    """Counts incoming messages."""

    name = "counting"

    def server(self, server: Any) -> ServerCounter:
        server.transform("incoming", wrap)
        server.before("counting", lambda request: None)
        return ServerCounter()

    def spark(self, spark: Any) -> Counter:
        counter = Counter(spark)
        spark.transform("incoming", counter.see)
        return counter

    def client(self, client: Any) -> Counter:
        return self.spark(client)


class Stateful(Plugin):
    """Has nothing to take over from an earlier run."""

    name = "stateful"

    def server(self, server: Any) -> ServerCounter:
        return ServerCounter()


def wrap(packet: Packet) -> None:
    packet.data = [packet.data]


@pytest.mark.parametrize(
    "plugins",
    [{"counting": Counting(), "emitter": "emitter"}, ["emitter", Counting()], [EmitterPlugin(), Counting()]],
)
def test_each_half_runs_for_its_object(plugins: Any) -> None:
    server, client = ServerHost(plugins=plugins), opened(plugins=plugins)
    spark = server.connect()
    assert isinstance(server.server.extension(ServerCounter), ServerCounter)
    server.receive(spark, None)
    client.receive(None)
    for end in (spark, client.client):
        counter = end.extension(Counter)
        assert (counter.count, counter.session, counter.core) == (1, end, end)
        assert isinstance(end.extension(Emitter), Emitter)
        end.end()
        assert counter.ends == ["ConnectionLost"]
    assert set(server.server.plugins) == set(client.client.plugins) == {"counting", "emitter"}


def test_a_clients_half_runs_once_and_hears_of_each_loss() -> None:
    host = opened(plugins=[Counting()])
    counter = host.client.extension(Counter)
    host.lose()
    host.run(0.5)
    host.open()
    host.lose()
    assert host.client.extension(Counter) is counter
    assert counter.ends == ["ConnectionLost"] * 2


def test_a_plugin_without_a_half_or_an_end_for_a_client() -> None:
    plugins = {
        "mine": SimpleNamespace(client=lambda client: object()),
        "theirs": SimpleNamespace(server=lambda server: None),
    }
    host = opened(plugins=plugins)
    host.lose()
    assert host.told() == LOST
    server = ServerHost().server
    server.use("events", "emitter")
    assert server.plugins["events"] is not None


def test_a_later_run_of_a_server_takes_over() -> None:
    earlier = ServerHost(plugins=[Counting(), "emitter", "rooms"]).server
    later = ServerHost(plugins=["emitter", "rooms", Stateful()])
    earlier.extension(ServerEmitter).on("max", max)
    earlier.before("mine", lambda request: None)
    later.server.adopt(earlier)
    assert later.server.layers == (*ServerHost().server.layers, "mine")
    assert [listener for listener, _ in later.server.extension(ServerEmitter).find("max")] == [max]
    later.connect().extension(Rooms).join("news")
    assert earlier.extension(ServerRooms).names == ("news",)


def test_use_and_plugout_tell_and_undo() -> None:
    host = ServerHost()
    plugin = Counting()
    before = host.connect()
    layers = host.server.layers
    host.server.use(plugin)
    assert host.server.layers == (*layers, "counting")
    between = host.connect()
    host.receive(before, 1)
    with pytest.raises(LocalProtocolError, match="no extension Counter"):
        before.extension(Counter)
    assert host.server.plugout("counting") is True
    assert host.server.plugout("counting") is False
    assert host.server.layers == layers
    after = host.connect()
    host.receive(between, 2)
    host.receive(after, 3)
    assert between.extension(Counter).count == 1
    assert after.find_extension(Counter) is None
    assert host.server.find_extension(ServerCounter) is None
    data = [event.data for event in host.seen if isinstance(event, ev.SparkData)]
    assert data == [[1], 2, 3]
    told = [(event.name, *event.args) for event in host.seen if isinstance(event, ev.PluginAdded | ev.PluginRemoved)]
    assert told == [("plugin", "counting", plugin), ("plugout", "counting", plugin)]


class Broken(Plugin):
    """A plugin whose halves fail when they have done half of their work."""

    name = "broken"

    def server(self, server: Any) -> None:
        server.transform("incoming", wrap)
        if hasattr(server, "before"):
            server.remove("spec")
            server.before("broken", lambda request: None)
        raise ZeroDivisionError("half-way")

    def client(self, client: Any) -> None:
        self.server(client)


class BrokenSpark(Plugin):
    name = "broken spark"
    failure: type[BaseException] = ZeroDivisionError

    def spark(self, spark: Spark) -> None:
        spark.transform("outgoing", wrap)
        raise self.failure("half-way")


def test_a_servers_half_that_fails_is_undone_and_its_error_raised() -> None:
    host = ServerHost()
    layers = host.server.layers
    for _ in range(2):  # the name is still free
        with pytest.raises(ZeroDivisionError):
            host.server.use(Broken())
    assert (host.server.transforms.incoming, dict(host.server.plugins), host.told()) == ((), {}, [])
    assert host.server.layers == layers
    with pytest.raises(ZeroDivisionError):
        ServerHost(plugins=[Broken()])
    with pytest.raises(ZeroDivisionError):
        ClientHost(plugins=[Broken()])


def test_a_sparks_half_that_fails_ends_the_spark_for_its_client_to_come_back() -> None:
    host = ServerHost(plugins=[BrokenSpark(), Counting()])
    spark = host.connect()
    told = [event for event in host.seen if isinstance(event, ev.SparkEvent)]
    assert [event.name for event in told] == ["connection", "error", "readyStateChange", "disconnection", "end"]
    [error] = [event.error for event in told if isinstance(event, ev.SparkError)]
    assert isinstance(error, PluginError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert spark.close_reason is not None
    assert spark.close_reason.code == 1011
    assert spark.transforms is not None
    assert spark.transforms.outgoing == ()
    interrupted = BrokenSpark()
    interrupted.failure = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        ServerHost(plugins=[interrupted]).connect()


def test_an_extension_that_fails_at_the_end_does_not_disturb_it() -> None:
    class Bad(Counter):
        def closed(self, error: Exception) -> None:
            raise failure

    class Adds(Plugin):
        name = "adds"

        def spark(self, spark: Spark) -> Bad:
            return Bad(spark)

    failure: BaseException = ZeroDivisionError("oops")

    host = ServerHost(plugins=[Adds(), Counting()])
    spark = host.connect()
    spark.end()
    told = host.told()
    assert told[0] == "error"
    assert told[-1] == "end"
    assert spark.extension(Counter).ends == ["ConnectionLost"]
    failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.connect().end()


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        (5, "names"),
        (["nothing like it"], "unknown plugin .* emitter"),
        ({"": Counting()}, "needs a name"),
        ({5: Counting()}, "needs a name"),
        ([Counting], "is a class"),
        ({"x": object()}, "none of the methods"),
        ({"x": None}, "none of the methods"),
        ("emitter, emitter", "two plugins"),
        ([Counting(), Counting()], "two plugins"),
    ],
)
def test_what_is_no_plugin_is_refused(plugins: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ServerConfig(plugins=plugins)
    with pytest.raises(ConfigError, match=words):
        ClientConfig(url="http://server", plugins=plugins)


@pytest.mark.parametrize("nothing", ["", [], {}, ()])
def test_no_plugins_are_none(nothing: Any) -> None:
    assert ServerConfig(plugins=nothing).plugins == {}


def test_mistakes_in_use_change_nothing() -> None:
    host = ServerHost(plugins=[Counting()])
    host.told()
    mistakes: list[Any] = [(Counting(),), ("counting", Counting()), (None,), ("x", None), ("x", 5), (5, Counting())]
    for args in (*mistakes, ("x", Counting)):
        with pytest.raises(ConfigError):
            host.server.use(*args)
    with pytest.raises(ConfigError, match="two plugins add an extension"):
        host.server.use("other", Counting())
    assert (list(host.server.plugins), len(host.server.transforms.incoming), host.told()) == (["counting"], 1, [])


class Said(ev.PluginEvent):
    """An event of a plugin."""

    name = "said"


class Other(ev.PluginEvent):
    """Another one of the same name."""

    name = "said"


def plugin_of(name: str, **attributes: Any) -> Any:
    """A plugin whose halves do nothing."""
    return type("Made", (Plugin,), {"name": name, **attributes})()


def test_names_are_reserved_while_a_plugin_has_them() -> None:
    host = ServerHost(plugins=[plugin_of("one", events=[Said]), plugin_of("two", events=[Said], reserved={"more"})])
    spark = host.connect()
    for held in (host.server, spark):
        assert held.reserved("said")
        assert held.reserved("more")
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"events": [Other]}, "and so has another"),
        ({"events": [ev.SparkData]}, "subclasses"),
        ({"reserved": "name"}, "collection of names"),
    ]
    for wrong, words in mistakes:
        with pytest.raises(ConfigError, match=words):
            host.server.use(plugin_of("wrong", **wrong))
    host.server.plugout("two")
    assert (spark.reserved("said"), spark.reserved("more")) == (True, False)
    host.server.plugout("one")
    assert not spark.reserved("said")


@pytest.mark.parametrize("name", ["data", "drain", "incoming::x"])
def test_an_event_of_a_plugin_cannot_have_a_name_of_primus(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        type("Bad", (ev.PluginEvent,), {"name": name})


def test_a_half_may_emit_and_connection_comes_first() -> None:
    class Early(Plugin):
        name = "early"
        events = (Said,)

        def spark(self, spark: Spark) -> None:
            assert Extension(spark).emit(Said(spark))

    host = ServerHost(plugins=[Early()])
    spark = host.connect()
    assert [type(event) for event in host.seen[-2:]] == [ev.SparkConnected, Said]
    spark.end()
    host.told()
    assert not Extension(spark).emit(Said(spark))
    assert host.told() == []


def test_plugins_come_from_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("theirs", f"{__name__}:Counting", "primus_proto.plugins")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: Counting)
    host = ServerHost(plugins="theirs")
    assert isinstance(host.server.plugins["theirs"], Counting)
    with pytest.raises(ConfigError, match="known: emitter, rooms, theirs"):
        host.server.use("others")
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: 1 / 0)
    with pytest.raises(
        ConfigError, match=r"plugin 'theirs', which is .*:Counting, cannot be loaded: ZeroDivisionError"
    ):
        ServerHost(plugins="theirs")
