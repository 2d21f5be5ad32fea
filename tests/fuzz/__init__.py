"""Hostile bytes for the parsers: `make fuzz` with atheris, tests/unit/test_fuzz.py with hypothesis.

The registrar's counter has a test of its own, tests/unit/test_registrar_requests.py.

A target takes any bytes and returns; whatever it raises is a finding. What becomes of a finding: the input
goes to ``seeds.py`` or to a test of its own, so that it is tried for ever.
"""
