"""The model tables: what 7-4 asks for is there, everything is fed, members and confRev go together."""

from __future__ import annotations

import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.fleet import Fleet, MeterState
from broker.contract.messages import utc_now
from broker.contract.quantities import HOUSEHOLD, QUANTITIES
from broker.contract.reading import Reading
from mms_bridge.datamodel import mapping, moment
from mms_bridge.libiec61850.bindings import MAX_DATA_SET_MEMBERS
from mms_bridge.libiec61850.mms_server import Limits
from scl_builder.build import templates
from scl_builder.model.data_object import FILE, LogicalNode
from scl_builder.model.logical_devices import (
    GATEWAY_LD,
    GROUP_REVISION,
    GROUPS,
    MAX_DYNAMIC_DATA_SETS,
    MAX_MEMBERS,
    MAX_METERS,
    METER_LD,
    PROFILES,
    Profile,
    data_object,
)
from scl_builder.model.nsd_cdcs import CDCS, STRUCTS
from scl_builder.model.nsd_enums import ENUMERATIONS
from scl_builder.model.nsd_nodes import LN_CLASSES, rule
from scl_builder.model.tariff_in_force import gateway_nodes
from tests.support.three_phases import THREE_PHASES

DEVICES = (METER_LD, GATEWAY_LD)
MEMBERS_OF = {
    0: {
        "urcbVol": ("MMXN1.Vol [MX]", "MMXU1.PhV [MX]"),
        "urcbWatt": ("MMXN1.Watt [MX]", "MMXU1.TotW [MX]"),
        "brcbPos": ("XSWI1.Pos [ST]", "XSWI1.Pos [ST]"),
    },
    1: {
        "urcbVol": ("MMXN1.Vol [MX]", "MMXU1.PhV [MX]"),
        "urcbAmp": ("MMXN1.Amp [MX]", "MMXU1.A [MX]"),
        "urcbWatt": ("MMXN1.Watt [MX]", "MMXU1.TotW [MX]"),
        "urcbVAr": ("MMXN1.VolAmpr [MX]", "MMXU1.TotVAr [MX]"),
        "urcbPF": ("MMXN1.PwrFact [MX]", "MMXU1.TotPF [MX]"),
        "urcbTotWh": ("MMTN1.TotWh [ST]", "MMTR1.TotWh [ST]"),
        "urcbSupWh": ("MMTN1.SupWh [ST]", "MMTR1.SupWh [ST]"),
        "urcbDmdWh": ("MMTN1.DmdWh [ST]", "MMTR1.DmdWh [ST]"),
        "brcbPos": ("XSWI1.Pos [ST]",),
        "brcbHealth": ("LPHD1.PhyHealth [ST]",),
        "brcbBeh": ("LLN0.Beh [ST]",),
        "brcbGw": (
            "LLN0.Health [ST]", "LPHD1.PhyHealth [ST]", "LTMS1.TmSyn [ST]", "GGIO1.IntIn1 [ST]",
            "GGIO1.IntIn2 [ST]", "GGIO1.IntIn3 [ST]", "GGIO1.IntIn4 [ST]", "GGIO1.Ind1 [ST]",
            "GGIO1.Ind2 [ST]",
        ),
    },
}  # fmt: skip
"""GROUP_REVISION → what each block tells of a meter. A change is a new line here and a new revision there."""


def test_the_revision_changes_with_the_members() -> None:
    members = {
        group.report: tuple(str(member.reference("L")).removeprefix("L/") for member in group.members)
        for group in GROUPS
    }
    assert members == MEMBERS_OF[GROUP_REVISION]


@pytest.mark.parametrize("device", DEVICES)
def test_mandatory_objects_are_there_with_their_cdc(device: tuple[LogicalNode, ...]) -> None:
    for node in device:
        names = {do.name for do in node.objects}
        mandatory = {r.name for r in LN_CLASSES[node.ln_class].values() if r.presence in ("M", "MOrootLD")}
        assert mandatory <= names
        for do in node.objects:
            wanted = rule(node.ln_class, do.name)
            assert wanted is not None
            assert (do.cdc, do.enum) == (wanted.cdc, wanted.enum)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_everything_of_a_meter_that_has_a_source_is_fed(profile: Profile) -> None:
    """What the tables name as a source, the MMS bridge knows; what every meter gives, is served."""
    meter = MeterState("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    meter.birth = Birth(
        name="House", firmware="1", hardware=Hardware(serial="1"), interval=10, session="s", ts=utc_now(),
        quantities=tuple(sorted(profile.quantities)) if profile.exact else HOUSEHOLD,
    )  # fmt: skip
    meter.reading = Reading(epoch=1, seq=1, ts=utc_now(), **dict.fromkeys(QUANTITIES, 0.5))
    given = {key for key, _ in mapping.all_values(meter, broker_up=True, now=moment.now(synchronized=True))}
    nodes = profile.every_node
    wanted = {(node.name, fed.name) for node in nodes for do in node.objects for fed in do.fed}
    of_the_file = {(node.name, do.name) for node in nodes for do in node.objects if do.source == FILE}
    assert given == wanted - of_the_file
    assert profile.quantities <= QUANTITIES.keys()


