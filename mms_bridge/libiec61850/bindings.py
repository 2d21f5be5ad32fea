"""libiec61850 through ``ctypes``: declared signatures, constants, the callbacks' types.

The library is the one that the wheel ``pyiec61850-ng`` ships (libiec61850 1.6.1). Its SWIG module
holds the GIL in every call and its control handler classes print on stdout; ``ctypes`` does neither.
Names, argument order and constants are those of the library's headers ``iec61850_server.h``,
``iec61850_dynamic_model.h``, ``iec61850_common.h`` and ``mms_value.h``.

>>> from mms_bridge.libiec61850.bindings import lib
>>> model = lib.IedModel_create(b"SMGW001")
>>> lib.IedModel_destroy(model)
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from broker.contract.errors import ConfigurationError

MAX_DATA_SET_MEMBERS = 100
DENY = 1
"""AccessPolicy: ACCESS_POLICY_DENY."""


# bType of IEC 61850-6 -> DataAttributeType of iec61850_model.h
ATTRIBUTE_TYPES: dict[str, int] = {
    "BOOLEAN": 0, "INT8": 1, "INT16": 2, "INT32": 3, "INT64": 4,
    "INT8U": 6, "INT16U": 7, "INT24U": 8, "INT32U": 9,
    "FLOAT32": 10, "FLOAT64": 11, "Enum": 12,
    "Octet64": 13, "VisString32": 16, "VisString64": 17, "VisString65": 18, "VisString129": 19,
    "VisString255": 20, "ObjRef": 19, "Unicode255": 21,
    "Timestamp": 22, "Quality": 23, "Check": 24, "Dbpos": 25, "Tcmd": 25, "Struct": 27,
    "EntryTime": 28, "OptFlds": 31, "TrgOps": 32,
}  # fmt: skip


class AddCause(IntEnum):
    """AddCause of IEC 61850-7-2, those that we give."""

    UNKNOWN = 0
    NOT_SUPPORTED = 1
    BLOCKED_BY_SWITCHING_HIERARCHY = 2
    INVALID_POSITION = 4
    POSITION_REACHED = 5
    BLOCKED_BY_MODE = 8
    BLOCKED_BY_PROCESS = 9
    BLOCKED_BY_INTERLOCKING = 10
    COMMAND_ALREADY_IN_EXECUTION = 12
    BLOCKED_BY_HEALTH = 13
    TIME_LIMIT_OVER = 16
    OBJECT_ALREADY_SELECTED = 19
    NO_ACCESS_AUTHORITY = 20
    ABORTION_BY_COMMUNICATION_LOSS = 23


class SelectReason(IntEnum):
    """SelectStateChangedReason of iec61850_server.h."""

    SELECTED = 0
    CANCELED = 1
    TIMEOUT = 2
    OPERATED = 3
    OPERATE_FAILED = 4
    DISCONNECTED = 5


class CheckResult(IntEnum):
    """CheckHandlerResult of iec61850_server.h; a refusal's number is the MMS DataAccessError."""

    ACCEPTED = -1
    TEMPORARILY_UNAVAILABLE = 2
    OBJECT_ACCESS_DENIED = 3


class HandlerResult(IntEnum):
    """ControlHandlerResult of iec61850_server.h."""

    FAILED = 0
    OK = 1
    WAITING = 2


# handlers: (ControlAction, parameter, ctlVal, test[, interlockCheck or synchroCheck])
CheckHandler = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_bool, c_bool)
WaitHandler = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_bool, c_bool)
ControlHandler = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_bool)
# (ControlAction, parameter, isSelected, reason)
SelectHandler = CFUNCTYPE(None, c_void_p, c_void_p, c_bool, c_int)
# (parameter, ReportControlBlock, ClientConnection, event, parameter's name, MmsDataAccessError)
BlockHandler = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_int, c_char_p, c_int)
BLOCK_WRITTEN, BLOCK_ENABLED = 1, 4
"""RCB_EVENT_SET_PARAMETER and RCB_EVENT_ENABLE of iec61850_server.h."""

P, S = c_void_p, c_char_p

