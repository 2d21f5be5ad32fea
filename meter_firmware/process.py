"""What a meter process and a simulator process share: they end cleanly, and together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol


class Runs(Protocol):
    """A meter."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; Meter61850Error if it cannot start."""


async def run_meters(meters: Iterable[Runs], stop: asyncio.Event) -> None:
    """Run all until ``stop``; when one fails, the others say goodbye and its error is raised."""
    outcomes = await asyncio.gather(*(_run(meter, stop) for meter in meters), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _run(meter: Runs, stop: asyncio.Event) -> None:
    try:
        await meter.run(stop)
    finally:
        stop.set()
