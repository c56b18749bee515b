"""Options: their defaults and forms. Each refusal names the option."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import math
import pickle
from collections import deque
from itertools import pairwise
from typing import Any, get_type_hints

import pytest

from primus_proto import ClientConfig, ConfigError, Limits, LocalProtocolError, ServerConfig
from primus_proto.options import ClientOptions, ServerOptions
from primus_proto.parsers import JSONParser

URL = "http://localhost:8080"
ALL = {"disconnect", "online", "timeout"}


def client(url: Any = URL, **options: Any) -> ClientConfig:
    return ClientConfig(url=url, **options)


@pytest.mark.parametrize(("config", "options"), [(ClientConfig, ClientOptions), (ServerConfig, ServerOptions)])
def test_type_checkers_know_the_same_options(config: Any, options: Any) -> None:
    fields = get_type_hints(config)
    fields.pop("url", None)  # an argument of its own wherever options are passed on
    assert get_type_hints(options) == fields, "primus_proto/options.py must have the options of config.py"
    assert options.__required_keys__ == frozenset()


def refuses_nonsense(config: Any, option: str) -> bool:
    try:
        config(**({"url": URL} if config is ClientConfig else {}) | {option: object()})
    except ConfigError:
        return True
    return option == "first_message"  # which may be anything


@pytest.mark.parametrize(("config", "file"), [(ClientConfig, "config"), (ServerConfig, "config"), (Limits, "limits")])
def test_each_option_is_described_and_checked(config: Any, file: str) -> None:
    [tree] = ast.parse(inspect.getsource(config)).body
    assert isinstance(tree, ast.ClassDef)
    described = {
        option.target.id
        for option, text in pairwise(tree.body)
        if isinstance(option, ast.AnnAssign) and isinstance(option.target, ast.Name) and isinstance(text, ast.Expr)
    }
    for option in dataclasses.fields(config):
        assert option.name in described, f"primus_proto/{file}.py must have a docstring below {option.name}"
        assert refuses_nonsense(config, option.name), (
            f"__post_init__ in primus_proto/{file}.py must check {option.name}"
        )


def test_the_defaults_are_those_of_the_protocol() -> None:
    """Protocol 2, 3.1, 3.2, 4.3, 4.4 and 4.6. For those of 7 see tests/test_docs.py."""
    config = client()
    assert (config.pathname, config.ping, config.pong, config.timeout) == ("/primus", None, 10.0, 10.0)
    assert (config.dialect, config.ping_timeout) == ("auto", None)
    assert (config.min, config.max, config.factor, config.retries) == (0.5, math.inf, 2.0, 10)
    assert (config.reconnect_timeout, config.queue_size, config.manual) == (30.0, None, False)
    assert config.parser == "json"
    assert (set(config.strategies), config.header_pairs) == (ALL, ())
    server = ServerConfig()
    assert (server.pathname, server.allow_skipped_heartbeats, server.pong_skip_time) == ("/primus", 2, 1.0)
    assert (server.authorization, server.networks()) == (False, ())
    assert (server.dialect, server.timeout, server.ping_interval, server.detect_after) == ("auto", 35.0, 30.0, 35.0)


def test_a_config_is_frozen_and_can_be_replaced() -> None:
    config = client(strategy="online", headers={"X-A": "1"}, ping=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.ping = 1.0  # type: ignore[misc]
    assert config == client(strategy=["ONLINE"], headers=[("X-A", "1")], ping=False)
    other = dataclasses.replace(config, pong=3.0)
    assert (other.pong, other.ping) == (3.0, False)
    assert (set(other.strategies), other.header_pairs) == ({"online"}, (("X-A", "1"),))


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        (None, ALL),
        (True, ALL),
        (False, set()),
        (frozenset(), set()),
        ("Disconnect, ONLINE", {"disconnect", "online"}),
        ("timeout,", {"timeout"}),
        (["timeout", "Online "], {"timeout", "online"}),
        ({"online": 1}, {"online"}),
        (deque(["online"]), {"online"}),
    ],
)
def test_a_strategy_may_be_given_in_many_forms(strategy: Any, names: set[str]) -> None:
    """Protocol 4.4."""
    assert client(strategy=strategy).strategies == names


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "authority"),
    [
        ("http://h", False, "h", 80, "h"),
        ("https://h", True, "h", 443, "h"),
        ("ws://h/", False, "h", 80, "h"),
        ("wss://h:1/", True, "h", 1, "h:1"),
        ("HTTP://Host:8080/?a=b", False, "host", 8080, "Host:8080"),
        ("http://[::1]:81", False, "::1", 81, "[::1]:81"),
        ("http://me:pw@h:5/primus/", False, "h", 5, "h:5"),
        ("https://h.test.:5", True, "h.test.", 5, "h.test.:5"),
        ("https://[fe80::1%25eth0]:5", True, "fe80::1%eth0", 5, "[fe80::1]:5"),
        ("https://[fe80::1%eth0]", True, "fe80::1%eth0", 443, "[fe80::1]"),
        ("https://b\xfccher.test:5", True, "xn--bcher-kva.test", 5, "xn--bcher-kva.test:5"),
    ],
)
def test_a_url_names_host_port_and_security(url: str, secure: bool, host: str, port: int, authority: str) -> None:
    config = client(url)
    assert (config.secure, config.host.resolver, config.port, config.authority) == (secure, host, port, authority)
    assert config.host.tls == host.removesuffix(".").removesuffix("%eth0")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "url must be a string"),
        (b"http://h", "url must be a string"),
        ("http://[::1", "is not a URL"),
        ("https://.test", "host whose parts have 1 to 63 characters"),
        ("http://two..dots", "host whose parts"),
        ("http://" + "x" * 64 + ".test", "host whose parts"),
        ("http://h:port", "a number from 1 to 65535 as its port"),
        ("http://h:99999", "a number from 1 to 65535 as its port"),
        ("localhost:8080", "must start with http://"),
        ("ftp://h", "must start with http://"),
        ("", "must start with http://"),
        ("http://", "must name a host"),
        ("http://:80", "must name a host"),
        ("http://h:0", "must name a host"),
        ("http://h/ x", "ASCII without spaces"),
        ("http://h/?a\tb", "ASCII without spaces"),
        ("http://h/?ü", "ASCII without spaces"),
        ("http://straße.test", "ASCII form"),
        (f"http://{'ü' * 64}.test", "ASCII form"),
        ("http://\xa0a\xa0b", "no host has ' ' in its name"),
        ("http://a%20b", "no host has '%' in its name"),
        ("http://h/chat", "pathname='/chat'"),
    ],
)
def test_a_wrong_url_is_refused(url: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        client(url)


@pytest.mark.parametrize(
    ("given", "pathname", "base"),
    [
        ("primus", "/primus", "/primus"),
        ("/primus", "/primus", "/primus"),
        ("primus/", "/primus/", "/primus"),
        ("/a/b-c.d", "/a/b-c.d", "/a/b-c.d"),
        ("/", "/", ""),
    ],
)
def test_a_pathname_begins_with_a_slash_and_may_end_with_one(given: str, pathname: str, base: str) -> None:
    for config in (client(pathname=given), ServerConfig(pathname=given)):
        assert (config.pathname, config.base) == (pathname, base)
    client("http://h" + base, pathname=given)
    client(f"http://h{base}/", pathname=given)


@pytest.mark.parametrize(
    "pathname", ["", "//", None, 5, "/a//b", "/a//", "/a/../b", "/.", "/a?b", "/a#b", "/a b", "/ä"]
)
def test_a_wrong_pathname_is_refused(pathname: Any) -> None:
    for config in (client, ServerConfig):
        with pytest.raises(ConfigError, match="pathname must be"):
            config(pathname=pathname)


WRONG_FOR_CLIENTS: list[tuple[str, Any]] = [
    *[("ping", value) for value in (-1, True, "25", math.inf, math.nan, -math.inf, 10**400)],
    *[("timeout", value) for value in (-0.1, True, "10", math.inf)],
    *[("pong", value) for value in (0, -1, False, None, math.inf)],
    *[("min", value) for value in (-1, None, math.inf, True)],
    *[("max", value) for value in (0.4, math.nan, "inf", 10**400)],
    *[("factor", value) for value in (0, -2, math.inf)],
    *[("retries", value) for value in (-1, 1.5, True, -math.inf)],
    *[("reconnect_timeout", value) for value in (0, False, math.inf)],
    *[("queue_size", value) for value in (-1, 1.0, True, math.nan)],
    *[("manual", value) for value in ("no", 0, None)],
    *[("strategy", value) for value in ("always", ["online", "never"], 5, 1.0, [None])],
    *[("headers", value) for value in (5, "X-A", [("a",)], [("a", "b", "c")], [5])],
    *[("limits", value) for value in (None, {"queue": 5})],
    *[("transformer", value) for value in ("browserchannel", None, ["websockets"])],
    *[("parser", value) for value in ("yaml", None)],
]


@pytest.mark.parametrize(("name", "value"), WRONG_FOR_CLIENTS)
def test_a_wrong_option_of_a_client_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        client(**{name: value})


def test_a_wrong_option_is_a_local_error_and_a_value_error() -> None:
    with pytest.raises(LocalProtocolError):
        client(ping=-1)
    with pytest.raises(ValueError, match=r"ping must be a number above 0, and finite \(False or 0: off\); got -1"):
        client(ping=-1)
    with pytest.raises(ValueError, match=r"number of at least 0, or None: it never gives up; got 1\.5"):
        client(retries=1.5)


@pytest.mark.parametrize(
    ("config", "name", "value", "advice"),
    [
        (client, "ping", 25000, r"seconds, not milliseconds.* did you mean 25 \(False or 0: off\)\?"),
        (client, "min", 500, "did you mean 0.5"),
        (client, "max", 30000, "did you mean 30, or math.inf for no limit"),
        (ServerConfig, "ping_interval", 30000, "did you mean 30"),
        (ServerConfig, "pong_skip_time", 1000, "did you mean 1"),
        (Limits, "close", 5000, "limits.close must be a duration in seconds"),
    ],
)
def test_milliseconds_are_refused(config: Any, name: str, value: float, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        config(**{name: value})


CONFIGS = [
    client("http://me:pw@h/?token=s3cret", headers={"Authorization": "s3cret"}, parser="JSON", strategy="online"),
    client(parser=JSONParser()),
    ServerConfig(trusted_proxies=["unix"], forwarded_by="Forwarded", transformer="WebSockets"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_configuration_is_plain_data(config: Any) -> None:
    values = dataclasses.asdict(config)
    limits = Limits(**values.pop("limits"))
    copies = [pickle.loads(pickle.dumps(config)), copy.deepcopy(config), type(config)(**values, limits=limits)]
    for each in copies:
        if isinstance(config.parser, str):
            assert each == config
        else:
            assert isinstance(each.parser, JSONParser)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:pw@h/?token=s3cret",
        "http://me:s3cret@h/x",
        "me:s3cret@h",
        "http://me:s3c?ret@h",
        "http://h:s3c/ret@h",
    ],
)
def test_no_text_shows_what_a_url_keeps_secret(url: str) -> None:
    try:
        text = repr(
            ClientConfig(url=url, headers={"Authorization": "s3cret"}, cookies={"c": "s3cret"}, first_message="s3cret")
        )
    except ConfigError as error:
        text = str(error)
    assert "h" in text
    assert not [secret for secret in ("s3c", "pw", "token") if secret in text], text


def test_infinity_is_no_limit() -> None:
    config = client(retries=math.inf, queue_size=math.inf, max=math.inf)
    assert (config.retries, config.queue_size, config.max) == (None, None, math.inf)


def test_values_at_the_edge_are_accepted() -> None:
    config = client(min=0, max=0, retries=0, queue_size=0, pong=1e-3, factor=0.5, ping=0, timeout=0.0)
    assert (config.min, config.max, config.retries, config.queue_size) == (0, 0, 0, 0)
    assert (config.ping, config.timeout) == (False, False)
    assert client(max=math.inf).max == math.inf
    parser = JSONParser()
    assert client(parser=parser).parser is parser
    pairs = (("X-A", ""), ("x-a", "b\tc d"), ("Cookie", "caf\xe9"))
    assert client(headers=pairs).header_pairs == pairs
    cookies = client(headers={"X-A": "b"}, cookies={"a": "1", "b": '"x=,\\"'})
    assert cookies.header_pairs == (("X-A", "b"), ("Cookie", 'a=1; b="x=,\\"'))
    networks = ServerConfig(trusted_proxies=["10.1.2.3/8", "::1"]).networks()
    assert [str(network) for network in networks] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[(name, "x", f"header {name} belongs to the connection") for name in ("Host", "connection", "Content-Length")],
        *[(name, "x", f"header {name} belongs to the connection") for name in ("Upgrade", "transfer-encoding")],
        *[(name, "x", f"header {name} belongs to the connection") for name in ("Sec-WebSocket-Key",)],
        *[("X-A", value, "header X-A has a value") for value in ("a\r\nX-B: b", "a\n", " a", "a\x00", "\u20ac", 5)],
        *[(name, "a", "not a header field name") for name in ("", "X A", "X:A", "X\nA", "ü", None, b"X")],
    ],
)
def test_headers_that_cannot_be_sent_are_refused(name: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        client(headers=[(name, value)])


@pytest.mark.parametrize(
    ("cookies", "message"),
    [
        *[(value, "cookies must be a mapping of strings") for value in (5, "a=1", [("a",)], {"a": 1}, None)],
        *[({name: "1"}, "not the name of a cookie") for name in ("", "a b", "a=b", "a;b", "ä", "a\r\n")],
        *[({"a": value}, "cookie a has a value") for value in ("a b", "a;b", "a\r\nX: y", "ä", " a")],
        ({"a": "1"}, "give cookies, or a header Cookie, not both"),
    ],
)
def test_cookies_that_cannot_be_sent_are_refused(cookies: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        client(cookies=cookies, headers={"cookie": "b=2"})


WRONG_FOR_SERVERS: list[tuple[str, Any]] = [
    *[("allow_skipped_heartbeats", value) for value in (0, 1, 2.5, True, None)],
    *[("pong_skip_time", value) for value in (-1, True, math.inf, None)],
    *[("authorization", value) for value in ("some", None, 2)],
    *[("trusted_proxies", value) for value in ("10.0.0.1", ["10.0.0.300"], ["proxy"], 5, None, [5])],
    *[("limits", value) for value in (None, 5)],
    *[("transformer", value) for value in ("", "uws")],
    *[("parser", value) for value in ("", 5)],
    *[("detect_after", 0), ("timeout", -1), ("ping_interval", "x"), ("dialect", "8")],
]


@pytest.mark.parametrize(("name", "value"), WRONG_FOR_SERVERS)
def test_a_wrong_option_of_a_server_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        ServerConfig(**{name: value})


OF_OTHERS: list[tuple[Any, str, str, Any, str]] = [
    *[(client, "primus", name, 20.0, "'happn' or 'primus6' or 'auto'") for name in ("ping", "pong")],
    *[(client, dialect, "ping_timeout", 45.0, "'primus' or 'auto'") for dialect in ("happn", "primus6")],
    *[(ServerConfig, dialect, "ping_interval", 15.0, "'primus' or 'auto'") for dialect in ("happn", "primus6")],
    *[(ServerConfig, dialect, "timeout", 20.0, "'primus6' or 'auto'") for dialect in ("happn", "primus")],
    *[(ServerConfig, dialect, "pong_skip_time", 0.5, "'happn' or 'auto'") for dialect in ("primus6", "primus")],
    *[(ServerConfig, "primus", name, 3, "'happn' or 'auto'") for name in ("allow_skipped_heartbeats",)],
    *[(ServerConfig, dialect, "detect_after", 20.0, "'auto'") for dialect in ("happn", "primus6", "primus")],
]


@pytest.mark.parametrize(("config", "dialect", "name", "value", "others"), OF_OTHERS)
def test_an_option_of_another_dialect_is_refused(config: Any, dialect: str, name: str, value: Any, others: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(dialect=dialect, **{name: value})
    assert str(caught.value) == f"{name} must not be set in dialect {dialect!r}, only in {others}; got {value!r}"
    assert getattr(config(**{name: value}), name) == value


@pytest.mark.parametrize("dialect", ["auto", "happn", "primus6", "primus"])
def test_off_and_default_values_suit_every_dialect(dialect: Any) -> None:
    for off in (False, 0):
        client(dialect=dialect, ping=off, ping_timeout=off)
        ServerConfig(dialect=dialect, timeout=off, ping_interval=off, pong_skip_time=0)
    client(dialect=dialect, ping=None, pong=10.0, ping_timeout=None)
    ServerConfig(dialect=dialect, timeout=35.0, ping_interval=30, detect_after=35, allow_skipped_heartbeats=2)


WRONG_LIMITS: list[tuple[str, Any]] = [
    *[(name, 0) for name in ("head", "pipelined", "message", "fragments")],
    *[(name, -1) for name in ("body", "backlog", "queue", "authorizations", "unclaimed")],
    *[(name, 1.5) for name in ("head", "queue")],
    *[(name, 0) for name in ("handshake", "close", "heartbeat_min", "heartbeat_max", "authorization")],
    *[(name, math.inf) for name in ("handshake", "heartbeat_max")],
    ("heartbeat_min", 601.0),
]


@pytest.mark.parametrize(("name", "value"), WRONG_LIMITS)
def test_a_wrong_limit_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"limits\.{name} must"):
        Limits(**{name: value})
