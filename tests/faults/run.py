"""Faults on real sockets, against each binding in a process of its own: `make faults`.

    python -m tests.faults.run [--bindings asyncio,trio] [--faults churn,resets] [--small]

Prints what each measured, and ends with 1 if one failed.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tests.conformance.peers import RawPeer, frame, handshake
from tests.faults.processes import DEADLINE, Server, Subject, echo, eventually
from tests.faults.subject import BINDINGS

FAULTS: dict[str, Callable[[str, float], str]] = {}


def fault(function: Callable[[str, float], str]) -> Callable[[str, float], str]:
    """Register a fault by the name of its function. It takes a binding and a scale, and returns what it measured."""
    FAULTS[function.__name__] = function
    return function


@fault
def killed_server(binding: str, scale: float) -> str:
    """kill -9 of the server: our client comes back to the next one, without being told."""
    if binding == "asgi":
        return "a server only"
    with Server("asyncio") as first, Subject(binding, "connect", str(first.port)) as client:
        client.until("data hello")
        first.end()
        client.until("close")
        lost = client.cpu
        time.sleep(1)
        spent = client.cpu - lost
        relay = socket.create_server(("127.0.0.1", first.port), reuse_port=False)
        with relay, Server("asyncio") as second, Relay(relay, second.port):
            took = eventually(lambda: client.line() == "data hello", "an echo from the next server")
    assert spent < 0.5, f"{spent} s of CPU a second while there is no server"
    return f"back in {took:.2f} s; {spent * 100:.0f} % CPU while offline"


class Relay:
    """Passes the connections of a listener on to another port, as a proxy does."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._port = port
        self._others: dict[socket.socket, socket.socket] = {}
        self._forgotten: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry)

    def cut(self) -> None:
        """Close what is open, at both ends."""
        for each in list(self._others):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Carry nothing more over what is open, and tell neither end."""
        self._forgotten += self._others
        self._others = {}

    def _carry(self) -> None:
        while not self._over.is_set():
            others = self._others
            for each in select.select([self._listener, *others], [], [], 0.05)[0]:
                if each is self._listener:
                    near, far = each.accept()[0], socket.create_connection(("127.0.0.1", self._port))
                    others.update({near: far, far: near})
                elif each in others:
                    with contextlib.suppress(OSError):
                        if data := each.recv(65536):
                            others[each].sendall(data)
                            continue
                    for end in (each, others.pop(each)):
                        others.pop(end, None)
                        end.close()
        for each in (*self._others, *self._forgotten):
            each.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@fault
def cut_by_a_proxy(binding: str, scale: float) -> str:
    """A proxy drops a connection, and then one without a word to either end: the client comes back, the spark ends."""
    client_binding = "asyncio" if binding == "asgi" else binding
    with socket.create_server(("127.0.0.1", 0)) as listener, Server(binding) as server:
        server.peer().close()
        port = str(listener.getsockname()[1])
        with Relay(listener, server.port) as relay, Subject(client_binding, "connect", port) as client:
            client.until("data hello")
            took = []
            for lose in (relay.cut, relay.forget):
                began = time.monotonic()
                lose()
                client.until("close")
                client.until("data hello")
                took.append(time.monotonic() - began)
            gone = eventually(lambda: server.sparks() == 1, "one spark")
    return f"back in {took[0]:.2f} s and {took[1]:.2f} s; the spark ended {gone:.2f} s later"


@fault
def killed_clients(binding: str, scale: float) -> str:
    """kill -9 of clients, all at once: the server has forgotten them at once."""
    with Server(binding) as server:
        server.peer().close()
        before = server.descriptors
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Subject("asyncio", "connect", str(server.port))) for _ in range(3)]
            for client in clients:
                client.until("data hello")
            assert server.sparks() == 3
            for client in clients:
                client.end()
            took = eventually(lambda: server.sparks() == 0, "no sparks")
        server.settles(0, before + 2)
        return f"forgotten after {took:.2f} s"


@fault
def resets(binding: str, scale: float) -> str:
    """RST at every stage of a connection: nothing is left, nothing is logged."""
    with Server(binding) as server, contextlib.closing(server.peer()) as witness:
        echo(witness, 1)
        before, log = server.descriptors, server.log
        many = int(200 * scale)
        for number in range(many):
            peer = RawPeer(server.port).connect()
            stage = number % 8
            if stage:
                peer.send(handshake()[: 40 if stage == 1 else None])
            if stage > 2:
                peer.head()
            if stage == 4:
                peer.send(frame(b'"whole"')[:-3])
            elif stage == 5:
                peer.send(frame(b'"echo"') * 100)  # and leave without reading
            elif stage == 6:
                peer.send(frame(b"\x03\xe8", 8))
            elif stage == 7:
                peer.send(frame(b'"unmasked"', masked=False))
            peer.reset()
        echo(witness, 2)
        server.settles(1, before + 2)
        logged = len(server.log) - len(log)
        assert logged < 100 * many, server.log[-1000:]
        return f"{many} connections; {logged} bytes of log"


@fault
def half_open(binding: str, scale: float) -> str:
    """Peers that stop sending, with EOF or without, and peers that are gone without a word."""
    with Server(binding) as server:
        server.peer().close()
        before = server.descriptors
        silent = [server.peer("/primus?ping=500&pong=500") for _ in range(10)]
        ended = [server.peer() for _ in range(10)]
        headless = [RawPeer(server.port).connect() for _ in range(10)]
        assert server.sparks() == 20
        for peer in headless:
            peer.send(handshake()[:50])
        for peer in ended + headless:
            peer.sock.shutdown(socket.SHUT_WR)
        took = eventually(lambda: server.sparks() == 0, "no sparks")
        server.settles(0, before + 2)
        if binding != "asgi":
            peer = server.peer()
            assert keeps_alive(server.port, peer.sock.getsockname()[1]), "the system looks for dead peers"
            peer.close()
        for peer in silent + ended + headless:
            peer.close()
        return f"all gone after {took:.2f} s"


def keeps_alive(port: int, peer: int) -> bool:
    """Whether the server's socket has a TCP keepalive timer."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{peer:04X}"):
            return fields[5].startswith("02:")
    raise AssertionError("no such connection")


