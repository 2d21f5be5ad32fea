"""origin and ctlNum of a controllable data object (IEC 61850-7-3): who operated it last, and its number.

The library writes both into the model before it asks whether the request is accepted. So each request shows
what held before, and an accepted operate writes what it was (``control/accepted.py``).

>>> show(server, data_object, LastOperation())  # doctest: +SKIP
"""

from __future__ import annotations

from typing import NamedTuple

from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.control_handlers import category, identifier


class LastOperation(NamedTuple):
    """What a client wrote into its Oper; by default what a model has before any."""

    category: int = 0
    """An ordinal of OriginatorCategoryKind."""
    identifier: bytes = b""
    number: int = 0
    """ctlNum."""


def requested(action: int) -> LastOperation:
    """What the request has that the library asks about."""
    return LastOperation(category(action), identifier(action), lib.ControlAction_getCtlNum(action) & 0xFF)


def show(server: int, handle: int, last: LastOperation) -> None:
    """Write origin and ctlNum of the data object ``handle``; neither has a trigger, so no report is due."""
    origin = lib.ModelNode_getChild(handle, b"origin")
    if origin:
        lib.MmsValue_setInt32(_held(server, origin, b"orCat"), last.category)
        octets = last.identifier
        lib.MmsValue_setOctetString(_held(server, origin, b"orIdent"), octets, len(octets))
    if lib.ModelNode_getChild(handle, b"ctlNum"):
        lib.MmsValue_setUint8(_held(server, handle, b"ctlNum"), last.number)


def _held(server: int, parent: int, name: bytes) -> int:
    return int(lib.IedServer_getAttributeValue(server, lib.ModelNode_getChild(parent, name)))
