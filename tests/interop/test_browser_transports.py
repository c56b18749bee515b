"""The real client libraries in a real browser, headless Chromium, at our server: every way that they have."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from primus_io.asgi import Primus
from tests.interop.browser import open_page
from tests.interop.peers import HERE, Peers, interop

VALUES: list[Any] = [*range(200), "é 😀 \u2028 \n \\n </script>", "x" * 100_000, {"a": [None, {}]}]


class Way(NamedTuple):
    """How a client comes to a way, and what shows that it did."""

    options: dict[str, Any]
    """Those of the client."""
    carrier: str
    """What the client calls it."""
    request: str
    """A part of the URL of the session's first request."""
    packages: tuple[str, ...]

    @property
    def transformer(self) -> str:
        return "sockjs" if self.request.startswith("/") else "engine.io"


def sockjs(name: str, path: str) -> Way:
    options = {"transport": {"transports": [name], "timeout": 5000}}
    return Way(options, name, f"/{path}?", ("happn", "primus8"))


ENGINE_IO = ("happn", "primus6", "primus8")
NO_WEBSOCKETS = {"websockets": False}
WAYS = {
    "engine.io upgrade": Way({}, "websocket", "EIO=", ENGINE_IO),
    "engine.io polling": Way(NO_WEBSOCKETS, "polling", "EIO=", ENGINE_IO),
    # engine.io-client 6 has no JSONP.
    "engine.io jsonp": Way({**NO_WEBSOCKETS, "transport": {"forceJSONP": True}}, "polling", "&j=", ENGINE_IO[:2]),
    "sockjs websocket": sockjs("websocket", "websocket"),
    "sockjs xhr-streaming": sockjs("xhr-streaming", "xhr_streaming"),
    "sockjs xhr-polling": sockjs("xhr-polling", "xhr"),
    "sockjs eventsource": sockjs("eventsource", "eventsource"),
    "sockjs htmlfile": sockjs("htmlfile", "htmlfile"),
    "sockjs jsonp-polling": sockjs("jsonp-polling", "jsonp"),
    # From a page of another origin: in an iframe, with the page that our server has for that.
    "sockjs iframe-eventsource": sockjs("iframe-eventsource", "eventsource"),
}
CASES = [(way, package) for way in WAYS for package in WAYS[way].packages]

LIBRARY = """
const Primus = require(process.argv[1]);
const primus = new Primus(require('http').createServer(), { transformer: process.argv[2] });
process.stdout.write(primus.library(), () => process.exit());
"""
PAGE = """<!doctype html><meta charset="utf-8"><script src="/library.js"></script><script>
const { values, options, carrier, host } = GIVEN, got = [], errors = [];
const primus = new Primus(`http://${host}:${location.port}`, options);
const report = () => fetch('/report', { method: 'POST', body: JSON.stringify({ got, errors }) });
primus.on('open', () => values.forEach((value) => primus.write(value)));
primus.on('error', (error) => errors.push(String(error)));
primus.on('data', (value) => {
  got.push(value);
  if (got.length === values.length) {
    const timer = setInterval(() => {
      const { transport } = primus.socket;
      if ((transport.name || transport) !== carrier) return;
      clearInterval(timer);
      primus.write('carried');
    }, 20);
  } else if (value === 'carried') primus.end();
});
primus.on('end', report);
</script>"""


class Site:
    """An application with the page, its library, and the place to report to. Primus is around it."""

    def __init__(self, page: str, scripts: dict[str, bytes]) -> None:
        self.pages = {"/": ("text/html", page.encode())}
        self.pages |= {path: ("text/javascript", script) for path, script in scripts.items()}
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


async def library(folder: Path, transformer: str) -> bytes:
    """The client library that the real package makes."""
    package = folder / "node_modules" / ("happn-primus" if folder == HERE else "primus")
    process = await asyncio.create_subprocess_exec(
        "node", "-e", LIBRARY, str(package), transformer, stdout=asyncio.subprocess.PIPE, cwd=folder
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


@pytest.mark.parametrize(("way", "package"), CASES)
@interop(timeout=60)
async def test_a_browser(peers: Peers, way: str, package: str) -> None:
    how, folder = WAYS[way], HERE if package == "happn" else HERE / package
    seen: list[str] = []

    async def echo(spark: Any) -> None:
        async for value in spark:
            await spark.send(value)

    host = "localhost" if "iframe" in way else "127.0.0.1"
    given = {"values": VALUES, "options": how.options, "carrier": how.carrier, "host": host}
    scripts = {"/library.js": await library(folder, how.transformer)}
    if how.transformer == "sockjs":
        # The page for iframes has to load the same version of SockJS, which is part of the library.
        transport: dict[str, Any] = {"client_url": "/library.js"}
    else:
        transport = {"encode_twice": package == "happn"}
    site = Site(PAGE.replace("GIVEN", json.dumps(given).replace("</", "<\\/")), scripts)
    app = Primus(echo, app=site, transformer=how.transformer, transport=transport)
    app.on("connection", lambda spark: seen.append(spark.request.target))
    async with served(app) as url, open_page(url):
        reported = await site.reported
        await app.close()
    assert reported["got"] == [*VALUES, "carried"]
    if how.transformer == "engine.io":  # a client of SockJS that has to wait begins anew
        assert reported["errors"] == []
        assert len(seen) == 1
    assert how.request in seen[-1]
    assert ("&j=" in seen[-1]) is (way == "engine.io jsonp")
