"""Flags: every option of the configuration has one, and a wrong value is answered in a sentence."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import Any

import pytest

from primus_io.__main__ import main
from primus_io.cli.app import make_parser
from primus_io.cli.options import CLIENT_HELP, LIMIT_HELP, SERVER_HELP, Words, given_options, size
from primus_proto import ClientConfig, Limits, ServerConfig, __version__
from tests.cli.command import run

URL = "http://localhost:8080"


def parse(*args: str) -> dict[str, Any]:
    """The options as the configuration gets them."""
    config = ServerConfig if args[0] == "serve" else ClientConfig
    return given_options(make_parser().parse_args(args), config)


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("command", "config"), [("connect", ClientConfig), ("serve", ServerConfig)])
def test_every_option_has_a_flag_and_shows_its_default(
    command: str, config: type[ClientConfig] | type[ServerConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, capsys)
    names = [field.name.replace("_", "-") for field in fields(config) if field.name not in ("url", "limits", "headers")]
    names += [f"limit-{field.name.replace('_', '-')}" for field in fields(Limits)]
    for name in names:
        after = text.rpartition(f" --{name} ")[2]
        assert after != text, name
        own = re.split(r" --[a-z-]+ [A-Z]", after)[0]
        assert name == "manual" or "(default: " in own, name
    assert "--header" in text or command == "serve"


@pytest.mark.parametrize(
    ("words", "config"), [(CLIENT_HELP, ClientConfig), (SERVER_HELP, ServerConfig), (LIMIT_HELP, Limits)]
)
def test_every_flag_has_its_words_in_the_help(words: dict[str, Words], config: type[Any]) -> None:
    assert words.keys() == {field.name for field in fields(config)} - {"url", "limits"}


def test_nothing_given_leaves_every_default() -> None:
    assert parse("connect", URL) == {"url": URL}
    assert parse("serve") == {}


@pytest.mark.parametrize(
    ("args", "option", "value"),
    [
        (["--ping", "2.5"], "ping", 2.5),
        (["--ping", "off"], "ping", False),
        (["--ping", "auto"], "ping", None),
        (["--dialect", "happn"], "dialect", "happn"),
        (["--timeout", "0"], "timeout", False),
        (["--strategy", "none"], "strategy", frozenset()),
        (["--strategy", "all"], "strategy", frozenset(("disconnect", "online", "timeout"))),
        (["--strategy", "Online, timeout"], "strategy", frozenset(("online", "timeout"))),
        (["--max", "inf"], "max", math.inf),
        (["--factor", "1.5"], "factor", 1.5),
        (["--retries", "0"], "retries", 0),
        (["--retries", "unlimited"], "retries", None),
        (["--queue-size", "5"], "queue_size", 5),
        (["--queue-size", "unlimited"], "queue_size", None),
        (["--manual"], "manual", True),
        (["--pathname", "a/b/"], "pathname", "/a/b"),
        (["--header", "A: 1", "--header", "B:2"], "headers", (("A", "1"), ("B", "2"))),
        (["--limit-backlog", "64K"], "limits", Limits(backlog=65536)),
        (["--limit-message", "1.5M"], None, None),
        (["--limit-close", "0.5", "--limit-queue", "0"], "limits", Limits(close=0.5, queue=0)),
    ],
)
def test_values_of_a_client(args: list[str], option: str | None, value: Any) -> None:
    if option is None:
        assert main(["connect", URL, *args]) == 2
    else:
        assert getattr(ClientConfig(**parse("connect", URL, *args)), option) == value


@pytest.mark.parametrize(
    ("args", "option", "value"),
    [
        (["--allow-skipped-heartbeats", "5"], "allow_skipped_heartbeats", 5),
        (["--pong-skip-time", "0"], "pong_skip_time", 0),
        (["--authorization", "all"], "authorization", "all"),
        (["--authorization", "off"], "authorization", False),
        (["--authorization", "On"], "authorization", True),
        (["--dialect", "primus6"], "dialect", "primus6"),
        (["--timeout", "off"], "timeout", False),
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
        (["nonsense"], "primus: argument COMMAND: invalid choice: 'nonsense'"),
        (["--nonsense"], "primus: there is no '--nonsense' here"),
        (["connect"], "primus connect: the following arguments are required: URL"),
        (["connect", URL, "--pings", "1"], "primus connect: there is no '--pings' here"),
        (["connect", URL, "--pin", "1"], "primus connect: there is no '--pin' here"),
        (["connect", "localhost:8080"], "primus connect: url must start with http://"),
        (["connect", "http://localhost:99999"], "primus connect: url 'http://localhost:99999' is not a URL"),
        (["connect", "http://x/chat"], "url must not have a path of its own: give --pathname /chat instead"),
        (["connect", "http://\x1b[31m"], "primus connect: url "),
        (["connect", URL, "--parser", "xml"], "primus connect: unknown parser 'xml'; known: json"),
        (["connect", URL, "--transformer", "x"], "primus connect: unknown transformer 'x'; known: websockets"),
        (["demo", "--io", "twisted"], "primus demo: argument --io: invalid choice: 'twisted'"),
        (["connect", URL, "--ping", "soon"], "primus connect: argument --ping: not a number: 'soon'"),
        (["connect", URL, "--ping", "nan"], "primus connect: argument --ping: not a number: 'nan'"),
        (["connect", URL, "--pong", "-1"], "primus connect: --pong must be a number above 0"),
        (["connect", URL, "--ping", "-1"], "--ping must be a number above 0, and finite (or 'off'); got -1.0"),
        (["connect", URL, "--min", "5", "--max", "1"], "primus connect: --max must be a number of at least 5"),
        (["connect", URL, "--retries", "1.5"], "primus connect: argument --retries: not a whole number: '1.5'"),
        (["connect", URL, "--strategy", "hope"], "primus connect: argument --strategy: 'hope' is none of: disconnect"),
        (["connect", URL, "--header", "nonsense"], "primus connect: argument --header: not of the form 'Name: value'"),
        (["connect", URL, "--header", "a b: c"], "primus connect: not a header field name: 'a b'"),
        (["connect", URL, "--linger", "-1"], "primus connect: argument --linger: not a number of seconds"),
        (["connect", URL, "--limit-head", "0"], "primus connect: --limit-head must be a whole number of at least 1"),
        (["connect", URL, "--ca", "/nothing/there"], "primus connect: --ca /nothing/there: No such file"),
        (["connect", URL, "--ca", __file__], f"primus connect: --ca {__file__}: not usable"),
        (["spec", "ftp://x"], "primus spec: url must start with http://"),
        (["serve", "--port", "70000"], "primus serve: argument --port: not a port from 0 to 65535: '70000'"),
        (
            ["serve", "--dialect", "happn", "--ping-interval", "15"],
            "--ping-interval must not be set in dialect 'happn', only in 'primus' or 'auto'; got 15.0",
        ),
        (["serve", "--dialect", "klingon"], "primus serve: argument --dialect: 'klingon' is none of: auto, happn"),
        (["serve", "--mode", "mirror"], "primus serve: argument --mode: invalid choice: 'mirror'"),
        (["serve", "--pathname", "a?b"], "primus serve: --pathname must be a URL path"),
        (
            ["serve", "--allow-skipped-heartbeats", "1"],
            "--allow-skipped-heartbeats must be a whole number of at least 2",
        ),
        (["serve", "--trusted-proxies", "me"], "primus serve: --trusted-proxies must be IP addresses or networks"),
        (["serve", "--authorization", "on"], "primus serve: --authorization needs --require KEY=VALUE"),
        (["serve", "--require", "token"], "primus serve: argument --require: not of the form KEY=VALUE: 'token'"),
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
