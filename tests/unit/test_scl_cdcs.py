"""Each row of the table of common data classes, from the SCD to the nodes of the server."""

from __future__ import annotations

from ctypes import CFUNCTYPE, c_char_p, c_int
from dataclasses import replace

import pytest

from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.node_plan import plans
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Project
from scl_builder.check.checker import check
from scl_builder.model.cdc import SERVED_CDCS, SERVED_MEMBERS, Cdc, ControlModel, FunctionalConstraint
from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import SINGLE_PHASE, Profile
from scl_builder.model.nsd_cdcs import STRUCTS
from scl_builder.model.nsd_enums import ENUMERATIONS
from scl_builder.read import cid as scl
from tests.support.scd import house

BEH = DataObject("Beh", "ENS", "service.beh", enum="BehaviourModeKind")
ROWS = list(SERVED_CDCS.values())


def row_object(row: Cdc) -> DataObject:
    """A data object of the class in which everything is fed that can be."""
    names = [*row.parts, *(value.name for value in row.values if value.name)]
    return DataObject(
        "Any",
        row.name,
        "reading.power" if row.values else "" if row.parts else "scl",
        unit="W" if row.parts or "units" in row.served else None,
        enum="HealthKind" if row.name in ("ENS", "ENC", "ENG") else "",
        parts=tuple((name, "reading.power") for name in names),
    )


def served_object(row: Cdc) -> tuple[bytes, scl.DataObject, scl.NodeType]:
    """The CID with such a data object, and how it is read."""
    # a class of which the checker knows the mandatory data objects only
    node = LogicalNode("MMDC", "1", "MMDC", (BEH, row_object(row)))
    meter = house(1, profile=Profile("any", (node,)))
    xml = build_cid(Project("t", 1, (Ied("SMGW001", "10.0.0.7", 102, (meter,)),)), "SMGW001")
    (found,) = (n for d in scl.read_cid(xml).devices for n in d.nodes if n.name == "MMDC1")
    return xml, found.objects[1], found.type


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_class_is_what_the_standard_says_and_all_that_is_fed_reaches_the_server(row: Cdc) -> None:
    xml, obj, node_type = served_object(row)
    assert check(xml) == []
    names = {attribute.name: attribute.fc.name for attribute in obj.attributes}
    assert names == {name: row.fc(name) for name in names}
    assert row.served <= names.keys()
    assert {part.name: part.cdc for part in obj.parts} == row.parts
    wanted = {fed.name: fed.cdc.btype(fed.value.path) for fed in row_object(row).fed}
    assert {name for name, _, _ in obj.values()} == wanted.keys()
    plan = plans(node_type)[1]
    kinds = {fed.name: "Enum" if wanted[fed.name] == "Enum" else fed.kind.value for fed in plan.fed}
    assert kinds == wanted
    for fed in plan.fed:
        assert [attribute.name for place in fed.places if (attribute := plan.sources[place])] == [
            *next(value.path[-1:] for name, _, value in obj.values() if name == fed.name),
            "q",
            "frTm" if fed.name.endswith("frVal") else "t",
        ]


def test_members_are_those_of_the_standard() -> None:
    for struct, members in SERVED_MEMBERS.items():
        assert set(members.split()) <= {member.name for member in STRUCTS[struct]}


def test_functional_constraints_have_the_numbers_of_the_library() -> None:
    called = CFUNCTYPE(c_char_p, c_int)(("FunctionalConstraint_toString", lib))
    assert {fc.name: called(fc) for fc in FunctionalConstraint} == {
        fc.name: fc.name.encode() for fc in FunctionalConstraint
    }


def test_control_models_have_the_ordinals_of_the_standard() -> None:
    literals = {
        ControlModel.STATUS_ONLY: "status-only",
        ControlModel.DIRECT_NORMAL: "direct-with-normal-security",
        ControlModel.SBO_NORMAL: "sbo-with-normal-security",
        ControlModel.DIRECT_ENHANCED: "direct-with-enhanced-security",
        ControlModel.SBO_ENHANCED: "sbo-with-enhanced-security",
    }
    assert literals == ENUMERATIONS["CtlModelKind"]


@pytest.mark.parametrize(
    ("cdc", "parts"), [("WYE", ("phsD",)), ("MV", ("phsA",)), ("BCR", ("actVal",)), ("XYZ", ())]
)
def test_a_row_with_what_its_class_does_not_have_is_refused(cdc: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="Any: "):
        DataObject("Any", cdc, parts=tuple((name, "reading.power") for name in parts))


def test_a_counter_may_have_one_register_or_both() -> None:
    both = row_object(SERVED_CDCS["BCR"])
    assert [fed.name for fed in both.fed] == ["Any", "Any.frVal"]
    assert [fed.name for fed in replace(both, source="").fed] == ["Any.frVal"]
    assert [fed.name for fed in replace(both, parts=()).fed] == ["Any"]
    assert SINGLE_PHASE.quantities >= {"power", "energy"}
