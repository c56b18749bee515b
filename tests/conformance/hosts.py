"""Hosts: what a scenario of the conformance suite runs on. One class for each binding and loop.

A scenario is an async function that takes a `Host` and uses nothing of any IO library: it connects, serves, waits and
starts tasks through the host. A new binding joins the suite with a subclass of `Host` and a row in conftest.py.

A scenario says what it `needs` that not every host has, a host says what it `lacks` and why. Where the two meet, the
test is skipped as "not applicable", with the host's reason; nothing here is skipped for anything else.

The law kept here: when a scenario is over, no task, socket, transport or timer is left that was not there before.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack

import pytest

from primus_io import Client, Server
from primus_proto.options import ClientOptions
from primus_proto.plugins import Reply

__all__ = [
    "CHOOSING",
    "LONG",
    "MACHINE_LACKS",
    "NEEDS",
    "SOON",
    "Host",
    "Task",
    "instances",
    "lacking",
    "needing",
    "scenario",
    "selected",
    "sockets",
]

P = ParamSpec("P")
T = TypeVar("T")

WAIT = 10.0  # seconds; bounds what would otherwise hang, and is never waited out by a scenario that passes
SOON = 2.5  # seconds; less than any limit of ours that might be waited out by mistake, more than a busy machine takes
TICK = 0.002  # how often a condition is looked at that nobody announces
LONG = os.environ.get("PRIMUS_LONG") == "1"
"""Whether to take the time for the long version of what has one."""

NEEDS: Mapping[str, str] = {
    "accepting": "the binding accepts connections, and stops to",
    "cancellation": "what waits can be cancelled where it waits",
    "clients": "the binding has clients, not only servers",
    "early listeners": "listeners can be added before anything has happened",
    "eager tasks": "tasks can be told to begin at once",
    "fragments": "the binding sees what a message was cut into",
    "handshake limits": "the binding says how long a request head or a TLS handshake may take",
    "wire": "the binding itself speaks HTTP and WebSocket",
    "loose ends": "a block can be entered and never left",
    "ipv6": "::1 can be listened on",
    "one thread": "nothing else happens between two awaits",
    "other tasks": "a block may be left by another task than the one that entered it",
    "reading": "the binding reads from the sockets, and says how much at once",
    "sockets": "peers that are sockets of the operating system, driven from threads",
    "tls": "connections can be secured",
    "turns": "bytes go their way while a task only takes one turn after the other",
    "unix": "there are Unix sockets",
}
"""What a scenario may need, and what that means."""


def _this_machine_lacks() -> Iterator[tuple[str, str]]:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        yield "ipv6", "this machine has no ::1"
    if not hasattr(socket, "AF_UNIX"):
        yield "unix", "this system has no Unix sockets"


CHOOSING = frozenset({
    "test_a_client_connects_and_both_ends_know_each_other",
    "test_a_client_that_is_slow_blocks_the_servers_send",
    "test_clients_are_told_and_stay_away",
    "test_each_step_in_a_task_of_its_own",
    "test_every_value_comes_back",
    "test_handlers_and_listeners",
    "test_mistakes_are_named_at_once",
    "test_the_server_ends_and_wants_the_client_back",
    "test_the_spec",
    "test_thousands_of_short_connections",
})  # fmt: skip
"""The scenarios for a binding that does nothing but choose another one, which is tried with all."""

MACHINE_LACKS: Mapping[str, str] = dict(_this_machine_lacks())
"""What any host lacks that uses the sockets of this machine."""


class Task(ABC, Generic[T]):
    """Something a scenario has started beside itself."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether it has ended, in any way."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether it ended by being cancelled."""

    @abstractmethod
    def cancel(self) -> None:
        """Have it cancelled at the point where it waits."""

    @abstractmethod
    async def join(self) -> None:
        """Wait for its end, whichever way that comes."""

    @abstractmethod
    def result(self) -> T:
        """What it returned; raises what it raised."""


class Event(Protocol):
    """Something to wait for."""

    def set(self) -> object: ...

    async def wait(self) -> object: ...


class Fetch(Protocol):
    """`fetch_spec`."""

    async def __call__(
        self, url: Any, *, ssl: Any = None, unix: str | os.PathLike[str] | None = None, **options: Unpack[ClientOptions]
    ) -> dict[str, Any]: ...


class Host(ABC):
    """One way to run scenarios."""

    name: str
    connect: Callable[..., AbstractAsyncContextManager[Client]]
    serve: Callable[..., AbstractAsyncContextManager[Server]]
    fetch_spec: Fetch
    handler_is = "an async function"
    keeps = 0
    """Objects that the library may keep for a while, whatever the binding does."""
    lacks: ClassVar[Mapping[str, str]] = {}
    """What of `NEEDS` this host does not have, and why."""
    only: ClassVar[frozenset[str] | None] = None
    """The scenarios that this host is tried with, by name or by file, where those are not all.

    It is for hosts that run the code of another one, but for what these scenarios are about.
    """

    def __init_subclass__(cls) -> None:
        if unknown := cls.lacks.keys() - NEEDS.keys():
            raise TypeError(f"{cls.__name__} lacks what no scenario can need: {sorted(unknown)}")

    @classmethod
    def missing(cls) -> str | None:
        """Why this host cannot run here; None where it can."""
        return None

    @abstractmethod
    def run(self, main: Callable[[], Awaitable[None]], timeout: float) -> None:
        """Run to the end, `timeout` seconds at the most; then look for what was left behind, and fail if there is."""

    @abstractmethod
    def start(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        """Run a coroutine beside the scenario."""

    @abstractmethod
    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks, in a thread, and wait for it."""

    @abstractmethod
    def event(self) -> Event:
        """An event object of the host's library."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let time pass. For the helpers here, and where nothing happening is what is looked for."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """The binding's tasks and timers that are there now."""

    @abstractmethod
    def timer_runs(self) -> int:
        """How many timer callbacks of the binding have run so far."""

    async def result(self, reply: Reply[T]) -> T:
        """The result of a reply, once it is there."""
        return await reply

    def listener(self, function: Any) -> Any:
        """A coroutine function, as what the binding takes for a listener."""
        return function

    async def told(self, condition: Callable[[], object]) -> None:
        """See what listeners have done about events that are over.

        On one thread they have been called by then; where they have threads of their own, they are before long.
        """
        assert condition(), inspect.getsource(condition).strip()

    def time(self) -> float:
        """Seconds, on the clock that the host waits by."""
        return time.monotonic()

    # --- waiting, the same for all ---

    async def until(self, condition: Callable[[], object], what: str = "", timeout: float = WAIT) -> None:
        """Wait for a condition to hold."""
        deadline = self.time() + timeout
        while not condition():
            if self.time() > deadline:
                raise AssertionError(f"not within {timeout:g} s: {what or inspect.getsource(condition).strip()}")
            await self.pause(TICK)

    async def settled(self, value: Callable[[], T], quiet: float = 0.15, timeout: float = WAIT) -> T:
        """Wait until a value has stayed the same for `quiet` seconds; returns it."""
        deadline = self.time() + timeout
        last, since = value(), self.time()
        while self.time() - since < quiet:
            assert self.time() < deadline, f"still changing after {timeout:g} s: {last!r}"
            await self.pause(TICK)
            if (current := value()) != last:
                last, since = current, self.time()
        return last

    async def cancelled(self, coroutine: Coroutine[Any, Any, object], ready: Callable[[], object]) -> None:
        """Run something until `ready()`, cancel it where it waits then, and see that it ends by that."""
        task = self.start(coroutine)
        await self.until(lambda: task.done or ready(), "what is to be cancelled gets to where it waits")
        assert not task.done, f"it did not wait: {task.result()!r}"
        task.cancel()
        await task.join()
        assert task.cancelled, "it was cancelled and ended otherwise"


