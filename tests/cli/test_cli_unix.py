"""`--unix PATH`: serve, connect and spec over a Unix socket, and the errors."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import Command, run

if sys.platform == "win32":
    pytest.skip("asyncio has no Unix sockets there", allow_module_level=True)


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may be: a path that is short enough, which pytest's own may not be."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "primus"


@contextmanager
def serving(path: Path) -> Iterator[Command]:
    with Command("serve", "--json", "--unix", str(path)) as server:
        assert server.wait("listening") == {"event": "listening", "url": "http://localhost", "unix": str(path)}
        yield server


def test_a_session_and_a_spec(path: Path) -> None:
    with serving(path) as server:
        client = run("connect", "http://elsewhere", "--unix", str(path), "--json", stdin="[1]")
        assert client.process.returncode == 0
        assert (server.wait("connection")["ip"], server.wait("data")["data"]) == ("", [1])
        spec = run("spec", "http://elsewhere", "--unix", str(path), "--json")
        assert spec.wait("spec")["spec"]["pathname"] == "/primus"
        server.signal(signal.SIGTERM)
        assert server.status() == 0
    assert not path.exists()
    assert (server.stderr, client.stderr, spec.stderr) == ("", "", "")


def test_no_server(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))  # and is killed
    failed = run("spec", "http://localhost", "--unix", str(path))
    assert failed.process.returncode == 1
    assert failed.stderr.startswith(f"primus spec: cannot connect to {path}: ")
    assert failed.stderr.endswith(". Is the server running, and is the path of --unix right?")
    with serving(path):  # a server takes such a place
        assert run("connect", "http://localhost", "--unix", str(path)).process.returncode == 0


def test_where_it_cannot_listen(path: Path) -> None:
    def why(where: object) -> str:
        failed = run("serve", "--unix", str(where))
        assert (failed.process.returncode, failed.lines) == (1, [])
        return failed.stderr.removeprefix(f"primus serve: cannot listen on {where}: ")

    with serving(path):
        assert why(path) == "Address already in use; choose another --unix"
    assert why(path.parent / "nothing" / "there") == "No such file or directory; choose another --unix"
