"""Checks and compares SCL files."""
