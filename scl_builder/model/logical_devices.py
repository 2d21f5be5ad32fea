"""The served data model as tables: one truth for the SCL, the MMS bridge and the documentation.

Classes, data objects and their CDC follow IEC 61850-7-4 (2007B); attributes come from nsd_cdcs. What
feeds a data object is its ``source``: the MMS bridge binds from here.

>>> [node.name for node in METER_LD]
['LLN0', 'LPHD1', 'MMXN1', 'MMTN1', 'CSWI1', 'XSWI1']
>>> data_object(METER_LD, "MMXN1", "Vol").source
'reading.voltage'
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from scl_builder.model.reference import Reference

Source = Literal[
    "scl",
    "service.beh",
    "service.health",
    "meter.health",
    "gateway.meters",
    "gateway.meters_online",
    "gateway.meters_stale",
    "gateway.revision",
    "gateway.broker_up",
    "gateway.bridge_up",
    "reading.voltage",
    "reading.current",
    "reading.power",
    "reading.apparent_power",
    "reading.power_factor",
    "reading.frequency",
    "reading.energy",
    "relay.position",
    "relay.operations",
    "relay.local",
    "relay.block_open",
    "relay.block_close",
]
"""What feeds a data object: a topic's field, the service's own state, or the file (``scl``)."""

LD_NAMESPACE = "IEC 61850-7-4:2007B"
VENDOR = "meter61850"
MODEL_REVISION = "2"
"""LLN0.NamPlt.configRev: raise it when the tables below change."""
SELECT_TIMEOUT = 30_000
"""ms; a selection that is not operated falls away after this (sboTimeout)."""
OPERATE_TIMEOUT = 5_000
"""ms; an operate that no meter answered ends negatively after this (operTimeout), by default."""
MAX_MEMBERS = 100
"""Members that one data set may have (the server's default limit)."""
MAX_METERS = MAX_MEMBERS
"""Meters of one IED: each is one member of every group data set."""
MAX_ASSOCIATIONS = 10
"""MMS associations that one IED takes at a time."""
MAX_DYNAMIC_DATA_SETS = 10
"""Data sets that one association may create, and those that may be created in the IED's domains."""


@dataclass(frozen=True)
class DataObject:
    """One data object; ``unit``, ``enum`` and ``value`` are fixed in its type."""

    name: str
    cdc: str
    source: Source
    unit: str | None = None
    """SIUnitKind literal of MV and BCR; '' is dimensionless."""
    enum: str = ""
    """Enumeration of stVal of ENS and ENC."""
    value: str = ""
    """stVal that never changes."""
    description: str = ""
    """d, when it is the same in every IED."""
    values: tuple[tuple[str, str], ...] = ()
    """Attributes and the Val that many instances share; the type's id tells them apart."""
    control: Literal["", "project", "direct-with-normal-security"] = ""
    """``project`` takes the project's control model, a CtlModelKind literal is fixed; empty: status-only."""

    @property
    def controllable(self) -> bool:
        """Whether a client may operate it."""
        return bool(self.control)


@dataclass(frozen=True)
class LogicalNode:
    """One logical node of a logical device, and the LNodeType that it has."""

    ln_class: str
    inst: str
    type_id: str
    objects: tuple[DataObject, ...]

    @cached_property
    def name(self) -> str:
        """MMS name: class and instance."""
        return self.ln_class + self.inst


@dataclass(frozen=True)
class Member:
    """A whole data object, with one functional constraint, in a data set."""

    ln_class: str
    inst: str
    do: str
    fc: str

    def reference(self, ld: str) -> Reference:
        """The member in logical device ``ld``."""
        return Reference(ld, self.ln_class + self.inst, (self.do,), self.fc)


@dataclass(frozen=True)
class Group:
    """A data set in the gateway's LLN0 (the same member of each meter), and its report control block."""

    data_set: str
    member: Member
    report: str
    """Name of the report control block; its instances are numbered from 01."""
    buffered: bool
    buffer_time: int
    """ms that events are gathered into one report; 0 sends each reading at once, clients may ask for more."""


# fmt: off
def _beh() -> DataObject:
    return DataObject("Beh", "ENS", "service.beh", enum="BehaviourModeKind")


_LLN0 = (
    DataObject("NamPlt", "LPL", "scl"),
    _beh(),
    DataObject("Health", "ENS", "service.health", enum="HealthKind"),
    DataObject("Mod", "ENC", "service.beh", enum="BehaviourModeKind"),
)

METER_LD: tuple[LogicalNode, ...] = (
    LogicalNode("LLN0", "", "LLN0", _LLN0),
    LogicalNode("LPHD", "1", "LPHD", (
        DataObject("PhyNam", "DPL", "scl"),
        DataObject("PhyHealth", "ENS", "meter.health", enum="HealthKind"),
        DataObject("Proxy", "SPS", "scl", value="true"),
    )),
    LogicalNode("MMXN", "1", "MMXN", (
        _beh(),
        DataObject("Amp", "MV", "reading.current", unit="A"),
        DataObject("Vol", "MV", "reading.voltage", unit="V"),
        DataObject("Watt", "MV", "reading.power", unit="W"),
        DataObject("VolAmp", "MV", "reading.apparent_power", unit="VA"),
        DataObject("PwrFact", "MV", "reading.power_factor", unit=""),
        DataObject("Hz", "MV", "reading.frequency", unit="Hz"),
    )),
    LogicalNode("MMTN", "1", "MMTN", (
        _beh(),
        DataObject("TotWh", "BCR", "reading.energy", unit="Wh"),
    )),
    LogicalNode("CSWI", "1", "CSWI", (
        _beh(),
        DataObject("Pos", "DPC", "relay.position", control="project"),
    )),
    LogicalNode("XSWI", "1", "XSWI", (
        _beh(),
        DataObject("Loc", "SPS", "relay.local"),
        DataObject("OpCnt", "INS", "relay.operations"),
        DataObject("Pos", "DPC", "relay.position"),
        DataObject("BlkOpn", "SPC", "relay.block_open", control="direct-with-normal-security"),
        DataObject("BlkCls", "SPC", "relay.block_close", control="direct-with-normal-security"),
        DataObject("SwTyp", "ENS", "scl", enum="SwitchFunctionKind", value="Load Break"),
    )),
)
"""A meter's logical device; its ldName is the meter's SCL name. VolAmpr is left out: no sensor of ours tells
the sign of reactive power."""

RELAY_CLASSES = frozenset({"CSWI", "XSWI"})
"""Logical node classes that a meter without a relay does not have."""


def meter_nodes(*, relay: bool) -> tuple[LogicalNode, ...]:
    """The logical nodes of a meter with or without a relay."""
    return METER_LD if relay else tuple(node for node in METER_LD if node.ln_class not in RELAY_CLASSES)


GATEWAY_LD: tuple[LogicalNode, ...] = (
    LogicalNode("LLN0", "", "GwLLN0", _LLN0),
    LogicalNode("LPHD", "1", "GwLPHD", (
        DataObject("PhyNam", "DPL", "scl"),
        DataObject("PhyHealth", "ENS", "service.health", enum="HealthKind"),
        DataObject("Proxy", "SPS", "scl", value="false"),
    )),
    LogicalNode("GGIO", "1", "GwGGIO", (
        _beh(),
        DataObject("IntIn1", "INS", "gateway.meters", description="Meters of this IED"),
        DataObject("IntIn2", "INS", "gateway.meters_online", description="Meters of this IED online"),
        DataObject("IntIn3", "INS", "gateway.revision", description="Configuration revision of the SCD"),
        DataObject("IntIn4", "INS", "gateway.meters_stale", description="Meters of this IED that are silent"),
        DataObject("Ind1", "SPS", "gateway.broker_up", description="Connection to the MQTT broker is up"),
        DataObject("Ind2", "SPS", "gateway.bridge_up", description="Bridge that keeps the SCD is online"),
    )),
)
"""An IED's own logical device, inst ``GW``."""

GROUPS: tuple[Group, ...] = (
    Group("dsVol", Member("MMXN", "1", "Vol", "MX"), "urcbVol", buffered=False, buffer_time=0),
    Group("dsWatt", Member("MMXN", "1", "Watt", "MX"), "urcbWatt", buffered=False, buffer_time=0),
    Group("dsPos", Member("XSWI", "1", "Pos", "ST"), "brcbPos", buffered=True, buffer_time=0),
)
"""So that a SCADA need not enable one block for each house; raise GROUP_REVISION when they change."""
GROUP_REVISION = 0
"""Added to each IED's count of changes: confRev changes with the members, whatever changed them."""

TRIGGERS = ("dchg", "qchg", "period")
"""TrgOps of every block; gi is on by default in SCL."""
FIELDS = ("seqNum", "timeStamp", "dataSet", "reasonCode")
"""OptFields of every block; bufOvfl is on by default in SCL."""
BUFFERED_FIELDS = (*FIELDS, "entryID", "configRef")
"""OptFields of a buffered one."""
# fmt: on


def data_object(device: tuple[LogicalNode, ...], node: str, name: str) -> DataObject:
    """The data object ``node``.``name`` of ``device``; KeyError if the table has none."""
    for logical_node in device:
        for found in logical_node.objects:
            if (logical_node.name, found.name) == (node, name):
                return found
    raise KeyError(f"{node}.{name}")
