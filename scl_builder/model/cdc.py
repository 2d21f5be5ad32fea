"""The common data classes as we serve them (IEC 61850-7-3), and the constants that SCL and MMS share."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class FunctionalConstraint(IntEnum):
    """Functional constraints of IEC 61850-7-2, as libiec61850 numbers them (iec61850_common.h)."""

    ST = 0
    MX = 1
    SP = 2
    SV = 3
    CF = 4
    DC = 5
    SG = 6
    SE = 7
    SR = 8
    OR = 9
    BL = 10
    EX = 11
    CO = 12


class TriggerOption(IntFlag):
    """Trigger options, with the bits of TRG_OPT_* in iec61850_common.h."""

    DATA_CHANGED = 1
    QUALITY_CHANGED = 2
    DATA_UPDATE = 4
    INTEGRITY = 8
    GI = 16


class ReportOption(IntFlag):
    """Optional fields of a report, with the bits of RPT_OPT_* in iec61850_common.h."""

    SEQ_NUM = 1
    TIME_STAMP = 2
    REASON_FOR_INCLUSION = 4
    DATA_SET = 8
    DATA_REFERENCE = 16
    BUFFER_OVERFLOW = 32
    ENTRY_ID = 64
    CONF_REV = 128


class ControlModel(IntEnum):
    """ctlModel by its ordinal (CtlModelKind of IEC 61850-7-3)."""

    STATUS_ONLY = 0
    DIRECT_NORMAL = 1
    SBO_NORMAL = 2
    DIRECT_ENHANCED = 3
    SBO_ENHANCED = 4
