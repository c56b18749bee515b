"""The listeners of `connection`: called one after the other, before a new spark has its handler and its data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any

import primus_proto as pp
from primus_proto import events as ev

from ._session import MESSAGE_OVERHEAD

if TYPE_CHECKING:
    from ._server import ServerBase, SparkBase

__all__ = ["announce"]

Calls = Iterator[tuple[Callable[..., object], tuple[Any, ...]]]


def announce(server: ServerBase[Any], spark: SparkBase, event: ev.SparkConnected[Any]) -> None:
    """Call the listeners of `connection`, then start the handler. If one waits, the rest of it happens in a task."""
    found = [
        *((listener, event.args) for listener in server._listeners.get(event.name, ())),
        *((listener, (event,)) for listener in server._listeners.get(type(event), ())),
    ]
    calls = iter(found)
    if not found:
        server._not_announced(spark, event)
    for listener, arguments in calls:
        try:
            result = listener(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # even a CancelledError: the pump must go on
            spark._handle_failure(error)
            return
        else:
            if inspect.iscoroutine(result):
                spark._start_listener(_Announcement(server, spark, result, calls), 0)  # type: ignore[arg-type]
                return
        if spark._end_count > 1:  # by the listener; a client that has left may have sent something before
            return
    server._start_handler(spark)


class _Announcement:
    """The rest of an announcement, from a listener on that waits. It is awaited once, or closed."""

    def __init__(
        self, server: ServerBase[Any], spark: SparkBase, first: Coroutine[Any, Any, object], calls: Calls
    ) -> None:
        self._server = server
        self._spark = spark
        self._first = first
        self._calls = calls
        self._kept = _Kept(server, spark)

    def close(self) -> None:
        self._first.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._run().__await__()

    async def _run(self) -> None:
        server, spark = self._server, self._spark
        try:
            await _within_limit(server, spark, self._first)
            for listener, arguments in self._calls:
                if not spark._core.is_open:
                    break
                result = listener(*arguments)
                if inspect.iscoroutine(result):
                    await _within_limit(server, spark, result)
        except Exception as error:
            spark._handle_failure(error)
            self._kept.drop()
            return
        if spark._end_count > 1:  # by a listener
            self._kept.drop()
            return
        self._kept.release()
        if spark._core.is_open or spark._inbox:
            server._start_handler(spark)


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
        raise TimeoutError(f"a listener of `connection` took longer than {seconds:g} seconds (Limits.authorization)")
    await over.wait()
    if failures:
        raise failures[0]


class _Kept:
    """What arrives for a spark while it is announced. It counts against back-pressure, as unread messages do."""

    def __init__(self, server: ServerBase[Any], spark: SparkBase) -> None:
        self._server = server
        self._spark = spark
        self._events: list[ev.SparkData[Any] | ev.Delivery] = []
        spark._announced = False
        spark._deliver_data = self._keep_data  # type: ignore[method-assign]
        spark._deliver_call = self._keep_call  # type: ignore[method-assign]

    def _keep_data(self, event: Any, heard: bool = False) -> None:
        self._events.append(event)
        self._spark._keep(event)  # the listener itself may read it

    def _keep_call(self, event: ev.Delivery) -> None:
        self._events.append(event)
        self._spark._add_unhandled(event.size + MESSAGE_OVERHEAD)

    def release(self) -> None:
        """Deliver what was kept and not read, in order."""
        spark, server = self._spark, self._server
        unread = len(spark._inbox or ())
        read = sum(type(event) is ev.SparkData for event in self._events) - unread
        self._stop()
        for event in self._events:
            if type(event) is ev.SparkData:
                read -= 1
                if read < 0:
                    server._deliver_to(spark, event)
            else:
                spark._deliver_call(event)  # type: ignore[arg-type]

    def drop(self) -> None:
        """Forget what was kept: the application has ended the spark."""
        self._stop()

    def _stop(self) -> None:
        spark = self._spark
        spark._announced = True
        del spark._deliver_data, spark._deliver_call
        unread, spark._inbox = spark._inbox or (), None
        calls = [event for event in self._events if type(event) is ev.Delivery]
        spark._subtract_unhandled(sum(event.size + MESSAGE_OVERHEAD for event in (*unread, *calls)))
