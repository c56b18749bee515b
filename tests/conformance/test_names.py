"""Names of transports that are the same on the wire."""

from __future__ import annotations

import pytest

from tests.conformance.hosts import Host, scenario
from tests.conformance.users import echo, take


@pytest.mark.parametrize("name", ["faye", "LWS", "WebSockets"])
@scenario()
async def test_other_names_of_websockets(host: Host, name: str) -> None:
    async with host.serve(echo, transformer=name) as server:
        assert (await host.fetch_spec(server.url))["transformer"] == name.lower()
        async with host.connect(server.url) as primus:
            primus.write(name)
            assert await take(primus, 1) == [name]
