"""Mosquitto and the embedded broker: configuration, start, reload."""
