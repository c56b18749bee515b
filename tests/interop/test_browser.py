"""A real browser with the original's client library, and a server of ours that sends it the page and the library."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from primus_io.asyncio import connect
from tests.examples.programs import program
from tests.interop.browser import open_page
from tests.interop.peers import WAIT

HERE = Path(__file__).parent
MAKE_LIBRARY = "new (require('happn-primus'))(require('http').createServer()).save(process.argv[1])"


def test_a_browser_chats_with_a_python_client(tmp_path: Path) -> None:
    library = tmp_path / "primus.js"
    subprocess.run(["node", "-e", MAKE_LIBRARY, str(library)], cwd=HERE, check=True, timeout=WAIT)

    async def main() -> None:
        async with program("browser_chat.py", "--library", str(library)) as server:
            url = await server.url()
            async with connect(f"{url.removesuffix('/primus/chat')}/?name=ben") as ben:
                assert await ben.receive() == {"text": "ben is here"}
                async with open_page(f"{url}#ann") as page:
                    assert await ben.receive() == {"text": "ann is here"}
                    ben.write("hello")
                    await page.until("[...document.querySelectorAll('li')].some(li => li.textContent == 'ben: hello')")
                    await page.run("primus.write('hello from a browser')")
                    assert await ben.receive() == {"from": "ben", "text": "hello"}
                    assert await ben.receive() == {"from": "ann", "text": "hello from a browser"}
                assert await ben.receive() == {"text": "ann has left"}

    asyncio.run(main())
