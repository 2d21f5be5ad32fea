"""Data objects with sub data objects, and both groups of BCR: built, served, browsed, compared, fed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from open61850 import scl
from open61850.mms import MmsClient, discover
from open61850.mms.model import compare

from admin.mms.comparison import Devices, differences
from scl_builder.check.checker import check
from scl_builder.model import logical_devices
from tests.integration.test_mms_model import described, served
from tests.support.brokers import Broker
from tests.support.clients import CLIENTS
from tests.support.mms import DrivenMeter, Scene, eventually, scene
from tests.support.scada import Client
from tests.support.three_phases import THREE_PHASES

INVALID = "0100000000000"
GOOD = "0000000000000"
OBJECTS = {
    "MMXU1.PhV.phsA": "cVal.mag.f", "MMXU1.PhV.phsB": "cVal.mag.f", "MMXU1.PhV.phsC": "cVal.mag.f",
    "MMXU1.PhV.neut": "cVal.mag.f", "MMXU1.PhV.net": "cVal.mag.f", "MMXU1.PhV.res": "cVal.mag.f",
    "MMXU1.A.phsA": "cVal.mag.f", "MMXU1.A.neut": "cVal.mag.f",
    "MMXU1.PPV.phsAB": "cVal.mag.f", "MMXU1.PPV.phsBC": "cVal.mag.f", "MMXU1.PPV.phsCA": "cVal.mag.f",
    "MSQI1.SeqV.c1": "cVal.mag.f", "MSQI1.SeqV.c2": "cVal.mag.f", "MSQI1.SeqV.c3": "cVal.mag.f",
}  # fmt: skip
"""Each sub data object → the path of its value (7-3: CMV), by hand."""


@asynccontextmanager
async def three_phases(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Scene, DrivenMeter, bytes]]:
    """A meter of the made-up profile that has not read yet, and its CID."""
    monkeypatch.setattr(logical_devices, "PROFILES", (THREE_PHASES,))
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        cid = await running.publish_cid()
        (await running.associate()).close()
        yield running, meter, cid


async def test_what_two_clients_browse_is_what_the_file_says(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with three_phases(broker, monkeypatch) as (running, meter, cid):
        assert check(cid) == []
        file = described(cid)
        paths = {
            f"{name}.{'.'.join(path[1:])}" for name, node in file[meter.domain].items() for path in node.types
        }
        for name, value in OBJECTS.items():
            assert {f"{name}.{value}", f"{name}.q", f"{name}.t", f"{name}.units.SIUnit"} <= paths
        group = {f"MMTR1.SupWh.{name}" for name in ("frVal", "frTm", "q", "frEna", "frPd", "frRs", "pulsQty")}
        assert group <= paths
        assert "MMTR1.SupWh.actVal" not in paths
        assert {"MMTR1.DmdWh.actVal", "MMTR1.DmdWh.t", "MMTR1.DmdWh.frVal"} <= paths
        with running.connect() as client:
            await asyncio.to_thread(_compare, client, file, cid, tmp_path)
        names = await asyncio.to_thread(_directory, running.port, meter.domain)
        wanted = {
            "$".join((name, *path[:1], *path[1:]))
            for name, node in file[meter.domain].items()
            for path in node.types
        }
        assert wanted <= names
        assert {name for name in names if name.count("$") > 1} <= {
            "$".join(full.split("$")[:depth]) for full in wanted for depth in range(3, 9)
        }


def _compare(client: MmsClient, file: Devices, cid: bytes, folder: Path) -> None:
    assert [str(found) for found in differences(file, served(client, file))] == []
    (folder / "served.cid").write_bytes(cid)
    said, shown = scl.load_model(folder / "served.cid"), discover(client)
    assert compare(said, shown) == []
    assert compare(shown, said) == []


def _directory(port: int, domain: str) -> set[str]:
    """Names that libiec61850's client finds."""
    with CLIENTS["libiec61850"](port) as client:
        return set(client.directory()[domain])


@pytest.mark.parametrize("name", ["open61850", "libiec61850"])
async def test_every_value_is_invalid_until_a_reading_feeds_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with three_phases(broker, monkeypatch) as (running, meter, _):

        def ask(question: dict[str, str]) -> dict[str, Any]:
            with CLIENTS[name](running.port) as client:
                return _read(client, meter.domain, question)

        values = {f"{one}.{path}": "MX" for one, path in OBJECTS.items()}
        qualities = {f"{one}.q": "MX" for one in OBJECTS} | {"MMTR1.DmdWh.q": "ST", "MMTR1.SupWh.q": "ST"}
        assert set((await asyncio.to_thread(ask, qualities)).values()) == {INVALID}
        ts = await meter.read(voltage=231.5, current=2.5, energy=4216.7)
        await eventually(lambda: set(ask(qualities).values()) == {GOOD})
        fed = await asyncio.to_thread(ask, values)
        currents = {one for one in fed if ".A." in one}
        assert {fed[one] for one in currents} == {2.5}
        assert {fed[one] for one in fed.keys() - currents} == {231.5}
        counted = {"DmdWh.actVal": "ST", "DmdWh.frVal": "ST", "SupWh.frVal": "ST"}
        told = await asyncio.to_thread(ask, {f"MMTR1.{one}": fc for one, fc in counted.items()})
        assert set(told.values()) == {4217}
        times = {"MMTR1.DmdWh.frTm": "ST", "MMTR1.SupWh.frTm": "ST", "MMXU1.PhV.res.t": "MX"}
        for t in (await asyncio.to_thread(ask, times)).values():
            assert abs(t - ts.timestamp() * 1000) < 1
        constants = await asyncio.to_thread(
            ask, {"MMXU1.PhV.phsToNeut": "CF", "MMTR1.SupWh.frPd": "CF", "MSQI1.SeqV.seqT": "MX"}
        )
        assert list(constants.values()) == [True, 900000, 0]


def _read(client: Client, domain: str, question: dict[str, str]) -> dict[str, Any]:
    return {name: client.read(f"{domain}/{name}", fc) for name, fc in question.items()}


@pytest.mark.parametrize("name", ["PhV", "PhV.phsA"])
async def test_a_report_tells_a_change_in_a_sub_data_object(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(logical_devices, "PROFILES", (THREE_PHASES,))
    before, after = 'lnClass="MMXN" lnInst="1" doName="Vol"', f'lnClass="MMXU" lnInst="1" doName="{name}"'

    def other_member(cid: bytes) -> bytes:
        assert before in cid.decode()
        return cid.decode().replace(before, after).encode()

    async with scene(broker) as running:
        meter = await running.add_meter(1)
        cid = await running.publish_cid(change=other_member)
        assert check(cid) == []
        (await running.associate()).close()
        with CLIENTS["libiec61850"](running.port) as client:
            await asyncio.to_thread(client.enable, "SMGW001GW/LLN0.RP.urcbVol01")
            for volts in (230.5, 231.5):  # the second changes no quality
                await meter.read(voltage=volts)
                await eventually(partial(_reported, client, volts))


def _reported(client: Client, value: float) -> bool:
    return str(value) in str(client.reports())
