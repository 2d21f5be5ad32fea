"""Report control blocks (IEC 61850-7-2): options, segments, integrity, and who may write when."""

from __future__ import annotations

from dataclasses import fields

import pytest
from open61850.data import IECData, OctetStringData, UIntData, VisibleStringData
from open61850.mms import DataAccessError, ObjectName
from open61850.mms.report import OptFlds, TrgOps

from tests.support.brokers import Broker
from tests.support.mms_pdus import define, object_name, tlv
from tests.support.subscriber import (
    ACCESS_DENIED,
    BRCB,
    METERS,
    OFF,
    ON,
    SETTINGS,
    TEMPORARILY_UNAVAILABLE,
    URCB,
    Subscriber,
    at_work,
    reserve,
    served,
    subscriber,
)

OPTIONAL = {
    "sequence_number": "seq_num",
    "report_time_stamp": "time_of_entry",
    "data_set_name": "data_set",
    "buffer_overflow": "buf_ovfl",
    "entry_id": "entry_id",
    "conf_revision": "conf_rev",
}
"""Option of OptFlds → what a report has then."""
OF_BUFFERED = {"buffer_overflow", "entry_id"}


def combinations() -> list[OptFlds]:
    """None, all, each alone, all but each; the server sets segmentation itself."""
    names = [one.name for one in fields(OptFlds) if one.name != "segmentation"]
    chosen = [set(), set(names), *({name} for name in names), *(set(names) - {name} for name in names)]
    return [OptFlds(**dict.fromkeys(one, True)) for one in chosen]


@pytest.mark.parametrize("block", [URCB, BRCB], ids=["URCB", "BRCB"])
async def test_a_report_has_the_fields_that_were_asked_for(broker: Broker, block: ObjectName) -> None:
    def work(client: Subscriber) -> None:
        reserve(client, block)
        for options in combinations():
            if block is BRCB:
                client.write(block, PurgeBuf=ON)
            client.write(block, OptFlds=options.to_bitstring(), RptEna=ON)
            [report] = client.interrogated(block)
            client.write(block, RptEna=OFF)
            wanted = {name for name in OPTIONAL if getattr(options, name)}
            if block is URCB:
                wanted -= OF_BUFFERED
            has = {name for name, held in OPTIONAL.items() if getattr(report, held) is not None}
            assert has == wanted, options
            assert len(report.entries) == METERS
            for entry in report.entries:
                assert bool(entry.reference) == options.data_reference
                assert bool(entry.reason) == options.reason_for_inclusion
                assert not isinstance(entry.value, DataAccessError)

    async with served(broker) as (running, _):
        await at_work(running, work)


async def test_a_report_beyond_the_clients_pdu_comes_in_segments(broker: Broker) -> None:
    meters = 20

    def work(client: Subscriber) -> None:
        reserve(client, URCB)
        client.write(URCB, RptEna=ON)
        told = client.interrogated(URCB)
        assert len(told) > 1
        assert [one.sub_seq_num for one in told] == list(range(len(told)))
        assert len({one.seq_num for one in told}) == 1
        assert [entry.index for one in told for entry in one.entries] == list(range(meters))
        client.write(URCB, RptEna=OFF)

    async with served(broker, meters) as (running, _):
        await at_work(running, work, pdu_size=300)


@pytest.mark.parametrize("block", [URCB, BRCB], ids=["URCB", "BRCB"])
async def test_all_members_come_with_each_integrity_period(broker: Broker, block: ObjectName) -> None:
    triggers = TrgOps(integrity=True).to_bitstring()

    def work(client: Subscriber) -> None:
        reserve(client, block)
        client.write(block, TrgOps=triggers, IntgPd=UIntData(200), RptEna=ON)
        for _ in range(3):
            report = client.next()
            assert [entry.index for entry in report.entries] == list(range(METERS))
            assert all(entry.reason and entry.reason.integrity for entry in report.entries)
        client.write(block, RptEna=OFF)

    async with served(broker) as (running, _):
        await at_work(running, work)


OF_BRCB: dict[str, IECData] = {"PurgeBuf": ON, "EntryID": OctetStringData(bytes(8))}


@pytest.mark.parametrize("block", [URCB, BRCB], ids=["URCB", "BRCB"])
async def test_nothing_of_an_enabled_block_can_be_written(broker: Broker, block: ObjectName) -> None:
    settings = SETTINGS | (OF_BRCB if block is BRCB else {})

    def work(client: Subscriber) -> None:
        reserve(client, block)
        client.write(block, RptEna=ON)
        before = {name: client.read(block, name) for name in SETTINGS}
        for name, value in settings.items():
            assert client.refuses(block, **{name: value}) == TEMPORARILY_UNAVAILABLE, name
        assert {name: client.read(block, name) for name in SETTINGS} == before
        assert len(client.interrogated(block)[-1].entries) == METERS, "and it goes on to report"
        client.write(block, RptEna=OFF, **settings)

    async with served(broker) as (running, _):
        await at_work(running, work)


@pytest.mark.parametrize("block", [URCB, BRCB], ids=["URCB", "BRCB"])
async def test_a_block_that_nobody_has_reserved_takes_no_other_write(
    broker: Broker, block: ObjectName
) -> None:
    """Edition 2.1 has no implicit reservation."""

    def work(client: Subscriber) -> None:
        for name, value in {**SETTINGS, "RptEna": ON}.items():
            assert client.refuses(block, **{name: value}) == ACCESS_DENIED, name
        reserve(client, block)
        client.write(block, **SETTINGS, RptEna=ON)
        client.write(block, RptEna=OFF)

    async with served(broker) as (running, _):
        await at_work(running, work)


async def test_a_block_that_another_client_has_reserved_is_refused(broker: Broker) -> None:
    async with served(broker) as (running, _):

        def work(client: Subscriber) -> None:
            client.write(URCB, Resv=ON)
            with subscriber(running) as other:
                for name, value in {**SETTINGS, "Resv": ON, "RptEna": ON}.items():
                    assert other.refuses(URCB, **{name: value}) == TEMPORARILY_UNAVAILABLE, name
                client.write(URCB, Resv=OFF)
                other.write(URCB, Resv=ON, RptEna=ON)
                other.write(URCB, RptEna=OFF, Resv=OFF)

        await at_work(running, work)


async def test_a_block_that_a_client_left_on_its_own_data_set_can_be_used_again(broker: Broker) -> None:
    """What it has written stays; its data set has ended with it, so the next client writes DatSet first."""
    async with served(broker) as (running, meter):
        configured = VisibleStringData("SMGW001GW/LLN0$dsVol")

        def leaves(client: Subscriber) -> None:
            client.client.request(define(tlv(0x82, b"mine"), object_name(meter.domain, "MMXN1$MX$Hz")))
            client.write(URCB, Resv=ON, DatSet=VisibleStringData("@mine"), IntgPd=UIntData(7000), RptEna=ON)
            assert len(client.interrogated(URCB)[-1].entries) == 1

        def comes(client: Subscriber) -> None:
            client.write(URCB, Resv=ON)
            assert client.read(URCB, "DatSet").value == "@mine"
            assert client.read(URCB, "IntgPd").value == 7000
            client.refuses(URCB, RptEna=ON)
            client.write(URCB, DatSet=configured, RptEna=ON)
            assert len(client.interrogated(URCB)[-1].entries) == METERS
            client.write(URCB, RptEna=OFF, Resv=OFF)

        await at_work(running, leaves)
        await at_work(running, comes)
