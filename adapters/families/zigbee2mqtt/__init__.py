"""Devices of zigbee2mqtt: registers the family."""

from adapters.families.zigbee2mqtt.family import Settings, Zigbee2Mqtt

__all__ = ["Settings", "Zigbee2Mqtt"]
