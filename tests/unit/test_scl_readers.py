"""Independent readers of our files agree with the tables: open61850 and scl_loader."""

from __future__ import annotations

from pathlib import Path

import pytest
from open61850.scl import load_ieds, load_model
from scl_loader.scl_loader import SCD_handler

from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import ControlModel, Ied, Project
from scl_builder.build.templates import attributes
from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import GATEWAY_LD, GROUPS, METER_LD, PROFILES, Profile
from scl_builder.model.reference import Reference
from tests.support.scd import house

LD = "SMGW001M1"
# fmt: off
BELOW = {
    "mag": ("mag.f",),
    "units": ("units.SIUnit", "units.multiplier"),
    "origin": ("origin.orCat", "origin.orIdent"),
}
CONSTRAINTS = {
    "setVal": "SP", "setSrcRef": "SP",
    "mag": "MX", "units": "CF", "pulsQty": "CF", "frEna": "CF", "frPd": "CF", "frRs": "CF", "ctlModel": "CF",
    "sboTimeout": "CF", "sboClass": "CF",
    "operTimeout": "CF", "vendor": "DC", "swRev": "DC", "serNum": "DC", "model": "DC", "location": "DC",
    "mRID": "DC", "d": "DC", "dU": "DC", "configRev": "DC", "ldNs": "EX",
}
OPER = ("", ".ctlVal", ".origin", ".origin.orCat", ".origin.orIdent", ".ctlNum", ".T", ".Test")
CONTROL: dict[ControlModel, tuple[str, tuple[str, ...]]] = {
    "direct-with-normal-security": ("origin ctlNum", (*("Oper" + m for m in (*OPER, ".Check")),)),
    "sbo-with-enhanced-security": (
        "origin ctlNum stSeld sboTimeout sboClass operTimeout",
        (*("Oper" + m for m in (*OPER, ".Check")), *("SBOw" + m for m in (*OPER, ".Check")),
         *("Cancel" + m for m in OPER)),
    ),
}
# fmt: on
"""The same facts as in the package's tables, written down once more by hand."""

HOUSEHOLD_GROUPS = [group for group in GROUPS if group.data_set not in ("dsVAr", "dsSupWh", "dsDmdWh")]
"""Those with a member of a meter with one phase and one direction."""


def items(node: LogicalNode, model: ControlModel) -> set[str]:
    """MMS items that a client finds below ``node``, from the table and the lists above."""
    found: set[str] = set()
    for do in node.objects:
        for path, fc in leaves(do, model):
            for depth in range(len(path) + 1):
                found.add(Reference("L", "N", path[:depth], fc).mms[1].removeprefix("N$"))
    return found


def leaves(do: DataObject, model: ControlModel) -> list[tuple[tuple[str, ...], str]]:
    """(path, functional constraint) of every attribute of ``do``."""
    names = [attribute.name for attribute in attributes(do, "status-only")]
    control = CONTROL[model if do.control == "project" else do.control] if do.control else ("", ())
    measured = "MX" if do.cdc == "MV" else "ST"
    rows = [
        (path, CONSTRAINTS.get(name, measured))
        for name in (*names, *control[0].split())
        for path in (name, *BELOW.get(name, ()))
    ]
    rows += [(path, "CO") for path in control[1]]
    return [((do.name, *path.split(".")), fc) for path, fc in rows]


def project(model: ControlModel, *, instances: int) -> Project:
    """Two IEDs, one with a meter."""
    ieds = (
        Ied("SMGW001", "192.0.2.1", 102, (house(1, name="House", serial="S1", vendor="V"),)),
        Ied("SMGW002", "192.0.2.2", 1102, ()),
    )
    return Project("town", 1, ieds, control_model=model, report_instances=instances)


@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize("model", CONTROL)
def test_open61850_reads_the_model_of_the_tables(tmp_path: Path, model: ControlModel, instances: int) -> None:
    plan = project(model, instances=instances)
    (tmp_path / "town.scd").write_bytes(build_scd(plan))
    (tmp_path / "one.cid").write_bytes(build_cid(plan, "SMGW001"))
    reports = {
        f"{fc}{name}"
        for group in HOUSEHOLD_GROUPS
        for fc in ["BR" if group.buffered else "RP"]
        for name in ("", *(f"${group.report}{k:02d}" for k in range(1, instances + 1)))
    }
    for served in (load_model(tmp_path / "town.scd", "SMGW001"), load_model(tmp_path / "one.cid")):
        assert list(served.logical_devices) == [LD, "SMGW001GW"]
        for domain, table in (("SMGW001GW", GATEWAY_LD), (LD, METER_LD)):
            nodes = served.logical_devices[domain].logical_nodes
            assert list(nodes) == [node.name for node in table]
            for node in table:
                extra = reports if (domain, node.name) == ("SMGW001GW", "LLN0") else set()
                assert set(nodes[node.name].items) == items(node, model) | extra
        groups = served.logical_devices["SMGW001GW"].logical_nodes["LLN0"].data_sets
        assert groups == [group.data_set for group in HOUSEHOLD_GROUPS]


