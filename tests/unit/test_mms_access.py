"""Rights, settings and limits of MMS clients, without sockets."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.contract.errors import ConfigurationError
from mms_bridge.access.associations import PER_IED, STANDING_FOR, Associations, alias
from mms_bridge.access.client_rights import Client, read_rights
from mms_bridge.access.handshake_limit import PER_ADDRESS, HandshakeLimit, RateLimit
from mms_bridge.access.tls_credentials import load
from mms_bridge.settings import MmsSettings, Right, TlsFiles
from tests.support.certificates import Authority

FILE = """
[clients.desk]
rights = "control"
addresses = ["10.0.0.0/24", "10.1.0.7"]
[clients."screen 2"]
rights = "observe"
"""


def access(*, allowed: str = "", plain: Right | None = None, per_address: int = 20) -> Associations:
    """A registry with nobody in it."""
    networks = tuple(map(IPv4Network, allowed.split()))
    return Associations(allowed=networks, plain_right=plain, per_address=per_address)


def test_rights_are_those_of_the_name_and_the_address() -> None:
    rights = read_rights(FILE)
    assert rights.of("desk", "10.0.0.9") is rights.of("desk", "10.1.0.7") is Right.CONTROL
    assert rights.of("desk", "10.1.0.8") is None
    assert rights.of("screen 2", "192.0.2.1") is Right.OBSERVE
    assert rights.of("nobody", "10.0.0.9") is None
    assert read_rights('default = "observe"\n' + FILE).of("nobody", "10.0.0.9") is Right.OBSERVE
    assert read_rights('default = "observe"\n' + FILE).of("desk", "192.0.2.1") is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("clients.desk.rights", "not TOML"),
        ('clients.desk.rights = "everything"', "clients.desk.rights"),
        ('clients.desk.right = "observe"', "clients.desk.right"),
        ('clients.desk = {rights = "observe", addresses = ["10.0.0.1/24"]}', "clients.desk.addresses.0"),
        ('default = "all"', "default"),
        ('clients."".rights = "observe"', "clients"),
    ],
)
def test_a_bad_rights_file_says_where(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_rights(text)


def test_plain_clients_control_from_loopback_only_unless_told() -> None:
    assert access().may_control("127.0.0.1:5000")
    assert not access().may_control("10.0.0.5:5000")
    assert access(plain=Right.CONTROL).may_control("10.0.0.5:5000")
    assert not access(plain=Right.OBSERVE).may_control("127.0.0.1:5000")
    assert not access(plain=Right.CONTROL).may_control("unknown")


def test_who_pretends_to_be_a_tls_client_is_turned_away() -> None:
    inner = alias("desk")
    assert IPv4Address(inner) in STANDING_FOR
    assert inner == alias("desk") != alias("screen")
    registry = access(plain=Right.CONTROL)
    assert not registry.may_control(f"{inner}:5000")
    assert "stands for a client" in registry.plain_objection(inner)


def test_a_plain_client_is_known_behind_the_address_that_the_library_has() -> None:
    registry = access()
    registry.enter_plain(7, "127.64.0.1:4000", ("127.0.0.1", 5000))
    registry.enter_plain(8, "127.64.0.2:4000", ("10.0.0.5", 5000))
    assert str(registry.who("127.64.0.1:4000")) == "127.0.0.1:5000"
    assert registry.may_control("127.64.0.1:4000")
    assert not registry.may_control("127.64.0.2:4000")
    registry.leave_plain(7)
    assert not registry.may_control("127.64.0.1:4000")


def test_an_address_has_its_associations_and_gives_them_back() -> None:
    registry = access(per_address=1)
    registry.ieds = 1
    for fd in range(1 + PER_IED):
        assert registry.plain_objection("10.0.0.5") == ""
        registry.enter_plain(fd, f"127.64.0.1:{fd}", ("10.0.0.5", 5000 + fd))
    assert registry.plain_objection("10.0.0.5") == "10.0.0.5 has 3 associations already"
    assert registry.plain_objection("10.0.0.6") == ""
    registry.leave_plain(0)
    assert registry.plain_objection("10.0.0.5") == ""
    assert registry.counters == {"too many": 1}


def test_only_listed_addresses_may_connect() -> None:
    registry = access(allowed="10.0.0.0/24 192.0.2.7/32")
    assert registry.objection("10.0.0.9") == registry.objection("192.0.2.7") == ""
    assert "METER61850_MMS_ALLOW" in registry.objection("192.0.2.8")
    assert registry.counters == {"not allowed": 1}


def test_a_budget_comes_back_with_time_and_is_each_ones_own() -> None:
    budget = RateLimit(per_second=2.0, burst=3)
    assert [budget.take("a", now=0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.take("b", now=0.0)
    assert [budget.take("a", now=0.5) for _ in range(2)] == [True, False]


def test_handshakes_under_way_are_limited() -> None:
    shakes = HandshakeLimit()
    running = [shakes.running("a") for _ in range(PER_ADDRESS)]
    for one in running:
        one.__enter__()
    assert "under way" in shakes.objection("a", now=0.0)
    assert shakes.objection("b", now=0.0) == ""
    running.pop().__exit__(None, None, None)
    assert shakes.objection("a", now=0.0) == ""


def test_a_client_is_told_with_its_certificate() -> None:
    assert str(Client("10.0.0.5:4000", "desk", "ab" * 32)) == f"desk sha256:{'ab' * 32} from 10.0.0.5:4000"
    assert (Client("10.0.0.5:4000").short, Client("10.0.0.5:4000", "desk").short) == ("10.0.0.5:4000", "desk")
    assert Client("10.0.0.5:4000").identity == Client("10.0.0.5:4001").identity
    assert Client("10.0.0.5:4000", "desk").identity == Client("10.0.0.6:4000", "desk").identity
    assert Client("10.0.0.5:4000").identity != Client("10.0.0.6:4000", "10.0.0.5").identity


def test_half_of_the_tls_settings_refuses_to_start() -> None:
    with pytest.raises(ValidationError, match="tls_key, tls_ca, clients"):
        MmsSettings(tls_cert=Path("cert.pem"))
    with pytest.raises(ValidationError, match="nothing would be served"):
        MmsSettings(plain=False)
    assert MmsSettings.model_validate({"allow": "10.0.0.0/24, 10.1.0.1"}).allow == (
        IPv4Network("10.0.0.0/24"),
        IPv4Network("10.1.0.1/32"),
    )


def test_a_key_that_others_can_read_refuses_to_start(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    server = ca.issue("gateway")
    load(TlsFiles(server.cert, server.key, ca.cert, ca.crl))
    server.key.chmod(0o640)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {server.key}"):
        load(TlsFiles(server.cert, server.key, ca.cert, ca.crl))


@pytest.mark.parametrize("broken", ["cert", "ca", "crl"])
def test_a_broken_file_is_named(tmp_path: Path, broken: str) -> None:
    ca = Authority(tmp_path)
    server = ca.issue("gateway")
    files = TlsFiles(server.cert, server.key, ca.cert, ca.crl)
    file: Path = getattr(files, broken)
    file.write_bytes(b"rubbish")
    with pytest.raises(ConfigurationError, match=str(file)):
        load(files)


def test_a_list_that_somebody_else_has_signed_is_refused(tmp_path: Path) -> None:
    ca, forger = Authority(tmp_path / "ours"), Authority(tmp_path / "forger")
    server = ca.issue("gateway")
    with pytest.raises(ConfigurationError, match="not signed by a CA of ours"):
        load(TlsFiles(server.cert, server.key, ca.cert, forger.crl))
