"""Sensors: wired ones of many kinds, and simulated ones. `kinds` finds them all."""
