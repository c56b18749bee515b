"""Threads and the interpreter: its exit, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def python(source: str, *, interrupt_at: str | None = None) -> str:
    """Run a program; returns what it said. It has to end by itself, and with 0."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "bindings")])
    program = subprocess.Popen(  # not with -X dev: on a busy machine asyncio would report that callbacks are slow
        [sys.executable, "-W", "default", "-X", "faulthandler", "-c", textwrap.dedent(source)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with program:
        assert program.stdout is not None
        said = ""
        try:
            if interrupt_at is not None:
                while interrupt_at not in said:
                    said += program.stdout.readline()
                program.send_signal(signal.SIGINT)
            said += program.communicate(timeout=30)[0]
        finally:
            program.kill()
        assert program.returncode == 0, said
    return said


def test_an_interpreter_that_ends_waits_for_nobody() -> None:
    """Neither for a handler that is stuck nor for a client that was never left."""
    said = python("""
        import threading
        from primus_io.threads import connect, serve

        def stuck(spark):
            entered.set()
            threading.Event().wait()

        entered = threading.Event()
        server = serve(stuck).__enter__()
        primus = connect(server.url).__enter__()
        entered.wait()
        print("ended")
    """)
    assert said == "ended\n"


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: Windows sends no SIGINT to one process")
@pytest.mark.parametrize(
    "wait",
    [
        "primus.receive()",
        "server.serve_forever()",
        "server.close(timeout=60)",
        "connect(f'http://127.0.0.1:{silent.getsockname()[1]}').__enter__()",
    ],
)
def test_ctrl_c_ends_any_wait_and_all_is_closed(wait: str) -> None:
    said = python(
        f"""
        import socket, sys, threading, time
        from primus_io.threads import connect, serve

        def handler(spark):
            spark.write("hello")
            assert list(spark) == []
            print(spark.close_reason.kind)

        def say_when_it_waits(main=threading.main_thread().ident):
            while "acquire" not in sys._current_frames()[main].f_code.co_names:  # it waits for a lock
                time.sleep(0.01)
            time.sleep(0.1)
            print("ready", flush=True)

        silent = socket.create_server(("127.0.0.1", 0))
        try:
            with serve(handler) as server, connect(server.url) as primus:
                primus.receive()
                threading.Thread(target=say_when_it_waits, daemon=True).start()
                {wait}
        except KeyboardInterrupt:
            print("interrupted", dict(server.sparks), primus.state)
        silent.close()
        """,
        interrupt_at="ready",
    )
    assert said.startswith("ready\n")
    assert said.endswith("interrupted {} closed\n")
