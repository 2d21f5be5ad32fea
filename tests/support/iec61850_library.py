"""libiec61850's client functions by ``ctypes``, and its values as JSON: for ``iec61850_driver.py``.

Names and argument order are those of the library's headers ``iec61850_client.h``,
``mms_client_connection.h`` and ``mms_value.h``.

>>> as_json(lib.MmsValue_newBoolean(True))
True
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

from mms_bridge.libiec61850.bindings import library_path

P, S, E = c_void_p, c_char_p, POINTER(c_int)


class LastApplError(Structure):
    """LastApplError of iec61850_client.h."""

    _fields_ = (("ctlNum", c_int), ("error", c_int), ("addCause", c_int))


class Identity(Structure):
    """MmsServerIdentity of mms_client_connection.h."""

    _fields_ = (("vendor", S), ("model", S), ("revision", S))


ReportHandler = CFUNCTYPE(None, c_void_p, c_void_p)
TerminationHandler = CFUNCTYPE(None, c_void_p, c_void_p)
FileHandler = CFUNCTYPE(c_bool, c_void_p, POINTER(c_uint8), c_uint32)

# fmt: off
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "IedConnection_create": (P,),
    "IedConnection_createWithTlsSupport": (P, P),
    "TLSConfiguration_create": (P,),
    "TLSConfiguration_setChainValidation": (None, P, c_bool),
    "TLSConfiguration_setOwnKeyFromFile": (c_bool, P, S, S),
    "TLSConfiguration_setOwnCertificateFromFile": (c_bool, P, S),
    "TLSConfiguration_addCACertificateFromFile": (c_bool, P, S),
    "IedConnection_connect": (None, P, E, S, c_int),
    "IedConnection_setConnectTimeout": (None, P, c_uint32),
    "IedConnection_close": (None, P),
    "IedConnection_destroy": (None, P),
    "IedConnection_getMmsConnection": (P, P),
    "IedConnection_getLogicalDeviceList": (P, P, E),
    "IedConnection_getLogicalDeviceVariables": (P, P, E, S),
    "IedConnection_getLogicalDeviceDataSets": (P, P, E, S),
    "IedConnection_readObject": (P, P, E, S, c_int),
    "IedConnection_writeObject": (None, P, E, S, c_int, P),
    "IedConnection_getDataSetDirectory": (P, P, E, S, POINTER(c_bool)),
    "IedConnection_readDataSetValues": (P, P, E, S, P),
    "IedConnection_createDataSet": (None, P, E, S, P),
    "IedConnection_deleteDataSet": (c_bool, P, E, S),
    "IedConnection_getRCBValues": (P, P, E, S, P),
    "IedConnection_setRCBValues": (None, P, E, P, c_uint32, c_bool),
    "IedConnection_installReportHandler": (None, P, S, S, ReportHandler, P),
    "IedConnection_getFileDirectory": (P, P, E, S),
    "IedConnection_getFile": (c_uint32, P, E, S, FileHandler, P),
    "IedConnection_deleteFile": (None, P, E, S),
    "ClientDataSet_getValues": (P, P),
    "ClientDataSet_destroy": (None, P),
    "ClientReportControlBlock_destroy": (None, P),
    "ClientReportControlBlock_getRptId": (S, P),
    "ClientReportControlBlock_getDataSetReference": (S, P),
    "ClientReportControlBlock_getRptEna": (c_bool, P),
    "ClientReportControlBlock_setRptEna": (None, P, c_bool),
    "ClientReportControlBlock_setResv": (None, P, c_bool),
    "ClientReportControlBlock_setResvTms": (None, P, c_uint16),
    "ClientReportControlBlock_setGI": (None, P, c_bool),
    "ClientReportControlBlock_setPurgeBuf": (None, P, c_bool),
    "ClientReportControlBlock_setEntryId": (None, P, P),
    "ClientReport_getDataSetValues": (P, P),
    "ClientReport_getReasonForInclusion": (c_int, P, c_int),
    "ClientReport_getEntryId": (P, P),
    "ClientReport_hasSeqNum": (c_bool, P),
    "ClientReport_getSeqNum": (c_uint16, P),
    "ClientReport_hasBufOvfl": (c_bool, P),
    "ClientReport_getBufOvfl": (c_bool, P),
    "ControlObjectClient_create": (P, S, P),
    "ControlObjectClient_destroy": (None, P),
    "ControlObjectClient_getControlModel": (c_int, P),
    "ControlObjectClient_setOrigin": (None, P, S, c_int),
    "ControlObjectClient_select": (c_bool, P),
    "ControlObjectClient_selectWithValue": (c_bool, P, P),
    "ControlObjectClient_operate": (c_bool, P, P, c_uint64),
    "ControlObjectClient_cancel": (c_bool, P),
    "ControlObjectClient_getLastApplError": (LastApplError, P),
    "ControlObjectClient_setCommandTerminationHandler": (None, P, TerminationHandler, P),
    "FileDirectoryEntry_getFileName": (S, P),
    "FileDirectoryEntry_getFileSize": (c_uint32, P),
    "MmsConnection_identify": (POINTER(Identity), P, E),
    "LinkedList_create": (P,),
    "LinkedList_add": (None, P, P),
    "LinkedList_getNext": (P, P),
    "LinkedList_getData": (P, P),
    "LinkedList_destroy": (None, P),
    "LinkedList_destroyStatic": (None, P),
    "MmsValue_delete": (None, P),
    "MmsValue_newBoolean": (P, c_bool),
    "MmsValue_newFloat": (P, c_float),
    "MmsValue_newOctetString": (P, c_int, c_int),
    "MmsValue_setOctetString": (None, P, P, c_int),
    "MmsValue_getType": (c_int, P),
    "MmsValue_getArraySize": (c_uint32, P),
    "MmsValue_getElement": (P, P, c_int),
    "MmsValue_getBoolean": (c_bool, P),
    "MmsValue_toInt64": (c_int64, P),
    "MmsValue_toFloat": (c_float, P),
    "MmsValue_toString": (S, P),
    "MmsValue_getBitStringSize": (c_int, P),
    "MmsValue_getBitStringBit": (c_bool, P, c_int),
    "MmsValue_getOctetStringBuffer": (POINTER(c_uint8), P),
    "MmsValue_getOctetStringSize": (c_uint16, P),
    "MmsValue_getUtcTimeInMs": (c_uint64, P),
    "MmsValue_getDataAccessError": (c_int, P),
}
# fmt: on


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


lib = _load()


# --- values ----------------------------------------------------------------------------------------


def as_json(value: int | None) -> Any:
    """An MmsValue as JSON: bit strings as 0 and 1, octet strings as hex, times in ms."""
    if not value:
        return None
    kind = lib.MmsValue_getType(value)
    return _VALUES[kind](value) if kind in _VALUES else f"type {kind}"


def _elements(value: int) -> list[Any]:
    return [as_json(lib.MmsValue_getElement(value, i)) for i in range(lib.MmsValue_getArraySize(value))]


def _octets(value: int) -> str:
    size = lib.MmsValue_getOctetStringSize(value)
    return bytes(lib.MmsValue_getOctetStringBuffer(value)[:size]).hex()


# MmsType of mms_types.h -> a JSON value
_VALUES: dict[int, Callable[[int], Any]] = {
    0: _elements,
    1: _elements,
    2: lambda value: bool(lib.MmsValue_getBoolean(value)),
    3: lambda value: "".join(
        str(int(lib.MmsValue_getBitStringBit(value, bit)))
        for bit in range(lib.MmsValue_getBitStringSize(value))
    ),
    4: lambda value: int(lib.MmsValue_toInt64(value)),
    5: lambda value: int(lib.MmsValue_toInt64(value)),
    6: lambda value: float(lib.MmsValue_toFloat(value)),
    7: _octets,
    8: lambda value: lib.MmsValue_toString(value).decode(),
    13: lambda value: lib.MmsValue_toString(value).decode(),
    14: lambda value: int(lib.MmsValue_getUtcTimeInMs(value)),
    15: lambda value: {"access_error": int(lib.MmsValue_getDataAccessError(value))},
}


def items(head: int) -> Iterator[int]:
    """Data pointers of a LinkedList, whose first element holds none."""
    element = lib.LinkedList_getNext(head)
    while element:
        yield lib.LinkedList_getData(element)
        element = lib.LinkedList_getNext(element)


def names(head: int) -> list[str]:
    names = [ctypes.string_at(item).decode() for item in items(head)]
    lib.LinkedList_destroy(head)
    return names
