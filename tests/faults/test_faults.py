"""The faults that only a process of its own can have, small. `make faults` runs all of them at full size."""

from __future__ import annotations

import pytest

from tests.faults.run import no_descriptors, stopped_in_a_flood


@pytest.mark.parametrize("binding", ["asyncio", "trio"])
def test_without_descriptors_a_server_lives_and_logs_little(binding: str) -> None:
    no_descriptors(binding, 0.1)


def test_a_server_that_stops_does_not_wait_for_a_flood() -> None:
    stopped_in_a_flood("asyncio", 0.1)
