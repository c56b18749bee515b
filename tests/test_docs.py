"""The documentation, tested as it stands: examples run, commands exist, links and citations lead on."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from primus_proto import Limits

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PROTOCOL = ROOT / "docs/reference/protocol.md"
PAGES = sorted(page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if page.is_file())
TIMEOUT = 60.0  # of an example, seconds

# Other words for these would go untested.
UNTESTED_TAGS = {"py", "python3", "ipython", "doctest", "sh", "bash", "shell", "shell-session", "zsh"}


@dataclass(frozen=True)
class Block:
    """One fenced block: what it is tagged with, and where it stands."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def tag(self) -> str:
        return self.info.partition(" ")[0]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(*tags: str) -> list[Block]:
    """Every fenced block of the documentation, or those with one of these tags."""
    found = [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for page in PAGES
        for token in tokens(page)
        if token.type == "fence" and token.map is not None
    ]
    return [block for block in found if not tags or block.tag in tags]


def run(*command: str, cwd: Path) -> None:
    """Run an example; its failure shows all that it said."""
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"not ended after {TIMEOUT:g} s; it said:\n{expired.stdout!r}\n{expired.stderr!r}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_the_readme_has_examples() -> None:
    assert {"python", "console"} <= {block.tag for block in blocks() if block.page == README}


def test_every_example_has_a_tag_that_is_tested() -> None:
    """A tag says all there is to say: `python no-run` or the like would be an example nobody runs."""
    tested = {"python", "pycon", "console"}
    wrong = [
        f"{block}: ```{block.info}"
        for block in blocks()
        if block.tag in UNTESTED_TAGS or (block.tag in tested and block.info != block.tag)
    ]
    assert wrong == []


@pytest.mark.parametrize("block", blocks("python", "pycon"), ids=str)
def test_examples_do_what_they_say(block: Block, tmp_path: Path) -> None:
    """A program runs to its end; a session with the interpreter shows what it really answers."""
    example = tmp_path / ("example.py" if block.tag == "python" else "session.txt")
    example.write_text(block.text, encoding="utf-8")
    doctest = () if block.tag == "python" else ("-m", "doctest")
    run(sys.executable, "-W", "error", *doctest, str(example), cwd=tmp_path)


def invocations(line: str) -> Iterator[list[str]]:
    """The single commands of a shell line, without variables set before and the path to the program."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word and set(word) <= set("();<>|&"):
            if words:
                yield [words[0].rpartition("/")[2], *words[1:]]
            words = []
        elif words or not re.match(r"[A-Za-z_]\w*=", word):
            words.append(word)


def commands(*programs: str) -> list[tuple[str, list[str]]]:
    """(where, words) of each run of these programs behind a `$` in a console block."""
    found = []
    for block in blocks("console"):
        lines = block.text.replace("\\\n", " ").splitlines()
        for line in lines:
            if line.startswith("$ "):
                found += [(f"{block}: {line}", words) for words in invocations(line[2:])]
    return [(where, words) for where, words in found if words[0] in programs]


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


@cache
def help_of(*subcommand: str) -> str | None:
    """What `primus SUBCOMMAND --help` says; None where it does not exist."""
    command = [sys.executable, "-m", "primus_io", *subcommand, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    return done.stdout if done.returncode == 0 else None


def runs(*programs: str) -> pytest.MarkDecorator:
    found = commands(*programs)
    return pytest.mark.parametrize(("where", "words"), found, ids=[where for where, _ in found])


@runs("python")
def test_programs_of_ours_exist(where: str, words: list[str]) -> None:
    """What tests/examples runs is run there as the text says."""
    file = next((word for word in words[1:] if word.endswith(".py")), None)
    assert file is None or (ROOT / file).is_file(), f"there is no {file}"


@runs("primus", "make")
def test_commands_exist(where: str, words: list[str]) -> None:
    program, *arguments = words
    options = {word.partition("=")[0] for word in arguments if re.match(r"--?[A-Za-z]", word)}
    plain = [word for word in arguments if not word.startswith("-") and not re.match(r"[A-Z]+=", word)]
    if program == "make":
        assert set(plain) <= make_targets()
        return
    subcommand = arguments[:1] if plain and arguments[0] == plain[0] else []
    text = help_of(*subcommand)
    assert text is not None, f"primus has no {' '.join(subcommand)!r}"
    known = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))
    assert options <= known, f"primus {' '.join(subcommand)} knows no {sorted(options - known)}"


def headings(page: Path) -> list[str]:
    return [text.content for opening, text in pairwise(tokens(page)) if opening.type == "heading_open"]


def anchors(page: Path) -> set[str]:
    """What a link to a heading may end in, formed as the usual forges do."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings(page)}


def links() -> list[tuple[Path, str]]:
    """Each link and picture of the documentation that points into the repository."""
    found = []
    for page in PAGES:
        for token in tokens(page):
            for child in token.children or ():
                target = child.attrGet("href") or child.attrGet("src")
                if isinstance(target, str) and not re.match(r"[a-z][a-z0-9+.-]*:", target):
                    found.append((page, target))
    return found


def test_links_lead_somewhere() -> None:
    dead = []
    for page, target in links():
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(f"{page.relative_to(ROOT).as_posix()}: {target}")
    assert dead == []


def test_the_protocol_page_has_the_sections_that_the_code_cites() -> None:
    known = {match[0] for text in headings(PROTOCOL) if (match := re.match(r"\d+(?:\.\d+)?", text))}
    number = r"\d+(?:\.\d+)?"
    citation = re.compile(rf"\bprotocol ({number}(?:(?:, | and |, and ){number})*)")
    missing = [
        f"{file.relative_to(ROOT).as_posix()}: protocol {section}"
        for folder in ("primus_proto", "bindings", "examples", "tests/unit", "tests/scenarios")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for sections in citation.findall(file.read_text(encoding="utf-8"))
        for section in re.findall(number, sections)
        if section not in known
    ]
    assert missing == []


def test_the_protocol_page_lists_every_limit_with_its_default() -> None:
    unit = {"": 1, "KiB": 1024, "MiB": 1024**2, "s": 1, "min": 60}
    section = PROTOCOL.read_text(encoding="utf-8").partition("\n## 7. Limits\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| (off|[\d,]+) ?(\w*) \|", section, re.MULTILINE)
    listed = {
        name: math.inf if number == "off" else int(number.replace(",", "")) * unit[suffix]
        for name, number, suffix in rows
    }
    limits = {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    assert listed == limits, "section 7 of docs/reference/protocol.md must list each limit with its default"
