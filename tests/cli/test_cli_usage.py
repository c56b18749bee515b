"""Flags: every option has one, and a wrong value is reported in one sentence."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from primus_io.__main__ import main
from primus_io.cli.app import make_parser
from primus_io.cli.options import CLIENT_ONLY, SERVER_ONLY, SINGULAR, WITHOUT_FLAG, given_options, size
from primus_proto import ClientConfig, Limits, ServerConfig, __version__
from primus_proto.transports.engineio.options import EngineIOOptions
from tests.cli.command import run

URL = "http://localhost:8080"


def parse(*args: str) -> dict[str, Any]:
    """The options as the configuration gets them."""
    config = ServerConfig if args[0] == "serve" else ClientConfig
    return given_options(make_parser()[0].parse_args(args), config)


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("command", "config", "without"), [("connect", ClientConfig, SERVER_ONLY), ("serve", ServerConfig, CLIENT_ONLY)]
)
def test_every_option_has_a_flag_and_shows_its_default(
    command: str, config: type[ClientConfig] | type[ServerConfig], without: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, capsys)
    names = [field.name.replace("_", "-") for field in fields(config) if field.name not in {*WITHOUT_FLAG, *SINGULAR}]
    limits = {f"limit-{field.name.replace('_', '-')}": field.name not in without for field in fields(Limits)}
    for name in [*names, *(name for name, given in limits.items() if given)]:
        after = text.rpartition(f" --{name} ")[2]
        assert after != text, name
        own = re.split(r" --[a-z-]+ [A-Z]", after)[0]
        assert name in ("manual", "compression") or "(default: " in own, name
    assert not [name for name, given in limits.items() if not given and f"--{name} " in text]
    assert command == "serve" or all(flag in text for flag in SINGULAR.values())


def test_the_help_of_spec_has_only_what_one_request_needs(capsys: pytest.CaptureFixture[str]) -> None:
    flags = set(re.findall(r" (--[a-z-]+) ", help_of("spec", capsys)))
    assert flags >= {"--unix", "--cacert", "--pathname", "--timeout", "--header", "--limit-head", "--limit-body"}
    assert not flags & {"--ping", "--limit-backlog", "--limit-message", "--limit-queue", "--values"}


@pytest.mark.parametrize("command", ["connect", "spec", "serve", "demo"])
def test_help_fits_the_terminal(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_nothing_given_leaves_every_default() -> None:
    assert parse("connect", URL) == {"url": URL}
    assert parse("serve") == {}


@pytest.mark.parametrize(
    ("args", "option", "value"),
    [
        (["--ping", "2.5"], "ping", 2.5),
        (["--ping", "off"], "ping", False),
        (["--timeout", "0"], "timeout", False),
        (["--strategy", "none"], "strategy", frozenset()),
        (["--strategy", "Online, timeout"], "strategy", frozenset(("online", "timeout"))),
        (["--retries", "unlimited"], "retries", None),
        (["--queue-size", "unlimited"], "queue_size", None),
        (["--pathname", "a/b/"], "pathname", "/a/b/"),
        (["--query", "a=1", "--query", "b="], "query", (("a", "1"), ("b", ""))),
        (["--first-message", '{"a": 1}'], "first_message", {"a": 1}),
        (["--header", "A: 1", "--header", "B:2"], "headers", (("A", "1"), ("B", "2"))),
        (["--cookie", "a=1", "--cookie", "b=c=d"], "cookies", (("a", "1"), ("b", "c=d"))),
        (
            ["--transport", "transports=polling, websocket"],
            "transport_options",
            EngineIOOptions(("polling", "websocket")),
        ),
        (
            ["--transport", "protocol=3", "--transport", "upgrade=off"],
            "transport_options",
            EngineIOOptions(protocol=3, upgrade=False),
        ),
        (["--limit-message", "64K"], "limits", Limits(message=65536)),
        (["--limit-close", "0.5", "--limit-queue", "0"], "limits", Limits(close=0.5, queue=0)),
    ],
)
def test_values_of_a_client(args: list[str], option: str, value: Any) -> None:
    more = ["--transformer", "engine.io"] if option == "transport_options" else []
    assert getattr(ClientConfig(**parse("connect", URL, *more, *args)), option) == value


@pytest.mark.parametrize(
    ("args", "option", "value"),
    [
        (["--allow-skipped-heartbeats", "5"], "allow_skipped_heartbeats", 5),
        (["--authorization", "all"], "authorization", "all"),
        (["--authorization", "off"], "authorization", False),
        (["--trusted-proxies", "10.0.0.0/8, ::1"], "trusted_proxies", ("10.0.0.0/8", "::1")),
        (["--limit-heartbeat-max", "60"], "limits", Limits(heartbeat_max=60)),
    ],
)
def test_values_of_a_server(args: list[str], option: str, value: Any) -> None:
    assert getattr(ServerConfig(**parse("serve", *args)), option) == value


def test_sizes() -> None:
    assert [size(text) for text in ("0", "7", "2K", "2kb", "3MiB", "1g")] == [0, 7, 2048, 2048, 3 * 2**20, 2**30]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "usage: primus COMMAND"),
        (["conect"], "primus: unknown command 'conect'; did you mean connect?"),
        (["--nonsense"], "primus: unknown option --nonsense\n"),
        (["--jsn", "demo"], "primus: unknown option --jsn; did you mean --json?"),
        (["connect", URL, "more"], "primus: unrecognized arguments: more"),
        (["connect"], "primus connect: the following arguments are required: URL"),
        (["connect", URL, "--pings", "1"], "primus connect: unknown option --pings; did you mean --ping?"),
        (["connect", URL, "--pin", "1"], "primus connect: unknown option --pin; did you mean --ping?"),
        (["connect", URL, "--queueSize", "1"], "option --queueSize; did you mean --queue-size?"),
        (["connect", "http://\x1b[31m"], "primus connect: url "),
        (["connect", URL, "--parser", "xml"], "primus connect: unknown parser 'xml'; known: binary, ejson, json, "),
        (["connect", URL, "--json", "--values"], "--values and --json exclude each other"),
        (["connect", URL, "--ping", "soon"], "primus connect: argument --ping: not a number: 'soon'"),
        (["connect", URL, "--ping", "nan"], "--ping must be a number above 0, and finite (or 'off'); got nan"),
        (["connect", URL, "--header", "nonsense"], "primus connect: argument --header: not of the form 'Name: value'"),
        (["connect", URL, "--header", "a b: c"], "primus connect: not a header field name: 'a b'"),
        (["connect", URL, "--linger", "-1"], "primus connect: --linger must not be negative"),
        (["connect", URL, "--limit-head", "1.5M"], "--limit-head: not a size in bytes, such as 64K: '1.5M'"),
        (["connect", URL, "--cacert", "/nothing/there"], "primus connect: --cacert /nothing/there: No such file"),
        (["connect", URL, "--key", __file__], "primus connect: --key needs --cert"),
        (["connect", URL, "--cert", __file__], f"primus connect: --cert {__file__}: not usable"),
        (["connect", URL, "--proxy", "ftp://h"], "primus connect: --proxy must be 'env' or a URL like"),
        (["connect", URL, "--cacert", __file__], f"primus connect: --cacert {__file__}: not usable"),
        (["serve", "--port", "70000"], "primus serve: --port must be a number from 0 to 65535; got 70000"),
        (
            ["serve", "--dialect", "happn", "--ping-interval", "15"],
            "--ping-interval must not be set in dialect 'happn', only in 'primus' or 'auto'; got 15.0",
        ),
        (
            ["serve", "--transformer", "engine.io", "--transport", "transports=xhr"],
            "--transport transports must be a collection of 'polling' and 'websocket'; got ('xhr',)",
        ),
        (
            ["serve", "--transport", "upgrade=off"],
            "unknown option 'upgrade' in transport: transformer 'websockets' has",
        ),
        (["serve", "--mode", "mirror"], "primus serve: argument --mode: invalid choice: 'mirror'"),
        (["serve", "--authorization", "on"], "primus serve: --authorization needs --require KEY=VALUE"),
        (["serve", "--require", "a=b", "--authorization", "some"], "--authorization must be 'off', 'on' or 'all'"),
        (["serve", "--require", "token"], "primus serve: argument --require: not of the form KEY=VALUE: 'token'"),
        (
            ["serve", "--unix", "path", "--port", "0"],
            "primus serve: --unix replaces --host and --port: give either it or",
        ),
        (["serve", "--key", "k.pem"], "primus serve: --key needs --cert"),
        (["serve", "--cert", __file__], f"primus serve: --cert {__file__}: not usable"),
        (
            ["serve", "--limit-heartbeat-min", "9", "--limit-heartbeat-max", "1"],
            "primus serve: --limit-heartbeat-min must not be above --limit-heartbeat-max",
        ),
    ],
)
def test_wrong_usage(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    if args:
        assert len(err.splitlines()) == 2
        assert err.splitlines()[1].endswith("--help'.")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"primus {__version__}\n"
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in ("serve", "connect", "spec", "demo"))


def test_the_module_is_the_command() -> None:
    assert run("--version").lines == [f"primus {__version__}"]
    wrong = run("connect")
    assert (wrong.process.returncode, wrong.lines) == (2, [])
