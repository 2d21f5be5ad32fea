"""The kinds of sensors that a meter may have. A new kind is a file beside this one, and a line here.

>>> device("pzem004t").baud_rate
9600
"""

from __future__ import annotations

from broker.contract.errors import ConfigurationError
from meter_firmware.sensors.modbus import Device
from meter_firmware.sensors.pzem004t import PZEM004T

DEVICES = {device.name: device for device in (PZEM004T,)}


def device(kind: str) -> Device:
    """The device of this kind; ConfigurationError names those that there are."""
    if kind not in DEVICES:
        known = ", ".join(sorted(DEVICES))
        raise ConfigurationError(f"sensor.kind {kind!r} is not known: use one of {known}")
    return DEVICES[kind]
