"""Meters over time: replaced sensors, twins, blocks, alarms, relay positions."""
