"""The system under the threads: addresses, Unix sockets, descriptors, signals, forks, and the interpreter's end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from primus_io.threads import connect, fetch_spec, serve
from primus_proto import ConnectError
from tests.conformance.blocking import DEADLINE, echo, nothing_left, until
from tests.conformance.hosts import SOON
from tests.conformance.peers import RawPeer, frame

__all__ = ["nothing_left"]


def test_a_name_for_several_addresses_is_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo
    with serve(echo) as server, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))

        def several(host: str, *args: Any, **kwargs: Any) -> Any:
            if host != "several.test":
                return found(host, *args, **kwargs)
            if kwargs["flags"]:
                raise socket.gaierror
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, deaf.getsockname())] * 2 + [(*kind, ("127.0.0.1", server.port))] * live

        monkeypatch.setattr(socket, "getaddrinfo", several)
        live = 1
        assert fetch_spec(f"http://several.test:{server.port}")["pathname"] == "/primus"
        live = 0
        with pytest.raises(ConnectError, match=r"cannot connect to several\.test:\d+: Connection refused$"):
            fetch_spec(f"http://several.test:{server.port}")


def test_an_attempt_that_is_left_while_the_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found, gate, looked = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(host: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs["flags"]:
            raise socket.gaierror
        looked.set()
        assert gate.wait(DEADLINE)
        return found("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started = time.monotonic()
    with connect("http://slow.test", wait=False, strategy=False):
        assert looked.wait(DEADLINE)
    assert time.monotonic() - started < SOON
    gate.set()


def test_no_descriptors_left_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    resource = pytest.importorskip("resource", reason="not applicable: this system limits no descriptors")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serve(echo) as server, RawPeer(server.port) as peer:
        with contextlib.ExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))), hard))
            with contextlib.suppress(OSError):
                while True:
                    stack.enter_context(open(os.devnull))
            peer.connect()
            until(lambda: "cannot accept connections for now" in caplog.text)
        peer.request()
        assert peer.head().startswith(b"HTTP/1.1 101")
        peer.send(frame(b"1"))
        assert peer.frame() == (1, b"1")


def test_what_fails_in_the_io_thread_costs_one_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the core ever raise: that is logged, that connection is cut, and all others do not notice."""
    with serve(echo) as server, connect(server.url) as good:
        receive = server._endpoint.receive_data

        def fail(channel: int, data: memoryview, *, now: float) -> None:
            if b"BAD" in bytes(data):
                raise ZeroDivisionError
            receive(channel, data, now=now)

        monkeypatch.setattr(server._endpoint, "receive_data", fail)
        with RawPeer(server.port) as peer:
            peer.open()
            peer.send(b"BAD")
            assert peer.rest() == b""
        until(lambda: len(server.sparks) == 1)
        good.write("fine")
        assert good.receive(DEADLINE) == "fine"
    assert "ZeroDivisionError" in caplog.text


def python(source: str, *, interrupt_at: str | None = None) -> str:
    """Run a program; returns what it said. It has to end by itself, and with 0."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "bindings")])
    program = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(source)],
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
def test_ctrl_c() -> None:
    said = python(
        """
        import time
        from primus_io.threads import connect, serve

        def handler(spark):
            spark.write("hello")
            while not server._waiters:
                time.sleep(0.001)
            print("ready", flush=True)
            assert list(spark) == []
            print(spark.close_reason.kind)

        try:
            with serve(handler) as server, connect(server.url) as primus:
                primus.receive()
                server.serve_forever()
        except KeyboardInterrupt:
            print("interrupted", server.sparks == {}, primus.state)
        """,
        interrupt_at="ready",
    )
    assert said == "ready\nclient\ninterrupted True closed\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: this system has no fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    said = python("""
        import os, warnings
        from primus_io.threads import connect, serve

        warnings.simplefilter("ignore", DeprecationWarning)  # that the parent has threads is the point

        def echo(spark):
            for value in spark:
                spark.write(value)

        with serve(echo) as server:
            child = os.fork()
            if child == 0:
                with connect(server.url) as primus:
                    primus.write("from the child")
                    print(primus.receive(10), flush=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        print("parent", flush=True)
    """)
    assert said == "from the child\nparent\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: this system has no fork")
def test_a_forked_child_leaves_what_is_the_parents_alone() -> None:
    """Even by an exception through the blocks: its sockets are the parent's, and nobody must hear a goodbye."""
    said = python("""
        import os, sys, warnings
        from primus_io.threads import connect, serve
        from primus_proto import LocalProtocolError

        warnings.simplefilter("ignore", DeprecationWarning)  # that the parent has threads is the point

        def echo(spark):
            for value in spark:
                spark.write(value)

        with serve(echo) as server, connect(server.url) as primus:
            child = os.fork()
            if child == 0:
                try:
                    primus.write("from the child")
                except LocalProtocolError as error:
                    print(error, flush=True)
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            primus.write("from the parent")
            print(primus.receive(10), primus.close_reason, len(server.sparks), flush=True)
    """)
    refused, heard = said.splitlines()
    assert refused.endswith("only that can use it: enter a new `serve` or `connect` here")
    assert heard == "from the parent None 1"


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: Windows has no SIGALRM")
@pytest.mark.parametrize("signal", ["SIGINT", "SIGALRM"])
@pytest.mark.parametrize("verb", ["write(None)", "send(None)", "id(10)"])
def test_a_signal_at_any_line_of_a_call_leaves_everything_whole(verb: str, signal: str) -> None:
    """What its handler raises comes out, and the call was made or was not: no lock is kept, no message is cut."""
    said = python(f"""
        import signal, sys, threading
        from primus_io.threads import connect, serve

        class Interrupted(Exception):
            pass

        def interrupt(number, frame):
            raise Interrupted

        def interrupting_at(due):
            def trace(frame, event, argument):
                nonlocal due
                if event == "line" and "primus_" in frame.f_code.co_filename:
                    due -= 1
                    if due == 0:
                        signal.raise_signal(signal.{signal})
                return trace
            return trace

        def look(primus):
            seen.append(primus.id(10))

        def drain(spark):
            for value in spark:
                pass

        signal.signal(signal.{signal}, interrupt)
        with serve(drain) as server, connect(server.url) as primus:
            lines, interrupted, seen = 0, True, []
            while interrupted:
                lines += 1
                sys.settrace(interrupting_at(lines))
                try:
                    primus.{verb}
                    interrupted = False
                except Interrupted:
                    pass
                finally:
                    sys.settrace(None)
                assert signal.getsignal(signal.{signal}) is interrupt, lines
                looking = threading.Thread(target=look, args=(primus,), daemon=True)
                looking.start()
                looking.join(20)
                assert len(seen) == lines, f"locked for ever at line {{lines}}"
            assert primus.close_reason is None
            print("interrupted at", lines - 1)
    """)
    assert int(said.split()[-1]) > 30, said
