"""Alarms in force become health: PhyHealth of a meter, and of the gateway for the server's own.

>>> alarm_handlers(fleet, of_meter=refresh, of_server=recount)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable

from broker.contract.alarms import Alarms, Severity
from broker.contract.fleet import Fleet, MeterState
from broker.contract.topics import Handler, Topic


def alarm_handlers(
    fleet: Fleet, *, of_meter: Callable[[MeterState], None], of_server: Callable[[], None]
) -> dict[str, Handler]:
    """By kind of topic; ``of_meter`` and ``of_server`` are called when a health has changed."""

    def take_meters(topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter, worst = fleet.meter(topic.name), _worst(payload)
        if worst != meter.worst:
            meter.worst = worst
            of_meter(meter)

    def take_servers(topic: Topic, payload: bytes, *, retained: bool) -> None:
        worst = _worst(payload)
        if worst != fleet.worst:
            fleet.worst = worst
            of_server()

    return {"alarms": take_meters, "service_alarms": take_servers}


def _worst(payload: bytes) -> Severity | None:
    """What alarms leave of the health; an empty payload says that there are none."""
    return Alarms.model_validate_json(payload).health if payload else None
