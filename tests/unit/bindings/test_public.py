"""What users read and what their type checker knows: `help()`, names of classes, and the types of listeners."""

from __future__ import annotations

import inspect
import math
import pydoc
import re
from dataclasses import fields
from typing import Any

import pytest

import primus_proto as pp
from primus_io import anyio, asgi, asyncio, threads, trio
from primus_io.cli.options import CLIENT_HELP, LIMIT_HELP, SERVER_HELP, WITHOUT_FLAG
from primus_proto import events as ev

BINDINGS = [asyncio, trio, anyio, threads]
ENTRANCES = [
    *((binding.connect, pp.ClientConfig, {"url"}) for binding in BINDINGS),
    *((binding.fetch_spec, pp.ClientConfig, {"url"}) for binding in BINDINGS),
    *((binding.serve, pp.ServerConfig, {"handler"}) for binding in BINDINGS),
    (asgi.Primus, pp.ServerConfig, {"handler"}),
]
# The values that the documentation describes in words.
WORDS = {"limits": "Limits()", "authorization": "True with `authorize`, otherwise False", "app": "None"}


def documented(entrance: Any) -> dict[str, str]:
    """The text on each option in the docstring."""
    _, _, listed = (inspect.getdoc(entrance) or "").partition("Options, ")
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def default_of(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) and value != math.inf else str(value)


@pytest.mark.parametrize(("entrance", "config", "required"), ENTRANCES)
def test_help_lists_every_option_with_unit_and_default(entrance: Any, config: Any, required: set[str]) -> None:
    options = [one for one in fields(config) if one.name != "url"]
    defaults = {one.name: one.default for one in options}
    defaults |= {"transport": {}, "plugins": {}, "limits": pp.Limits()}
    parameters = inspect.signature(entrance).parameters.values()
    defaults |= {one.name: one.default for one in parameters if one.name not in {"options", *required}}
    listed = documented(entrance)
    where = "the docstring in bindings/primus_io/_functions.py"
    assert listed.keys() == defaults.keys(), f"{where} must list each option"
    for name, text in listed.items():
        assert f"Default {WORDS.get(name, default_of(defaults[name]))}" in text.replace("Default: ", "Default "), name
        if isinstance(defaults[name], float) and name != "factor":
            assert "seconds" in text.lower(), name
    for name in required:
        assert f"`{name}`" in (inspect.getdoc(entrance) or "")


def test_every_option_has_a_help_text_for_its_flag() -> None:
    where = "bindings/primus_io/cli/options.py must have a text for each option"
    for config, texts in {pp.ClientConfig: CLIENT_HELP, pp.ServerConfig: SERVER_HELP, pp.Limits: LIMIT_HELP}.items():
        assert {one.name for one in fields(config)} - WITHOUT_FLAG == texts.keys(), where


@pytest.mark.parametrize("binding", BINDINGS)
def test_names_are_those_that_can_be_imported(binding: Any) -> None:
    for name in ("connect", "serve", "fetch_spec"):
        entrance = getattr(binding, name)
        assert (entrance.__module__, entrance.__qualname__) == (binding.__name__, name)
        assert pydoc.plain(pydoc.render_doc(entrance)).splitlines()[2].removeprefix("async ").startswith(f"{name}(")
    home = "primus_io.threads" if binding is threads else "primus_io"
    for name in ("Client", "Server", "Spark"):
        held = getattr(binding, name)
        assert f"{held.__module__}.{held.__qualname__}" == f"{home}.{name}"


def test_threads_document_all_their_members() -> None:
    for cls in (threads.Client, threads.Server, threads.Spark):
        members = inspect.getmembers(cls, lambda value: inspect.isfunction(value) or isinstance(value, property))
        assert [name for name, value in members if not name.startswith("_") and not value.__doc__] == []


def check_types(client: asyncio.Client, server: asyncio.Server, threaded: threads.Server) -> None:
    """Not run: mypy checks it. An unused `type: ignore` is an error, so each of them stands for a caught mistake."""

    async def on_event(event: ev.SparkData[asyncio.Spark]) -> None: ...

    def on_spark(spark: asyncio.Spark) -> None: ...

    server.on(ev.SparkData, on_event)
    server.on("connection", on_spark)
    client.on("data", print)
    client.on("dataa", print)  # type: ignore[call-overload]
    client.off("dataa", print)  # type: ignore[arg-type]
    server.on("data", print)  # type: ignore[call-overload]
    server.on("initialised", on_spark)  # type: ignore[call-overload]
    threaded.on("connection", on_spark)  # type: ignore[call-overload]

    @client.on("readyStateChange")
    def on_change(state: str) -> None:
        assert client.state != "ended"  # type: ignore[comparison-overlap]
