"""A client of report control blocks: an association, what it writes, and the reports that it gets.

>>> with subscriber(running) as client:  # doctest: +SKIP
...     reserve(client, URCB)
...     client.write(URCB, RptEna=ON)
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from open61850.data import BoolData, IECData, IntData, UIntData, VisibleStringData
from open61850.mms import DataAccessError, MmsClient, ObjectName, decode_report, is_report
from open61850.mms.association import AssociationParameters
from open61850.mms.report import OptFlds, Report, TrgOps

from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, DrivenMeter, Scene, scene

URCB = ObjectName("LLN0$RP$urcbVol01", "SMGW001GW")
BRCB = ObjectName("LLN0$BR$brcbPos01", "SMGW001GW")
METERS = 3
TEMPORARILY_UNAVAILABLE, ACCESS_DENIED, VALUE_INVALID = 2, 3, 11
"""DataAccessError of ISO 9506-2."""
ON, OFF = BoolData(True), BoolData(False)
SETTINGS: dict[str, IECData] = {
    "RptID": VisibleStringData("mine"),
    "DatSet": VisibleStringData("SMGW001GW/LLN0$dsHealth"),
    "OptFlds": OptFlds().to_bitstring(),
    "BufTm": UIntData(1234),
    "TrgOps": TrgOps().to_bitstring(),
    "IntgPd": UIntData(1234),
}
"""Of a block, each another one than the file has."""


@asynccontextmanager
async def served(broker: Broker, meters: int = METERS) -> AsyncIterator[tuple[Scene, DrivenMeter]]:
    """So many meters, each with a reading; the first of them."""
    async with scene(broker) as running:
        for number in range(1, meters + 1):
            await (await running.add_meter(number)).read(voltage=230.0)
        await running.publish_cid()
        (await running.associate()).close()
        yield running, next(iter(running.meters.values()))


@dataclass
class Subscriber:
    """An association and the reports that it gets."""

    client: MmsClient
    arrived: queue.Queue[Report] = field(default_factory=queue.Queue)

    def write(self, block: ObjectName, **values: IECData) -> None:
        """Attributes of a block, one by one; DataAccessError."""
        for name, value in values.items():
            self.client.write(ObjectName(f"{block.item}${name}", block.domain), value)

    def refuses(self, block: ObjectName, **values: IECData) -> int:
        """The DataAccessError of a Write; fails if it was done."""
        with pytest.raises(DataAccessError) as error:
            self.write(block, **values)
        return int(error.value.code)

    def read(self, block: ObjectName, name: str) -> Any:
        """An attribute as it is stored."""
        return self.client.read(ObjectName(f"{block.item}${name}", block.domain))

    def next(self) -> Report:
        """The next report; Empty if none comes."""
        return self.arrived.get(timeout=DEADLINE)

    def interrogated(self, block: ObjectName) -> list[Report]:
        """All segments of the answer to a general interrogation."""
        self.write(block, GI=ON)
        told = [self.next()]
        while told[-1].more_segments_follow:
            told.append(self.next())
        return told


@contextmanager
def subscriber(running: Scene, *, pdu_size: int = 65_000) -> Iterator[Subscriber]:
    """Associate, for PDUs of so many octets at most."""
    arrived: queue.Queue[Report] = queue.Queue()

    def take(message: Any) -> None:
        if is_report(message):
            arrived.put(decode_report(message))

    parameters = AssociationParameters(max_pdu_size=pdu_size)
    with MmsClient.connect(
        "127.0.0.1", running.port, timeout=DEADLINE, on_information_report=take, association=parameters
    ) as client:
        yield Subscriber(client, arrived)


async def at_work(running: Scene, work: Callable[[Subscriber], None], **options: int) -> None:
    """Do the work of one association in a thread."""

    def session() -> None:
        with subscriber(running, **options) as client:
            work(client)

    await asyncio.to_thread(session)


def reserve(client: Subscriber, block: ObjectName) -> None:
    """The block takes no other Write before."""
    client.write(block, **({"Resv": ON} if block is URCB else {"ResvTms": IntData(60)}))
