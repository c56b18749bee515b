"""The fuzzing targets on their corpus and on what fuzzing has found, without atheris."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.targets import TARGETS

FUZZ = Path(__file__).parents[2] / "fuzz"
CASES = [
    pytest.param(name, file, id=f"{name}-{file.name}")
    for name in TARGETS
    for folder in ("corpus", "regressions")
    for file in sorted((FUZZ / folder / name).glob("*"))
]


@pytest.mark.parametrize(("name", "file"), CASES)
def test_the_corpus(name: str, file: Path) -> None:
    TARGETS[name](file.read_bytes())


def test_every_target_has_a_corpus() -> None:
    assert {case.values[0] for case in CASES} == TARGETS.keys()
