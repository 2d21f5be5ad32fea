"""Certificates are renewed, and the authority is replaced: nobody is locked out, no reading is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from cryptography import x509

from admin.chain.parts import enlist_simulated
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from registrar import renewal
from registrar.identities import Certificate
from registrar.retained_outbox import deliver_now
from tests.support.chain import until
from tests.support.sites import Deployed, deployed

COUNT = 3
METERS = meter_ids(SimulateSettings(n=COUNT, seed=1))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployed]:
    """Registrar, bridge, and simulated meters that each have an identity."""
    with deployed(tmp_path, "registrar", "bridge") as running:
        enlist_simulated(running.deployment, SimulateSettings(n=COUNT, seed=1))
        running.simulate(COUNT, interval=0.2)
        until(lambda: all(readings(running)), why="every meter measures")
        yield running


def rows(path: Path, query: str, *values: object) -> list[tuple[int, ...]]:
    """Of a SQLite file; none while there is none."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
    ):
        return connection.execute(query, values).fetchall()
    return []


def readings(site: Deployed) -> list[int]:
    """Stored ones of each meter; packed ones are not looked at."""
    query = "SELECT count(*) FROM reading JOIN meter ON meter.key = reading.meter WHERE meter_id = ?"
    database = site.folder / "d" / "database" / "meter61850.sqlite"
    return [sum(row[0] for row in rows(database, query, meter_id)) for meter_id in METERS]


def lost(site: Deployed) -> dict[str, set[int]]:
    """Readings that were taken and are neither stored nor in the meter's outbox; the meters are stopped."""
    query = "SELECT seq FROM reading JOIN meter ON meter.key = reading.meter WHERE meter_id = ?"
    database, found = site.folder / "d" / "database" / "meter61850.sqlite", {}
    for meter_id in METERS:
        own = site.folder / "meters" / meter_id / "meter.sqlite"
        kept = {row[0] for row in (*rows(database, query, meter_id), *rows(own, "SELECT seq FROM outbox"))}
        found[meter_id] = set(range(1, rows(own, "SELECT seq FROM outbox_state")[0][0] + 1)) - kept
    return found


def living(site: Deployed, name: str) -> list[Certificate]:
    """Certificates that are good now."""
    return [one for one in site.deployment.identity_store.certificates(name) if one.revoked is None]


def issuers(site: Deployed, meter_id: str) -> str:
    """Who signed the certificate that the meter has on its disk."""
    pem = (site.deployment.identity_folder(meter_id) / "client.crt").read_bytes()
    return x509.load_pem_x509_certificate(pem).issuer.rfc4514_string()


async def test_a_meter_renews_its_certificate_and_the_old_one_is_revoked(site: Deployed) -> None:
    (before,) = living(site, METERS[0])
    others = living(site, METERS[1])
    key = (site.deployment.identity_folder(METERS[0]) / "client.key").read_bytes()
    renewal.want_renewed(site.deployment, [METERS[0]])
    await deliver_now(site.deployment)
    until(
        lambda: len(one := living(site, METERS[0])) == 1 and one[0].serial != before.serial,
        why="a new certificate in use, the old one revoked",
    )
    assert (site.deployment.identity_folder(METERS[0]) / "client.key").read_bytes() != key
    assert living(site, METERS[1]) == others
    count = readings(site)[0]
    until(lambda: readings(site)[0] > count + 3, why="it measures on")
    site.stop("meters")
    assert lost(site) == {meter_id: set() for meter_id in METERS}


def test_the_authority_is_replaced_while_meters_measure(site: Deployed) -> None:
    old = issuers(site, METERS[0])
    site.cli("credentials", "rotate-ca", "--overlap", "0h")
    until(
        lambda: all(issuers(site, meter) != old for meter in METERS), why="every meter has a new certificate"
    )
    until(lambda: all(len(living(site, meter)) == 1 for meter in METERS), why="and uses it")
    count = readings(site)
    until(
        lambda: all(now > then + 3 for now, then in zip(readings(site), count, strict=True)),
        why="all measure",
    )

    site.cli("credentials", "retire-ca")
    count = readings(site)
    until(lambda: all(now > then + 3 for now, then in zip(readings(site), count, strict=True)), why="still")
    site.stop("meters")  # who starts anew trusts the new authority, and is trusted
    for name in ("bridge", "enrol", "broker"):
        site.stop(name)
    site.start_broker()
    site.start_registrar()
    site.start("bridge", "run")
    site.simulate(COUNT, interval=0.2)
    count = readings(site)
    until(
        lambda: all(now > then + 3 for now, then in zip(readings(site), count, strict=True)),
        why="after a restart",
    )
    site.stop("meters")
    assert lost(site) == {meter_id: set() for meter_id in METERS}
    (bundle,) = x509.load_pem_x509_certificates((site.folder / "d" / "security" / "ca.crt").read_bytes())
    assert bundle.issuer.rfc4514_string() != old


def test_an_authority_on_which_somebody_depends_is_not_retired(site: Deployed) -> None:
    site.stop("meters")
    site.cli("credentials", "rotate-ca")
    said = site.cli("credentials", "retire-ca", code=5).stderr
    assert f"{COUNT} would be locked out" in said
    assert "still trusted" in site.cli("credentials", "rotate-ca", code=2).stderr


def test_a_service_gets_a_new_certificate_and_the_old_one_ends(site: Deployed) -> None:
    (before,) = living(site, "bridge")
    site.cli("credentials", "rotate", "bridge", "--overlap", "1s")
    until(
        lambda: len(living(site, "bridge")) == 1 and living(site, "bridge")[0] != before,
        why="the old one ended",
    )
    count = readings(site)[0]
    until(lambda: readings(site)[0] > count + 3, why="the bridge goes on")
    site.stop("bridge")
    site.start("bridge", "run")
    until(lambda: readings(site)[0] > count + 6, why="and connects with the new one")
