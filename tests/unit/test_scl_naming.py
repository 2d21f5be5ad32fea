"""A file without ldName: clean, and the same MMS names in it as in the file with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree
from open61850.mms.model import compare
from open61850.scl import SclIed, load_ieds, load_model

from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import ControlModel, Ied, Project
from scl_builder.check.naming import common_name, without_ld_name
from scl_builder.read.cid import read_cid
from tests.unit.test_scl_builder import CONTROL_MODELS, assert_clean, attributes, find, meter, project


@pytest.mark.parametrize("meters", [0, 1, 100])
@pytest.mark.parametrize("control_model", CONTROL_MODELS)
def test_it_is_clean_and_without_ld_name(meters: int, control_model: ControlModel) -> None:
    xml = without_ld_name(build_cid(project(meters, control_model=control_model), "SMGW002"))
    assert_clean(xml)
    assert attributes(xml, "//@ldName") == []
    insts = set(attributes(xml, "//s:LDevice/@inst"))
    assert set(attributes(xml, "//s:FCDA/@ldInst")) <= insts
    assert set(attributes(xml, "//@iedName")) == set(attributes(xml, "//s:IED/@name"))


def test_mms_names_are_the_same(tmp_path: Path) -> None:
    """For an independent reader as for our server: domains, items, data sets, report blocks."""
    cid = build_cid(project(3, instances=2), "SMGW001")
    (tmp_path / "with.cid").write_bytes(cid)
    (tmp_path / "without.cid").write_bytes(without_ld_name(cid))
    ours, theirs = load_model(tmp_path / "with.cid"), load_model(tmp_path / "without.cid")
    assert list(theirs.logical_devices) == list(ours.logical_devices)
    assert compare(ours, theirs) == compare(theirs, ours) == []
    (before,), (after,) = load_ieds(tmp_path / "with.cid"), load_ieds(tmp_path / "without.cid")
    assert blocks(before) == blocks(after)
    assert members(before) == members(after)
    assert (len(blocks(before)), len(members(before))) == (6, 3)
    assert before.addresses == after.addresses
    served, other = read_cid(cid), read_cid(without_ld_name(cid))
    assert [device.domain for device in served.devices] == [device.domain for device in other.devices]
    assert [device.nodes for device in served.devices] == [device.nodes for device in other.devices]
    assert served.endpoint == other.endpoint


def blocks(ied: SclIed) -> list[tuple[str, str]]:
    """MMS names of all report control blocks."""
    return [(block.domain, str(name)) for block in ied.report_controls for name in block.instances()]


def members(ied: SclIed) -> list[tuple[str, list[str]]]:
    """MMS names of all data sets and of their members."""
    return [(str(data_set.object_name), [*map(str, data_set.references())]) for data_set in ied.data_sets]


def test_names_of_an_ied_with_another_beginning() -> None:
    """The bridge's own IEDs begin as meters do; another one has no such name, and says so."""
    ied = Ied("GATE", "192.0.2.1", 102, (meter(1),))
    with pytest.raises(ValueError, match="no IED name that all begin with"):
        without_ld_name(build_cid(Project("p", 1, (ied,)), "GATE"))


@pytest.mark.parametrize(
    ("domains", "name"),
    [
        (["SMGW001GW", "SM_12"], "S"),  # SM would leave _12, which is no inst
        (["AB1", "AB2"], "AB"),
        (["None1", "None2"], "Non"),
        (["A1", "A12"], "A"),
    ],
)
def test_the_longest_name_that_leaves_insts(domains: list[str], name: str) -> None:
    assert common_name(domains) == name
    with pytest.raises(ValueError, match="no IED name"):
        common_name([*domains, "Z"])


def test_a_file_of_several_ieds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 IEDs"):
        without_ld_name(build_scd(project(1)))


def test_a_substation_that_the_file_has_is_renamed_too() -> None:
    xml = without_ld_name(build_scd(project(2, ieds=1)))
    assert_clean(xml)
    assert {node.get("iedName") for node in find(xml, "//s:LNode")} == {"S"}
    assert etree.fromstring(xml) is not None
