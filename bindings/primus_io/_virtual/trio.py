"""trio in virtual time: a clock that is a network's, a task that has time pass, and runs that repeat.

The law kept here: time passes only when every task waits, straight to whatever is due next, of trio's deadlines and of
the network's deliveries.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from primus_proto.testing import VirtualNetwork
from primus_proto.testing.network import PATIENCE

from .order import repeating
from .sockets import Names, Sockets
from .world import Witness, World, whereabouts

__all__ = ["run"]

T = TypeVar("T")

# A thread of `trio.to_thread` takes no virtual time. How often to look whether it is over, in real seconds.
TICK = 0.001

PUSHES = 100  # by which time passes, in a run that has failed, in spite of tasks that never wait


def run(
    main: Callable[[], Awaitable[T]] | Coroutine[Any, Any, T],  # the latter by mistake
    network: VirtualNetwork | None,
    limit: float,
    handlers_may_raise: bool,
) -> T:
    """`primus_io.testing.run_trio`."""
    if isinstance(main, Coroutine):
        main.close()
        raise TypeError("run_trio() calls main itself, as trio.run does: give it the async function, run_trio(main)")
    if not callable(main):
        raise TypeError(f"run_trio() needs an async function without parameters, not {main!r}")
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("run_trio() calls trio.run, and trio is running here already: await main() instead")
    clock = VirtualClock(network, limit)
    witness = Witness()
    try:
        with witness, repeating(clock.new_rng()):
            result = trio.run(clock.run, main, clock=clock, instruments=[clock.watch])
        if not handlers_may_raise:
            witness.tell()
        return result
    except BaseException as error:
        clock.failed = True
        if isinstance(error, trio.TrioInternalError) and clock.stuck_for_good is not None:
            raise clock.stuck_for_good from clock.ended_by
        raise
    finally:
        clock.leave()


class VirtualClock(World, trio.abc.Clock):
    """trio's clock, and the network's."""

    def __init__(self, network: VirtualNetwork | None, limit: float) -> None:
        super().__init__(network, limit)
        self.watch = Watch(self)
        self.pacer: trio.lowlevel.Task | None = None
        self.ended_by: BaseException | None = None
        """Why the main function was cancelled."""
        self.stuck_for_good: BaseException | None = None
        """What is raised where even what was cancelled goes on waiting, or never waits."""
        self._over = False  # the main function is
        self._due = math.inf  # trio's next deadline
        self._own_waits = 0  # for the system: trio's own
        self._pushes = 0
        self._main: trio.lowlevel.Task
        self._trios: set[trio.lowlevel.Task] = set()  # tasks of its own
        self._scope = trio.CancelScope()

    def happening(self) -> trio.Event:
        return trio.Event()

    # --- as trio's clock ---

    def start_clock(self) -> None:
        """It stands still until the pacer moves it."""

    def current_time(self) -> float:
        """The network's clock."""
        if self.stuck_for_good is not None and not trio.lowlevel.in_trio_task():
            raise self.stuck_for_good  # out of trio.run, whoever still waits
        return self.network.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """None for a deadline that is over; to any other one the pacer gets by itself, as long as it is there."""
        self._due = deadline
        if deadline <= self.network.now:
            return 0.0
        return self._sleep_after_main() if self._over else math.inf

    def _sleep_after_main(self) -> float:
        """System tasks and asynchronous generators clean up when the pacer has gone, as it is a system task itself."""
        if self.watch.stirred:  # by which something may be to run soon: trio looks, and asks again
            self.watch.stirred = False
            return TICK
        if _waits_for_a_thread():
            return math.inf
        self._pace_once()
        return 0.0

    # --- what runs ---

    async def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """The main task: the user's, until it is over or cannot go on."""
        trio.socket.set_custom_socket_factory(Sockets(self))
        trio.socket.set_custom_hostname_resolver(Names())
        self._main = trio.lowlevel.current_task()
        await wait_all_tasks_blocked()
        self._own_waits = _waits_for_the_system()
        self._trios = set(list(_all())[1:])  # without the root: that one runs asynchronous generators at last
        self.pacer = trio.lowlevel.spawn_system_task(self._pace)
        result: list[T] = []
        try:
            with self._scope:
                awaitable = main()
                if not isinstance(awaitable, Awaitable):
                    raise TypeError(
                        f"run_trio() needs an async function, and {main!r} is none: it returned {awaitable!r}"
                    )
                result.append(await awaitable)
        finally:
            self._over = True
            if self.ended_by is not None:
                raise self.ended_by
        return result[0]

    async def _pace(self) -> None:
        """Whenever all others wait, have time pass to what is due next."""
        while True:
            await wait_all_tasks_blocked()
            if self.watch.busy:
                continue  # somebody else waited for just that
            if _waits_for_a_thread():
                self.watch.rest()
                await wait_all_tasks_blocked(TICK)
            else:
                self._pace_once()

    def _pace_once(self) -> None:
        if _waits_for_the_system() > self._own_waits:
            self.fail("somebody waits for the system, as for a socket or a process, and virtual time does not")
        elif stuck := self._advance(self._due):
            self.fail(stuck)

    def push(self) -> None:
        """Somebody never waits, which ends it. For those who then clean up time passes none the less, for a while."""
        self._pushes += self.ended_by is not None
        if 0 < self._pushes < PUSHES:
            self._advance(self.network.now + trio.lowlevel.current_statistics().seconds_to_next_deadline)
        else:
            self.fail("time stands still")

    def _advance(self, until: float) -> str:
        try:
            return self.advance(until)
        except BaseException as error:  # the application's, from a function for `call_at`
            if self.ended_by is None or self._over:
                self._end(error)
            else:
                self.ended_by.add_note(f"While this was cleaned up, a function for call_at raised {error!r}")
            return ""

    def fail(self, stuck: str) -> None:
        """It cannot go on like this: end it, and have those that are cancelled for it clean up."""
        error = self.failure(stuck, self._waiting())
        if self.ended_by is None:
            self._end(error)
        else:
            self.stuck_for_good = error

    def _end(self, error: BaseException) -> None:
        if self._over:  # so that there is nobody to cancel
            self.stuck_for_good = error
        else:
            self.ended_by = error
            self._scope.cancel()

    def _waiting(self) -> Iterator[str]:
        """Who waits where: all that the user's main function has begun, or what is there after it."""
        if self._over:
            for task in _all():
                if task is not self.pacer and task not in self._trios:
                    yield whereabouts(task.name, task.coro)
            return
        own: Any = self._main.coro
        yield whereabouts("main", own.cr_await)
        for task in _below(self._main):
            yield whereabouts(task.name, task.coro)