@fault
def no_descriptors(binding: str, scale: float) -> str:
    """EMFILE on accept: the server lives, does not spin, logs little, and takes new connections afterwards."""
    with Server(binding, "--descriptors", "64") as server, contextlib.closing(server.peer()) as witness:
        peers = [RawPeer(server.port).connect() for _ in range(100)]
        time.sleep(0.5)
        log, cpu, began = len(server.log), server.cpu, time.monotonic()
        while time.monotonic() < began + 5 * scale:
            echo(witness, "still here")
            time.sleep(0.1)
        seconds = time.monotonic() - began
        share, rate = (server.cpu - cpu) / seconds, (len(server.log) - log) / seconds
        for peer in peers:
            peer.close()
        took = eventually(lambda: answers(server.port), "a new session")
        if binding != "asgi":  # where it is the host that accepts
            assert share < 0.3, f"{share * 100:.0f} % CPU"
            assert rate < 4000, f"{rate:.0f} bytes of log a second"
        return f"{share * 100:.0f} % CPU, {rate:.0f} bytes of log a second; back after {took:.2f} s"


def answers(port: int) -> bool:
    """Whether one can connect."""
    try:
        RawPeer(port).open().close()
    except (OSError, AssertionError):
        return False
    return True


@fault
def churn(binding: str, scale: float) -> str:
    """Thousands of connections come and go while a hundred stay, which lose nothing."""
    with Server(binding) as server, contextlib.ExitStack() as stack:
        stay = [stack.enter_context(contextlib.closing(server.peer())) for _ in range(int(100 * scale) or 1)]
        before, memory, over = server.descriptors, server.memory, threading.Event()
        worst, rounds = 0.0, 0

        def come_and_go(number: int) -> None:
            peer = RawPeer(server.port).connect()
            if number % 5:
                peer.send(handshake())
                peer.head()
                peer.send(frame(b"%d" % number))
            if number % 5 > 1:
                peer.frame()
            if number % 5 > 2:
                peer.send(frame(b"\x03\xe8", 8))
            (peer.reset if number % 2 else peer.close)()

        def churning() -> None:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(come_and_go, range(int(5000 * scale))))
            over.set()

        thread = threading.Thread(target=churning)
        thread.start()
        began = time.monotonic()
        while not over.is_set():
            asked = time.monotonic()
            text = frame(b"[%d]" % rounds)
            for peer in stay:
                peer.send(text)
            for peer in stay:
                assert peer.frame() == (1, b"[%d]" % rounds)
            worst = max(worst, time.monotonic() - asked)
            rounds += 1
        thread.join()
        seconds = time.monotonic() - began
        server.settles(len(stay), before + 2)
        return (
            f"{5000 * scale / seconds:.0f} connections a second, {rounds} rounds of {len(stay)} echoes lost nothing, "
            f"worst round {worst * 1000:.0f} ms; {server.memory - memory:+.1f} MB"
        )


