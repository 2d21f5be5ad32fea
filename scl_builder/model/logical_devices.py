"""The served data model as tables: one truth for the SCL, the MMS bridge and the documentation.

Classes, data objects and their CDC follow IEC 61850-7-4 (2007B); attributes come from the table of common
data classes (``cdc.py``). What feeds a data object is its ``source``: a field of a topic
(``reading.voltage``, ``relay.position``), the state of the service or of the gateway, or the file itself
(``scl``). One more row is one more data object in SCD, MMS, HTTP and conformance statement.

>>> [node.name for node in METER_LD]
['LLN0', 'LPHD1', 'MMXN1', 'MMTN1', 'MMXN4', 'MMXN5', 'CSWI1', 'XSWI1']
>>> data_object(METER_LD, "MMXN1", "Vol").source
'reading.voltage'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from weakref import WeakValueDictionary

from scl_builder.model.billing_nodes import DEFAULTS, Bills, by_tariff
from scl_builder.model.data_object import BEH, FILE, DataObject, LogicalNode
from scl_builder.model.measuring import ONE_PHASE, ONE_WAY, THREE_PHASE
from scl_builder.model.narrowing import narrowed, quantities_of
from scl_builder.model.reference import Reference

LD_NAMESPACE = "IEC 61850-7-4:2007B"
VENDOR = "meter61850"
METER_PRIVATE = "meter61850:meter_id"
"""Type of the Private in a meter's LDevice: its text is the meter_id."""
_METER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MODEL_REVISION = "5"
"""LLN0.NamPlt.configRev of a meter: raise it when the tables of its profile change. With an exact profile the
configRev names what the meter has, too, so that it changes with the meter's quantities; and it names the
settings that are in the types (:func:`scl_builder.build.project.model_revision`)."""
SELECT_TIMEOUT = 30_000
"""ms; a selection that is not operated falls away after this (sboTimeout)."""
OPERATE_TIMEOUT = 5_000
"""ms; an operate that no meter answered ends negatively after this (operTimeout), by default."""
MAX_MEMBERS = 100
"""Members that one data set may have (the server's default limit)."""
MAX_METERS = MAX_MEMBERS
"""Meters of one IED: each is one member of every group data set."""
MAX_ASSOCIATIONS = 5
"""MMS associations that one IED takes at a time: what libiec61850 takes in one server
(CONFIG_MAXIMUM_TCP_CLIENT_CONNECTIONS of the wheel's build), so that all of them meet the same server."""
MAX_DYNAMIC_DATA_SETS = 10
"""Data sets that one association may create; they end with it."""


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
    report: str
    """Name of the report control block; its instances are numbered from 01."""
    members: tuple[Member, ...]
    """What of a meter is a member: the first of these that it has."""
    buffered: bool = False
    integrity: int = 0
    """ms between integrity reports; 0: none, until a client asks for some."""
    buffer_time: int = 0
    """ms that events are gathered into one report; 0 sends each reading at once, clients may ask for more."""
    of_gateway: bool = False
    """All ``members`` are the gateway's own, and no meter's."""


# fmt: off
_LLN0 = (
    DataObject("NamPlt", "LPL", FILE),
    BEH,
    DataObject("Health", "ENS", "service.health", enum="HealthKind"),
    DataObject("Mod", "ENC", "service.beh", enum="BehaviourModeKind"),
)

PLATES: tuple[LogicalNode, ...] = (
    LogicalNode("LLN0", "", "LLN0", _LLN0),
    LogicalNode("LPHD", "1", "LPHD", (
        DataObject("PhyNam", "DPL", FILE),
        DataObject("PhyHealth", "ENS", "meter.health", enum="HealthKind"),
        DataObject("Proxy", "SPS", FILE, value="true"),
    )),
)
"""What a meter is, and how it is."""

