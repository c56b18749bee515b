"""Check the prose of the pages, docstrings and messages: proselint's rules, and words that this project avoids.

Run by `make lint`. Code is not prose: blocks and spans of it are left out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

if sys.version_info < (3, 15):
    from proselint.checks import __register__
    from proselint.config import DEFAULT
    from proselint.registry import CheckRegistry
    from proselint.tools import LintFile

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = sorted([*ROOT.glob("primus_proto/**/*.py"), *ROOT.glob("bindings/**/*.py"), *ROOT.glob("examples/*.py")])

# Quotes are straight and accents are left out, as in code.
RULES = {"typography": False, "annotations.misc": False, "spelling": False}

AVOID = {
    r"(?:whoever|whosoever)": "name the subject: 'a client that', 'the thread that'",
    r"(?:say|says|said|saying) so": "name the call, the status or the log message",
    r"(?:goodbyes?|without a word|last words?)": "name the frame or the call",
    r"(?:hears?|heard|judges?|judged)": "for a program: 'is notified', 'receives', 'checks', 'decides'",
    r"(?:is|are|was|were) to be": "write 'has to be' or 'will be', or use the active voice",
    r"(?:what|that) (?:is|are) no": "name it: 'a value that is not ...'",
    r"cannot be(?=[.,;:])": "write 'is invalid' or 'is impossible'",
    r"let(?:s|ting)? go of": "write 'release' or 'close'",
    r"(?:tell|tells|telling|told) of": "write 'report' or 'describe'",
    r"(?:at hand|for good and all|riddance|morsels?|thereof|therein|whereby|nay|lest)": "use a plain word",
}  # fmt: skip
HOUSE = [(re.compile(rf"\b{pattern}(?![\w-])", re.IGNORECASE), advice) for pattern, advice in AVOID.items()]
CODE = re.compile(
    r"^ *(?P<fence>```+|~~~+).*?^ *(?P=fence) *$"  # a block
    r"|(?<=\n\n)(?: {4,}\S[^\n]*\n)+(?=\n|\Z)"  # an indented block
    r"|(?P<ticks>`+)(?!`)(?:[^`\n]|\n(?!\n))+?(?P=ticks)"  # a span
    r"|(?<=\])\([^)\s]+\)"  # the target of a link
    r"|<[^>\n]+>",
    re.MULTILINE | re.DOTALL,
)


class Finding(NamedTuple):
    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}:{self.line}: {self.text}"


def without_code(text: str) -> str:
    """Replace code by words that differ, and empty lines by a sign, so that nothing repeats; keep the lines."""
    numbers = count(1)
    text = CODE.sub(lambda match: f"({next(numbers)})" + "\n" * match[0].count("\n"), text)
    return re.sub(r"^[ \t]*$", "¶", text, flags=re.MULTILINE)


def strings(file: Path) -> str:
    """The docstrings and messages of a program: its strings of four words or more, each at its line."""
    source = file.read_text(encoding="utf-8")
    lines = [""] * (source.count("\n") + 1)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if node.value.count(" ") > 2 and "\r" not in node.value:  # not HTTP
            for number, text in enumerate(node.value.split("\n"), node.lineno - 1):
                lines[min(number, len(lines) - 1)] += f"{text} | "
    return "\n".join(lines)


def house_rules(file: Path, text: str) -> Iterator[Finding]:
    for pattern, advice in HOUSE:
        for match in pattern.finditer(text):
            yield Finding(file, 1 + text.count("\n", 0, match.start()), f"{match[0]!r}: {advice}")


def proselint_rules(file: Path, text: str) -> Iterator[Finding]:
    checks = dict(sorted((DEFAULT["checks"] | RULES).items(), key=lambda item: -item[0].count(".")))  # longest first
    for result in LintFile(file.name, text).lint({"max_errors": 1000, "checks": checks}):
        yield Finding(file, result.pos[0], f"{result.check_result.check_path}: {result.check_result.message}")


def main() -> int:
    rulesets = [house_rules]
    if sys.version_info < (3, 15):
        CheckRegistry().register_many(__register__)
        rulesets.append(proselint_rules)
    else:
        print("no proselint for this Python: only the rules of this project are checked", file=sys.stderr)
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES} | {file: strings(file) for file in SOURCES}
    prose = {file: without_code(text) for file, text in texts.items()}
    findings = [one for file, text in prose.items() for rules in rulesets for one in rules(file, text)]
    for finding in sorted(findings):
        print(finding)
    return min(len(findings), 1)


if __name__ == "__main__":
    raise SystemExit(main())
