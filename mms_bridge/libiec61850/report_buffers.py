"""How large the buffer of a buffered report control block is: the library has one size for all of a server.

An entry has a head and its members, each with value, q and t. Measured with 50 positions: 72 octets for an
entry of one member, 24 more for each further one. The memory is touched when entries come.

>>> octets(50)
332800
"""

from __future__ import annotations

from scl_builder.read.cid import Cid

FULL_ENTRIES = 200
"""Entries with all members of the data set that a buffer holds at least."""
HEAD, MEMBER = 64, 32
"""Octets, with some room."""


def octets(members: int) -> int:
    """The size for a data set of so many members."""
    return FULL_ENTRIES * (HEAD + MEMBER * members)


def size_for(cid: Cid) -> int:
    """The size that the largest buffered data set of ``cid`` needs."""
    nodes = [node for device in cid.devices for node in device.nodes if node.reports]
    members = [
        len(dict(node.data_sets).get(report.data_set or "", ()))
        for node in nodes
        for report in node.reports
        if report.buffered
    ]
    return octets(max(members, default=1))
