"""Alarms: what is so follows from the registry, is written down, published and sent to people."""
