"""Writes SCL files (IEC 61850-6)."""
