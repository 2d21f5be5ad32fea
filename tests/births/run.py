"""One run: births at a rate, clients at work, and the first meter telling what the clients must hear.

>>> verdict = await run(running, births=8, seconds=3, born=with_cid)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass

from broker.contract.relay import Position
from tests.births.clients import Published, Work, at_work
from tests.support.mms import DrivenMeter, Scene

PACE = 0.1
"""Seconds between two readings of the first meter; its relay moves as often."""
DBPOS = {Position.OPEN: "01", Position.CLOSED: "10"}

Born = Callable[[Scene, int], Awaitable[None]]
"""Makes the meter of that number be born, and the server hear of it."""


@dataclass
class Verdict:
    """What came of a run."""

    births: int
    work: Work
    published: Published

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        return self.work.problems(self.published)


async def run(running: Scene, *, births: int, seconds: float, born: Born) -> Verdict:
    """Let so many meters be born in so many seconds while the clients work on the first two."""
    first, second = list(running.meters.values())[:2]
    published = Published()
    count = 0
    with ExitStack() as stack:
        opening = at_work(running.port, first.domain, second.domain, lambda: count)
        work = await asyncio.to_thread(stack.enter_context, opening)
        telling = asyncio.create_task(_tell(first, published))
        started = asyncio.get_running_loop().time()
        for number in range(births):
            await born(running, number)
            count += 1
            due = started + (number + 1) * seconds / births
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        await asyncio.to_thread(stack.close)
    return Verdict(count, work, published)


async def _tell(meter: DrivenMeter, published: Published) -> None:
    """A new voltage and a new position, again and again; cancelled only between two."""
    number = 0
    while True:
        number += 1
        published.voltages.append(200.0 + number % 500 / 10)
        await asyncio.shield(_told(meter, published))
        await asyncio.sleep(PACE)


async def _told(meter: DrivenMeter, published: Published) -> None:
    await meter.read(voltage=published.voltages[-1], power=200.0)
    opened = meter.position is Position.CLOSED
    meter.position = Position.OPEN if opened else Position.CLOSED
    ts = await meter.relay(None)
    published.positions.append((DBPOS[meter.position], round(ts.timestamp() * 1000)))
