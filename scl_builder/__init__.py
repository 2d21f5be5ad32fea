"""IEC 61850-6 (SCL): the meter's data model as tables, the SCD and CID builder, and the checker.

Pure: values in, bytes out. No socket, clock, database or logging set-up; imports nothing of ours.
Errors derive from ``ValueError``.

>>> from scl_builder.build.builder import build_scd
>>> from scl_builder.build.project import Ied, Project
>>> build_scd(Project("town", revision=1, ieds=(Ied("SMGW001", "127.0.0.1", 102, ()),)))[:38]
b'<?xml version="1.0" encoding="UTF-8"?>'
"""
