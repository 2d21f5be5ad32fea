"""What an operator does with a running chain, by the commands alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
from paho.mqtt import publish

from broker.contract.topics import scl_name
from broker.mqtt.settings import MqttSettings
from scl_builder.check.checker import check
from tests.support.chain import until
from tests.support.cli import Running, answer, error, run, up

UNKNOWN = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running chain of four meters; each test takes a meter of its own."""
    with up(tmp_path_factory.mktemp("chain"), "--meters", "4", "--interval", "0.5") as running:
        running.ready()
        yield running


def meters(chain: Running) -> dict[str, dict[str, Any]]:
    """The registry by name."""
    return {meter["name"]: meter for meter in answer("meters", "list", folder=chain.folder)}


def ledger(chain: Running, meter: str) -> list[dict[str, Any]]:
    """The commands of one meter, newest first."""
    found: list[dict[str, Any]] = answer("commands", meter, folder=chain.folder)
    return found


def test_meters_are_listed_with_their_latest_reading(chain: Running) -> None:
    listed = meters(chain)
    assert list(listed) == ["House 1", "House 2", "House 3", "House 4"]
    for meter in listed.values():
        assert meter["online"]
        assert meter["ied"] == "SMGW001"
        assert 180 < meter["voltage"] < 260
    table = run("meters", "list", folder=chain.folder).stdout.splitlines()
    assert table[0].split()[:2] == ["name", "meter"]
    assert len(table) == 5


def test_one_meter_by_id_logical_device_number_and_name(chain: Running) -> None:
    meter_id, domain = (meters(chain)["House 1"][name] for name in ("meter_id", "scl_name"))
    shown = [
        answer("meters", "show", name, folder=chain.folder)
        for name in ("House 1", meter_id, domain, domain.removeprefix("SMGW001"), scl_name(meter_id))
    ]
    assert {one["scl_name"] for one in shown} == {domain}
    assert {one["meter_id"] for one in shown} == {meter_id}
    assert shown[0]["serial"] == "SIM-1-00001"
    until(lambda: answer("meters", "show", domain, folder=chain.folder)["state"] == "online")
    assert all(type(shown[0][name]) in (str, NoneType) for name in shown[0] if name.endswith("_at"))


def test_relay_opens_and_everything_agrees(chain: Running) -> None:
    domain = meters(chain)["House 1"]["scl_name"]
    done = answer("relay", "open", domain, "--wait", folder=chain.folder)
    assert done["outcome"] == "done"
    assert done["seconds"] > 0
    read = answer("mms", "read", chain.mms, f"{domain}/XSWI1.Pos[ST]", f"{domain}/CSWI1.Pos.stVal[ST]")
    positions = {row["reference"]: row["value"] for row in read if row["reference"].endswith("stVal [ST]")}
    assert set(positions.values()) == {"off"}
    row = until(lambda: [row for row in ledger(chain, "House 1") if row["outcome"] == "done"])[0]
    assert row["command_id"] == done["command_id"]
    assert row["origin"].startswith("maintenance ")
    until(lambda: meters(chain)["House 1"]["relay"] == "open")


def test_command_in_vain_is_refused_and_in_the_ledger(chain: Running) -> None:
    assert "closed already" in error("relay", "close", "House 2", code=5, folder=chain.folder)
    row = until(lambda: ledger(chain, "House 2"))[0]
    assert (row["outcome"], row["position"]) == ("refused", "closed")
    assert "closed already" in row["reason"]


@pytest.mark.parametrize("name", ["House 99", UNKNOWN, scl_name(UNKNOWN), "SMGW001M99"])
def test_unknown_meter_is_exit_3(name: str, chain: Running) -> None:
    error("relay", "open", name, code=3, folder=chain.folder)
    error("meters", "show", name, code=3, folder=chain.folder)
    error("readings", name, code=3, folder=chain.folder)


def test_operate_over_mms_ends_positively_and_then_with_its_add_cause(chain: Running) -> None:
    switch = f"{meters(chain)['House 3']['scl_name']}/CSWI1.Pos"
    done = answer("mms", "operate", chain.mms, "House 3/CSWI1.Pos", "open")
    assert (done["object"], done["name"]) == (switch, "House 3")
    assert (done["outcome"], done["control_model"]) == ("done", "sbo-with-enhanced-security")
    assert "AddCause 5 (position-reached)" in error("mms", "operate", chain.mms, switch, "open", code=5)
    row = until(lambda: [row for row in ledger(chain, "House 3") if row["outcome"] == "done"])[0]
    assert row["position"] == "open"
    assert row["origin"].startswith("maintenance ")