def needing(*what: str) -> pytest.MarkDecorator:
    """A mark for a test, a parameter or a module (`pytestmark`): it runs on hosts that have all of this (`NEEDS`)."""
    if unknown := set(what) - NEEDS.keys():
        raise TypeError(f"no host says whether it has {sorted(unknown)}: there are {sorted(NEEDS)}")
    return pytest.mark.needs(*what)


def lacking(item: pytest.Item, host: type[Host]) -> str | None:
    """Why a test cannot run on a host; None where it can."""
    if (reason := host.missing()) is not None:
        return reason
    wanted = (what for mark in item.iter_markers("needs") for what in mark.args)
    return next((host.lacks[what] for what in wanted if what in host.lacks), None)


def selected(host: type[Host], file: str, name: str) -> bool:
    """Whether a host is tried with a scenario at all."""
    return host.only is None or not host.only.isdisjoint((file, name))


def scenario(
    timeout: float = 20.0, needs: Collection[str] = ()
) -> Callable[[Callable[Concatenate[Host, P], Awaitable[None]]], Callable[..., None]]:
    """Make a test of a scenario: run on each host that has what it needs, under a deadline of seconds, looked after
    when it is over."""
    mark = needing(*needs)

    def wrap(main: Callable[Concatenate[Host, P], Awaitable[None]]) -> Callable[..., None]:
        @functools.wraps(main)
        def test(host: Host, *args: P.args, **kwargs: P.kwargs) -> None:
            host.run(lambda: main(host, *args, **kwargs), timeout)

        return mark(test)

    return wrap


def sockets() -> set[str]:
    """The sockets this process has open, by their inodes; none where the system does not tell."""
    found: set[str] = set()
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the directory's own
        if target.startswith("socket:"):
            found.add(target)
    return found


def instances(*types: type) -> list[Any]:
    """The objects of these types that there are, once the garbage is gone."""
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, types)]
