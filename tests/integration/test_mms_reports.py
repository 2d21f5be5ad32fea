"""Reports: one event is one entry with the meter's time, soon, and nothing else."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from contextlib import contextmanager

from open61850.data import BoolData, StructureData, TimestampData, VisibleStringData
from open61850.mms import MmsClient, ObjectName, decode_report, is_report, rcb
from open61850.mms.report import Report

from broker.contract.relay import Position
from tests.support.brokers import Broker
from tests.support.mms import DrivenMeter, Scene, scene
from tests.support.mms_pdus import define, object_name, tlv

READING = {"voltage": 230.0, "current": 1.0, "power": 200.0, "power_factor": 0.9, "frequency": 50.0}
VOLTAGES = ObjectName("LLN0$RP$urcbVol01", "SMGW001GW")
POSITIONS = ObjectName("LLN0$BR$brcbPos01", "SMGW001GW")


@contextmanager
def reports(
    running: Scene, block: ObjectName, *, interrogate: bool, members: tuple[bytes, ...] = ()
) -> Iterator[queue.Queue[Report]]:
    """Reports of one control block, enabled for changes only; of ``members`` instead of its data set."""
    arrived: queue.Queue[Report] = queue.Queue()

    def take(message: object) -> None:
        if is_report(message):  # type: ignore[arg-type]
            arrived.put(decode_report(message))  # type: ignore[arg-type]

    with MmsClient.connect("127.0.0.1", running.port, timeout=60.0, on_information_report=take) as client:
        # as the SCD configures it: a written TrgOps or OptFlds would purge a buffered block
        settings = rcb.RcbSettings(
            trg_ops=None, opt_flds=None, intg_pd_ms=None, general_interrogation=interrogate
        )
        if members:
            client.request(define(tlv(0x82, b"mine"), *members))
            client.write(ObjectName(f"{block.item}$Resv", block.domain), BoolData(True))
            client.write(ObjectName(f"{block.item}$DatSet", block.domain), VisibleStringData("@mine"))
        rcb.enable(client, block, settings)
        yield arrived
        rcb.disable(client, block)


async def served(running: Scene) -> DrivenMeter:
    """One meter with a reading, in a CID that is served."""
    meter = await running.add_meter(1)
    await meter.read(**READING)
    await running.publish_cid()
    (await running.associate()).close()
    return meter


async def next_report(arrived: queue.Queue[Report]) -> Report:
    """The next report; Empty if none comes."""
    return await asyncio.to_thread(arrived.get, True, 60)


async def test_a_changed_reading_is_one_report(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await served(running)
        with reports(running, VOLTAGES, interrogate=False) as arrived:
            ts = await meter.read(**{**READING, "voltage": 231.5, "power": 210.0})
            report = await next_report(arrived)
            assert [entry.index for entry in report.entries] == [0]
            for entry in report.entries:
                assert entry.reason is not None
                assert entry.reason.data_change
                assert isinstance(entry.value, StructureData)
                t = entry.value.members[2]
                assert isinstance(t, TimestampData)
                assert abs((t.value - ts).total_seconds()) < 0.001
            await meter.read(**{**READING, "voltage": 231.5, "power": 210.0})  # nothing changes
            await meter.read(**{**READING, "voltage": 232.0, "power": 210.0})
            following = await next_report(arrived)
            assert [entry.index for entry in following.entries] == [0]
            assert following.seq_num == (report.seq_num or 0) + 1


async def test_a_clients_data_set_is_reported_though_no_configured_one_has_its_member(broker: Broker) -> None:
    """VolAmp is in no data set of the CID, so it was written without a look at the blocks until now."""
    async with scene(broker) as running:
        meter = await served(running)
        cid = await running.publish_cid()
        assert b'doName="Vol"' in cid
        assert b'doName="VolAmp"' not in cid
        await meter.read(**{**READING, "current": 2.0})

        member = object_name(meter.domain, "MMXN1$MX$VolAmp")
        with reports(running, VOLTAGES, interrogate=False, members=(member,)) as arrived:
            await meter.read(**{**READING, "current": 3.0})
            report = await next_report(arrived)
            assert [entry.index for entry in report.entries] == [0]
            assert report.entries[0].reason is not None
            assert report.entries[0].reason.data_change


async def test_general_interrogation_tells_all_members(broker: Broker) -> None:
    async with scene(broker) as running:
        await running.add_meter(2)
        await served(running)
        with reports(running, VOLTAGES, interrogate=True) as arrived:
            report = await next_report(arrived)
            assert len(report.entries) == 2
            assert all(entry.reason and entry.reason.general_interrogation for entry in report.entries)


async def test_the_buffered_block_keeps_what_happened_before_it_was_enabled(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await served(running)
        meter.position = Position.OPEN
        await meter.relay(None)
        await meter.read(**READING)
        with reports(running, POSITIONS, interrogate=False) as arrived:
            report = await next_report(arrived)
            assert [entry.index for entry in report.entries] == [0]
            assert report.entry_id
            meter.position = Position.CLOSED
            await meter.relay(None)
            following = await next_report(arrived)
            assert [entry.index for entry in following.entries] == [0]
            assert following.entry_id != report.entry_id


async def test_initial_values_raise_no_event(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await served(running)
        with reports(running, POSITIONS, interrogate=False) as arrived:
            meter.position = Position.OPEN  # the first event that there is
            await meter.relay(None)
            report = await next_report(arrived)
            assert [entry.index for entry in report.entries] == [0]
            assert arrived.empty()
