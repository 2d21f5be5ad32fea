"""Meters of several shapes: which data objects follow from a birth's quantities, and what they cost.

The shapes are those of DEVICES.md: what known families of meters give.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.quantities import HOUSEHOLD, QUANTITIES
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import Ied, Project
from scl_builder.check.checker import check
from scl_builder.model.billing_nodes import Bills
from scl_builder.model.logical_devices import MODEL_REVISION, PROFILES, SINGLE_PHASE, profile_of
from scl_builder.model.measuring import MADE
from scl_builder.read.cid import read_cid
from tests.support.scd import house
from tests.unit.test_scl_builder import assert_clean, attributes, project

TODAY = {
    "scd": "4b706b97463ea879e68a87564c1d5f5c16baa8777fbf301eb59fee6d10a5ed73",
    "cid": "32c343bc6ff58c2cfbf0f81c51bf93aa8db28066a3c11c9c988f447980bcaa7a",
}
"""SHA-256 of the files of single-phase meters: when they change, all towns get new files."""


def each(*names: str) -> tuple[str, ...]:
    """The quantities of each phase."""
    return tuple(f"{name}_l{phase}" for name in names for phase in (1, 2, 3))


SMALL = (*each("voltage", "current", "power"), "power")
TWO_WAYS = ("energy_import", "energy_export")
PLUG = ("voltage", "current", "power", "power_factor", "frequency", *TWO_WAYS)
SHAPES = {
    "one-way": (HOUSEHOLD, ["MMXN1", "MMTN1", "MMXN4", "MMXN5"]),
    "two-way": (PLUG, ["MMXN1", "MMTN1", "MMXN4", "MMXN5"]),
    "two-way, reactive": (
        (*PLUG, "reactive_power", "reactive_import"), ["MMXN1", "MMTN1", "MMXN4", "MMXN5"]
    ),
    "one phase of a P1 port": (
        ("voltage_l1", "current_l1", "power", "energy_import", "energy_import_t1", "energy_import_t2"),
        ["MMXN1", "MMTN1", "MMTN2", "MMTN3", "MMXN4", "MMXN5"],
    ),
    "three phases, least": (("power_l1", "power_l2"), ["MMXU1"]),
    "three phases, one way": ((*SMALL, "energy"), ["MMXU1", "MMTR1", "MMXU4", "MMXU5"]),
    "three phases, Shelly": (
        (*SMALL, *each("apparent_power", "power_factor", "energy_import", "energy_export"),
         "current_n", "apparent_power", "frequency", *TWO_WAYS),
        ["MMXU1", "MMTR1", "PhA_MMTN1", "PhB_MMTN1", "PhC_MMTN1", "MMXU4", "MMXU5"],
    ),
    "three phases, P1": (
        (*SMALL, *TWO_WAYS, "energy_import_t1", "energy_import_t2", "energy_export_t1", "energy_export_t2",
         "demand", "demand_max"),
        ["MMXU1", "MMTR1", "MMTR2", "MMTR3", "MMXU2", "MMXU3", "MMXU4", "MMXU5"],
    ),
    "three phases, SDM630": (
        (*SMALL, *each("reactive_power", "apparent_power", "power_factor", "thd_u", "thd_i"),
         *each("energy_import", "energy_export", "reactive_import", "reactive_export"),
         "voltage_l12", "voltage_l23", "voltage_l31", "current_n", "reactive_power", "apparent_power",
         "power_factor", "frequency", *TWO_WAYS, "reactive_import", "reactive_export", "apparent_energy",
         "demand", "demand_max"),
        ["MMXU1", "MMTR1", "PhA_MMTN1", "PhB_MMTN1", "PhC_MMTN1", "MMXU2", "MMXU3", "MMXU4", "MMXU5",
         "MHAI1"],
    ),
    "THD without frequency": ((*SMALL, *each("thd_u")), ["MMXU1"]),
    "demand alone": (("demand",), ["MMXN2"]),
    "nothing that is served": (("unbalance_u",), ["MMXN1", "MMTN1", "MMXN4", "MMXN5"]),
}  # fmt: skip
"""Quantities of a birth → the logical nodes that show them."""


def town(*births: tuple[str, ...], meters: int = 1) -> Project:
    """An IED with ``meters`` meters of each birth."""
    profiles = [profile_of(quantities) for quantities in births for _ in range(meters)]
    made = tuple(
        house(
            number,
            name=f"House {number}",
            address=f"Main Street {number}",
            address_code="12345",
            vendor="Eastron",
            model="SDM630-Modbus",
            serial=f"PZ{number:06d}",
            firmware="0.1.0",
            profile=profile,
        )
        for number, profile in enumerate(profiles, 1)
    )
    return Project("town", 1, (Ied("SMGW001", "192.0.2.1", 102, made),), tool_version="0.1.0")


def objects(quantities: tuple[str, ...], node: str) -> list[str]:
    """The data objects and parts of a logical node that a reading feeds."""
    (found,) = (one for one in profile_of(quantities).measuring if one.name == node)
    return [fed.name for do in found.objects for fed in do.fed if fed.source.startswith("reading.")]


REGISTERS: dict[str, list[tuple[str, ...]]] = {
    "MMTN1 MMXN4": [("energy_import",), ("voltage", "energy_import", "energy_export")],
    "MMTR1 MMXU4": [(*each("voltage"), "energy_import")],
    "MMXU1 MMXU4": [(*SMALL, "energy_import")],
    "MMXN1 MMXN4": [PLUG],
}


def test_the_source_of_demand_is_there() -> None:
    for sources, births in REGISTERS.items():
        for nodes in (profile_of(birth).measuring for birth in births):
            assert [do.refers for node in nodes for do in node.objects if do.refers] == sources.split()
            assert {node.name for node in nodes}.issuperset(sources.split())


def test_single_phase_meters_keep_their_bytes() -> None:
    built = {"scd": build_scd(project(3)), "cid": build_cid(project(3), "SMGW001")}
    assert {name: hashlib.sha256(xml).hexdigest() for name, xml in built.items()} == TODAY
    assert profile_of(HOUSEHOLD) is profile_of(("power", "energy")) is SINGLE_PHASE


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_clean_and_has_its_nodes(shape: str) -> None:
    quantities, nodes = SHAPES[shape]
    plan = town(quantities)
    assert_clean(build_scd(plan))
    assert_clean(build_cid(plan, "SMGW001"))
    assert [node.name for node in profile_of(quantities).measuring] == nodes


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_with_everything_is_clean(profile: object) -> None:
    for relay in (True, False):
        meter = house(1, relay=relay, profile=profile)
        assert_clean(build_scd(Project("p", 1, (Ied("A", "192.0.2.1", 102, (meter,)),))))


def test_a_mixed_town_is_clean() -> None:
    plan = town(*(quantities for quantities, _ in SHAPES.values()))
    assert_clean(build_scd(plan))
    assert_clean(build_cid(plan, "SMGW001"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*QUANTITIES, "of a newer meter"]), max_size=64, unique=True), st.booleans())
def test_whatever_a_birth_names_the_file_is_clean(quantities: list[str], relay: bool) -> None:
    profile = profile_of(quantities)
    meter = house(1, relay=relay, profile=profile)
    assert check(build_scd(Project("p", 1, (Ied("A", "192.0.2.1", 102, (meter,)),)))) == []
    assert profile_of(list(reversed(quantities))) is profile, "the order does not matter"
    if profile is not SINGLE_PHASE:
        fed = {fed.source for node in profile.measuring for do in node.objects for fed in do.fed}
        names = {source.removeprefix("reading.") for source in fed if source.startswith("reading.")}
        assert all(name in quantities or name in MADE for name in names)


def test_an_ied_whose_meters_are_all_different_is_served() -> None:
    every = list(QUANTITIES)
    births = [tuple(name for name in every if name != every[at % 60] and name != every[-1 - at // 60])
              for at in range(100)]  # fmt: skip
    xml = build_cid(town(*births), "SMGW001")
    assert len({profile_of(birth) for birth in births}) > 80
    assert len(read_cid(xml).devices) == 101
    assert check(xml) == []


def test_a_meter_has_what_its_birth_names_and_nothing_else() -> None:
    two_way, (shelly, _) = SHAPES["two-way"][0], SHAPES["three phases, Shelly"]
    assert objects(two_way, "MMXN1") == ["Amp", "Vol", "Watt", "VolAmp", "PwrFact", "Hz"]
    assert objects((*two_way, "reactive_power"), "MMXN1")[3] == "VolAmpr"
    assert objects(two_way, "MMTN1") == ["TotWh", "SupWh", "DmdWh"]
    assert objects(("power", "energy_import"), "MMTN1") == ["DmdWh"], "one register has no net"
    assert objects((*SMALL, "energy"), "MMTR1") == ["TotWh"]
    assert objects(("power_l1", "power_l2"), "MMXU1") == ["W.phsA", "W.phsB"]
    assert objects((*each("power"),), "MMXU1")[0] == "TotW", "active power adds up"
    assert "TotVA" not in objects((*each("apparent_power"),), "MMXU1"), "apparent power does not"
    assert objects(shelly, "MMXU1")[:3] == ["TotW", "TotVA", "Hz"]
    assert "A.neut" in objects(shelly, "MMXU1")
    assert objects(shelly, "PhB_MMTN1") == ["SupWh", "DmdWh"]


def test_the_sign_of_the_power_factor_is_with_the_power_factor() -> None:
    def has_sign(*quantities: str) -> bool:
        (node,) = profile_of(quantities).measuring
        return "PFSign" in {do.name for do in node.objects}

    assert has_sign("power_l2", "power_factor")
    assert has_sign("power_factor_l2")
    assert not has_sign("power_l2")


def test_tariffs_have_their_names() -> None:
    xml = build_cid(town(SHAPES["three phases, P1"][0]), "SMGW001")
    names = attributes(xml, "//s:DOType[@cdc='LPL']/s:DA[@name='d']/s:Val/text()")
    assert sorted(names) == ["Tariff 1", "Tariff 2"]


def test_a_group_has_the_three_phase_meter_with_its_own_member() -> None:
    xml = build_cid(town(HOUSEHOLD, SHAPES["three phases, P1"][0], ("energy_import",)), "SMGW001")
    found = {
        name: [
            ".".join(parts)
            for parts in zip(
                *(attributes(xml, f"//s:DataSet[@name='{name}']/s:FCDA/@{what}") for what in WHERE),
                strict=True,
            )
        ]
        for name in ("dsVol", "dsWatt", "dsPos", "dsDmdWh", "dsTotWh")
    }
    assert found == {
        "dsVol": ["M1.MMXN.Vol", "M2.MMXU.PhV"],
        "dsWatt": ["M1.MMXN.Watt", "M2.MMXU.TotW"],
        "dsPos": ["M1.XSWI.Pos", "M2.XSWI.Pos", "M3.XSWI.Pos"],
        "dsDmdWh": ["M2.MMTR.DmdWh", "M3.MMTN.DmdWh"],
        "dsTotWh": ["M1.MMTN.TotWh", "M2.MMTR.TotWh"],
    }


WHERE = ("ldInst", "lnClass", "doName")


def test_another_shape_is_another_configuration() -> None:
    births = (HOUSEHOLD, PLUG, (*PLUG, "reactive_power"), SHAPES["three phases, P1"][0])
    xml = build_cid(town(*births, PLUG), "SMGW001")
    own = attributes(xml, "//s:LDevice/s:LN0//s:DAI[@name='configRev']/s:Val/text()")
    assert len(own) == 4, "the one-way meter has that of its type"
    assert len(set(own)) == 3, "the same shape has the same"
    assert all(revision.startswith(f"{MODEL_REVISION}.") for revision in own)


@pytest.mark.parametrize("shape", [name for name in SHAPES if name.startswith("three phases")])
def test_bytes_of_a_three_phase_meter(shape: str) -> None:
    """Beyond the templates that meters of its shape share: 2.2 kB is the limit."""
    quantities, _ = SHAPES[shape]
    few, more = (len(build_scd(town(quantities, meters=count))) for count in (20, 40))
    assert (more - few) / 20 <= 2200


def test_tariffs_cost_bytes_only_where_there_are_some() -> None:
    quantities, _ = SHAPES["one-way"]
    plain, two = town(quantities, meters=20), replace(town(quantities, meters=20), bills=Bills(tariffs=2))
    assert b"MMTN_Bill" not in build_scd(plain)
    assert_clean(build_scd(two))
    assert attributes(build_scd(two), "//s:LDevice[@inst='M1']/s:LN[@lnClass='MMTN']/@inst") == [
        "1",
        "11",
        "12",
    ]
    more = (len(build_scd(replace(town(quantities, meters=40), bills=Bills(tariffs=2)))), len(build_scd(two)))
    assert (more[0] - more[1]) / 20 <= 1700


def test_demand_can_be_left_out() -> None:
    plan = replace(town(SHAPES["three phases, Shelly"][0]), bills=Bills(demand=False))
    assert_clean(build_scd(plan))
    assert attributes(build_scd(plan), "//s:LDevice[@inst='M1']/s:LN[@lnClass='MMXU']/@inst") == ["1"]
    assert b"CalcMethodKind" not in build_scd(plan)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_clean_with_all_tariffs(shape: str) -> None:
    quantities, _ = SHAPES[shape]
    plan = replace(town(quantities), bills=Bills("day", 5, 8))
    assert_clean(build_scd(plan))
    assert_clean(build_cid(plan, "SMGW001"))


DERIVED = " beside ClcSrc: it is a derived statistic"


@pytest.mark.parametrize(
    ("node", "before", "after", "found"),
    [
        ("MMXU", "", '<DO name="ClcSrc" type="ORG"/>', f"PFSign of MMXU is forbidden{DERIVED}"),
        ("MMXU", "", '<DO name="ClcSrc" type="ORG"/>', "LNodeType 'MMXU' (MMXU) lacks the mandatory ClcMth"),
        ("MMXU_Mean", "", '<DO name="Blk" type="SPS"/>', f"Blk of MMXU is forbidden{DERIVED}"),
        ("MHAI", '<DO name="Hz" type="MV_Hz"/>', "", "LNodeType 'MHAI' (MHAI) lacks the mandatory Hz"),
        ("MHAI", "", '<DO name="ThdX" type="MV_Hz"/>', "MHAI has no data object 'ThdX'"),
    ],
)
def test_what_derived_statistics_and_harmonics_must_not_have_is_found(
    node: str, before: str, after: str, found: str
) -> None:
    xml = build_cid(town(SHAPES["three phases, SDM630"][0]), "SMGW001").decode()
    head, start, rest = xml.partition(f'<LNodeType id="{node}" lnClass="{node[:4]}">\n')
    body, end, tail = rest.partition("</LNodeType>")
    assert before in body
    changed = head + start + body.replace(before, "", 1) + after + end + tail
    assert found in [one.message for one in check(changed.encode())]


def test_meters_of_one_shape_share_their_types() -> None:
    quantities, _ = SHAPES["three phases, SDM630"]
    types = [attributes(build_scd(town(quantities, meters=n)), "//s:LNodeType/@id") for n in (6, 60)]
    assert types[0] == types[1]