_SWITCH: tuple[LogicalNode, ...] = (
    LogicalNode("CSWI", "1", "CSWI", (
        BEH,
        DataObject("Loc", "SPS", "relay.local"),
        DataObject("LocSta", "SPC", FILE, value="false"),  # no station level: remote, or local at the relay
        DataObject("Pos", "DPC", "relay.position", control="project"),
    )),
    LogicalNode("XSWI", "1", "XSWI", (
        BEH,
        DataObject("Loc", "SPS", "relay.local"),
        DataObject("OpCnt", "INS", "relay.operations"),
        DataObject("Pos", "DPC", "relay.position"),
        DataObject("BlkOpn", "SPC", "relay.block_open", control="direct-with-normal-security"),
        DataObject("BlkCls", "SPC", "relay.block_close", control="direct-with-normal-security"),
        DataObject("SwTyp", "ENS", FILE, enum="SwitchFunctionKind", value="Load Break"),
    )),
)
"""A meter without a relay has none of these."""


@dataclass(frozen=True, eq=False)
class Profile:
    """What the logical device of one kind of meter measures."""

    name: str
    measuring: tuple[LogicalNode, ...]
    exact: bool = False
    """A meter has only what its birth's quantities feed; else all of it."""
    several: frozenset[str] = frozenset()
    """Quantities of a meter with several phases: one with any of these has this profile."""
    by_tariff: tuple[LogicalNode, ...] = ()
    """Registers of T1, T2 and so on, of a deployment with tariffs."""
    shape: str = ""
    """What the meter has of an exact profile: a bit for each quantity, in hexadecimal."""

    @cached_property
    def nodes(self) -> tuple[LogicalNode, ...]:
        """All logical nodes of a meter with a relay, without tariffs."""
        return (*PLATES, *self.measuring, *_SWITCH)

    @cached_property
    def every_node(self) -> tuple[LogicalNode, ...]:
        """The same with all tariffs."""
        return (*self.nodes, *self.by_tariff)

    @cached_property
    def quantities(self) -> frozenset[str]:
        """Quantities of a reading that it serves."""
        return quantities_of(self.measuring)

    def of(self, quantities: Iterable[str]) -> Profile:
        """The profile of a meter that gives ``quantities``."""
        given = self.quantities.intersection(quantities)
        return _narrowed(self, given) if self.exact and given else self


_SHAPES: WeakValueDictionary[tuple[Profile, frozenset[str]], Profile] = WeakValueDictionary()
"""Those in use: the same shape is the same object, so that comparing IEDs costs nothing."""


def _narrowed(profile: Profile, given: frozenset[str]) -> Profile:
    found = _SHAPES.get((profile, given))
    if found is None:
        mask = sum(1 << place for place, name in enumerate(sorted(profile.quantities)) if name in given)
        shape = f"{mask:x}"
        measuring, by_tariff = (narrowed(nodes, given) for nodes in (profile.measuring, profile.by_tariff))
        made = Profile(f"{profile.name} {shape}", measuring, shape=shape, by_tariff=by_tariff)
        found = _SHAPES.setdefault((profile, given), made)
    return found


SINGLE_PHASE = Profile("single-phase", ONE_WAY, by_tariff=by_tariff("MMTN", export=False))
PROFILES: tuple[Profile, ...] = (
    SINGLE_PHASE,
    Profile("single-phase two-way", ONE_PHASE, exact=True, by_tariff=by_tariff("MMTN")),
    Profile("three-phase", THREE_PHASE, exact=True, by_tariff=by_tariff("MMTR"), several=frozenset(
        name for name in quantities_of(THREE_PHASE) if name.endswith(("_l2", "_l3", "_l12", "_l23", "_l31"))
    )),
)
"""A meter has the one that serves most of its birth's quantities, the first of those that serve as many."""

METER_LD = SINGLE_PHASE.nodes
"""The logical device of a meter with one phase and one direction."""


def checked_meter_id(text: str) -> str:
    """``text`` if it is a meter_id; ValueError says what would be right."""
    if not _METER_ID.fullmatch(text):
        raise ValueError(f"meter_id {text[:80]!r}: a UUID in lower case, 8-4-4-4-12 hex digits")
    return text


def profile_of(quantities: Iterable[str]) -> Profile:
    """The profile of a meter whose birth names these quantities."""
    return _profile_of(tuple(quantities), PROFILES)


@lru_cache(maxsize=1024)
def _profile_of(quantities: tuple[str, ...], profiles: tuple[Profile, ...]) -> Profile:
    def served(profile: Profile) -> tuple[bool, int]:
        several = not profile.several.isdisjoint(quantities)
        return several, len(profile.quantities.intersection(quantities))

    return max(profiles, key=served).of(quantities)


