"""The discovery message of one meter: what Home Assistant shows of it, from its birth alone.

One message for each meter, device-based (Home Assistant 2026.2.3, ``components/mqtt/schemas.py``). Each
quantity of the birth is a sensor; nothing else is announced. A switch only on request: its command is ours,
with an id and an expiry, which Home Assistant's template makes fresh at each press.

>>> from broker.contract.birth import Hardware
>>> from broker.contract.messages import utc_now
>>> birth = Birth(name="House 1", hardware=Hardware(serial="1"), firmware="1", interval=10, session="s",
...               quantities=("energy", "voltage"), relay=False, ts=utc_now())
>>> told = config("3f2504e0-4f89-41d3-9a0c-0305e82c3301", birth, Topics())
>>> told["components"]["energy"]["state_class"], sorted(told["components"])
('total_increasing', ['energy', 'voltage'])
"""

from __future__ import annotations

import math
from typing import Any

from broker.contract.birth import Birth
from broker.contract.quantities import QUANTITIES, Kind, Quantity
from broker.contract.topics import Topics, checked_meter_id
from broker.version import VERSION

ORIGIN = "meter61850"
"""By this name an adapter of ours leaves these messages alone."""
PREFIX = "m61850_"
EXPIRE_INTERVALS = 3
COMMAND_SECONDS = 20
"""For which a command of Home Assistant is valid; the contract allows 60."""

# fmt: off
CLASSES: dict[str, str] = {
    "V": "voltage", "A": "current", "W": "power", "var": "reactive_power", "VA": "apparent_power",
    "Hz": "frequency", "Wh": "energy", "varh": "reactive_energy", "": "power_factor",
}
# fmt: on
"""Unit → device class; another unit has none."""
STATES = {Kind.MEASUREMENT: "measurement", Kind.REGISTER: "total_increasing"}

COMMAND_TEMPLATE = (
    "{{ {'command_id': 'ha-' ~ (utcnow().timestamp()*1000)|int ~ '-METER_ID', 'position': value, "
    "'issued_at': utcnow().isoformat(timespec='milliseconds'), "
    f"'expires_at': (utcnow()+timedelta(seconds={COMMAND_SECONDS})).isoformat(timespec='milliseconds'), "
    "'origin': {'category': 'remote-control', 'identifier': 'home-assistant'}} | tojson }}"
)
"""With the meter's id: a scene switches many meters in a millisecond, and the ledger has each id once."""


def object_id(meter_id: str) -> str:
    """How Home Assistant calls the meter's device."""
    return PREFIX + checked_meter_id(meter_id)


def config(meter_id: str, birth: Birth, topics: Topics, *, switch: bool = False) -> dict[str, Any]:
    """The discovery message; ``switch``: also one for the relay."""
    name = object_id(meter_id)
    rows = [QUANTITIES[one] for one in birth.quantities if one in QUANTITIES]
    reading = topics.meter(meter_id, "reading")
    components = {row.name: _sensor(row, name, reading, interval=birth.interval) for row in rows}
    if switch and birth.relay:
        components["relay"] = _switch(name, meter_id, topics)
    return {
        "device": _device(name, birth),
        "origin": {"name": ORIGIN, "sw_version": VERSION},
        "availability": [
            {
                "topic": topics.meter(meter_id, "status"),
                "value_template": "{{ 'online' if value_json.online else 'offline' }}",
            }
        ],
        "qos": 1,
        "components": components,
    }


def _device(name: str, birth: Birth) -> dict[str, Any]:
    told = {
        "name": birth.name or name,
        "manufacturer": birth.hardware.vendor,
        "model": birth.hardware.model,
        "serial_number": birth.hardware.serial,
        "sw_version": birth.firmware,
        "suggested_area": birth.address,
    }
    return {"identifiers": [name]} | {key: text for key, text in told.items() if text}


def _sensor(row: Quantity, name: str, topic: str, *, interval: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "platform": "sensor",
        "unique_id": f"{name}_{row.name}",
        "name": row.label,
        "state_class": STATES[row.kind],
        "state_topic": topic,
        "value_template": f"{{{{ value_json.{row.name} if value_json.{row.name} is defined else none }}}}",
        "suggested_display_precision": row.decimals,
    }
    if row.unit in CLASSES:
        told["device_class"] = CLASSES[row.unit]
    if row.unit:
        told["unit_of_measurement"] = row.unit
    if row.kind is not Kind.REGISTER:  # a counter's last value stays true
        told["expire_after"] = math.ceil(EXPIRE_INTERVALS * interval)
    return told


def _switch(name: str, meter_id: str, topics: Topics) -> dict[str, Any]:
    return {
        "platform": "switch",
        "unique_id": f"{name}_relay",
        "name": "Supply",
        "state_topic": topics.meter(meter_id, "relay"),
        "value_template": "{{ value_json.position }}",
        "state_on": "closed",
        "state_off": "open",
        "payload_on": "closed",
        "payload_off": "open",
        "command_topic": topics.meter(meter_id, "command"),
        "command_template": COMMAND_TEMPLATE.replace("METER_ID", meter_id),
        "optimistic": False,
        "retain": False,
    }
