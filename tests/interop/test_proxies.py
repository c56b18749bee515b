"""The proxy configurations of the documentation, run: sessions that poll stay with their process among two."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from primus_io.asyncio import connect
from tests.conformance.peers import unused_port
from tests.interop.conftest import needed
from tests.interop.peers import ROOT, Peers, interop
from tests.interop.test_transports import WAYS

PAGE = (ROOT / "docs/how-to/transports.md").read_text(encoding="utf-8")
CLIENTS, MOST = 6, 60
COUNT = 30


def blocks(tag: str) -> list[str]:
    """The page's blocks of a kind."""
    return re.findall(rf"```{tag}\n(.*?)```", PAGE, re.DOTALL)


def configuration(proxy: str, transformer: str, port: int, servers: list[int]) -> str:
    """The proxy's configuration on the page, with other ports."""
    tag, listen = ("nginx", "listen 80;") if proxy == "nginx" else ("text", "bind :80")
    text, by_path = blocks(tag)
    if transformer == "sockjs" and proxy == "nginx":
        assert text.count("hash $remote_addr consistent;") == 1
        text = by_path + text.replace("hash $remote_addr consistent;", "hash $session consistent;")
    elif transformer == "sockjs":
        text, count = re.subn(
            r"    balance .*\n    stick-table .*\n    stick match .*\n    stick store.*\n", by_path, text
        )
        assert count == 1
    assert text.count(listen) == 1
    text = text.replace(listen, listen.replace("80", str(port)))
    for place, server in zip(("8081", "8082"), servers, strict=True):
        assert text.count(f"127.0.0.1:{place}") == 1
        text = text.replace(f"127.0.0.1:{place}", f"127.0.0.1:{server}")
    return text


@contextlib.asynccontextmanager
async def running(proxy: str, transformer: str, servers: list[int], folder: Path) -> AsyncIterator[int]:
    """The proxy in front of the servers; gives its port."""
    port = unused_port()
    file = folder / "proxy.conf"
    text = configuration(proxy, transformer, port, servers)
    if proxy == "nginx":
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {text} }}"
        command = ["nginx", "-p", str(folder), "-c", str(file)]
    else:
        command = ["haproxy", "-f", str(file)]
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(10):
            while True:
                assert process.returncode is None, f"{proxy} does not start"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(
    "way", ["engine.io polling", "engine.io upgrade", "sockjs xhr-polling", "sockjs xhr-streaming", "sockjs websocket"]
)
@pytest.mark.parametrize("package", ["nginx", "haproxy"])
@interop(timeout=60)
async def test_two_processes_behind_a_proxy(peers: Peers, tmp_path: Path, package: str, way: str) -> None:
    proxy, how = package, WAYS[way]
    needed(proxy)
    servers = [await peers.own_server(serve={"transformer": how.transformer}) for _ in range(2)]

    async def talk(url: str, number: int) -> None:
        address = (f"127.0.0.{number + 2}", 0)
        options: dict[str, Any] = {"transformer": how.transformer, "transport": how.client}
        async with connect(url, local_addr=address, strategy=False, **options) as primus:
            for count in range(COUNT):
                assert await primus.send([number, count])
                await asyncio.sleep(0.01)

    async with running(proxy, how.transformer, [server.port for server in servers], tmp_path) as port:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(talk(url, number))
        clients = CLIENTS
        while clients < MOST and not all(server.all("connection") for server in servers):
            await talk(url, clients)  # the hashes of those before all led to the same process
            clients += 1
        theirs = await peers.client(url, library={"transformer": how.transformer}, primus=how.theirs)
        await theirs.wait("open")
        theirs.send("write-many", count=COUNT, tag="theirs")
        id = (await theirs.ask("id"))["id"]
        log = servers[0] if servers[0].all("connection", id=id) else servers[1]
        await log.wait("data", value={"theirs": COUNT - 1})
    values = [value for server in servers for value in server.values() if isinstance(value, list)]
    assert sorted(values) == [[number, count] for number in range(clients) for count in range(COUNT)]
    assert all(server.all("connection") for server in servers), "both take part"
