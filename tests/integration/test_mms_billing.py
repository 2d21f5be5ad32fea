"""Frozen registers at two independent clients, from the topic ``billing`` to the BCR."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.contract.billing import Billing, BillingPeriod, FrozenPeriod, Peak, TariffEnergy, TariffInForce
from broker.contract.messages import utc_now
from broker.contract.quantities import HOUSEHOLD
from broker.contract.status import ServiceStatus
from scl_builder.check.checker import check
from scl_builder.model.billing_nodes import Bills
from tests.integration.test_mms_cdcs import _compare
from tests.integration.test_mms_model import described
from tests.support.brokers import Broker
from tests.support.clients import CLIENTS
from tests.support.mms import DrivenMeter, Scene, eventually, scene

GOOD, INVALID, OLD = "0000000000000", "0100000000000", "1100000100000"
QUESTIONABLE = "1100000000000"
END = datetime(2026, 11, 30, 23, tzinfo=UTC)
END_MS = END.timestamp() * 1000
TWO_WAY = ("voltage", "power", "energy_import", "energy_export")


def billing(**registers: float) -> Billing:
    """The figures of November."""
    start, later = datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 12, 31, 23, tzinfo=UTC)
    frozen = FrozenPeriod(period="2026-11", start=start, end=END, registers=registers)
    return Billing(frozen=frozen, running=BillingPeriod(period="2026-12", start=END, end=later))


async def met(running: Scene, quantities: tuple[str, ...] = HOUSEHOLD) -> DrivenMeter:
    """A meter whose server runs."""
    meter = await running.add_meter(1, quantities=quantities)
    cid = await running.publish_cid()
    assert check(cid) == []
    (await running.associate()).close()
    return meter


def read(running: Scene, client: str, meter: DrivenMeter, *names: str, fc: str = "ST") -> list[Any]:
    """What an independent client reads of these."""
    with CLIENTS[client](running.port) as connected:
        return [connected.read(f"{meter.domain}/{name}", fc) for name in names]


@pytest.mark.parametrize("client", ["open61850", "libiec61850"])
async def test_a_client_reads_the_frozen_registers(broker: Broker, client: str) -> None:
    async with scene(broker) as running:
        meter = await met(running, TWO_WAY)
        frozen = ("MMTN1.DmdWh.frVal", "MMTN1.SupWh.frVal", "MMTN1.TotWh.frVal")

        def ask(*names: str, fc: str = "ST") -> list[Any]:
            return read(running, client, meter, *names, fc=fc)

        assert ask(*frozen, "MMTN1.DmdWh.frTm") == [0, 0, 0, 0], "nothing was frozen yet"
        await meter.publish("billing", billing(energy_import=4200.4, energy_export=1000.0))
        await eventually(lambda: ask(*frozen) == [4200, 1000, 3200])
        assert ask("MMTN1.DmdWh.frTm", "MMTN1.TotWh.frTm") == [END_MS, END_MS]
        constants = ask("MMTN1.DmdWh.frEna", "MMTN1.DmdWh.frPd", "MMTN1.DmdWh.frRs", fc="CF")
        assert constants == [True, 0, False], "a month is no fixed time"
        await meter.read(energy_import=5000.0, energy_export=1500.0, power=1.0, voltage=230.0)
        running_and_q = ("MMTN1.DmdWh.actVal", "MMTN1.DmdWh.q")
        await eventually(lambda: ask(*running_and_q) == [5000, GOOD])
        await meter.publish("billing", billing(energy_import=4201.0))
        await eventually(lambda: ask(*frozen) == [4201, 0, 0])
        assert ask(*running_and_q) == [5000, GOOD], "q is of the running register"
        await meter.publish("billing", b"")
        await eventually(lambda: ask(*frozen, "MMTN1.DmdWh.frTm") == [0, 0, 0, 0])


async def test_what_is_frozen_stays_when_the_meter_goes(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await met(running)
        names = ("MMTN1.TotWh.actVal", "MMTN1.TotWh.frVal", "MMTN1.TotWh.q")
        await meter.publish("billing", billing(energy=77.0))
        await meter.read(energy=80.0)
        await eventually(lambda: read(running, "open61850", meter, *names) == [80, 77, GOOD])
        await meter.status(online=False)
        await eventually(lambda: read(running, "open61850", meter, *names) == [80, 77, OLD])


async def test_the_served_model_is_that_of_the_file(broker: Broker, tmp_path: Path) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(1, quantities=TWO_WAY)
        cid = await running.publish_cid()
        (await running.associate()).close()
        file = described(cid)
        assert ("ST", "DmdWh", "frVal") in file[meter.domain]["MMTN1"].types
        with running.connect() as client:
            await asyncio.to_thread(_compare, client, file, cid, tmp_path)


async def test_a_file_of_an_older_bridge_goes_on(broker: Broker) -> None:
    def older(cid: bytes) -> bytes:
        lines = [line for line in cid.split(b"\n") if not line.startswith(b'<DA name="fr')]
        assert len(lines) < cid.count(b"\n")
        return b"\n".join(lines)

    async with scene(broker) as running:
        meter = await running.add_meter(1)
        assert check(await running.publish_cid(change=older)) == []
        (await running.associate()).close()
        await meter.publish("billing", billing(energy=77.0))
        await meter.read(energy=80.0)
        names = ("MMTN1.TotWh.actVal", "MMTN1.TotWh.q")
        await eventually(lambda: read(running, "open61850", meter, *names) == [80, GOOD])


def demand_and_tariffs() -> Billing:
    """A day's figures with two tariffs."""
    start, end = END, datetime(2026, 12, 31, 23, tzinfo=UTC)
    peak = Peak(power=5200.5, start=END + timedelta(hours=18), minutes=15, mark="measured")
    latest = Peak(power=700.0, start=END + timedelta(hours=20), minutes=15, mark="estimated")
    before = {
        "T1": TariffEnergy(energy_import=3000.4, energy_export=10.0),
        "T2": TariffEnergy(energy_import=1200),
    }
    now = {"T1": TariffEnergy(energy_import=77.7)}
    frozen = FrozenPeriod(period="2026-11", start=start - timedelta(days=30), end=END, tariffs=before)
    running = BillingPeriod(period="2026-12", start=start, end=end, maximum=peak, tariffs=now)
    return Billing(frozen=frozen, running=running, demand=latest)


