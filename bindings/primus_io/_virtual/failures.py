"""What the error of a failed run reports: exceptions that the binding only logs, and where each task waits."""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Self

from .._emitter import log

__all__ = ["FailureRecorder", "describe_wait"]


class FailureRecorder(logging.Handler):
    """Records the exceptions of users' functions that the binding logs in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread and record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    def raise_first(self) -> None:
        """Raise the first recorded exception, if there is one."""
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        log.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        log.removeHandler(self)


def describe_wait(name: str, coroutine: object) -> str:
    """Describe a task and the chain of calls in which it waits."""
    calls: list[str] = []
    while inspect.iscoroutine(coroutine) and coroutine.cr_frame is not None:
        calls.append(f"{coroutine.__qualname__}:{coroutine.cr_frame.f_lineno}")
        coroutine = coroutine.cr_await
    return f"  {name}: {' > '.join(calls)}"
