"""What the MMS bridge receives and publishes over MQTT."""
