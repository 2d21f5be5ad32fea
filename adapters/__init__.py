"""Other makers' devices on MQTT, as meters of our contract."""
