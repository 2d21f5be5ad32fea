"""Our meters in Home Assistant, by its MQTT discovery."""
