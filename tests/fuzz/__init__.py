"""Hostile bytes for every parser: `make fuzz` with atheris, tests/unit/test_fuzz.py with hypothesis.

A target takes any bytes and returns; whatever it raises is a finding. What becomes of a finding: the input
goes to ``seeds.py`` or to a test of its own, so that it is tried for ever.
"""
