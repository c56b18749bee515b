"""Our machines against the recordings of the real happn-primus in tests/golden, in virtual time.

The same script, and line by line the same events with the same state and details, but for the deviations that
tests/golden/deviations.py names. ``python -m tests.golden.record`` makes the recordings.
"""

from __future__ import annotations

import json

import pytest

from tests.golden.deviations import DECIDED, DEVIATIONS, expected
from tests.golden.lines import Recording, load, recorded
from tests.golden.replay import Replay
from tests.golden.situations import situations

SITUATIONS = situations()
SIDES = sorted(f"{situation.name}.{side}" for situation in SITUATIONS.values() for side in situation.sides)


def text(lines: list[dict[str, object]]) -> list[str]:
    """A line for each, so that a failure shows the difference and nothing else."""
    return [json.dumps(line, sort_keys=True) for line in lines]


@pytest.mark.parametrize("name", SIDES)
def test_ours_does_what_the_original_did(name: str) -> None:
    recording = load(name)
    ours = Replay(recording).run()
    wanted = expected(recording)
    assert ours == wanted, f"{text(ours)} != {text(wanted)}"


@pytest.mark.parametrize("name", SIDES)
def test_the_recording_is_of_the_script_that_is_there(name: str) -> None:
    recording = load(name)
    situation = SITUATIONS[recording.header["situation"]]
    options = recording.header["options"]
    assert recording.steps == [*situation.steps, {"do": "leave", "by": "script"}], "record it again"
    for key in ("client", "server", "address", "mute", "authorization", "network"):
        assert options.get(key, None) == (getattr(situation, key) or None), f"{key}: record it again"
    assert recording.header["about"] == situation.about
    assert recording.name == name


def test_there_is_a_recording_of_each_situation_and_no_other() -> None:
    assert recorded() == SIDES


def test_every_deviation_has_a_recording_that_shows_it() -> None:
    assert set(DEVIATIONS) <= set(SIDES)
    shown = {deviation.__name__ for deviations in DEVIATIONS.values() for deviation in deviations}
    assert shown == set(DECIDED)


@pytest.mark.parametrize("name", sorted(DECIDED))
def test_a_deviation_that_changes_nothing_is_an_error(name: str) -> None:
    """It must not be listed where it does not belong, or it could hide what it is not about."""
    deviation = DECIDED[name]
    recording = load("end.client")
    header = recording.header | {"options": {"client": {"queueSize": 3}}}
    assert deviation(Recording(header, recording.lines)) == recording.lines
    assert deviation.__doc__
