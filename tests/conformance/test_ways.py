"""Ways to a server: by which names, past which proxies, over which sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.hosts import Host, scenario


@pytest.mark.parametrize(("trusted", "ip"), [(["unix"], "203.0.113.7"), (["0.0.0.0/0", "::/0"], "")])
@scenario(needs=["unix", "accepting"])
async def test_a_proxy_on_a_unix_socket_is_trusted_by_name(host: Host, tmp_path: Path, trusted: Any, ip: str) -> None:
    path = tmp_path / "primus.sock"
    seen: list[Any] = []
    async with host.serve(None, unix=path, trusted_proxies=trusted) as server:
        server.on("connection", lambda spark: seen.append(spark.address.ip))
        async with host.connect("http://localhost", unix=path, headers={"X-Forwarded-For": "203.0.113.7:50123"}):
            await host.until(lambda: seen)
    assert seen == [ip]
