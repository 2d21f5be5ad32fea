"""``meter61850 up --with-devices``: devices of all families in page, store, SCD and MMS."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import httpx
from open61850.mms import MmsClient

from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.cli import Running, answer, run, up
from tests.support.web import log_in

SECONDS = 240.0
ONE_WAY = {"voltage", "current", "power", "energy"}
FAMILIES = {
    "Kiosk 1": ONE_WAY | {"power_factor", "apparent_power"},
    "shellyplus1pm-a0b0c2000001": ONE_WAY | {"power_factor", "frequency"},
    "Meter 001": ONE_WAY | {"power_factor", "frequency"},
    "house/plug": ONE_WAY,
    "shellyplug-s-000001": {"power", "energy"},
    "meter1": ONE_WAY | {"power_factor", "frequency"},
    "House sdm630-630-1": {"power_l3", "voltage_l3", "current_l3", "energy_import", "energy_export"},
}
"""Of each family and of a wired meter: name → quantities that it tells among others."""
NAMES = {"House 1", *FAMILIES}
SCL = "{http://www.iec.ch/61850/2003/SCL}"
WIRED = "House sdm630-630-1"


def test_devices_of_all_families_are_in_page_store_scd_and_mms(tmp_path: Path) -> None:
    options = ("--meters", "1", "--interval", "1", "--with-devices", "--devices-port", str(free_port()))
    with up(tmp_path, *options) as running:
        until(lambda: "\nREADY in " in running.log.read_text(), seconds=SECONDS, why="READY")
        ids = {meter["name"]: meter["meter_id"] for meter in answer("meters", "list", folder=tmp_path)}
        assert set(ids) == NAMES
        assert_on_page(running, ids)
        assert_in_scd_and_mms(running, ids)
        assert running.stop() == 0
    again = (*options, "--for", "1", "--json", "--mqtt-port", str(running.mqtt_port))
    with up(tmp_path, *again) as running:
        assert running.process.wait(SECONDS) == 0, running.log.read_text()
    assert_document(running.log.read_text(), ids)


def assert_on_page(running: Running, ids: dict[str, str]) -> None:
    """The fleet, and a page of each meter."""
    found = re.search(r"log in as (\S+) with (\S+)", running.log.read_text())
    assert found
    with httpx.Client(base_url=f"http://127.0.0.1:{running.web_port}", timeout=60) as client:
        assert log_in(client, *found.groups()).status_code == 303
        fleet = client.get("/").text
        for name, meter_id in ids.items():
            assert name in fleet
            page = client.get(f"/meters/{meter_id}")
            assert page.status_code == 200
            assert name in page.text


def assert_in_scd_and_mms(running: Running, ids: dict[str, str]) -> None:
    """A logical device of each in the file, with the model of what it measures; live values beside it."""
    file = running.folder / "town.scd"
    run("scl", "export", "-o", str(file), folder=running.folder)
    assert run("scl", "check", str(file), folder=running.folder).returncode == 0
    devices = list(ElementTree.parse(file).iter(f"{SCL}LDevice"))
    named = {device.get("desc"): f"SMGW001{device.get('inst')}" for device in devices}
    assert ids.keys() <= named.keys()
    domains, wired = {named[name] for name in ids}, named[WIRED]
    described = {
        f"SMGW001{device.get('inst')}": {node.get("lnClass") for node in device.iterfind(f"{SCL}LN")}
        for device in devices
    }
    assert {domain for domain in domains if "MMXU" in described[domain]} == {wired}
    with MmsClient.connect("127.0.0.1", running.mms_port, timeout=60) as client:
        served = {domain: set(client.get_name_list(0, domain)) for domain in domains}
        power = client.read(f"{wired}/MMXU1.W.phsC.cVal.mag.f[MX]")
    assert getattr(power, "value", 0) < 0, "it feeds in"
    three = {domain for domain, names in served.items() if "MMTR1$ST$SupWh$actVal" in names}
    assert three == {wired}
    for domain in domains - {wired}:
        assert {"MMXN1$MX$Watt$mag$f", "MMTN1$ST$TotWh$actVal"} <= served[domain]


def assert_document(text: str, ids: dict[str, str]) -> None:
    """Store and MMS tell the same; the devices are the same meters as before."""
    document = json.loads(text[text.index("\n{") + 1 :])
    assert document["different"] == 0
    assert {meter["name"]: meter["meter_id"] for meter in document["meters"]} == ids
    for meter in document["meters"]:
        assert meter["same"]
        for name in FAMILIES.get(meter["name"], ONE_WAY):
            assert meter["mms"][name] is not None, (meter["name"], name)
            assert meter["database"][name] is not None, (meter["name"], name)
