"""The recipes of CONTRIBUTING.md: a step that was forgotten is a failure that names the file."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from pathlib import Path

import pytest

from primus_proto import Server
from primus_proto.parsers import BUILT_IN
from primus_proto.plugins.registry import OWN
from primus_proto.transports.registry import TRANSPORTS
from tests.conformance.hosts_transports import WAYS

ROOT = Path(__file__).resolve().parent.parent
SAME_WIRE = {"faye", "lws"}  # other names of `websockets`
WIRES = TRANSPORTS.keys() - SAME_WIRE


def modules(folder: str, *without: str) -> set[str]:
    """The public modules of a folder, but for those that are not what it is a folder of."""
    found = {path.name.removesuffix(".py") for path in (ROOT / folder).iterdir() if path.suffix in ("", ".py")}
    return {name for name in found if not name.startswith("_")} - set(without)


LAYERS = Server(rng=random.Random(1)).layers
BINDINGS = modules("bindings/primus_io", "cli", "testing", "py.typed")
NAMED: list[tuple[str, Collection[str]]] = [
    ("docs/how-to/parsers.md", BUILT_IN),
    ("tests/unit/parsers/test_registry.py", BUILT_IN),
    ("tests/interop/test_codecs.py", BUILT_IN),
    ("tests/interop/test_parsers.py", BUILT_IN),
    ("docs/how-to/transports.md", WIRES),
    ("docs/reference/protocol.md", WIRES),
    ("docs/how-to/layers.md", LAYERS),
    ("docs/explanation/architecture.md", LAYERS),
    ("docs/how-to/plugins.md", OWN),
    ("tests/interop/test_plugins.py", OWN),
    ("docs/reference/primus_io.md", {f"primus_io.{name}" for name in BINDINGS}),
    ("docs/how-to/threads-and-loops.md", BINDINGS),
    ("tests/test_reference.py", BINDINGS),
    ("tests/unit/bindings/test_public.py", BINDINGS),
]


@pytest.mark.parametrize(("file", "names"), NAMED, ids=[file for file, _ in NAMED])
def test_each_is_named_where_its_recipe_says(file: str, names: Collection[str]) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    missing = [name for name in sorted(names) if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
    assert not missing, f"{file} must have {', '.join(missing)}"


def test_each_is_registered() -> None:
    parsers = modules("primus_proto/parsers", "base", "bounds", "registry", "values")
    assert parsers == set(BUILT_IN), "primus_proto/parsers/registry.py must have each parser"
    plugins = modules("primus_proto/plugins", "base", "registry")
    assert plugins == OWN.keys(), "primus_proto/plugins/__init__.py must have each plugin in OWN"
    transports = modules("primus_proto/transports", "base", "pipe", "polling", "registry")
    registered = {name.replace(".", "") for name in WIRES}
    assert transports == registered, "primus_proto/transports/registry.py must have each transport"
    tried = {transformer for transformer, _ in WAYS.values()} | {"websockets"}
    assert tried == WIRES, "tests/conformance/hosts_transports.py must try each transport"