@lru_cache(maxsize=1024)
def meter_nodes(profile: Profile, *, relay: bool, bills: Bills = DEFAULTS) -> tuple[LogicalNode, ...]:
    """The logical nodes of a meter with or without a relay, in a deployment that bills so."""
    nodes = profile.nodes if relay else tuple(node for node in profile.nodes if node not in _SWITCH)
    return (*bills.shown(nodes), *profile.by_tariff[: bills.tariffs])


GATEWAY_LD: tuple[LogicalNode, ...] = (
    LogicalNode("LLN0", "", "GwLLN0", _LLN0),
    LogicalNode("LPHD", "1", "GwLPHD", (
        DataObject("PhyNam", "DPL", FILE, leaves_out=("mRID",)),
        DataObject("PhyHealth", "ENS", "service.health", enum="HealthKind"),
        DataObject("Proxy", "SPS", FILE, value="false"),
    )),
    LogicalNode("LTMS", "1", "GwLTMS", (
        BEH,
        # the kernel says whether its clock is synchronized, and not from where
        DataObject("TmSrc", "VSS", FILE, value="host clock"),
        DataObject("TmSrcTyp", "ENS", FILE, enum="ClockSourceKind", value="Unknown"),
        DataObject("TmSyn", "ENS", "gateway.time_sync", enum="ClockSyncKind"),
    )),
    LogicalNode("GGIO", "1", "GwGGIO", (
        BEH,
        DataObject("IntIn1", "INS", "gateway.meters", description="Meters of this IED"),
        DataObject("IntIn2", "INS", "gateway.meters_online", description="Meters of this IED online"),
        DataObject("IntIn3", "INS", "gateway.revision", description="Configuration revision of the SCD"),
        DataObject("IntIn4", "INS", "gateway.meters_stale", description="Meters of this IED that are silent"),
        DataObject("Ind1", "SPS", "gateway.broker_up", description="Connection to the MQTT broker is up"),
        DataObject("Ind2", "SPS", "gateway.bridge_up", description="Bridge that keeps the SCD is online"),
    )),
)
"""An IED's own logical device, inst ``GW``."""

MEASURED = 60_000
"""ms between the integrity reports of measurements and energies."""


def _measured(data_set: str, *names: str, fc: str = "MX") -> Group:
    members = (name.split(".") for name in names)
    return Group(
        f"ds{data_set}",
        f"urcb{data_set}",
        tuple(Member(node, "1", do, fc) for node, do in members),
        integrity=MEASURED,
    )


GROUPS: tuple[Group, ...] = (
    _measured("Vol", "MMXN.Vol", "MMXU.PhV"),
    _measured("Amp", "MMXN.Amp", "MMXU.A"),
    _measured("Watt", "MMXN.Watt", "MMXU.TotW"),
    _measured("VAr", "MMXN.VolAmpr", "MMXU.TotVAr"),
    _measured("PF", "MMXN.PwrFact", "MMXU.TotPF"),
    # a member of each meter: three energies in one data set would be more than 100 members
    _measured("TotWh", "MMTN.TotWh", "MMTR.TotWh", fc="ST"),
    _measured("SupWh", "MMTN.SupWh", "MMTR.SupWh", fc="ST"),
    _measured("DmdWh", "MMTN.DmdWh", "MMTR.DmdWh", fc="ST"),
    Group("dsPos", "brcbPos", (Member("XSWI", "1", "Pos", "ST"),), buffered=True),
    Group("dsHealth", "brcbHealth", (Member("LPHD", "1", "PhyHealth", "ST"),), buffered=True),
    Group("dsBeh", "brcbBeh", (Member("LLN0", "", "Beh", "ST"),), buffered=True),
    Group("dsGw", "brcbGw", tuple(
        Member(node.ln_class, node.inst, do.name, "ST")
        for node in GATEWAY_LD for do in node.objects
        if do.source.startswith(("gateway.", "service.health"))
    ), buffered=True, of_gateway=True),
)
"""So that a SCADA need not enable one block for each house; raise GROUP_REVISION when they change."""
GROUP_REVISION = 1
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
