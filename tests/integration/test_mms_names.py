"""Logical devices with the names of an old deployment, and what clients see when the names change."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from open61850.mms import MmsClient, operate

from broker.contract.relay import Position
from broker.contract.topics import scl_name
from tests.support.brokers import Broker
from tests.support.mms import Scene, eventually, scene

DOMAINS = 9  # object class of GetNameList


def volts(client: MmsClient, domain: str) -> object:
    return getattr(client.read(f"{domain}/MMXN1.Vol.mag.f[MX]"), "value", None)


def text(client: MmsClient, reference: str) -> object:
    return getattr(client.read(reference), "value", None)


async def test_old_names_are_served_as_before(broker: Broker) -> None:
    async with scene(broker) as running:
        running.old_names = True
        meter = await running.add_meter(1)
        await meter.read(voltage=231.5)
        await running.publish_cid()
        with await running.associate() as client:
            assert names(client) == {scl_name(meter.meter_id), "SMGW001GW"}
            await eventually(lambda: volts(client, meter.domain) == 231.5)
            await asyncio.to_thread(operate, client, f"{meter.domain}/CSWI1.Pos", False)
            assert meter.position is Position.OPEN


async def test_whose_a_device_is_and_how_its_house_is_called_is_told_online(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(7)
        await running.publish_cid()
        with await running.associate() as client:
            assert text(client, "SMGW001M7/LPHD1.PhyNam.mRID[DC]") == meter.meter_id
            assert text(client, "SMGW001M7/LLN0.NamPlt.d[DC]") == meter.meter_id[-4:]


async def test_the_meter_is_who_the_file_says_and_not_what_the_name_says(broker: Broker) -> None:
    """A device called as if it were another meter's shows and moves the one in its Private."""
    async with scene(broker) as running:
        meter, other = await running.add_meter(1), await running.add_meter(2)
        await meter.read(voltage=111.0)
        await other.read(voltage=222.0)
        misleading = f'inst="M1" ldName="{scl_name(other.meter_id)}"'.encode()
        await running.publish_cid(change=lambda cid: cid.replace(b'inst="M1"', misleading, 1))
        with await running.associate() as client:
            domain = scl_name(other.meter_id)
            await eventually(lambda: volts(client, domain) == 111.0)
            await asyncio.to_thread(operate, client, f"{domain}/CSWI1.Pos", False)
            assert (meter.position, other.position) == (Position.OPEN, Position.CLOSED)


async def test_a_change_of_names_drops_nobody(broker: Broker) -> None:
    """An association of before goes on with the old name; a new one finds the new name alone."""
    async with scene(broker) as running:
        running.old_names = True
        meter = await running.add_meter(1)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        old = meter.domain
        with await running.associate() as client:
            await eventually(lambda: volts(client, old) == 230.0)
            await renamed(running)
            await eventually(lambda: new_names(running) == {"SMGW001M1", "SMGW001GW"})
            await meter.read(voltage=240.0)
            await eventually(lambda: volts(client, old) == 240.0)
            with await running.associate() as fresh:
                await eventually(lambda: volts(fresh, "SMGW001M1") == 240.0)


async def renamed(running: Scene) -> None:
    """The CID with the new names."""
    for meter_id, meter in running.meters.items():
        running.meters[meter_id] = replace(meter, old_names=False)
    await running.publish_cid()


def names(client: MmsClient) -> set[str]:
    return set(client.get_name_list(DOMAINS))


def new_names(running: Scene) -> set[str]:
    with running.connect() as client:
        return names(client)