# fmt: off
SIGNATURES: dict[str, tuple[object, ...]] = {
    # model (iec61850_dynamic_model.h): result, arguments
    "IedModel_create": (P, S),
    "IedModel_destroy": (None, P),
    "IedModel_getModelNodeByObjectReference": (P, P, S),
    "LogicalDevice_createEx": (P, S, P, S),
    "LogicalNode_create": (P, S, P),
    "DataObject_create": (P, S, P, c_int),
    "DataAttribute_create": (P, S, P, c_int, c_int, c_uint8, c_int, c_uint32),
    "DataAttribute_setValue": (None, P, P),
    "ModelNode_getChild": (P, P, S),
    "DataSet_create": (P, S, P),
    "DataSetEntry_create": (P, P, S, c_int, S),
    "ReportControlBlock_create": (P, S, P, S, c_bool, S, c_uint32, c_uint8, c_uint8, c_uint32, c_uint32),
    "ReportControlBlock_isBuffered": (c_bool, P),
    # values (mms_value.h)
    "MmsValue_newBoolean": (P, c_bool),
    "MmsValue_newIntegerFromInt32": (P, c_int32),
    "MmsValue_newIntegerFromInt64": (P, c_int64),
    "MmsValue_newUnsignedFromUint32": (P, c_uint32),
    "MmsValue_newFloat": (P, c_float),
    "MmsValue_newVisibleString": (P, S),
    "MmsValue_newMmsString": (P, S),
    "MmsValue_newBitString": (P, c_int),
    "MmsValue_delete": (None, P),
    "MmsValue_getBoolean": (c_bool, P),
    "MmsValue_toFloat": (c_float, P),
    "MmsValue_setBoolean": (None, P, c_bool),
    "MmsValue_setInt32": (None, P, c_int32),
    "MmsValue_setInt64": (None, P, c_int64),
    "MmsValue_setFloat": (None, P, c_float),
    "MmsValue_setBitStringFromInteger": (None, P, c_uint32),
    "MmsValue_setBitStringFromIntegerBigEndian": (None, P, c_uint32),
    "MmsValue_setVisibleString": (None, P, S),
    "MmsValue_setUtcTimeMsEx": (None, P, c_uint64, c_uint8),
    "MmsValue_setUint8": (None, P, c_uint8),
    "MmsValue_setOctetString": (None, P, S, c_int),
    # server configuration
    "IedServerConfig_create": (P,),
    "IedServerConfig_destroy": (None, P),
    "IedServerConfig_setEdition": (None, P, c_uint8),
    "IedServerConfig_setReportBufferSize": (None, P, c_int),
    "IedServerConfig_setReportBufferSizeForURCBs": (None, P, c_int),
    "IedServerConfig_setMaxMmsConnections": (None, P, c_int),
    "IedServerConfig_enableFileService": (None, P, c_bool),
    "IedServerConfig_enableDynamicDataSetService": (None, P, c_bool),
    "IedServerConfig_setMaxAssociationSpecificDataSets": (None, P, c_int),
    "IedServerConfig_setMaxDomainSpecificDataSets": (None, P, c_int),
    "IedServerConfig_setMaxDataSetEntries": (None, P, c_int),
    "IedServerConfig_enableLogService": (None, P, c_bool),
    "IedServerConfig_enableResvTmsForBRCB": (None, P, c_bool),
    "IedServerConfig_enableOwnerForRCB": (None, P, c_bool),
    # server
    "IedServer_createWithConfig": (P, P, P, P),
    "IedServer_destroy": (None, P),
    "IedServer_setLocalIpAddress": (None, P, S),
    "IedServer_setWriteAccessPolicy": (None, P, c_int, c_int),
    "IedServer_setServerIdentity": (None, P, S, S, S),
    "IedServer_startThreadless": (None, P, c_int),
    "IedServer_stopThreadless": (None, P),
    "IedServer_processIncomingData": (None, P),
    "IedServer_performPeriodicTasks": (None, P),
    "IedServer_getNumberOfOpenConnections": (c_int, P),
    "IedServer_lockDataModel": (None, P),
    "IedServer_unlockDataModel": (None, P),
    "IedServer_getAttributeValue": (P, P, P),
    "IedServer_updateBooleanAttributeValue": (None, P, P, c_bool),
    "IedServer_updateInt32AttributeValue": (None, P, P, c_int32),
    "IedServer_updateInt64AttributeValue": (None, P, P, c_int64),
    "IedServer_updateFloatAttributeValue": (None, P, P, c_float),
    "IedServer_updateDbposValue": (None, P, P, c_int),
    "IedServer_updateAttributeValue": (None, P, P, P),
    "IedServer_updateVisibleStringAttributeValue": (None, P, P, S),
    "IedServer_updateQuality": (None, P, P, c_uint16),
    "IedServer_setRCBEventHandler": (None, P, BlockHandler, P),
    # control
    "IedServer_setPerformCheckHandler": (None, P, P, CheckHandler, P),
    "IedServer_setWaitForExecutionHandler": (None, P, P, WaitHandler, P),
    "IedServer_setControlHandler": (None, P, P, ControlHandler, P),
    "IedServer_setSelectStateChangedHandler": (None, P, P, SelectHandler, P),
    "ControlAction_isSelect": (c_bool, P),
    "ControlAction_setAddCause": (None, P, c_int),
    "ControlAction_getOrCat": (c_int, P),
    "ControlAction_getOrIdent": (POINTER(c_uint8), P, POINTER(c_int)),
    "ControlAction_getCtlNum": (c_int, P),
    "ControlAction_getClientConnection": (P, P),
    "ClientConnection_getPeerAddress": (S, P),
}
# fmt: on


def library_path() -> Path:
    """Where the wheel has put libiec61850; ConfigurationError with the cure if it is not there."""
    try:
        found = [f for f in files("pyiec61850-ng") or () if f.name.startswith("libiec61850")]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ConfigurationError("libiec61850 is missing: pip install 'meter61850[server]'")
    return Path(str(found[0].locate()))


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


lib = _load()
