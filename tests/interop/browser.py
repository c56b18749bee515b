"""A headless Chromium, driven over its own debugging protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.interop.conftest import needed
from tests.interop.peers import WAIT

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-port=0",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Page:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._ids = itertools.count(1)

    async def call(self, method: str, **params: Any) -> Any:
        id = next(self._ids)
        message = {"id": id, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": self._session} if self._session else {}))
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == id:
                assert "error" not in answer, answer
                return answer["result"]

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait for a JavaScript condition."""
        await self.run(
            "new Promise(done => { const check = () => {"
            f" if ({condition}) done(true); else setTimeout(check, 20) }}; check() }})"
        )


@contextlib.asynccontextmanager
async def open_page(url: str) -> AsyncIterator[Page]:
    """Open a page in a browser of its own, for at most a deadline."""
    program = needed("chromium", "chromium-browser", "google-chrome")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={profile}", stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(3 * WAIT), aiohttp.ClientSession() as http:
                assert process.stderr is not None
                while not (found := re.search(r"ws://\S+", (await process.stderr.readline()).decode())):
                    pass
                async with http.ws_connect(found[0], max_msg_size=0) as socket:
                    browser = Page(socket, "")
                    target = await browser.call("Target.createTarget", url="about:blank")
                    attached = await browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
                    page = Page(socket, attached["sessionId"])
                    page._ids = browser._ids
                    await page.call("Page.enable")
                    await page.call("Page.navigate", url=url)
                    await page.until("document.readyState === 'complete'")
                    yield page
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
