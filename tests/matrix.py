"""What the matrices of the suites share: a table at the end of the run, and no holes in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import pytest

__all__ = ["Table"]


class Table(ABC):
    """A plugin for pytest that prints a table. A cell for which nothing was run makes the run fail."""

    title: ClassVar[str]

    @abstractmethod
    def table(self) -> list[str]:
        """The lines of the table, and what explains them."""

    @abstractmethod
    def holes(self) -> list[str]:
        """The cells for which nothing was run."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(self.title)
        for line in self.table():
            terminalreporter.write_line(line)
        for hole in self.holes():
            terminalreporter.write_line(f"a hole: {hole}", red=True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.holes() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
