"""The public names, and that each of them is documented."""

from __future__ import annotations

import importlib
import inspect
import types

import pytest

import primus_proto as pp

MODULES = ["errors", "config", "limits", "events", "commands", "http.model", "parsers", "session.states", "testing"]
CLASSES = [value for name in pp.__all__ if inspect.isclass(value := getattr(pp, name))]


def test_all_names_everything_public() -> None:
    """Besides submodules, which importing one another makes visible."""
    names = {name for name, value in vars(pp).items() if not name.startswith("_")}
    modules = {name for name in names if isinstance(getattr(pp, name), types.ModuleType)}
    assert names - (modules - {"commands", "events"}) == set(pp.__all__)
    assert isinstance(pp.__version__, str)
    assert repr(pp.NOTHING) == "NOTHING"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_public_classes_and_their_members_are_documented(kind: type) -> None:
    assert kind.__doc__
    for name, member in vars(kind).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            assert inspect.getdoc(member), f"{kind.__name__}.{name}"


@pytest.mark.parametrize("name", MODULES)
def test_public_modules_are_documented(name: str) -> None:
    module = importlib.import_module(f"primus_proto.{name}")
    for promised in module.__all__:
        member = getattr(module, promised)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), f"{name}.{promised}"
