"""The real client libraries in a real browser, headless Chromium, at our server: Engine.IO in each way they have."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from primus_io.asgi import Primus
from tests.interop.browser import open_page
from tests.interop.peers import HERE, Peers, interop

VALUES: list[Any] = [*range(200), "é 😀 \u2028 \n \\n </script>", "x" * 100_000, {"a": [None, {}]}]
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "upgrade": ({}, "websocket"),
    "polling": ({"websockets": False}, "polling"),
    "jsonp": ({"websockets": False, "transport": {"forceJSONP": True}}, "polling"),
}
# engine.io-client 6 has no JSONP.
CASES = [
    (package, way) for package in (None, "primus6", "primus8") for way in WAYS if (package, way) != ("primus8", "jsonp")
]

LIBRARY = """
const Primus = require(process.argv[1]);
const primus = new Primus(require('http').createServer(), { transformer: 'engine.io' });
process.stdout.write(primus.library(), () => process.exit());
"""
PAGE = """<!doctype html><meta charset="utf-8"><script src="/library.js"></script><script>
const { values, options, carrier } = GIVEN, got = [], errors = [];
const primus = new Primus(location.origin, options);
const report = () => fetch('/report', { method: 'POST', body: JSON.stringify({ got, errors }) });
primus.on('open', () => values.forEach((value) => primus.write(value)));
primus.on('error', (error) => errors.push(String(error)));
primus.on('data', (value) => {
  got.push(value);
  if (got.length === values.length) {
    const timer = setInterval(() => {
      if (primus.socket.transport.name !== carrier) return;
      clearInterval(timer);
      primus.write('carried');
    }, 20);
  } else if (value === 'carried') primus.end();
});
primus.on('end', report);
</script>"""


class Site:
    """An application with the page, its library, and the place to report to. Primus is around it."""

    def __init__(self, page: str, library: bytes) -> None:
        self.pages = {"/": ("text/html", page.encode()), "/library.js": ("text/javascript", library)}
        self.reported: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/report":
            self.reported.set_result(json.loads(body))
        kind, content = self.pages.get(scope["path"], ("text/plain", b""))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": content})


async def library(package: str | None) -> bytes:
    """The client library that the real package makes."""
    folder = HERE / (package or "") / "node_modules" / ("primus" if package else "happn-primus")
    process = await asyncio.create_subprocess_exec(
        "node", "-e", LIBRARY, str(folder), stdout=asyncio.subprocess.PIPE, cwd=HERE / (package or "")
    )
    text, _ = await process.communicate()
    assert len(text) > 10_000
    return text


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application under uvicorn; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize(("package", "way"), CASES)
@interop(timeout=60)
async def test_a_browser(peers: Peers, package: str | None, way: str) -> None:
    options, carrier = WAYS[way]
    seen: list[str] = []

    async def echo(spark: Any) -> None:
        async for value in spark:
            await spark.send(value)

    given = json.dumps({"values": VALUES, "options": options, "carrier": carrier}).replace("</", "<\\/")
    site = Site(PAGE.replace("GIVEN", given), await library(package))
    app = Primus(echo, app=site, transformer="engine.io", transport={"encode_twice": package is None})
    app.on("connection", lambda spark: seen.append(spark.request.target))
    async with served(app) as url, open_page(url):
        reported = await site.reported
        await app.close()
    assert reported == {"got": [*VALUES, "carried"], "errors": []}
    assert len(seen) == 1
    assert ("&j=" in seen[0]) is (way == "jsonp")
