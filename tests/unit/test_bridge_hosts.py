"""An address for each IED: what the setting may be, who has which address, and when none is left."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlmodel import Session

from bridge.ingest.ied_names import ied_name
from bridge.scl.hosts import hosts_of
from bridge.scl.ieds import Ieds
from bridge.settings import BridgeSettings
from bridge.store import database
from bridge.store.tables import Meter
from broker.contract.errors import ConfigurationError
from mms_bridge.access.listeners import PLAIN, TLS, Listeners
from mms_bridge.settings import MmsSettings
from registrar.deployment import Deployment
from registrar.init_deployment import NewDeployment, new_deployment, server_hosts
from registrar.layout import SETTINGS
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import Ied, Project
from scl_builder.check.checker import check
from scl_builder.read.cid import Cid, read_cid

RANGE = "10.0.0.254-10.0.1.1"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = database.connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
    database.migrate(made)
    yield made
    made.dispose()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.10-10.0.0.9", "'10.0.0.10-10.0.0.9': the last address of a range is not below"),
        ("10.0.0.0-10.9.0.0", "'10.0.0.0-10.9.0.0': at most 1000 addresses"),
        ("10.0.0.1-10.0.0.9,10.0.0.5", "10.0.0.5 occurs twice"),
        ("10.0.0.300", "'10.0.0.300': an IPv4 address, or a range such as"),
        ("scada.example", "'scada.example': an IPv4 address"),
        ("0.0.0.0", "'0.0.0.0': an address at which SCADA reaches an IED"),
        (",", "no address"),
        ("fe80::1", "'fe80::1': an IPv4 address"),
    ],
)
def test_a_wrong_range_is_told(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="address") as error:
        hosts_of(text)
    assert says in str(error.value)
    with pytest.raises(ValidationError, match="mms_hosts"):
        BridgeSettings(mms_hosts=text)


def test_the_environment_gives_it_and_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_MMS_HOSTS", RANGE)
    made = BridgeSettings().mms_hosts
    assert made is not None
    assert [str(address) for address in made.addresses] == [
        "10.0.0.254",
        "10.0.0.255",
        "10.0.1.0",
        "10.0.1.1",
    ]
    monkeypatch.setenv("METER61850_MMS_HOSTS", "")
    assert BridgeSettings().mms_hosts is None


def fill(engine: Engine, *numbers: int) -> None:
    """A meter in each of these IEDs."""
    with Session(engine) as session:
        for number in numbers:
            meter = Meter(
                meter_id=str(uuid.UUID(int=number)), born_at=1, first_seen=1, last_seen=1, changes=1
            )
            meter.ied, meter.number = ied_name(number), number
            session.add(meter)
        session.commit()


def read(engine: Engine, ieds: Ieds) -> dict[str, tuple[str, int, int | None]]:
    """IED → where it is."""
    with Session(engine) as session:
        return {ied.name: (ied.ip, ied.port, ied.tls_port) for ied in ieds.read(session)}


def test_each_ied_has_its_address_for_life_and_the_same_ports(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BridgeSettings(mms_hosts=hosts_of(RANGE))
    ieds = Ieds(settings.mms_host, 102, 3782, hosts=settings.mms_hosts)
    fill(engine, 1, 3)
    there = {"SMGW001": ("10.0.0.254", 102, 3782), "SMGW003": ("10.0.1.0", 102, 3782)}
    assert read(engine, ieds) == there, "a number that nobody has keeps its address, too"
    fill(engine, 4, 5, 7)
    there |= {"SMGW004": ("10.0.1.1", 102, 3782)}
    for _ in range(3):
        assert read(engine, ieds) == there, "the others are served as before"
    assert ieds.without_address == 2
    (line,) = [record.getMessage() for record in caplog.records if "METER61850_MMS_HOSTS" in record.msg]
    assert "METER61850_MMS_HOSTS has 4 addresses, and there are 5 IEDs: SMGW005 and those after" in line
    assert f"METER61850_MMS_HOSTS={RANGE}" in line
    assert line.startswith(ieds.complaint), "the page and doctor say the same"
    more = Ieds(settings.mms_host, 102, 3782, hosts=hosts_of(f"{RANGE},10.0.7.1-10.0.7.9"))
    assert read(engine, more) == there | {
        "SMGW005": ("10.0.7.1", 102, 3782),
        "SMGW007": ("10.0.7.3", 102, 3782),
    }
    assert more.complaint == ""


def test_one_address_with_many_ports_is_the_default(engine: Engine) -> None:
    fill(engine, 1, 3)
    made = BridgeSettings()
    assert read(engine, Ieds(made.mms_host, made.mms_port, made.mms_tls_port, hosts=made.mms_hosts)) == {
        "SMGW001": ("127.0.0.1", 102, None),
        "SMGW003": ("127.0.0.1", 104, None),
    }


def cid(number: int, *, host: str = "10.0.0.9", tls: bool = True) -> Cid:
    """Of an IED with an address of its own."""
    ied = Ied(ied_name(number), f"{host}{number}", 102, (), tls_port=3782 if tls else None)
    return read_cid(build_cid(Project("town", 1, (ied,)), ied.name))


def test_an_scd_with_addresses_is_clean() -> None:
    ieds = tuple(Ied(ied_name(n), f"10.0.0.{n}", 102, (), tls_port=3782) for n in range(1, 9))
    xml = build_scd(Project("town", 1, ieds))
    assert check(xml) == []
    for network in etree.fromstring(xml).iter("{*}SubNetwork"):
        addresses = [place.text for place in network.iter("{*}P") if place.get("type") == "IP"]
        assert len(set(addresses)) == len(addresses) == 8, f"each address is once in {network.get('name')}"


def test_what_listens_where(caplog: pytest.LogCaptureFixture) -> None:
    """Plain on loopback has one IED only; with ``ied``, and with TLS, each is at its address."""
    closed = Listeners(MmsSettings())
    closed.access_files.credentials = object()  # type: ignore[assignment]
    assert closed.places(cid(1)) == {PLAIN: ("127.0.0.1", 102), TLS: ("10.0.0.91", 3782)}
    closed.owners["127.0.0.1", 102] = "SMGW001"
    assert closed.places(cid(1)) == {PLAIN: ("127.0.0.1", 102), TLS: ("10.0.0.91", 3782)}
    assert closed.places(cid(2)) == {TLS: ("10.0.0.92", 3782)}
    assert "SMGW002 has no plain MMS: SMGW001 listens on 127.0.0.1:102" in caplog.text
    opened = Listeners(MmsSettings(plain_bind="ied", bind="ied"))
    opened.access_files.credentials = object()  # type: ignore[assignment]
    opened.owners["10.0.0.91", 102] = "SMGW001"
    assert opened.places(cid(2)) == {PLAIN: ("10.0.0.92", 102), TLS: ("10.0.0.92", 3782)}


def test_init_takes_the_addresses_and_they_are_in_the_certificates(tmp_path: Path) -> None:
    deployment = new_deployment(tmp_path / "d", NewDeployment(mms_host=RANGE))
    assert deployment.environment["METER61850_MMS_HOSTS"] == RANGE
    assert deployment.environment["METER61850_MMS_HOST"] == "10.0.0.254"
    assert {"10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"} < set(server_hosts(deployment))
    one = new_deployment(tmp_path / "e", NewDeployment(hosts=("broker.example",), mms_host="10.0.0.7"))
    assert (one.environment["METER61850_MMS_HOST"], one.environment["METER61850_MMS_HOSTS"]) == (
        "10.0.0.7",
        "",
    )
    with pytest.raises(ConfigurationError, match="--mms-host: 'town': an IPv4 address"):
        new_deployment(tmp_path / "f", NewDeployment(mms_host="town"))


def test_a_wrong_address_in_the_settings_is_told_when_a_certificate_is_made(tmp_path: Path) -> None:
    deployment = new_deployment(tmp_path / "d", NewDeployment())
    file = deployment.folder / SETTINGS
    file.write_text(file.read_text().replace("METER61850_MMS_HOSTS=", "METER61850_MMS_HOSTS=10.0.0.300"))
    with pytest.raises(ConfigurationError, match=r"METER61850_MMS_HOSTS: '10\.0\.0\.300'"):
        server_hosts(Deployment.open(deployment.folder))
