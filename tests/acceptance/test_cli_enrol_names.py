"""``enrol approve Garage``: a meter that waits is called by its name, its serial number or its meter_id."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from meter_firmware.enrolment import keys
from registrar import requests
from tests.support.cli import error, run
from tests.support.tables import faults, on_a_terminal
from tests.unit.test_registrar_requests import METER, Desk


def waits(desk: Desk, *, name: str, serial: str, meter_id: str, slot: str) -> str:
    """A request that waits; its key."""
    csr = keys.request(meter_id, keys.new_key())
    desk.ask(slot, name=name, hardware={"serial": serial}, meter_id=meter_id, csr=csr)
    return next(one.key for one in requests.listed(desk.deployment) if one.meter_id == meter_id)


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    await asyncio.sleep(0)
    return Desk(tmp_path / "data")


@pytest.mark.parametrize("called", ["Garage", "PZEM-000017", METER])
async def test_a_waiting_meter_by_each_of_its_names(called: str, desk: Desk, tmp_path: Path) -> None:
    code = desk.code()
    key = waits(desk, name="Garage", serial="PZEM-000017", meter_id=METER, slot=f"{code.id}-1")
    said = run("enrol", "approve", called, "--key", key, folder=tmp_path).stderr
    assert f"{METER}) is approved" in said
    (request,) = requests.listed(desk.deployment)
    assert request.verdict == "granted"


async def test_two_of_one_name_are_not_guessed_and_none_is_not_found(desk: Desk, tmp_path: Path) -> None:
    code, other = desk.code(), str(uuid4())
    waits(desk, name="Garage", serial="S-1", meter_id=METER, slot=f"{code.id}-1")
    key = waits(desk, name="Garage", serial="S-2", meter_id=other, slot=f"{code.id}-2")
    assert "2 meters that wait" in error("enrol", "approve", "Garage", "--key", key, code=2, folder=tmp_path)
    assert "no request of 'Cellar'" in error("enrol", "refuse", "Cellar", code=3, folder=tmp_path)
    shown = on_a_terminal("enrol", "list", folder=tmp_path)
    assert faults(shown, []) == []
    assert key in shown
    run("enrol", "refuse", "S-1", folder=tmp_path)
    run("enrol", "approve", "Garage", "--key", key, folder=tmp_path)
    assert {one.meter_id: one.verdict for one in requests.listed(desk.deployment)} == {
        METER: "refused",
        other: "granted",
    }
