"""Meters over time: replaced sensors, twins, blocks, relay positions."""
