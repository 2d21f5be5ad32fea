"""The buffer of a BRCB: what empties it, and resuming at an entry that is there or is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from open61850.data import OctetStringData
from open61850.mms import DataAccessError
from open61850.mms.report import OptFlds, TrgOps

from broker.contract.relay import Position
from tests.support.brokers import Broker
from tests.support.chain import until
from tests.support.mms import DEADLINE, DrivenMeter
from tests.support.subscriber import (
    BRCB,
    OFF,
    ON,
    SETTINGS,
    VALUE_INVALID,
    Subscriber,
    at_work,
    reserve,
    served,
)

ENTRY_ID = OptFlds(entry_id=True).to_bitstring()
CHANGES = TrgOps(data_change=True).to_bitstring()


@dataclass
class Relay:
    """The first meter's relay, moved from the thread of a client."""

    client: Subscriber
    meter: DrivenMeter
    loop: asyncio.AbstractEventLoop

    @property
    def position(self) -> bytes:
        """As Dbpos."""
        return b"\x80" if self.meter.position is Position.CLOSED else b"\x40"

    def move(self, times: int) -> None:
        """So often, until the server has the last position."""
        for _ in range(times):
            opened = self.meter.position is Position.CLOSED
            self.meter.position = Position.OPEN if opened else Position.CLOSED
            asyncio.run_coroutine_threadsafe(self.meter.relay(None), self.loop).result(DEADLINE)
        until(lambda: self._served() == self.position)

    def _served(self) -> bytes:
        value: Any = self.client.client.read(f"{self.meter.domain}/XSWI1.Pos.stVal[ST]")
        return bytes(value.value)


async def test_a_purged_buffer_is_empty_and_an_unknown_entry_is_refused(broker: Broker) -> None:
    async with served(broker) as (running, meter):
        loop = asyncio.get_running_loop()

        def work(client: Subscriber) -> None:
            relay = Relay(client, meter, loop)
            reserve(client, BRCB)
            client.write(BRCB, RptEna=ON)
            relay.move(1)
            last = client.next().entry_id
            assert last is not None
            client.write(BRCB, RptEna=OFF)
            relay.move(3)
            assert client.refuses(BRCB, EntryID=OctetStringData(b"\x7f" * 8)) == VALUE_INVALID
            client.write(BRCB, EntryID=OctetStringData(last), RptEna=ON)
            assert [client.next().buf_ovfl for _ in range(3)] == [False] * 3, "what is known is there"
            client.write(BRCB, RptEna=OFF)
            client.write(BRCB, RptEna=ON)
            again = [client.next() for _ in range(4)]
            assert again[0].entry_id == last
            assert [one.buf_ovfl for one in again] == [True, False, False, False], "from the oldest one"
            client.write(BRCB, RptEna=OFF)
            relay.move(2)
            client.write(BRCB, PurgeBuf=ON, RptEna=ON)
            relay.move(1)
            report = client.next()
            value: Any = report.entries[0].value
            assert (report.buf_ovfl, value.members[0].value) == (True, relay.position), "after the purge"
            assert client.arrived.empty()
            client.write(BRCB, RptEna=OFF)

        await at_work(running, work)


async def test_which_settings_empty_the_buffer(broker: Broker) -> None:
    """An entry that was there can be resumed from, or not."""
    async with served(broker) as (running, meter):
        loop = asyncio.get_running_loop()

        def work(client: Subscriber) -> None:
            relay = Relay(client, meter, loop)
            reserve(client, BRCB)
            emptied = set()
            for name in (*sorted(SETTINGS.keys() - {"DatSet"}), "DatSet"):
                client.write(BRCB, PurgeBuf=ON, OptFlds=ENTRY_ID, TrgOps=CHANGES, RptEna=ON)
                relay.move(1)
                last = client.next().entry_id
                assert last is not None
                client.write(BRCB, RptEna=OFF, **{name: SETTINGS[name]})
                try:
                    client.write(BRCB, EntryID=OctetStringData(last))
                except DataAccessError:
                    emptied.add(name)
            assert emptied == SETTINGS.keys() - {"OptFlds"}

        await at_work(running, work)