def test_browse_lists_devices_and_values(chain: Running) -> None:
    devices = answer("mms", "browse", chain.mms)
    listed = {row["logical_device"]: (row["name"], row["meter_id"]) for row in devices if row["meter_id"]}
    houses = meters(chain)
    wanted = {house["scl_name"]: (name, house["meter_id"]) for name, house in houses.items()}
    assert listed == wanted
    assert "SMGW001GW" in {row["logical_device"] for row in devices}
    domain, meter_id = houses["House 2"]["scl_name"], houses["House 2"]["meter_id"]
    for name in (domain, domain.removeprefix("SMGW001"), meter_id, "House 2"):
        values = {row["reference"]: row["value"] for row in answer("mms", "browse", chain.mms, name)}
        assert values[f"{domain}/MMXN1.Vol.units.SIUnit [CF]"] == 29
        assert values[f"{domain}/LPHD1.Proxy.stVal [ST]"] is True
        assert values[f"{domain}/LPHD1.PhyNam.mRID [DC]"] == meter_id
        assert 180 < values[f"{domain}/MMXN1.Vol.mag.f [MX]"] < 260


def test_read_and_watch_by_the_name_of_the_house(chain: Running) -> None:
    domain = meters(chain)["House 2"]["scl_name"]
    (row, *_) = answer("mms", "read", chain.mms, "House 2/MMXN1.Vol.mag[MX]")
    assert (row["reference"], row["name"]) == (f"{domain}/MMXN1.Vol.mag.f [MX]", "House 2")
    watching = ("mms", "watch", chain.mms, "--device", "House 2", "--rcb", "urcbVol", "--count", "1")
    (told,) = map(json.loads, run(*watching, "--json").stdout.splitlines())
    assert (told["reference"], told["name"]) == (f"{domain}/MMXN1.Vol", "House 2")
    assert " House 2 " in run(*watching).stdout


@pytest.mark.parametrize("what", [("browse", "SM_none"), ("read", "House 99/LLN0.Beh[ST]")], ids=" ".join)
def test_what_is_not_served_is_exit_3(what: tuple[str, str], chain: Running) -> None:
    assert "is called" in error("mms", what[0], chain.mms, what[1], code=3)


def test_readings_as_table_json_and_csv(chain: Running) -> None:
    as_json = until(lambda: (rows := answer("readings", "House 4", folder=chain.folder))[3:] and rows)
    assert [row["seq"] for row in as_json] == sorted(row["seq"] for row in as_json)
    text = run("readings", "House 4", "--since", "1h", "--csv", folder=chain.folder).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    by_seq = {int(row["seq"]): row for row in rows}
    for row in as_json:
        assert by_seq[row["seq"]]["ts"] == row["ts"]
        assert float(by_seq[row["seq"]]["power"]) == row["power"]
    last = run("readings", "House 4", "--last", "2", folder=chain.folder).stdout.splitlines()
    assert len(last) == 3


def test_scd_is_exported_and_clean(chain: Running, tmp_path: Path) -> None:
    shown = answer("scl", "show", folder=chain.folder)
    assert [(ied["ied"], ied["port"]) for ied in shown["endpoints"]] == [("SMGW001", chain.mms_port)]
    scd, cid = tmp_path / "town.scd", tmp_path / "one.cid"
    run("scl", "export", "-o", str(scd), folder=chain.folder)
    run("scl", "export", "--ied", "SMGW001", "-o", str(cid), folder=chain.folder)
    for file in (scd, cid):
        assert check(file.read_bytes()) == []
        assert "0 errors" in run("scl", "check", str(file)).stderr
    error("scl", "export", "--ied", "SMGW999", code=3, folder=chain.folder)
    assert run("scl", "diff", str(scd), "-", folder=chain.folder).stdout == ""


def test_garbage_becomes_a_dead_letter_that_cannot_bend_the_terminal(chain: Running) -> None:
    topic = f"sm/v1/{meters(chain)['House 4']['meter_id']}/reading"
    meter = MqttSettings(identity=chain.folder / "data" / "identities" / topic.split("/")[2])
    publish.single(
        topic,
        b"\x1b[2J{not json",
        qos=1,
        hostname=meter.host,
        port=meter.port,
        tls={"ca_certs": str(meter.ca), "certfile": str(meter.cert), "keyfile": str(meter.key)},
    )
    letters = until(lambda: answer("dead-letters", folder=chain.folder))
    assert letters[0]["topic"] == topic
    assert "\x1b" not in run("dead-letters", folder=chain.folder).stdout


def test_doctor_finds_everything_well(chain: Running) -> None:
    found = {row["what"]: row for row in answer("doctor", folder=chain.folder)}
    assert {row["verdict"] for row in found.values()} <= {"ok", "note"}
    assert "MQTT 5, mosquitto version 2." in found["broker"]["detail"]
    for what in ("bridge", "mms", "scd", "MMS SMGW001", "database"):
        assert found[what]["verdict"] == "ok"


def test_meter_is_retired_only_by_force_while_online(chain: Running) -> None:
    before = answer("scl", "show", folder=chain.folder)["meters"]
    assert "--force" in error("meters", "retire", "House 4", code=5, folder=chain.folder)
    run("meters", "retire", "House 4", "--force", folder=chain.folder)
    until(lambda: answer("scl", "show", folder=chain.folder)["meters"] == before - 1)
    assert "House 4" not in meters(chain)
    retired = answer("meters", "list", "--retired", folder=chain.folder)
    assert [meter["name"] for meter in retired if meter["retired"]] == ["House 4"]
