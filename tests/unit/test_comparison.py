"""The comparison of a file with a server: what the file says, and what counts as a difference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from admin.mms.comparison import Block, Devices, Node, differences
from admin.mms.scl_model import read_scl
from broker.contract.errors import ConfigurationError
from scl_builder.build.builder import build_scd
from scl_builder.build.project import Ied, Project
from scl_builder.model.logical_devices import MAX_ASSOCIATIONS
from tests.support.scd import house

METER = house(1, name="House 1")
SCD = build_scd(Project("town", 3, (Ied("A1", "10.0.0.5", 102, (METER,)), Ied("A2", "10.0.0.6", 10102, ()))))


@pytest.fixture
def file() -> Devices:
    """The first IED of the file."""
    return read_scl(SCD).devices("A1")


def said(file: Devices, server: Devices) -> list[str]:
    return [str(found) for found in differences(file, server)]


def changed(devices: Devices, domain: str, name: str, node: Node) -> Devices:
    """``devices`` with one node exchanged."""
    return {**devices, domain: {**devices[domain], name: node}}


def test_addresses_and_limits_of_every_ied() -> None:
    scl = read_scl(SCD)
    assert scl.names == ["A1", "A2"]
    assert scl.endpoints == {"A1": [("10.0.0.5", 102)], "A2": [("10.0.0.6", 10102)]}
    assert scl.associations("A1") == MAX_ASSOCIATIONS
    assert scl.domains("A1") == {"A1GW", "A1M1"}


def test_values_are_what_a_client_reads(file: Devices) -> None:
    values = file["A1M1"]["MMXN1"].values
    assert values["CF", "Vol", "units", "SIUnit"] == 29  # V
    assert file["A1M1"]["LPHD1"].values["ST", "Proxy", "stVal"] is True
    assert file["A1M1"]["CSWI1"].values["CF", "Pos", "sboTimeout"] == 30_000
    assert "House 1" in str(file["A1M1"]["LLN0"].values["DC", "NamPlt", "d"])


def test_nothing_that_selects_is_read(file: Devices) -> None:
    """A server takes a read of SBO as a select: no path with CO may be asked for."""
    nodes = [node for nodes in file.values() for node in nodes.values()]
    assert any(path[0] == "CO" for node in nodes for path in node.types)
    assert not any(path[0] == "CO" for node in nodes for path in (*node.values, *node.literals))


def test_same_is_no_difference(file: Devices) -> None:
    assert said(file, file) == []


def test_what_only_the_server_has_is_a_difference(file: Devices) -> None:
    node = file["A1M1"]["MMXN1"]
    more = replace(node, types={**node.types, ("MX", "Hz", "db"): "unsigned32"}, data_sets={"dsX": ()})
    found = said(file, changed({**file, "EXTRA": {}}, "A1M1", "MMXN1", more))
    assert found == [
        "logical device EXTRA: nothing in the file, EXTRA on the server",
        "attribute A1M1/MMXN1.Hz.db [MX]: nothing in the file, unsigned32 on the server",
        "data set A1M1/MMXN1.dsX: nothing in the file, 0 members on the server",
    ]


def test_a_literal_is_told_and_not_its_ordinal(file: Devices) -> None:
    node = file["A1M1"]["CSWI1"]
    other = replace(node, values={**node.values, ("CF", "Pos", "ctlModel"): 1})
    assert said(file, changed(file, "A1M1", "CSWI1", other)) == [
        "control model A1M1/CSWI1.Pos.ctlModel [CF]: sbo-with-enhanced-security in the file, "
        "direct-with-normal-security on the server"
    ]


def test_order_of_members_matters() -> None:
    file = {"LD": {"LLN0": Node(data_sets={"ds": ("a", "b")})}}
    assert len(said(file, {"LD": {"LLN0": Node(data_sets={"ds": ("b", "a")})}})) == 2
    assert said(file, {"LD": {"LLN0": Node(data_sets={"ds": ("a",)})}}) == [
        "data set member LD/LLN0.ds(2): b in the file, nothing on the server"
    ]


def test_a_block_that_a_client_has_is_left_out() -> None:
    file = {"LD": {"LLN0": Node(blocks={"urcb01 [RP]": Block({"TrgOps": "data-change"})})}}
    for in_use, count in ((True, 0), (False, 1)):
        other = Block({"TrgOps": "integrity"}, in_use=in_use)
        assert len(said(file, {"LD": {"LLN0": Node(blocks={"urcb01 [RP]": other})}})) == count


@pytest.mark.parametrize(
    "xml", [b"", b"<SCL", b"<html/>", b'<SCL xmlns="http://www.iec.ch/61850/2003/SCL"/>']
)
def test_what_is_no_scl_is_refused(xml: bytes) -> None:
    with pytest.raises(ConfigurationError):
        read_scl(xml)
