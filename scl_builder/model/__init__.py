"""The data model: logical devices, nodes, CDCs and enumerations (IEC 61850-7-3, 7-4)."""
