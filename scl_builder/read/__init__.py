"""Reads SCL files."""
