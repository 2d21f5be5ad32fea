"""Deadbands and ranges over MMS: what is an event, what a read gives, and that the file says so."""

from __future__ import annotations

import asyncio
import queue

from open61850.data import FloatData, IntData, StructureData
from open61850.mms import MmsClient, ObjectName
from open61850.mms.report import Report

from admin.mms.comparison import differences
from bridge.settings import BridgeSettings
from tests.integration.test_mms_model import described
from tests.integration.test_mms_model import served as discovered
from tests.integration.test_mms_reports import READING, VOLTAGES, next_report, reports, served
from tests.support.brokers import Broker
from tests.support.mms import DrivenMeter, Scene, scene


async def test_only_what_leaves_the_deadband_or_the_range_is_an_event(broker: Broker) -> None:
    async with scene(broker) as running:
        running.bands = BridgeSettings().bands
        meter = await served(running)
        with reports(running, VOLTAGES, interrogate=False) as arrived:
            told = [await event(meter, arrived, quiet=231.9, volts=233.0)]
            assert await asyncio.to_thread(read, running, meter) == 233.0
            told.append(await event(meter, arrived, quiet=234.0, volts=252.9))
            told.append(await event(meter, arrived, quiet=252.8, volts=253.1))  # above Un + 10 %: range alone
        assert told == [(233.0, 233.0, 0), (252.9, 252.9, 0), (253.1, 252.9, 1)]


async def test_the_file_says_what_is_served(broker: Broker) -> None:
    async with scene(broker) as running:
        running.bands = BridgeSettings().bands
        await running.add_meter(1)
        file = described(await running.publish_cid())
        with await running.associate() as client:
            shown = await asyncio.to_thread(discovered, client, file)
        assert [str(found) for found in differences(file, shown)] == []


async def event(
    meter: DrivenMeter, arrived: queue.Queue[Report], *, quiet: float, volts: float
) -> tuple[float, float, int]:
    """instMag, mag and range of the one report that two readings make."""
    await meter.read(**{**READING, "voltage": quiet})
    await meter.read(**{**READING, "voltage": volts})
    report = await next_report(arrived)
    (entry,) = report.entries
    assert isinstance(entry.value, StructureData)
    instant, mag, place, *_ = entry.value.members
    assert isinstance(instant, StructureData)
    assert isinstance(mag, StructureData)
    assert isinstance(place, IntData)
    return number(instant), number(mag), place.value


def number(value: StructureData) -> float:
    """An AnalogueValue's f, as a reading has it."""
    (f,) = value.members
    assert isinstance(f, FloatData)
    return round(f.value, 1)


def read(running: Scene, meter: DrivenMeter) -> float:
    """The present value."""
    with MmsClient.connect("127.0.0.1", running.port, timeout=60.0) as client:
        found = client.read(ObjectName("MMXN1$MX$Vol$instMag$f", meter.domain))
    assert isinstance(found, FloatData)
    return round(found.value, 1)
