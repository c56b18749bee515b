"""Mistakes are answered with what to do instead, in particular those of users of the JavaScript package."""

from __future__ import annotations

import asyncio as asyncio_library
import inspect
from typing import Any

import pytest
import trio as trio_library

import primus_proto as pp
from primus_io import anyio, asyncio, threads, trio
from primus_io._advice import CLIENT_ADVICE, SERVER_ADVICE, SPARK_ADVICE

URL = "http://localhost:1"
BINDINGS = [asyncio, trio, anyio, threads]


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("pingTimeout", "did you mean ping_timeout, in seconds?"),
        ("reconnectTimeout", "did you mean reconnect_timeout, in seconds?"),
        ("queueSize", r"did you mean queue_size\?"),
        ("reconnect", "give what is in it by itself: min="),
        ("rejectUnauthorized", "give ssl= a context"),
        ("whatever", "there is no option 'whatever'$"),
    ],
)
def test_an_unknown_option_is_answered_with_the_one_that_was_meant(option: str, advice: str) -> None:
    with pytest.raises(pp.ConfigError, match=advice):
        asyncio.connect(URL, **{option: 1})  # type: ignore[arg-type]


def test_milliseconds_to_wait_are_refused() -> None:
    with pytest.raises(pp.ConfigError, match=r"wait must be a duration in seconds.* did you mean 5\?"):
        asyncio.connect(URL, wait=5000)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(
    ("kind", "name", "advice"),
    [
        ("Client", "removeListener", "call off"),
        ("Client", "readyState", "read state"),
        ("Client", "networkOnline", "did you mean network_online"),
        ("Spark", "heartbeatTimeout", "did you mean heartbeat_timeout"),
        ("Server", "forEach", "for spark in server.sparks.values"),
        ("Server", "destroy", r"call close\(\)"),
        ("Server", "nothing_like_it", "no attribute 'nothing_like_it'$"),
    ],
)
def test_a_member_of_the_original_is_answered_with_ours(binding: Any, kind: str, name: str, advice: str) -> None:
    cls = getattr(binding, kind)
    with pytest.raises(AttributeError, match=advice) as caught:
        getattr(cls.__new__(cls), name)
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("kind", "advice"), [("Client", CLIENT_ADVICE), ("Spark", SPARK_ADVICE), ("Server", SERVER_ADVICE)]
)
def test_there_is_advice_only_for_what_is_missing(kind: str, advice: dict[str, str]) -> None:
    for binding in BINDINGS:
        assert not advice.keys() & set(dir(getattr(binding, kind)))


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_context_manager_says_how_it_is_entered(binding: Any) -> None:
    word = "with" if binding is threads else "async with"
    for made, name in ((binding.connect(URL), "write"), (binding.serve(None), "sparks")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}': enter it first, as in `{word} "):
            getattr(made, name)
        with pytest.raises(pp.LocalProtocolError, match=f"write `{word} "):
            made.__await__()
        wrong = inspect.getattr_static(made, "__aenter__" if binding is threads else "__enter__")
        with pytest.raises(pp.LocalProtocolError, match=f"write `{word} "):
            call(wrong(made))


def call(result: Any) -> None:
    if inspect.iscoroutine(result):
        result.send(None)


@pytest.mark.parametrize("name", ["connect", "serve", "fetch_spec"])
def test_the_wrong_library_is_named(name: str) -> None:
    async def enter(binding: Any) -> None:
        made = getattr(binding, name)(None if name == "serve" else URL)
        await (made if name == "fetch_spec" else made.__aenter__())

    with pytest.raises(
        pp.LocalProtocolError, match=r"primus_io\.asyncio cannot run here.* runs on trio: use primus_io\.trio"
    ):
        trio_library.run(enter, asyncio)
    with pytest.raises(pp.LocalProtocolError, match=r"runs on asyncio: use primus_io\.asyncio or primus_io\.anyio"):
        asyncio_library.run(enter(trio))
    with pytest.raises(pp.LocalProtocolError, match=r"no event loop is running here: use primus_io\.threads"):
        call(enter(asyncio))


@pytest.mark.parametrize("binding", BINDINGS)
def test_clients_and_servers_are_not_made_by_their_classes(binding: Any) -> None:
    with pytest.raises(pp.LocalProtocolError, match="made by connect"):
        binding.Client(URL)
    with pytest.raises(pp.LocalProtocolError, match="made by serve"):
        binding.Server(print, None, None)


@pytest.mark.parametrize("make", [pp.Client, pp.ByteClient, pp.SpecQuery, pp.Server, pp.ByteServer])
def test_the_core_takes_configurations(make: Any) -> None:
    with pytest.raises(pp.ConfigError, match=r"give a (Client|Server)Config, not a str"):
        make(URL, rng=None)


@pytest.mark.parametrize("binding", BINDINGS)
def test_help_shows_no_type_variables(binding: Any) -> None:
    for function in (binding.connect, binding.serve, binding.fetch_spec):
        assert not {"R", "H", "A", "URLSource"} & set(str(inspect.signature(function)).replace("'", "").split(" "))
