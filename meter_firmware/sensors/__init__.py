"""Sensors: the PZEM-004T and simulated ones."""
