"""The listeners of `connection`: called one after the other, before a new spark has its handler and its events.

The law kept here: while they run, what happens to the spark is kept and counts against back-pressure; a listener may
receive the values. Then it is told in order.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import primus_proto as pp
from primus_proto import events as ev

from ._session import MESSAGE_OVERHEAD

if TYPE_CHECKING:
    from ._server import ServerBase
    from ._spark import SparkBase

__all__ = ["Announcement", "announce"]

Calls = Iterator[tuple[Callable[..., object], tuple[Any, ...]]]


def announce(server: ServerBase[Any], spark: SparkBase, event: ev.SparkConnected[Any]) -> None:
    """Call the listeners of `connection`, then start the handler. If one waits, the rest of it happens in a task."""
    listeners = server._listeners
    found = [(listener, event.args) for listener in listeners.get(event.name, ())]
    if type(event) in listeners:
        found += [(listener, (event,)) for listener in listeners[type(event)]]
    if not found:
        server._not_announced(spark, event)
    calls = iter(found)
    for listener, arguments in calls:
        try:
            result = listener(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # even a CancelledError: the pump must go on
            spark._handle_failure(error)
            return
        else:
            if type(result) is CoroutineType:
                Announcement(server, spark, calls, handled=True).start(result)
                return
        if spark._end_count > 1:  # by the listener; a client that has left may have sent something before
            return
    server._start_handler(spark)


class Announcement:
    """The rest of an announcement, from a listener on that waits. With `handled`, the handler starts after it."""

    def __init__(self, server: ServerBase[Any], spark: SparkBase, calls: Calls, *, handled: bool) -> None:
        self._server = server
        self._spark = spark
        self._calls = calls
        self._handled = handled
        self._kept: list[ev.SparkEvent[Any] | ev.Delivery | ev.PluginEvent] = []

    def start(self, first: Coroutine[Any, Any, object]) -> None:
        """Await the first listener, and then the others, in a task."""
        if self._server._io.closed:
            first.close()
        else:
            self._spark._announcement = self
            self._server._io.start(self._run(first))

    def keep(self, event: ev.SparkEvent[Any] | ev.Delivery | ev.PluginEvent) -> None:
        """Keep an event for later."""
        self._kept.append(event)
        if type(event) is ev.SparkData:
            self._spark._keep(event)  # the listener may receive it
        else:
            self._spark._add_unhandled(self._size_of(event))

    async def _run(self, first: Coroutine[Any, Any, object]) -> None:
        server, spark = self._server, self._spark
        try:
            await _within_limit(server, spark, first)
            for listener, arguments in self._calls:
                if not spark._core.is_open:
                    break
                result = listener(*arguments)
                if inspect.iscoroutine(result):
                    await _within_limit(server, spark, result)
        except Exception as error:
            spark._handle_failure(error)
            self._release(with_values=False)
            return
        except BaseException:  # cancelled
            self._release(with_values=False)
            raise
        is_wanted = spark._end_count == 1  # not ended by a listener
        self._release(with_values=is_wanted)
        if is_wanted and self._handled and (spark._core.is_open or spark._inbox):
            server._start_handler(spark)

    def _release(self, *, with_values: bool) -> None:
        """Tell what was kept, in order, but for the values that the listener has received itself."""
        server, spark, kept = self._server, self._spark, self._kept
        received = sum(type(event) is ev.SparkData for event in kept) - len(spark._inbox or ())
        unread, spark._inbox = spark._inbox or (), None
        others = [event for event in kept if type(event) is not ev.SparkData]
        spark._subtract_unhandled(sum(map(self._size_of, (*unread, *others))))
        spark._announcement = None
        for event in kept:
            if type(event) is ev.SparkData:
                received -= 1
                if with_values and received < 0:
                    server._deliver_to(spark, event)
            elif isinstance(event, ev.Delivery):
                if with_values:
                    spark._deliver_call(event)
            else:
                server._tell(spark, event)
        if spark._iterating:
            spark._take_undecoded()
        spark._check_end()

    def _size_of(self, event: ev.Event) -> int:
        return int(getattr(event, "size", 0)) + MESSAGE_OVERHEAD


async def _within_limit(server: ServerBase[Any], spark: SparkBase, coroutine: Coroutine[Any, Any, object]) -> None:
    """Await a listener. One that reads from the spark may take as long as it likes, any other `Limits.authorization`.

    Raises TimeoutError if it takes longer. The listener is left running then, on a spark that has ended.
    """
    io, seconds = server._io, server._core.limits.authorization
    over, failures = io.event(), list[BaseException]()
    is_over = False

    async def run() -> None:
        nonlocal is_over
        try:
            await coroutine
        except Exception as error:
            failures.append(error)
        except BaseException:
            failures.append(pp.ConnectionLost("the server was closed"))
            raise
        finally:
            is_over = True
            over.set()

    if io.closed:
        coroutine.close()
        return
    io.start(run())
    await io.within(seconds, over.wait)
    if not is_over and not spark._iterating:
        raise TimeoutError(
            f"a listener of `connection` took longer than {seconds:g} seconds (Limits.authorization); nothing else of "
            "the spark is told before it returns, so it must not wait for another listener"
        )
    await over.wait()
    if failures:
        raise failures[0]
