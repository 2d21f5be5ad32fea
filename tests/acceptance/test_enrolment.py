"""From `init` to readings in the database, by the command line alone; and what a code cannot do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from broker.contract.enrolment_codes import EnrolmentCode
from tests.support.chain import until
from tests.support.pzem import Pzem
from tests.support.sites import Deployed, MeterFolder, deployed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One deployment for all tests of this file; each uses meters and codes of its own."""
    with deployed(tmp_path_factory.mktemp("site"), "registrar", "bridge") as running:
        yield running


def readings(site: Deployed, meter_id: str) -> int:
    """Stored ones."""
    database = site.folder / "d" / "database" / "meter61850.sqlite"
    query = "SELECT count(*) FROM reading JOIN meter ON meter.key = reading.meter WHERE meter_id = ?"
    with (
        suppress(sqlite3.OperationalError),  # not there yet
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
    ):
        return int(connection.execute(query, (meter_id,)).fetchone()[0])
    return 0


def measures(site: Deployed, meter: MeterFolder, name: str) -> None:
    """The meter runs until three of its readings are stored."""
    with Pzem(meter.config.parent):
        site.start("meter", "run", "--config", str(meter.config), name=name)
        until(lambda: readings(site, meter.meter_id) >= 3, why="three readings stored")
        site.stop(name)


def test_a_meter_is_approved_and_measures(site: Deployed) -> None:
    meter, code = site.meter("approved"), site.new_code("--count", "2")
    waiting = site.enrol(meter, code, exit_code=6).stderr
    asked = site.request(meter.meter_id)
    assert (asked["verdict"], asked["serial"], asked["name"]) == ("pending", "S-approved", "approved")
    assert asked["key"] in waiting  # the administrator compares
    assert "--key" in site.cli("enrol", "approve", meter.meter_id, code=2).stderr
    site.cli("enrol", "approve", meter.meter_id, "--key", site.request(meter.meter_id)["key"])
    site.enrol(meter, code)
    assert (meter.identity / "client.key").stat().st_mode & 0o777 == 0o600
    measures(site, meter, "approved.run")
    until(lambda: site.request(meter.meter_id)["connected"], why="the registrar hears of it")


def test_a_meter_with_a_token_measures_and_its_password_never_left_it(site: Deployed) -> None:
    meter, code = site.meter("token"), site.new_code("--automatic")
    site.enrol(meter, code, "--token")
    password = (meter.identity / "token").read_text()
    measures(site, meter, "token.run")
    kept = b"".join(file.read_bytes() for file in (site.folder / "d").rglob("*") if file.is_file())
    assert password.encode() not in kept


def test_a_private_key_never_leaves_the_meter(site: Deployed) -> None:
    meter = site.meter("key")
    code = site.new_code("--automatic")
    site.enrol(meter, code)
    key = (meter.identity / "client.key").read_bytes()
    body = b"".join(key.splitlines()[1:-1])
    kept = b"".join(file.read_bytes() for file in (site.folder / "d").rglob("*") if file.is_file())
    assert body[:64] not in kept.replace(b"\n", b"")
    assert EnrolmentCode.parse(code).secret.encode() not in kept


def test_a_code_is_used_up_and_typed_wrong_and_withdrawn_and_expires(site: Deployed) -> None:
    code = site.new_code("--automatic", "--count", "1")
    wrong = code[:-1] + ("3" if code[-1] == "2" else "2")
    meter = site.meter("first")
    assert "mistyped" in site.enrol(meter, wrong, exit_code=2).stderr
    assert not meter.data.exists()  # told before anything was made or sent
    site.enrol(meter, code.lower().replace("-", " "))
    second = site.meter("second")
    assert "used up, expired or withdrawn" in site.enrol(second, code, exit_code=5).stderr

    withdrawn = site.new_code("--count", "3")
    site.cli("enrol", "withdraw", withdrawn[:4])
    until(lambda: slots(site, withdrawn) == 0, why="its slots leave the broker")
    assert "used up, expired or withdrawn" in site.enrol(second, withdrawn, exit_code=5).stderr

    short = site.new_code("--for", "1s")
    until(lambda: slots(site, short) == 0, why="an expired code's slots leave the broker")
    until(lambda: "expired" in states(site, short), why="listed as expired")
    assert "used up, expired or withdrawn" in site.enrol(second, short, exit_code=5).stderr


def slots(site: Deployed, code: str) -> int:
    """Logins that the broker has for a code."""
    return (site.folder / "d" / "security" / "passwords").read_text().count(f"{code[:4]}-")


def states(site: Deployed, code: str) -> str:
    """As `enrol list` says."""
    return " ".join(
        row["state"] for row in site.answer("enrol", "list")["codes"] if row["code"][:4] == code[:4]
    )


def test_who_waits_is_refused_or_finds_the_answer_later(site: Deployed) -> None:
    code = site.new_code("--count", "2")
    meter = site.meter("refused")
    site.enrol(meter, code, exit_code=6)
    site.cli("enrol", "refuse", meter.meter_id, "--reason", "not one of ours")
    assert "not one of ours" in site.enrol(meter, code, exit_code=5).stderr
    assert not meter.identity.exists()
    assert "no request of meter" in site.cli("enrol", "approve", meter.meter_id, code=3).stderr


def test_a_stolen_code_cannot_take_a_known_meter(site: Deployed) -> None:
    code = site.new_code("--automatic", "--count", "5")
    victim = site.meter("victim")
    site.enrol(victim, code)

    thief = site.meter("thief", serial="S-victim")  # the serial number, with another meter_id
    assert "serial number 'S-victim' belongs to another meter" in site.enrol(thief, code, exit_code=5).stderr

    code = site.new_code("--automatic", "--count", "5")
    thief.data.joinpath("meter_id").write_text(victim.meter_id + "\n")  # and now the same meter_id
    assert "has a credential already" in site.enrol(thief, code, exit_code=5).stderr
    thief.config.write_text(thief.config.read_text().replace("S-victim", "S-thief"))
    assert "has a credential already" in site.enrol(thief, code, exit_code=5).stderr

    site.cli("credentials", "revoke", victim.meter_id)  # and not even when the credential is gone
    assert "belongs to another hardware serial" in site.enrol(thief, code, exit_code=5).stderr
    assert not thief.identity.exists()


def test_the_broker_must_be_the_one_of_the_authority(site: Deployed, tmp_path: Path) -> None:
    other = tmp_path / "other"
    site.cli("init", str(other))
    meter, code = site.meter("wrong-ca"), site.new_code()
    said = site.cli(
        *("meter", "enrol", "--broker", f"127.0.0.1:{site.ports[2]}", "--code", code),
        *("--ca", str(other / "ca" / "ca.crt"), "--config", str(meter.config)),
        code=2,
    ).stderr
    assert "is not the one of --ca" in said
    assert slots(site, code) == 1
