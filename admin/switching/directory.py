"""Finds a meter and its latest state, by meter_id, logical device, or a name that only one meter has.

>>> chosen("House 1", {"3f2504e0-4f89-41d3-9a0c-0305e82c3301": "House 1"})
'3f2504e0-4f89-41d3-9a0c-0305e82c3301'
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress

import aiomqtt

from admin import mqtt
from admin.exits import NotFoundError
from broker.contract.birth import Birth
from broker.contract.commands import parsed
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.known import Known
from broker.contract.specs import STATE_KINDS
from broker.contract.topics import Topics, checked_meter_id, meter_id_of
from broker.mqtt.settings import MqttSettings
from scl_builder.read.cid import CidError, Device, read_cid

FEW = 100
"""Meters up to which we subscribe to the topics of each, and not to those of all."""
_DEVICE = re.compile(r"([A-Za-z][0-9A-Za-z_]*?)(M[1-9]\d*)")


def exact(text: str) -> str | None:
    """The meter_id that ``text`` is, or has in it as SM_ names do; None for any other name."""
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
        raise NotFoundError(f"no meter has the name {text!r}: `meter61850 meters list` shows all")
    if len(found) > 1:
        raise ConfigurationError(
            f"{len(found)} meters have the name {text!r}: use the meter_id, such as {found[0]}"
        )
    return found[0]


async def names(client: aiomqtt.Client, topics: Topics) -> dict[str, str]:
    """meter_id → name of every meter whose birth is retained."""
    births = await mqtt.retained(client, topics.filter("birth"), barrier=_barrier(topics))
    found = {}
    for topic, payload in births.items():
        with suppress(ContractError):  # a stranger's topic: the bridge keeps it as a dead letter
            if birth := parsed(Birth, payload):
                found[topics.parse(topic).name] = birth.name
    return found


async def find(client: aiomqtt.Client, settings: MqttSettings, meter: str) -> Known:
    """What is retained of the meter that ``meter`` names; NotFoundError for a name that none has."""
    topics = settings.topics
    meter_id = exact(meter) or await of_device(client, topics, meter)
    meter_id = meter_id or chosen(meter, await names(client, topics))
    wanted = {topics.meter(meter_id, kind): kind for kind in STATE_KINDS}
    found = await mqtt.retained(client, *wanted, barrier=_barrier(topics))
    known = Known(meter_id)
    for topic, payload in found.items():
        known.take_if_valid(wanted[topic], payload, live=False)
    return known


async def everybody(client: aiomqtt.Client, topics: Topics) -> dict[str, Known]:
    """meter_id → what is retained, of every meter that was born."""
    filters = [topics.filter(kind) for kind in STATE_KINDS]
    found: dict[str, Known] = {}
    for topic, payload in (await mqtt.retained(client, *filters, barrier=_barrier(topics))).items():
        with suppress(ContractError):  # as above
            told = topics.parse(topic)
            found.setdefault(told.name, Known(told.name)).take_if_valid(told.kind, payload, live=False)
    return {meter_id: known for meter_id, known in found.items() if known.birth}


async def these(client: aiomqtt.Client, topics: Topics, meter_ids: Collection[str]) -> dict[str, Known]:
    """meter_id → what is retained of these meters; of a stranger nothing."""
    known = {meter_id: Known(meter_id) for meter_id in meter_ids}
    if len(known) > FEW:
        return known | {one: told for one, told in (await everybody(client, topics)).items() if one in known}
    wanted = {topics.meter(meter_id, kind): (meter_id, kind) for meter_id in known for kind in STATE_KINDS}
    for topic, payload in (await mqtt.retained(client, *wanted, barrier=_barrier(topics))).items():
        meter_id, kind = wanted[topic]
        known[meter_id].take_if_valid(kind, payload, live=False)
    return known


async def meters_of(client: aiomqtt.Client, topics: Topics, ied: str) -> set[str]:
    """meter_ids of the meters that the IED's CID names; NotFoundError without one."""
    found = await mqtt.retained(client, topics.cid(ied), barrier=_barrier(topics))
    if not found:
        raise NotFoundError(f"no IED {ied}: `meter61850 meters list` shows the IEDs")
    return {device.meter_id for device in _devices(found[topics.cid(ied)]) if device.meter_id}


async def of_device(client: aiomqtt.Client, topics: Topics, text: str) -> str | None:
    """The meter whose logical device ``text`` names as ``SMGW001M17``; None if no CID has it."""
    named = _DEVICE.fullmatch(text)
    if named is None:
        return None
    found = await mqtt.retained(client, topics.cid(named[1]), barrier=_barrier(topics))
    devices = (_devices(cid) for cid in found.values())
    return next((one.meter_id for of_ied in devices for one in of_ied if one.inst == named[2]), None)


def _devices(cid: bytes) -> tuple[Device, ...]:
    """The logical devices of a CID; none of what is no CID."""
    try:
        return read_cid(cid).devices
    except CidError:
        return ()


def _barrier(topics: Topics) -> str:
    return topics.service_status(mqtt.NAME)
