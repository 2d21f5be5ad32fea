"""Which meter is meant, and what it last said: a meter_id, its SM_ name, or a name that only one meter has.

>>> chosen("House 1", {"3f2504e0-4f89-41d3-9a0c-0305e82c3301": "House 1"})
'3f2504e0-4f89-41d3-9a0c-0305e82c3301'
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import aiomqtt
from pydantic import ValidationError

from admin import mqtt
from admin.exits import NotFoundError
from broker.errors import ConfigurationError, ContractError
from broker.messages import Birth, Message, Position, Relay, Status
from broker.settings import MqttSettings
from broker.topics import Topics, checked_meter_id, meter_id_of

M = TypeVar("M", bound=Message)


def exact(text: str) -> str | None:
    """The meter_id that ``text`` is, or whose SM_ name it is; None for a name."""
    for reading in (checked_meter_id, meter_id_of):
        with suppress(ContractError):
            return reading(text)
    return None


def chosen(text: str, names: Mapping[str, str]) -> str:
    """The meter_id of ``text`` in ``names`` (meter_id → name); NotFoundError if there is none."""
    meter_id = exact(text)
    if meter_id is not None:
        if meter_id not in names:
            raise NotFoundError(f"no meter {meter_id}: `meter61850 meters list` shows all")
        return meter_id
    found = [candidate for candidate, name in names.items() if name == text]
    if not found:
        raise NotFoundError(f"no meter is called {text!r}: `meter61850 meters list` shows all")
    if len(found) > 1:
        raise ConfigurationError(
            f"{len(found)} meters are called {text!r}: say which meter_id, such as {found[0]}"
        )
    return found[0]


@dataclass(frozen=True)
class Known:
    """What is retained of a meter."""

    meter_id: str
    birth: Birth | None
    status: Status | None
    relay: Relay | None

    def obstacle(self, position: Position) -> str | None:
        """Why a command to ``position`` would be in vain; None if it would not."""
        if self.birth is None:
            return "no such meter"
        if self.status is None or not self.status.online:
            return "the meter is offline"
        if self.relay is None:
            return "the meter has not told its relay's position"
        if self.relay.position is position:
            return f"the relay is {position} already"
        return None


async def names(client: aiomqtt.Client, topics: Topics) -> dict[str, str]:
    """meter_id → name of every meter whose birth is retained."""
    births = await mqtt.retained(client, topics.meter("+", "birth"), barrier=_barrier(topics))
    found = {}
    for topic, payload in births.items():
        with suppress(ContractError):  # a stranger's topic: the bridge keeps it as a dead letter
            if birth := parsed(Birth, payload):
                found[topics.parse(topic).name] = birth.name
    return found


async def find(client: aiomqtt.Client, settings: MqttSettings, meter: str) -> Known:
    """What is retained of the meter that ``meter`` names; NotFoundError for a name that none has."""
    topics = settings.topics
    meter_id = exact(meter) or chosen(meter, await names(client, topics))
    wanted = {kind: topics.meter(meter_id, kind) for kind in ("birth", "status", "relay")}
    found = await mqtt.retained(client, *wanted.values(), barrier=_barrier(topics))
    return Known(
        meter_id,
        parsed(Birth, found.get(wanted["birth"])),
        parsed(Status, found.get(wanted["status"])),
        parsed(Relay, found.get(wanted["relay"])),
    )


def parsed(model: type[M], payload: bytes | None) -> M | None:
    """The message in ``payload``; None without one, or when it is not of the contract."""
    try:
        return model.model_validate_json(payload) if payload else None
    except ValidationError:
        return None


def _barrier(topics: Topics) -> str:
    return topics.service_status(mqtt.NAME)
