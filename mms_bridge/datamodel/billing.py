"""Figures for bills become frozen registers and demand: topic ``billing`` of a meter.

>>> billing_handler(fleet, refresh)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable

from broker.contract.billing import Billing
from broker.contract.fleet import Fleet, MeterState
from broker.contract.topics import Handler, Topic


def billing_handler(fleet: Fleet, refresh: Callable[[MeterState], None]) -> Handler:
    """What takes a message; ``refresh`` writes the values of a meter."""

    def take(topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter = fleet.meter(topic.name)
        meter.billing = Billing.model_validate_json(payload) if payload else None
        refresh(meter)

    return take
