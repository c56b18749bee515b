"""What the reference generates from the code: tables of events, the help of the command, and options in docstrings."""

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from primus_io.cli.app import make_parser
from primus_proto import events

OPTION = re.compile(r" {4}(\w+): (.*)")


class Probe:
    """Answers for each attribute with its name, so that the `args` of an event class are the names of its arguments."""

    def __getattr__(self, name: str) -> str:
        return name


def arguments(event: type[events.Event]) -> str:
    probe = Probe()
    given = event.args.fget(probe)  # type: ignore[attr-defined]
    return ", ".join(f"``{'event' if one is probe else one}``" for one in given)


class EventsTable(SphinxDirective):
    """The events that `on` of a class knows: ``events-table:: primus_io.asyncio.Client``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        names = getattr(importlib.import_module(module), name).NAMES
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 22 16 40", ""]
        rows = [("name", "class", "arguments", "when")]
        for cls in map(events.__dict__.get, events.__all__):
            if inspect.isclass(cls) and issubclass(cls, events.Event) and cls.name in names:
                if end_of(cls) != name:
                    continue
                names = names - {cls.name}
                summary = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
                link = f":class:`~primus_proto.events.{cls.__name__}`"
                rows.append((f"``{cls.name}``", link, arguments(cls), code(summary)))
        if names:
            raise self.error(f"no class of primus_proto.events for {sorted(names)}")
        for row in rows:
            lines += [f"   {'*' if not index else ' '} - {cell}" for index, cell in enumerate(row)]
        return self.parse_text_to_nodes("\n".join(lines))


def end_of(cls: type[events.Event]) -> str:
    """The class whose listeners hear of it: some names, such as `close`, stand for different events there."""
    if issubclass(cls, events.SparkEvent):
        return "Server" if cls in SPARK_EVENTS_OF_A_SERVER else "Spark"
    return "Server" if cls in SERVER_EVENTS else "Client"


SPARK_EVENTS_OF_A_SERVER = {events.SparkConnected, events.SparkDisconnected, events.HeartbeatSkipped, events.Flatlined}
SERVER_EVENTS = {
    events.Initialised,
    events.ServerClosed,
    events.Logged,
    events.PluginAdded,
    events.PluginRemoved,
}


class CommandHelp(Directive):
    """The ``--help`` of each command."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        parser, parsers = make_parser()
        for name, one in {"primus": parser, **{f"primus {name}": one for name, one in parsers.items()}}.items():
            section = nodes.section(ids=[name.replace(" ", "-")])
            section += nodes.title(text=name)
            text = re.sub(r"\x1b\[[0-9;]*m", "", one.format_help())
            section += nodes.literal_block(text, text, language="text")
            found.append(section)
        return found


def code(text: str) -> str:
    """Docstrings put code in single backticks; RST wants two."""
    return re.sub(r"(?<![`:\w])`([^`\n]+)`(?!`)", r"``\1``", text)


def reformat(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the list of options in a docstring into a definition list."""
    out: list[str] = []
    in_options = False
    for line in lines:
        if in_options and (match := OPTION.fullmatch(line)):
            out += [f"``{match[1]}``", f"    {match[2]}"]
        elif in_options and line.startswith(" " * 8):
            out.append(f"    {line.strip()}")
        else:
            in_options = bool(re.match(r"Options, .*:$", line))
            out.append(line)
            if in_options:
                out.append("")
    lines[:] = [code(line) for line in out]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("events-table", EventsTable)
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", reformat)
    return {"parallel_read_safe": True}
