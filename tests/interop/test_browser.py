"""A real browser with the original's client library: a server of ours sends it to the browser, and compresses."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from primus_io.asyncio import Compression, Spark, connect, serve
from primus_proto.wire.deflate import CompressedWebSocket
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


COMPRESSIONS: list[bool | Compression] = [
    True,
    Compression(threshold=0, context_takeover=True),
    Compression(threshold=0, window_bits=9),
    Compression(threshold=0, window_bits=10, context_takeover=True),
]
VALUES = ["é \u2028", {"a": [None, {}]}, ["the same again"] * 500, ["the same again"] * 500, "x" * 300_000]
TALK = """new Promise((done) => {
  const got = [], values = VALUES, primus = new Primus('URL');
  primus.on('open', () => values.forEach((value) => primus.write(value)));
  primus.on('error', (error) => done(String(error)));
  primus.on('data', (value) => { if (got.push(value) === values.length) { primus.end(); done(got); } });
})"""


def test_a_browser_compresses_with_a_python_server(tmp_path: Path) -> None:
    library = tmp_path / "primus.js"
    subprocess.run(["node", "-e", MAKE_LIBRARY, str(library)], cwd=HERE, check=True, timeout=WAIT)
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><meta charset="utf-8"><script src="primus.js"></script>')

    async def main() -> None:
        async with open_page(page.as_uri()) as browser:  # its origin is null
            for compression in COMPRESSIONS:
                carriers: list[object] = []

                async def echo(spark: Spark) -> None:
                    carriers.append(spark._core.pipe.carrier)  # type: ignore[attr-defined]  # noqa: B023
                    async for value in spark:
                        await spark.send(value)

                async with serve(echo, compression=compression) as server:
                    talk = TALK.replace("VALUES", json.dumps(VALUES)).replace("URL", server.url)
                    assert await browser.run(talk) == VALUES
                assert [type(carrier) for carrier in carriers] == [CompressedWebSocket]

    asyncio.run(main())
