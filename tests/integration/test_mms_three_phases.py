"""A three-phase meter with both directions: built, served, browsed by two clients, compared, fed, reported.

The instant is that of DEVICES.md: the house feeds 512 W in, although two of its phases consume.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from open61850.data import IntData
from open61850.mms import MmsClient
from open61850.mms.errors import DataAccessError

from admin.mms.subscriptions import _members
from scl_builder.check.checker import check
from tests.integration.test_mms_cdcs import _compare, _directory
from tests.integration.test_mms_model import described
from tests.support.brokers import Broker
from tests.support.clients import CLIENTS
from tests.support.mms import DrivenMeter, Scene, eventually, scene
from tests.support.scada import Client
from tests.unit.test_scl_shapes import SHAPES

GOOD, INVALID, FAILED = "0000000000000", "0100000000000", "0100001000000"
INSTANT = {
    "voltage_l1": 231.0, "voltage_l2": 229.4, "voltage_l3": 230.1,
    "current_l1": 1.74, "current_l2": 0.14, "current_l3": 4.11,
    "power_l1": 401.0, "power_l2": 32.0, "power_l3": -945.0, "power": -512.0,
    "frequency": 50.02, "power_factor": -0.52,
    "energy_import": 4_216_800.0, "energy_export": 1_013_400.0,
    "energy_import_l1": 3_000_000.0, "energy_export_l3": 1_000_000.0,
    "demand": 700.0, "demand_max": 5200.0, "thd_u_l2": 1.9,
}  # fmt: skip
"""DEVICES.md 2.6, and what a meter with more registers adds."""
WANTED = {
    "MMXU1.PhV.phsA.cVal.mag.f": 231.0, "MMXU1.PhV.phsB.cVal.mag.f": 229.4,
    "MMXU1.PhV.phsC.cVal.mag.f": 230.1,
    "MMXU1.A.phsA.cVal.mag.f": 1.74, "MMXU1.A.phsB.cVal.mag.f": 0.14, "MMXU1.A.phsC.cVal.mag.f": 4.11,
    "MMXU1.W.phsA.cVal.mag.f": 401.0, "MMXU1.W.phsB.cVal.mag.f": 32.0,
    "MMXU1.W.phsC.cVal.mag.f": -945.0, "MMXU1.TotW.mag.f": -512.0, "MMXU1.Hz.mag.f": 50.02,
    "MMXU1.TotPF.mag.f": -0.52, "MMXU2.TotW.mag.f": 700.0, "MMXU3.TotW.mag.f": 5200.0,
    "MHAI1.ThdPhV.phsB.cVal.mag.f": 1.9,
    "MMTR1.DmdWh.actVal": 4_216_800, "MMTR1.SupWh.actVal": 1_013_400, "MMTR1.TotWh.actVal": 3_203_400,
    "PhA_MMTN1.DmdWh.actVal": 3_000_000, "PhC_MMTN1.SupWh.actVal": 1_000_000,
}  # fmt: skip
"""What a client reads."""
CONSTANTS = {
    ("MMXU1.PhV.phsToNeut", "CF"): True,
    ("MMXU1.PFSign.setVal", "SP"): 1,
    ("MMXU2.ClcMth.setVal", "SP"): 7,
    ("MMXU3.ClcMth.setVal", "SP"): 6,
    ("MMTR1.SupWh.pulsQty", "CF"): 1.0,
    ("MHAI1.ThdPhV.phsB.units.multiplier", "CF"): -2,
}


@asynccontextmanager
async def three_phases(broker: Broker) -> AsyncIterator[tuple[Scene, DrivenMeter, bytes]]:
    """An SDM630 beside a one-way meter, and their CID."""
    async with scene(broker) as running:
        await running.add_meter(1)
        meter = await running.add_meter(2, quantities=SHAPES["three phases, SDM630"][0])
        cid = await running.publish_cid()
        (await running.associate()).close()
        yield running, meter, cid


async def test_what_two_clients_browse_is_what_the_file_says(broker: Broker, tmp_path: Path) -> None:
    async with three_phases(broker) as (running, meter, cid):
        assert check(cid) == []
        file = described(cid)
        with running.connect() as client:
            await asyncio.to_thread(_compare, client, file, cid, tmp_path)
        names = await asyncio.to_thread(_directory, running.port, meter.domain)
        wanted = {"$".join((name, *path)) for name, node in file[meter.domain].items() for path in node.types}
        assert wanted <= names
        assert {
            "PhB_MMTN1$ST$SupWh$actVal",
            "MMXU1$MX$PPV$phsCA$cVal$mag$f",
            "MMXU1$SP$PFSign$setVal",
        } <= names


@pytest.mark.parametrize("name", ["open61850", "libiec61850"])
async def test_a_client_sees_the_instant_of_the_meter(broker: Broker, name: str) -> None:
    async with three_phases(broker) as (running, meter, _):

        def ask(*names: str, fc: str = "") -> list[Any]:
            with CLIENTS[name](running.port) as client:
                return [_read(client, meter.domain, one, fc) for one in names]

        assert ask("MMXU1.PhV.phsA.q", "MMXU1.TotW.q", "MMTR1.SupWh.q") == [INVALID] * 3
        ts = await meter.read(**INSTANT)
        await eventually(lambda: ask("MMXU1.TotW.q", "MMTR1.SupWh.q") == [GOOD] * 2)
        found = dict(zip(WANTED, await asyncio.to_thread(ask, *WANTED), strict=True))
        assert found == pytest.approx(WANTED, rel=1e-6)
        phases = [found[f"MMXU1.W.{phase}.cVal.mag.f"] for phase in ("phsA", "phsB", "phsC")]
        assert sum(phases) == pytest.approx(found["MMXU1.TotW.mag.f"])
        constants = [ask(one, fc=fc)[0] for one, fc in CONSTANTS]
        assert constants == list(CONSTANTS.values())
        assert await asyncio.to_thread(ask, "MMXU1.VAr.phsA.q", "MMXU1.TotVA.q", "PhB_MMTN1.DmdWh.q") == (
            [FAILED] * 3
        ), "named by the birth, and not in the reading"
        for t in await asyncio.to_thread(ask, "MMXU1.PhV.phsA.t", "MMTR1.SupWh.t", "MMTR1.TotWh.t"):
            assert abs(t - ts.timestamp() * 1000) < 1


def _read(client: Client, domain: str, name: str, fc: str) -> Any:
    constraint = fc or ("ST" if "MMT" in name else "MX")
    return client.read(f"{domain}/{name}", constraint)


async def test_without_one_register_the_net_is_invalid(broker: Broker) -> None:
    async with three_phases(broker) as (running, meter, _):

        def qualities() -> list[Any]:
            with CLIENTS["open61850"](running.port) as client:
                names = ("DmdWh", "SupWh", "TotWh")
                return [client.read(f"{meter.domain}/MMTR1.{name}.q", "ST") for name in names]

        await meter.read(**INSTANT)
        await eventually(lambda: qualities() == [GOOD] * 3)
        await meter.read(**{**INSTANT, "energy_export": None})  # type: ignore[arg-type]
        await eventually(lambda: qualities() == [GOOD, FAILED, FAILED])


async def test_the_groups_report_a_three_phase_meter_beside_the_others(broker: Broker) -> None:
    async with three_phases(broker) as (running, meter, _):
        with CLIENTS["libiec61850"](running.port) as client:
            members = client.members("SMGW001GW/LLN0.dsWatt")
            assert [name.partition("/")[2] for name in members] == ["MMXN1.Watt[MX]", "MMXU1.TotW[MX]"]
            for block in ("urcbVol01", "urcbWatt01"):
                await asyncio.to_thread(client.enable, f"SMGW001GW/LLN0.RP.{block}")
            await meter.read(**INSTANT)
            told: list[str] = []

            def both() -> bool:
                told.extend(map(str, client.reports()))
                return all(any(text in report for report in told) for text in ("-512.0", "231.0"))

            await eventually(both)


async def test_the_units_of_a_member_with_phases_are_shown(broker: Broker) -> None:
    async with three_phases(broker) as (running, _, _):
        with running.connect() as client:
            found = [
                member.unit
                for name in ("dsVol", "dsWatt")
                for member in await asyncio.to_thread(_members, client, f"SMGW001GW/LLN0${name}")
            ]
        assert found == ["V", "V", "W", "W"]


async def test_no_client_writes_a_setting(broker: Broker) -> None:
    async with three_phases(broker) as (running, meter, _):
        with running.connect() as client:
            name = f"{meter.domain}/MMXU1$SP$PFSign$setVal"
            with pytest.raises(DataAccessError):
                await asyncio.to_thread(client.write, name, IntData(2))
            value: Any = await asyncio.to_thread(client.read, name)
            assert value.value == 1


async def test_what_a_meter_no_longer_measures_is_invalid_for_the_clients_of_before(broker: Broker) -> None:
    async with three_phases(broker) as (running, meter, _):
        await meter.read(**INSTANT)
        with running.connect() as before:
            supply, total = f"{meter.domain}/MMTR1.SupWh.q[ST]", f"{meter.domain}/MMXU1.TotW.mag.f[MX]"

            def invalid() -> bool:
                return str(getattr(before.read(supply), "value", b"")[:1]) == str(b"\x40")

            await eventually(lambda: not invalid())
            meter.quantities = tuple(name for name in meter.quantities if "export" not in name)
            await meter.join()
            await eventually(invalid)
            await meter.read(**{**INSTANT, "power": 300.0})
            await eventually(partial(_is, before, total, 300.0))
            cid = await running.publish_cid()
            assert "SupWh" not in {
                name for node in described(cid)[meter.domain].values() for name, *_ in node.types
            }
            with await running.associate() as after, pytest.raises(DataAccessError):
                await asyncio.to_thread(after.read, supply)


def _is(client: MmsClient, name: str, value: float) -> bool:
    return bool(getattr(client.read(name), "value", None) == value)