def test_every_quantity_is_served_or_left_out_on_purpose() -> None:
    served = frozenset().union(*(profile.quantities for profile in PROFILES))
    assert QUANTITIES.keys() - served == {"unbalance_u"}, "MSQI has SeqA or SeqV, which no meter gives"


def test_everything_of_the_gateway_that_has_a_source_is_fed() -> None:
    values = mapping.gateway_values([], Fleet(), revision=1, now=moment.now(synchronized=True))
    wanted = {
        (node.name, fed.name)
        for node in gateway_nodes(tariffs=1)
        for do in node.objects
        for fed in do.fed
        if fed.source != FILE
    }
    assert {key for key, _ in values} == wanted


def test_units_are_those_of_the_contract() -> None:
    """What a reading carries in V, A, W, Hz and Wh is served in the same unit, unscaled."""
    units = {do.source: do.unit for node in METER_LD for do in node.objects if do.unit is not None}
    assert units == {
        "reading.voltage": "V",
        "reading.current": "A",
        "reading.power": "W",
        "reading.apparent_or_product": "VA",
        "reading.power_factor": "",
        "reading.frequency": "Hz",
        "reading.energy": "Wh",
        "demand.mean": "W",
        "demand.maximum": "W",
    }


def test_object_types_with_one_id_are_one_type() -> None:
    """The id says all that a type is made from: no two objects share an id and differ in the type."""
    types: dict[str, set[tuple[object, ...]]] = {}
    nodes: dict[str, set[tuple[object, ...]]] = {}
    for device in (*DEVICES, THREE_PHASES.nodes):
        for node in device:
            nodes.setdefault(node.type_id, set()).add((node.ln_class, node.objects))
            for do in node.objects:
                served = tuple(fed.name.removeprefix(do.name) for fed in do.fed if do.parts)
                key = (do.cdc, do.unit, do.enum, do.value, do.description, do.control, do.values, served)
                types.setdefault(templates.do_type_id(do), set()).add(key)
    assert all(len(keys) == 1 for keys in (*types.values(), *nodes.values()))


def test_services_and_server_have_the_same_limits() -> None:
    """What the SCD's Services element says comes from the tables, what is served from the server's limits."""
    assert Limits().dynamic_data_sets == MAX_DYNAMIC_DATA_SETS
    assert MAX_DATA_SET_MEMBERS == MAX_MEMBERS >= MAX_METERS


def test_data_object_is_found_by_name() -> None:
    assert data_object(METER_LD, "CSWI1", "Pos").controllable
    assert data_object(METER_LD, "XSWI1", "BlkOpn").controllable
    assert not data_object(METER_LD, "XSWI1", "Pos").controllable
    with pytest.raises(KeyError, match=r"XSWI1\.Foo"):
        data_object(METER_LD, "XSWI1", "Foo")


def test_nsd_tables_are_whole() -> None:
    """Kinds that rows name exist, presence conditions that name a sibling name a real one."""
    assert len(LN_CLASSES) == 165
    for attributes in (*CDCS.values(), *STRUCTS.values()):
        names = {attribute.name for attribute in attributes}
        assert len(names) == len(attributes)
        for attribute in attributes:
            condition, _, argument = attribute.presence.partition(":")
            assert condition not in ("MO", "OF") or argument in names
            if attribute.btype == "Enum" and attribute.type:
                assert attribute.type in ENUMERATIONS
            assert attribute.fc != "SDO" or attribute.type in CDCS
    for objects in LN_CLASSES.values():
        assert all(not r.enum or r.enum in ENUMERATIONS for r in objects.values())


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("BehaviourModeKind", {1: "on", 2: "blocked", 3: "test", 4: "test/blocked", 5: "off"}),
        ("HealthKind", {1: "Ok", 2: "Warning", 3: "Alarm"}),
        ("CtlModelKind", {0: "status-only", 1: "direct-with-normal-security", 2: "sbo-with-normal-security",
                          3: "direct-with-enhanced-security", 4: "sbo-with-enhanced-security"}),
        ("SIUnitKind", {1: "", 5: "A", 29: "V", 33: "Hz", 38: "W", 61: "VA", 63: "VAr", 72: "Wh"}),
        ("SwitchFunctionKind", {1: "Load Break", 2: "Disconnector"}),
        ("OriginatorCategoryKind", {2: "station-control", 3: "remote-control", 8: "process"}),
    ],
)  # fmt: skip
def test_literals_that_wire_and_file_share(kind: str, pairs: dict[int, str]) -> None:
    assert pairs.items() <= ENUMERATIONS[kind].items()
