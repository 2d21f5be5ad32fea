"""A meter that is served, with what its CID says of it, for tests with the clients of ``clients.py``.

>>> async with served(broker, tmp_path) as there:  # doctest: +SKIP
...     await there.use("libiec61850", lambda client: client.identify())
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from open61850 import scl

from broker.contract.relay import Position
from scl_builder.build.project import ControlModel
from tests.support.brokers import Broker
from tests.support.clients import CLIENTS
from tests.support.mms import DrivenMeter, Scene, scene
from tests.support.scada import LACKS, Client, LacksError

T = TypeVar("T")


class Served:
    """A running server with one meter, and what its CID says."""

    def __init__(self, running: Scene, meter: DrivenMeter, cid: Path) -> None:
        self.running = running
        self.meter = meter
        self.cid = cid.read_bytes()
        self.ied = scl.load_ieds(cid)[0]

    async def use(self, name: str, session: Callable[[Client], T]) -> T:
        """A session of one client; what it lacks must be in the table, and what is there must be lacking."""

        def run() -> T:
            with CLIENTS[name](self.running.port) as client:
                return session(client)

        return await asyncio.to_thread(run)

    def block(self, *, buffered: bool, node: str) -> tuple[str, int]:
        """First instance of a block that reports ``node`` of the meter, and the member's index."""
        for block in self.ied.report_controls:
            data_set = next(
                d for d in self.ied.data_sets if f"{d.domain}/{d.ln}${d.name}" == block.data_set_reference
            )
            members = [str(member) for member in data_set.references()]
            index = next(
                (i for i, m in enumerate(members) if m.startswith(f"{self.meter.domain}/{node}")), None
            )
            if block.buffered is buffered and index is not None:
                first = next(iter(block.instances()))
                return f"{first.domain}/{first.item.replace('$', '.')}", index
        raise AssertionError(f"no block reports {node}")

    async def switch(self, times: int) -> list[str]:
        """The relay moves so often; the positions that it had."""
        told = []
        for _ in range(times):
            opened = self.meter.position is Position.CLOSED
            self.meter.position = Position.OPEN if opened else Position.CLOSED
            await self.meter.relay(None)
            told.append("01" if opened else "10")
        return told


@asynccontextmanager
async def served(
    broker: Broker, tmp_path: Path, *, control_model: ControlModel = "sbo-with-enhanced-security"
) -> AsyncIterator[Served]:
    """One meter with a reading and a closed relay."""
    async with scene(broker, control_model=control_model) as running:
        meter = await running.add_meter(1)
        await meter.read(voltage=230.0, power=200.0)
        path = tmp_path / "served.cid"
        path.write_bytes(await running.publish_cid())
        (await running.associate()).close()
        yield Served(running, meter, path)


def lacking(name: str, service: str, ask: Callable[[], T]) -> T | None:
    """The answer, or None where the table says that the client has no such function."""
    if (name, service) not in LACKS:
        return ask()
    with pytest.raises(LacksError):
        ask()
    return None
