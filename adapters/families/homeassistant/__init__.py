"""Devices that announce themselves by Home Assistant MQTT discovery: registers the family."""

from adapters.families.homeassistant.family import HomeAssistant, Settings

__all__ = ["HomeAssistant", "Settings"]
