"""What the command reads: lines of stdin, typed at a prompt if it is a terminal and prompt_toolkit is installed."""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import sys
import threading
from collections.abc import AsyncGenerator

from .output import Output, is_terminal


def is_interactive() -> bool:
    """Whether a person types the input and sees the output."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def read_lines(output: Output) -> AsyncGenerator[bytes, None]:
    """Read the lines of the input, without their ends."""
    with contextlib.suppress(ImportError):
        if is_interactive() and not output.json:
            from prompt_toolkit.utils import is_dumb_terminal

            if not is_dumb_terminal():
                return _prompted_lines(output)
    return _stdin_lines(output)


async def _prompted_lines(output: Output) -> AsyncGenerator[bytes, None]:
    """Read lines that are typed at a prompt, above which `output` prints from now on."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.patch_stdout import StdoutProxy

    session: PromptSession[str] = PromptSession("> ", enable_suspend=True)
    output.proxy = StdoutProxy(raw=True)
    while True:
        try:
            yield (await session.prompt_async(handle_sigint=False)).encode("utf-8", "replace")
        except EOFError:
            return
        except KeyboardInterrupt:  # Ctrl-C is a key here, not yet a signal
            signal.raise_signal(signal.SIGINT)
            await asyncio.get_running_loop().create_future()  # until the signal has ended this task


async def _stdin_lines(output: Output) -> AsyncGenerator[bytes, None]:
    """Read lines in a daemon thread, so that a read which never returns does not keep the process from ending.

    The thread reads a chunk only when the caller asks for one, so a slow connection slows down the program before it.
    """
    if sys.stdin is None:  # it was closed when we started
        return
    # Below Python's buffers, whose locks would keep the process from ending.
    raw = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    loop, wanted = asyncio.get_running_loop(), threading.Semaphore(0)
    chunks: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        data = b"more"
        while data:
            wanted.acquire()
            try:
                while (data := raw.read(65536)) is None:  # another process has made the pipe non-blocking
                    select.select([raw], [], [])
            except (OSError, ValueError) as error:
                output.note(f"cannot read the input: {error}")
                data = b""
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(chunks.put_nowait, data)

    threading.Thread(target=read, name="primus-input", daemon=True).start()
    wanted.release()
    begun = b""
    while data := await chunks.get():
        *complete, begun = (begun + data).split(b"\n")
        for line in complete:
            yield line
        wanted.release()
    if begun:
        yield begun
