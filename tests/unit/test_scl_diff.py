"""What differs between two files, in words: every kind of difference is told, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scl_builder.build.builder import build_scd
from scl_builder.build.project import Ied, Project
from scl_builder.check.diff import Change, condensed, diff
from scl_builder.check.outline import parse
from tests.unit.test_scl_builder import meter, project

FAULTS = Path(__file__).parent / "scl_faults"
CLEAN = (FAULTS / "clean.scd").read_bytes()
HOUSE = 'SMGW001M1000 "House 1000"'
NEW = 'SMGW001M7 "House 7"'


def words(before: bytes, after: bytes) -> list[str]:
    """The lines that the command prints."""
    return [str(change) for change in condensed(diff(parse(before), parse(after)))]


def built(before: Project, after: Project) -> list[str]:
    """The same for the SCDs of two projects."""
    return words(build_scd(before), build_scd(after))


def with_first(plan: Project, ied: Ied) -> Project:
    """``plan`` with another first IED."""
    return replace(plan, ieds=(ied, *plan.ieds[1:]))


def test_a_file_does_not_differ_from_itself() -> None:
    assert built(project(3), project(3)) == []
    shuffled = replace(project(3), ieds=project(3).ieds[::-1])
    assert built(project(3), shuffled) == []


def test_a_meter_that_joins() -> None:
    plan = project(2)
    first = plan.ieds[0]
    grown = with_first(plan, replace(first, meters=(*first.meters, meter(7)), changes=2))
    told = built(plan, grown)
    member = "SMGW001M7"
    blocks = [
        f"report control {name} confRev changed from 2 to 3"
        for name in (
            "brcbBeh", "brcbGw", "brcbHealth", "brcbPos",
            "urcbAmp", "urcbPF", "urcbTotWh", "urcbVol", "urcbWatt",
        )
    ]  # fmt: skip
    assert told == [
        *(
            f"SMGW001: SMGW001GW: data set {name}: 1 member added ({member}/{of})"
            for name, of in (
                ("dsAmp", "MMXN1.Amp [MX]"),
                ("dsBeh", "LLN0.Beh [ST]"),
                ("dsHealth", "LPHD1.PhyHealth [ST]"),
                ("dsPF", "MMXN1.PwrFact [MX]"),
                ("dsPos", "XSWI1.Pos [ST]"),
                ("dsTotWh", "MMTN1.TotWh [ST]"),
                ("dsVol", "MMXN1.Vol [MX]"),
                ("dsWatt", "MMXN1.Watt [MX]"),
            )
        ),
        *(f"SMGW001: SMGW001GW: {block}" for block in blocks),
        f"SMGW001: {NEW}: added",
    ]
    assert f"SMGW001: {NEW}: removed" in built(grown, plan)


def test_a_meter_that_changes() -> None:
    plan = project(2)
    first, second = plan.ieds[0].meters
    moved = replace(first, firmware="0.2.0", address="Elm Street 1", address_code="7530")
    told = built(plan, with_first(plan, replace(plan.ieds[0], meters=(moved, second))))
    assert told == [
        f"SMGW001: {HOUSE}: place changed from SMGW001_Site/LV/Bay_12345 to SMGW001_Site/LV/Bay_7530",
        f"SMGW001: {HOUSE}: LPHD1.PhyNam.location changed from Main Street 1000, 12345 to Elm Street 1, 7530",
        f"SMGW001: {HOUSE}: LPHD1.PhyNam.swRev changed from 0.1.0 to 0.2.0",
    ]


def test_a_type_that_several_share_is_no_difference() -> None:
    """From six meters on vendor, model and firmware stand in the type: the values are the same."""
    plan = project(5)
    first = plan.ieds[0]
    told = built(plan, with_first(plan, replace(first, meters=(*first.meters, meter(7)))))
    assert not any("PhyNam" in line for line in told)
    shared = project(6)
    newer = tuple(replace(m, firmware="0.2.0") for m in shared.ieds[0].meters)
    told = built(shared, with_first(shared, replace(shared.ieds[0], meters=newer)))
    assert told == ["SMGW001: 6 logical devices: LPHD1.PhyNam.swRev changed from 0.1.0 to 0.2.0"]


def test_what_is_alike_in_many_ieds_is_one_line() -> None:
    plan = project(2, ieds=5)
    told = built(plan, replace(plan, tool_version="0.2.0", control_model="direct-with-normal-security"))
    (version,) = (line for line in told if "NamPlt.swRev" in line)
    assert "15 logical devices: LLN0.NamPlt.swRev changed from 0.1.0 to 0.2.0" in version
    (model,) = (line for line in told if "CSWI1.Pos.ctlModel" in line)
    assert model == (
        "5 IEDs: 10 logical devices: CSWI1.Pos.ctlModel changed from sbo-with-enhanced-security to "
        "direct-with-normal-security"
    )
    assert "5 IEDs: 10 logical devices: CSWI1.Pos.SBOw.ctlNum [CO] removed" in told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: replace(p, revision=4), "Header revision changed from 3 to 4"),
        (
            lambda p: with_first(p, replace(p.ieds[0], port=9)),
            "SMGW001: endpoint changed from 192.0.2.10:103 to 192.0.2.10:9",
        ),
        (
            lambda p: with_first(p, replace(p.ieds[0], subnet="255.0.0.0")),
            "SMGW001: IP-SUBNET changed from 255.255.255.0 to 255.0.0.0",
        ),
        (lambda p: replace(p, ieds=p.ieds[:1]), "SMGW002: IED removed"),
        (lambda p: replace(p, ieds=(*p.ieds, Ied("B", "192.0.2.1", 102, ()))), "B: IED added, 192.0.2.1:102"),
        (lambda p: replace(p, report_instances=2), "SMGW001: ConfReportControl max changed from 12 to 24"),
        (
            lambda p: replace(p, report_instances=2),
            "SMGW001: SMGW001GW: report control urcbVol max changed from 1 to 2",
        ),
    ],
)
def test_what_a_project_can_change(change: Callable[[Project], Project], says: str) -> None:
    assert says in built(project(2), change(project(2)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            '<DynAssociation max="10"/>',
            '<DynAssociation max="5"/>',
            "DynAssociation max changed from 10 to 5",
        ),
        ("<FileHandling/>", "", "service FileHandling removed: offered"),
        (
            'period="true"',
            'period="false"',
            "report control urcbVol TrgOps changed from dchg qchg period gi to dchg qchg gi",
        ),
        (
            '<OptFields seqNum="true"',
            '<OptFields bufOvfl="false" seqNum="true"',
            "report control urcbVol OptFields changed from seqNum timeStamp dataSet reasonCode bufOvfl to "
            "seqNum timeStamp dataSet reasonCode",
        ),
        ('bufTime="50"', 'bufTime="70"', "report control urcbVol bufTime changed from 50 to 70"),
        ('<DO name="Hz" type="MV_Hz"/>', "", "MMXN1.Hz (MV) removed"),
        (
            '<DO name="Loc" type="SPS"/>',
            '<DO name="Loc" type="INS"/>',
            "XSWI1.Loc CDC changed from SPS to INS",
        ),
        (
            '<BDA name="f" bType="FLOAT32"/>',
            '<BDA name="f" bType="INT32"/>',
            "MMXN1.Vol.mag.f type changed from FLOAT32 to INT32",
        ),
        ('<LN lnClass="MMTN" inst="1" lnType="MMTN"/>', "", "logical node MMTN1 removed"),
        ('<EnumVal ord="5">off</EnumVal>', "", "LLN0.Beh.stVal type changed from Enum 1=on"),
        ('doName="Vol" fc', 'doName="Amp" fc', "data set dsVol: 1 member added (SM_"),
        ('<DAI name="serNum"><Val>PZ0001</Val></DAI>', "", "LPHD1.PhyNam.serNum removed: PZ0001"),
    ],
)
def test_what_any_file_can_have(old: str, new: str, says: str) -> None:
    text = CLEAN.decode()
    assert old in text
    assert says in "\n".join(words(CLEAN, text.replace(old, new).encode()))
    assert words(text.replace(old, new).encode(), CLEAN) != []


def test_other_names_of_devices_are_one_difference_each() -> None:
    """As when an old deployment takes the new names: no data set differs, and no value but references."""
    plan = project(4)
    old = tuple(
        replace(ied, meters=tuple(replace(m, ld_name=f"SM_{m.inst}") for m in ied.meters))
        for ied in plan.ieds
    )
    told = diff(parse(build_scd(replace(plan, ieds=old))), parse(build_scd(plan)))
    names, references = ([one for one in told if ("ClcSrc" in str(one)) == where] for where in (False, True))
    assert (len(names), len(references)) == (8, 16)
    assert str(names[0]) == f"SMGW001: {HOUSE}: MMS name changed from SM_M1000 to SMGW001M1000"


def test_all_is_told_beside_what_is_condensed() -> None:
    plan = project(20)
    newer = replace(plan, tool_version="0.2.0")
    changes = diff(parse(build_scd(plan)), parse(build_scd(newer)))
    assert sum(change.what.startswith("LLN0.NamPlt.swRev") for change in changes) == 42
    assert Change(
        "2 IEDs", "42 logical devices", "LLN0.NamPlt.swRev changed from 0.1.0 to 0.2.0"
    ) in condensed(changes)


@pytest.mark.parametrize("xml", [b"", b"<html/>", b"<SCL", b"\x00", b"<!DOCTYPE SCL><SCL/>"])
def test_what_is_no_scl_is_told(xml: bytes) -> None:
    with pytest.raises(ValueError, match=r"XML|SCL|DOCTYPE"):
        parse(xml)


@pytest.mark.parametrize("name", sorted(path.name for path in FAULTS.glob("*.scd")))
def test_faulty_files_can_be_compared(name: str) -> None:
    xml = (FAULTS / name).read_bytes()
    try:
        doc = parse(xml)
    except ValueError:
        return
    assert diff(doc, parse(xml)) == []
    diff(doc, parse(CLEAN))


LINES = CLEAN.splitlines(keepends=True)


@settings(max_examples=60)
@given(st.lists(st.integers(3, len(LINES) - 2), min_size=1, max_size=3))
def test_no_missing_line_raises(missing: list[int]) -> None:
    xml = b"".join(line for number, line in enumerate(LINES) if number not in missing)
    try:
        doc = parse(xml)
    except ValueError:
        return
    diff(parse(CLEAN), doc)
    diff(doc, parse(CLEAN))
