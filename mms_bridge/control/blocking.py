"""What is blocked at the meters, as the retained topics tell it; told again where a broker has lost it.

The newest changes count (``broker.contract.block.Block``). So a broker that was restored from an older
state, or that somebody has cleared, hears from us what we know, and the newest change prevails in any order.

>>> blocks.take(meter, b"")        # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pydantic import ValidationError

from broker.contract.block import Block
from broker.contract.fleet import Fleet, MeterState
from broker.contract.messages import utc_now


class Repeat(NamedTuple):
    """What was heard before, so it has its record; told again to a broker that lost it, and never refused."""

    meter_id: str
    block: Block


class Blocks:
    """Keeps each meter's newest block; ``publish`` tells the broker."""

    def __init__(self, fleet: Fleet, publish: Callable[[Repeat], None]) -> None:
        self._fleet = fleet
        self._publish = publish
        self._heard: set[str] = set()

    def take(self, meter: MeterState, payload: bytes) -> None:
        """One message of the topic; ValidationError if it is no block."""
        self._heard.add(meter.meter_id)
        try:
            block = Block.model_validate_json(payload) if payload else None
        except ValidationError:
            self._repeat(meter)
            raise
        if block is not None:
            meter.hear(block, live=True, now=utc_now())
        if block != meter.block:
            self._repeat(meter)

    def begin(self) -> None:
        """A new connection: nothing was heard over it yet."""
        self._heard.clear()

    def settle(self) -> None:
        """All that is retained was heard: tell the broker what it did not tell us."""
        for meter in self._fleet.meters.values():
            if meter.meter_id not in self._heard:
                self._repeat(meter)

    def _repeat(self, meter: MeterState) -> None:
        if meter.block is not None and meter.withdrawn is None:
            self._publish(Repeat(meter.meter_id, meter.block))
