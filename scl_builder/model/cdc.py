"""The common data classes as we serve them (IEC 61850-7-3), and the constants that SCL and MMS share.

One row for each class: the attributes that every data object of it has, and where values of the process go.
What an attribute is (functional constraint, basic type, triggers, members, sub data objects) comes from
nsd_cdcs. SCL templates, server nodes, ACSI paths of the web, the values that the CLI reads and the
conformance statement follow from this table.

>>> cdc("MV").values[0].path, cdc("MV").fc("mag")
(('mag', 'f'), 'MX')
>>> cdc("SEQ").parts
{'c1': 'CMV', 'c2': 'CMV', 'c3': 'CMV'}
>>> [value.name for value in cdc("BCR").values], sorted(cdc("BCR").group("frVal"))
(['', 'frVal'], ['frEna', 'frPd', 'frRs', 'frTm', 'frVal'])
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cached_property

from scl_builder.model.nsd_cdcs import CDCS, STRUCTS, Attribute

Path = tuple[str, ...]
"""Names from a data object down: ``("mag", "f")``."""


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


@dataclass(frozen=True)
class ProcessValue:
    """A value that the process gives a data object, with its quality and time."""

    path: Path
    name: str = ""
    """What tells it from the others of its data object; the first has no name."""
    t: str = "t"
    q: str = "q"
    instant: Path = ()
    """Where the value without a deadband is, in a data object that has one."""

    def called(self, above: Path) -> str:
        """The value of the data object at ``above``: ``PhV.phsA``, ``DmdWh.frVal``."""
        return ".".join((*above, self.name) if self.name else above)


@dataclass(frozen=True)
class Cdc:
    """A common data class."""

    name: str
    served: frozenset[str]
    """Attributes that each data object of the class has; control, values and descriptions add more."""
    values: tuple[ProcessValue, ...]

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """All attributes and sub data objects that 7-3 knows, in its order."""
        return {attribute.name: attribute for attribute in CDCS[self.name]}

    @cached_property
    def parts(self) -> dict[str, str]:
        """Sub data object → its class."""
        return {name: attribute.type for name, attribute in self.attributes.items() if attribute.fc == "SDO"}

    def fc(self, name: str) -> str:
        """Functional constraint of an attribute."""
        return self.attributes[name].fc

    def btype(self, path: Path) -> str:
        """Basic type of what ``path`` leads to."""
        attribute = self.attributes[path[0]]
        for name in path[1:]:
            (attribute,) = (member for member in STRUCTS[attribute.type] if member.name == name)
        return attribute.btype

    def group(self, name: str) -> frozenset[str]:
        """The attributes that 7-3 allows together with ``name`` only, and ``name``."""
        presence = self.attributes[name].presence
        if not presence.startswith("All"):
            return frozenset((name,))
        return frozenset(other for other, one in self.attributes.items() if one.presence == presence)


def _cdc(name: str, served: str, *values: ProcessValue) -> Cdc:
    return Cdc(name, frozenset(served.split()), values)


_STATUS = ProcessValue(("stVal",))

# fmt: off
_SERVED = (
    _cdc("SPS", "stVal q t", _STATUS),
    _cdc("INS", "stVal q t", _STATUS),
    _cdc("ENS", "stVal q t", _STATUS),
    _cdc("VSS", "stVal q t", _STATUS),
    _cdc("MV", "mag q t units", ProcessValue(("mag", "f"), instant=("instMag", "f"))),
    _cdc("CMV", "cVal q t units", ProcessValue(("cVal", "mag", "f"), instant=("instCVal", "mag", "f"))),
    _cdc("WYE", ""),
    _cdc("DEL", ""),
    _cdc("SEQ", "seqT"),
    _cdc("BCR", "q units pulsQty", ProcessValue(("actVal",)), ProcessValue(("frVal",), "frVal", t="frTm")),
    _cdc("SPC", "stVal q t ctlModel", _STATUS),
    _cdc("DPC", "stVal q t ctlModel", _STATUS),
    _cdc("INC", "stVal q t ctlModel", _STATUS),
    _cdc("ENC", "stVal q t ctlModel", _STATUS),
    _cdc("ENG", "setVal"),
    _cdc("ING", "setVal"),
    _cdc("ORG", "setSrcRef"),
    _cdc("DPL", "vendor swRev serNum model location mRID d dU"),
    _cdc("LPL", "vendor swRev ldNs d dU configRev"),
)
"""WYE, DEL and SEQ have their values in sub data objects: those that something feeds are served."""

SERVED_MEMBERS = {
    "AnalogueValue": "f",
    "Vector": "mag",
    "RangeConfig": "hhLim hLim lLim llLim min max",
    "Unit": "SIUnit multiplier",
    "Originator": "orCat orIdent",
    "Oper": "ctlVal origin ctlNum T Test Check",
    "SBOw": "ctlVal origin ctlNum T Test Check",
    "Cancel": "ctlVal origin ctlNum T Test",
}
"""Constructed attribute → the members that we serve."""
# fmt: on

SERVED_CDCS = {row.name: row for row in _SERVED}


def cdc(name: str) -> Cdc:
    """The class called ``name``; one that no row describes has no process value."""
    return SERVED_CDCS.get(name) or Cdc(name, frozenset(), ())