@fault
def stopped(binding: str, scale: float) -> str:
    """SIGTERM with many clients: each is told, and the server ends."""
    with Server(binding) as server:
        peers = [server.peer() for _ in range(int(500 * scale))]
        timer = threading.Thread(target=lambda: seconds.append(server.end(signal.SIGTERM)))
        seconds: list[float] = []
        timer.start()
        for peer in peers:
            assert peer.frame() == (1, b'"primus::server::close"')
            opcode, payload = peer.frame()
            assert opcode == 8, (opcode, payload)
            peer.send(frame(payload[:2], 8))
            peer.close()
        timer.join()
        assert server.ended_well, server.log[-2000:]
        return f"{len(peers)} clients were told; ended after {seconds[0]:.2f} s"


@fault
def stopped_in_a_flood(binding: str, scale: float) -> str:
    """SIGTERM under a flood: a polite client is told at once, and the server ends without waiting for the flooders."""
    with Server(binding) as server, contextlib.closing(server.peer()) as polite:
        over = threading.Event()
        peers = [server.peer() for _ in range(20 if binding != "asgi" else 1)]
        thread = threading.Thread(target=flood, args=(peers, over))
        thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert polite.frame() == (1, b'"primus::server::close"')
        told = time.monotonic() - began
        polite.send(frame(b"\x03\xe8", 8))
        server.process.wait(DEADLINE)
        ended = time.monotonic() - began
        over.set()
        thread.join()
        assert server.ended_well, server.log[-2000:]
        assert ended < 3 or binding == "asgi", f"{ended:.2f} s"  # uvicorn reads whole seconds of a flood in one turn
        return f"told after {told:.2f} s, ended after {ended:.2f} s"


def flood(peers: list[RawPeer], over: threading.Event) -> None:
    """Send tiny messages for ever and read nothing."""
    data = frame(b"1") * 2000
    socks = {peer.sock for peer in peers}
    for sock in socks:
        sock.setblocking(False)
    while socks and not over.is_set():
        for sock in select.select([], list(socks), [], 0.1)[1]:
            try:
                sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                socks.remove(sock)
    for peer in peers:
        peer.close()


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bindings", default=",".join(BINDINGS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--small", action="store_true", help="a tenth of the connections")
    options = parser.parse_args()
    failed = 0
    for name in options.faults.split(","):
        print(f"{name}: {(FAULTS[name].__doc__ or '').strip()}")
        for binding in options.bindings.split(","):
            try:
                result: Any = FAULTS[name](binding, 0.1 if options.small else 1.0)
            except Exception:
                traceback.print_exc()
                result, failed = "FAILED", failed + 1
            print(f"  {binding:8} {result}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
