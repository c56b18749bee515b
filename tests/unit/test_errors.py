"""Errors: what is whose, and what they carry."""

from __future__ import annotations

import pytest

import primus_proto as pp


@pytest.mark.parametrize("error", [pp.LocalProtocolError, pp.ConfigError, pp.EncodeError])
def test_the_applications_faults_are_local(error: type[Exception]) -> None:
    assert issubclass(error, pp.LocalProtocolError)
    assert issubclass(error, pp.PrimusError)


@pytest.mark.parametrize(
    "error", [pp.RemoteProtocolError, pp.DecodeError, pp.ConnectError, pp.ConnectionLost, pp.BacklogExceeded]
)
def test_the_peers_faults_are_not(error: type[Exception]) -> None:
    assert not issubclass(error, pp.LocalProtocolError)
    assert issubclass(error, pp.PrimusError)


@pytest.mark.parametrize("error", [pp.ConfigError, pp.EncodeError])
def test_a_wrong_value_is_a_value_error(error: type[Exception]) -> None:
    assert issubclass(error, ValueError)


def test_what_they_carry() -> None:
    assert pp.DecodeError("no", b"raw").payload == b"raw"
    assert pp.DecodeError("no").payload == b""
    assert pp.ConnectionLost("gone").code == 1006
    assert pp.ConnectionLost("gone", code=1001).code == 1001
    refused = pp.Refused("no entry", 403, "Basic")
    assert (str(refused), refused.message, refused.status, refused.authenticate) == (
        "no entry",
        "no entry",
        403,
        "Basic",
    )
    assert pp.Refused("no").status == 401
    failed = pp.ConnectError("no", status=503, headers=[("Retry-After", "5")], body=b"later")
    assert (failed.status, failed.headers, failed.body) == (503, (("Retry-After", "5"),), b"later")


@pytest.mark.parametrize(
    ("status", "final"),
    [
        (None, False),
        (200, False),
        (302, False),
        (399, False),
        (400, True),
        (401, True),
        (404, True),
        (408, False),
        (425, False),
        (426, True),
        (429, False),
        (499, True),
        (500, False),
        (503, False),
    ],
)
def test_which_answers_are_final(status: int | None, final: bool) -> None:
    """Protocol 4.4."""
    assert pp.ConnectError("no", status=status).final is final
