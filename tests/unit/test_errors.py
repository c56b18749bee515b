"""Errors: whose fault they are, and what they carry."""

from __future__ import annotations

import pytest

import primus_proto as pp

LOCAL = [pp.LocalProtocolError, pp.ConfigError, pp.EncodeError]
REMOTE = [pp.RemoteProtocolError, pp.DecodeError, pp.ConnectError, pp.ConnectionLost, pp.BacklogExceeded]


@pytest.mark.parametrize("error", [*LOCAL, *REMOTE])
def test_local_mistakes_and_faults_of_the_peer_can_be_told_apart(error: type[Exception]) -> None:
    assert issubclass(error, pp.PrimusError)
    assert issubclass(error, pp.LocalProtocolError) is (error in LOCAL)
    assert issubclass(error, ValueError) is (error in (pp.ConfigError, pp.EncodeError))


def test_errors_carry_their_details() -> None:
    assert pp.DecodeError("no", b"raw").payload == b"raw"
    assert pp.DecodeError("no").payload == b""
    assert pp.ConnectionLost("gone").code == 1006
    assert pp.ConnectionLost("gone", code=1001).code == 1001
    refused = pp.Refused("no entry", 403, "Basic")
    assert (str(refused), refused.message) == ("no entry", "no entry")
    assert (refused.status, refused.authenticate) == (403, "Basic")
    assert pp.Refused("no").status is None  # it depends on where it is raised
    failed = pp.ConnectError("no", status=503, headers=[("Retry-After", "5")], body=b"later")
    assert (failed.status, failed.headers, failed.body) == (503, (("Retry-After", "5"),), b"later")


@pytest.mark.parametrize(
    ("final", "statuses"),
    [(True, [400, 401, 404, 426, 499]), (False, [None, 200, 302, 399, 408, 425, 429, 500, 503])],
)
def test_most_4xx_answers_are_final(final: bool, statuses: list[int | None]) -> None:
    """Protocol 4.4."""
    assert {pp.ConnectError("no", status=status).final for status in statuses} == {final}
