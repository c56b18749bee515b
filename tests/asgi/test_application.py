"""Primus as an application: its lifespan, the application beside it, and being entered again."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from typing import Any

import anyio
import pytest
import trustme

from primus_io.asgi import Primus
from primus_proto import ConfigError, Layer, LocalProtocolError, PeerCertificate, Refused
from primus_proto.plugins import Plugin, ServerEmitter
from tests.asgi.kit import Caller, body, calling, head, http, on_both, on_trio, turns, websocket

LIFESPAN = {"type": "lifespan", "asgi": {"version": "3.0"}}


async def stay(spark: Any) -> None:
    await spark.wait_ended()


class Inner:
    """An application that writes down what it is called for."""

    def __init__(self, primus: Primus | None = None) -> None:
        self.primus = primus
        self.notes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.notes.append((scope["type"], scope["path"]))
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})
            return
        self.notes.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        words = await receive()
        assert self.primus is not None
        self.notes.append((words["type"], len(self.primus.sparks)))
        await send({"type": "lifespan.shutdown.complete"})


async def knows_no_lifespan(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def fails_to_start(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})
    raise ZeroDivisionError


async def dies(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise ZeroDivisionError


@pytest.mark.parametrize("app", [None, knows_no_lifespan, says_nothing], ids=["none", "knows none", "says nothing"])
@on_both
async def test_a_lifespan_of_its_own(app: Any) -> None:
    primus = Primus(stay, app=app)
    heard: list[str] = []
    primus.on("initialised", lambda: heard.append("initialised"))
    primus.on("close", lambda: heard.append("close"))
    async with calling(primus, LIFESPAN) as life:
        life.give("lifespan.startup")
        await life.hear("lifespan.startup.complete")
        await turns()
        assert heard == ["initialised"]
        async with calling(primus, websocket()) as caller:
            await caller.hear("websocket.accept")
            life.give("lifespan.shutdown")
            await caller.hear("websocket.close")
            assert caller.all("websocket.send")[0]["text"] == '"primus::server::close"'
            assert not life.all("lifespan.shutdown.complete")
            caller.give("websocket.disconnect", code=1000)
            await life.end()
        assert [words["type"] for words in life.said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert heard == ["initialised", "close"]


@on_both
async def test_inside_the_lifespan_of_the_application_beside_it() -> None:
    """What that application provides is there when the first spark comes, and still there when the last one ends."""
    inner = Inner()
    primus = inner.primus = Primus(stay, app=inner)
    async with calling(primus, LIFESPAN) as life:
        life.give("lifespan.startup")
        await life.hear("lifespan.startup.complete")
        async with calling(primus, websocket(), http("/elsewhere"), http("/primusX")) as (caller, one, two):
            await caller.hear("websocket.accept")
            for other in (one, two):
                assert (await other.end())[0]["status"] == 200
            assert sorted(inner.notes[1:]) == [("http", "/elsewhere"), ("http", "/primusX")]
            life.give("lifespan.shutdown")
            await caller.hear("websocket.close")
            assert len(inner.notes) == 3, "the application does not know of the end yet"
            caller.give("websocket.disconnect", code=1000)
            await life.end()
        assert inner.notes[0] == "lifespan.startup"
        assert inner.notes[-1] == ("lifespan.shutdown", 0)


async def dies_while_up(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise ZeroDivisionError


@pytest.mark.parametrize("app", [None, dies_while_up], ids=["the host does not take it", "the application dies"])
@on_both
async def test_a_lifespan_that_breaks_off_when_it_has_begun(app: Any) -> None:
    """Nothing is left of it, and there may be another one."""

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(words: Any) -> None:
        assert words["type"] == "lifespan.startup.complete"
        if app is None:
            raise ZeroDivisionError

    primus = Primus(stay, app=app)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await primus(dict(LIFESPAN), receive, send)
        with pytest.raises(LocalProtocolError, match="is not running"):
            await Caller(http("/primus")).run(primus)


async def live(primus: Primus, said: str) -> None:
    async with calling(primus, LIFESPAN) as life:
        life.give("lifespan.startup")
        await life.hear(f"lifespan.{said}")
        life.give("lifespan.shutdown")
        await life.end()


@pytest.mark.parametrize(("app", "said"), [(fails_to_start, "startup.failed"), (dies, "startup.complete")])
@on_both
async def test_an_application_that_fails(app: Any, said: str) -> None:
    primus = Primus(stay, app=app)
    with pytest.raises(BaseExceptionGroup) as caught:
        await live(primus, said)
    assert caught.group_contains(ZeroDivisionError)
    with pytest.raises(LocalProtocolError, match="is not running"):
        await Caller(http("/primus")).run(primus)


@on_both
async def test_a_host_without_a_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    """The first request starts it, and says how it stops."""
    primus = Primus(stay)
    async with calling(primus, http("/primus/spec"), websocket()) as (asking, caller):
        await caller.hear("websocket.accept")
        await asking.end()
        assert head(asking)[0] == 200
        assert len(primus.sparks) == 1
        await primus.close(reconnect=True)
        await caller.hear("websocket.close")
        caller.give("websocket.disconnect", code=1000)
        await caller.end()
    await turns()
    with pytest.raises(LocalProtocolError, match="is not running"):
        await Caller(http("/primus")).run(primus)
    assert ["was not given primus.lifespan" in record.getMessage() for record in caplog.records] == [True]


@on_both
async def test_the_root_is_a_pathname() -> None:
    primus = Primus(stay, pathname="/")
    async with primus:
        for root, path in (("", "/spec"), ("/live", "/live/spec")):
            async with calling(primus, http(path, root_path=root)) as caller:
                await caller.end()
            assert json.loads(body(caller))["pathname"] == f"{root}/"


@on_both
async def test_without_a_lifespan_it_says_what_to_do() -> None:
    primus = Primus(stay)
    with pytest.raises(LocalProtocolError, match=r"lifespan=primus\.lifespan"):
        await primus.close()
    with pytest.raises(LocalProtocolError, match=r"lifespan=primus\.lifespan"):
        primus.write("to nobody")
    assert dict(primus.sparks) == {}


@on_both
async def test_entered_again() -> None:
    """As tests of an application do: the listeners stay, the sparks do not."""
    primus = Primus(stay)
    ids: list[str] = []
    primus.on("connection", lambda spark: ids.append(spark.id))
    for count in (1, 2):
        async with primus.lifespan(), calling(primus, websocket()) as caller:
            await caller.hear("websocket.accept")
            assert (len(ids), list(primus.sparks)) == (count, ids[-1:])
            caller.give("websocket.disconnect", code=1000)
            await caller.end()
            assert not primus.sparks
            with pytest.raises(LocalProtocolError, match="one lifespan at a time"):
                await primus.__aenter__()
        assert primus.write("too late") == 0


@on_both
async def test_closed_before_its_lifespan_ends() -> None:
    """As one does who wants to say goodbye before the host cuts everybody off."""
    async with Primus(stay) as primus, calling(primus, websocket()) as caller:
        await caller.hear("websocket.accept")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: primus.close("bye", reconnect=True))
            await caller.hear("websocket.close")
            assert [words["text"] for words in caller.all("websocket.send")] == ['"bye"']
            caller.give("websocket.disconnect", code=1000)
        async with calling(primus, websocket(), http("/primus/spec")) as late:
            for each in late:
                assert (await each.end())[0]["status"] == 503
        await primus.serve_forever()  # which is over


@on_trio
async def test_a_send_that_cannot_be_cancelled_holds_nobody_up() -> None:
    primus = Primus(stay)
    async with anyio.create_task_group() as host:
        async with primus:
            caller = Caller(websocket())
            host.start_soon(caller.run, primus)
            await caller.hear("websocket.accept")
            caller.full = caller.stubborn = True
        assert not primus.sparks
        await turns()
        assert not caller.returned
        caller.drain()
        await caller.end()


@on_both
async def test_a_host_that_never_waits_may_say_that_the_peer_has_gone() -> None:
    async def write_much(spark: Any) -> None:
        for number in range(1000):
            spark.write(number)

    async with Primus(write_much) as primus, calling(primus, websocket()) as caller:
        await caller.hear("websocket.send")
        caller.give("websocket.disconnect", code=1006)
        assert len([words for words in await caller.end() if words["type"] == "websocket.send"]) < 200


def test_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match="the handler must be an async function"):
        Primus(print)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="authorize= is the function"):
        Primus(authorization=True)
    for name in ("host", "port", "ssl", "unix"):
        with pytest.raises(ConfigError, match=f"{name}= belongs to the server of this application"):
            Primus(**{name: None})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"there is no option .no_such_option"):
        Primus(no_such_option=1)  # type: ignore[call-arg]


def test_without_anyio_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['anyio'] = None\nimport primus_io.asgi"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "ImportError: primus_io.asgi needs anyio: python -m pip install 'primus-proto[asgi]'" in done.stderr


@on_both
async def test_the_certificate_of_a_client() -> None:
    """As the TLS extension of ASGI gives it."""
    pem = trustme.CA().issue_cert("anna@example.org").cert_chain_pems[0].bytes().decode()
    seen: list[Any] = []
    primus = Primus(stay, authorize=lambda request: seen.append(request.peer_certificate))
    async with primus:
        chains: tuple[Any, ...] = ({"tls": {"client_cert_chain": [pem]}}, {"tls": {"client_cert_chain": []}}, {})
        for extensions in chains:
            async with calling(primus, websocket(extensions=extensions)) as caller:
                await caller.hear("websocket.accept")
                caller.give("websocket.disconnect", code=1000)
                await caller.end()
    assert seen == [PeerCertificate(ssl.PEM_cert_to_DER_cert(pem), {}), None, None]


@on_both
async def test_layers_outlive_a_run() -> None:
    def forbid(request: Any) -> None:
        raise Refused("closed for today", 403)

    primus = Primus(middleware=[Layer("forbid", forbid, index=0)])
    primus.remove("x-xss")
    primus.disable("spec")
    for _ in range(2):
        async with primus:
            assert primus.layers == ("forbid", "forwarded", "cors", "primus.js", "spec", "no-cache", "authorization")
            async with calling(primus, http("/primus/spec")) as caller:
                await caller.end()
                assert caller.said[0]["status"] == 403
    primus.remove("forbid")
    async with primus, calling(primus, http("/primus/spec")) as caller:
        await caller.end()
        assert caller.said[0]["status"] == 426
    with pytest.raises(ConfigError, match="the server of this application compresses"):
        Primus(compression=True)


class Counts(Plugin):
    """Counts requests by a layer, for each run anew."""

    name = "counts"

    def __init__(self) -> None:
        self.runs: list[list[str]] = []

    def server(self, server: Any) -> None:
        requests: list[str] = []
        self.runs.append(requests)
        server.before("counts", lambda request: requests.append(request.path), index=0)


@on_both
@pytest.mark.parametrize("used", [False, True], ids=["option", "use"])
async def test_plugins_outlive_a_run_and_their_halves_run_in_each(used: bool) -> None:
    counts = Counts()
    primus = Primus(plugins=["emitter"] if used else ["emitter", counts])
    if used:
        primus.use(counts)
    heard: list[Any] = []
    primus.extension(ServerEmitter).on("word", lambda spark, word: heard.append(word))
    primus.before("own", lambda request: None)
    layers = primus.layers
    assert layers[0] == "counts"
    primus.disable("own")
    for number in range(1, 3):
        async with primus:
            assert primus.layers == layers
            async with calling(primus, websocket()) as caller:
                await caller.hear("websocket.accept")
                caller.give("websocket.receive", text=json.dumps({"type": 0, "data": ["word", number]}))
                await turns(20)
                caller.give("websocket.disconnect", code=1000)
                await caller.end()
            assert heard[-1:] == [number]
            assert [bool(requests) for requests in counts.runs][-1] is True
            assert sum(map(len, counts.runs)) == number
    async with primus:
        assert primus.plugout("counts")
        assert "counts" not in primus.layers
    async with primus:
        assert primus.plugin("counts") is None
        assert "counts" not in primus.layers