@pytest.mark.parametrize("client", ["open61850", "libiec61850"])
async def test_a_client_reads_demand_and_registers_per_tariff(
    broker: Broker, client: str, tmp_path: Path
) -> None:
    async with scene(broker) as running:
        running.bills = Bills("day", 30, 2)
        meter = await running.add_meter(1, quantities=TWO_WAY)
        cid = await running.publish_cid()
        assert check(cid) == []
        (await running.associate()).close()

        def ask(*names: str, fc: str = "ST") -> list[Any]:
            return read(running, client, meter, *names, fc=fc)

        assert ask("MMXN5.Watt.q", fc="MX") == [INVALID]
        assert ask("MMTN11.DmdWh.q", "MMTN11.DmdWh.frVal") == [INVALID, 0]
        await meter.read(power=1.0)
        await meter.publish("billing", demand_and_tariffs())
        await eventually(lambda: ask("MMXN4.Watt.mag.f", "MMXN5.Watt.mag.f", fc="MX") == [700.0, 5200.5])
        assert ask("MMXN4.Watt.q", "MMXN5.Watt.q", fc="MX") == [QUESTIONABLE, GOOD]
        at = ask("MMXN5.Watt.t", fc="MX")
        assert at == [END_MS + (18 * 60 + 15) * 60_000], "the end of the interval"
        assert ask("MMTN11.DmdWh.actVal", "MMTN11.DmdWh.frVal", "MMTN11.DmdWh.q") == [78, 3000, GOOD]
        assert ask("MMTN11.SupWh.q", "MMTN11.SupWh.frVal", "MMTN12.DmdWh.frVal") == [INVALID, 10, 1200]
        assert ask("MMTN11.DmdWh.frRs", "MMTN1.DmdWh.frPd", fc="CF") == [True, 86_400_000]
        settings = ("MMXN4.ClcMth", "MMXN4.ClcIntvPer", "MMXN5.ClcMth", "MMXN5.ClcIntvTyp")
        assert ask(*(f"{one}.setVal" for one in settings), fc="SP") == [7, 1_800_000, 6, 4]
        sources = ask("MMXN4.ClcSrc.setSrcRef", "MMXN5.ClcSrc.setSrcRef", fc="SP")
        assert sources == [f"{meter.domain}/MMXN1", f"{meter.domain}/MMXN4"]
        with running.connect() as browser:
            await asyncio.to_thread(_compare, browser, described(cid), cid, tmp_path)
        await meter.status(online=False)
        await eventually(lambda: ask("MMXN4.Watt.q", "MMXN5.Watt.q", fc="MX") == [OLD, OLD])
        assert ask("MMTN11.DmdWh.q", "MMTN11.DmdWh.frVal") == [OLD, 3000]


async def test_the_tariff_in_force_is_a_point_of_the_gateway(broker: Broker) -> None:
    async with scene(broker) as running:
        running.bills = Bills(tariffs=2)
        await met(running)

        def ask() -> list[Any]:
            with CLIENTS["libiec61850"](running.port) as client:
                return [client.read(f"SMGW001GW/GGIO1.IntIn5.{name}", "ST") for name in ("stVal", "q", "t")]

        assert ask()[1] == INVALID
        told = TariffInForce(tariff="T2", since=END)
        await running.client.publish(running.topics.tariff, told.payload(), qos=1, retain=True)
        await eventually(lambda: ask() == [2, OLD, END_MS])
        bridge = ServiceStatus(online=True, version="1", session="b", ts=utc_now())
        await running.client.publish(running.topics.service_status("bridge"), bridge.payload(), qos=1)
        await eventually(lambda: ask() == [2, GOOD, END_MS])
        await running.client.publish(running.topics.tariff, b"", qos=1, retain=True)
        await eventually(lambda: ask()[1] == INVALID)