class Watch(trio.abc.Instrument):
    """Sees what the pacer cannot see: whether it alone was woken, and whether anybody ever waits."""

    def __init__(self, clock: VirtualClock) -> None:
        self.busy = False
        """Somebody else can go on in this turn of the loop."""
        self.stirred = False
        """So could somebody since this was reset."""
        self._clock = clock
        self._turns = 0  # of the loop since time last passed
        self._patience = PATIENCE
        self._last = -math.inf

    def rest(self) -> None:
        """Time does not pass now, and need not."""
        self._turns = 0

    def after_io_wait(self, timeout: float) -> None:
        self.busy = False
        now = self._clock.network.now
        if now != self._last:
            self._last, self._turns = now, 0
        self._turns += 1
        if self._turns > self._patience:
            self._turns, self._patience = 0, PATIENCE // PUSHES
            self._clock.push()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is not self._clock.pacer:
            self.busy = self.stirred = True


def _waits_for_a_thread() -> bool:
    """Whether a task waits for a thread to be done, not one that in turn waits for trio, by `trio.from_thread`."""
    if not trio.testing.active_thread_count():
        return False
    return any(map(_is_in_a_thread, _all()))


def _is_in_a_thread(task: trio.lowlevel.Task) -> bool:
    calls = [frame.f_code for frame, _ in task.iter_await_frames()]
    return (trio.to_thread.run_sync.__code__, trio.lowlevel.wait_task_rescheduled.__code__) in pairwise(calls)


def _waits_for_the_system() -> int:
    """How many tasks wait for a file descriptor, or what Windows has for that."""
    io = trio.lowlevel.current_statistics().io_statistics
    return sum(getattr(io, name, 0) for name in ("tasks_waiting", "tasks_waiting_read", "tasks_waiting_write"))


def _all() -> Iterator[trio.lowlevel.Task]:
    """Trio's own included."""
    root = trio.lowlevel.current_root_task()
    if root is not None:
        yield root
        yield from _below(root)


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """All that a task, and what it has begun, have begun."""
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield child
            yield from _below(child)