def test_open61850_reads_addresses_data_sets_and_reports(tmp_path: Path) -> None:
    (tmp_path / "town.scd").write_bytes(build_scd(project("direct-with-normal-security", instances=2)))
    first, second = load_ieds(tmp_path / "town.scd")
    assert (first.name, first.addresses, second.addresses) == ("SMGW001", ["192.0.2.1"], ["192.0.2.2"])
    assert {
        (block.name, block.buffered, block.max_instances, block.indexed) for block in first.report_controls
    } == {(group.report, group.buffered, 2, True) for group in HOUSEHOLD_GROUPS}
    assert {block.domain for block in first.report_controls} == {"SMGW001GW"}
    members = {str(ref) for data_set in first.data_sets for ref in data_set.references()}
    assert {one for one in members if one.startswith(LD)} == {
        f"{LD}/{name}"
        for name in (
            "MMXN1.Vol [MX]", "MMXN1.Amp [MX]", "MMXN1.Watt [MX]", "MMXN1.PwrFact [MX]", "MMTN1.TotWh [ST]",
            "XSWI1.Pos [ST]", "LPHD1.PhyHealth [ST]", "LLN0.Beh [ST]",
        )
    }  # fmt: skip
    assert "SMGW001GW/LTMS1.TmSyn [ST]" in members
    assert second.report_controls == []


@pytest.mark.parametrize("model", CONTROL)
def test_scl_loader_reads_the_types_of_the_tables(tmp_path: Path, model: ControlModel) -> None:
    plan = project(model, instances=1)
    for name, xml in (("town.scd", build_scd(plan)), ("one.cid", build_cid(plan, "SMGW001"))):
        (tmp_path / name).write_bytes(xml)
        ied = SCD_handler(str(tmp_path / name)).get_IED_by_name("SMGW001")
        device = ied.get_children_LDs("AP1")[0]
        assert device.inst == "M1"
        for node in METER_LD:
            loaded = device.get_LN_by_name(node.name)
            cdcs = {do.name: do.cdc for do in loaded.get_DO_nodes().values()}
            assert cdcs == {do.name: do.cdc for do in node.objects}


def test_scl_loader_reads_values(tmp_path: Path) -> None:
    (tmp_path / "one.cid").write_bytes(
        build_cid(project("sbo-with-enhanced-security", instances=1), "SMGW001")
    )
    handler = SCD_handler(str(tmp_path / "one.cid"))
    device = handler.get_IED_by_name("SMGW001").get_children_LDs("AP1")[0]
    plate = device.get_LN_by_name("LPHD1").PhyNam
    assert (plate.serNum.Val, plate.vendor.Val) == ("S1", "V")
    assert device.get_LN_by_name("XSWI1").SwTyp.stVal.Val == "Load Break"
    assert handler.get_IP_Adr("SMGW001")[0] == "192.0.2.1"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_both_read_the_meters_of_each_profile(tmp_path: Path, profile: Profile) -> None:
    meter = house(1, name="House", profile=profile)
    file = tmp_path / "one.cid"
    file.write_bytes(build_cid(Project("town", 1, (Ied("SMGW001", "192.0.2.1", 102, (meter,)),)), "SMGW001"))
    nodes = load_model(file).logical_devices[LD].logical_nodes
    device = SCD_handler(str(file)).get_IED_by_name("SMGW001").get_children_LDs("AP1")[0]
    assert list(nodes) == [node.name for node in profile.nodes]
    for node in profile.nodes:
        wanted = {do.name for do in node.objects}
        assert {item.split("$")[1] for item in nodes[node.name].items if item.count("$") == 1} == wanted
        loaded = device.get_LN_by_name(node.name).get_DO_nodes().values()
        assert {do.name: do.cdc for do in loaded} == {do.name: do.cdc for do in node.objects}
