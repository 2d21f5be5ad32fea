"""The clients of the report control blocks: clean by schema and checker, in the SCD and in no CID."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree
from open61850.scl import load_ieds

from admin.mms.scl_model import read_scl
from bridge.settings import BridgeSettings
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import Project
from scl_builder.check.checker import Finding, check
from scl_builder.check.diff import diff
from scl_builder.check.outline import parse
from scl_builder.read.findings import Severity
from tests.unit.test_scl_builder import assert_clean, attributes, find, project

CLIENTS = ("ControlCentre", "Backup")


def plan() -> Project:
    """Two IEDs with two meters each, three instances, two clients."""
    return replace(project(2, instances=3), clients=CLIENTS)


def test_each_block_names_the_clients_in_their_order() -> None:
    scd = build_scd(plan())
    assert_clean(scd)
    enabled = find(scd, "//s:RptEnabled")
    assert len(enabled) == len(find(scd, "//s:ReportControl")) > 0
    for element in enabled:
        assert element.get("max") == "3", "the third instance is for anyone"
        assert [dict(client.attrib) for client in element] == [
            {"iedName": name, "apRef": "AP1", "ldInst": "LD0", "lnClass": "IHMI", "lnInst": "1"}
            for name in CLIENTS
        ]


def test_a_client_is_an_ied_without_a_server() -> None:
    scd = build_scd(plan())
    assert attributes(scd, "//s:IED[not(.//s:Server)]/@name") == [*CLIENTS]
    assert attributes(scd, "//s:IED[@type='Client']/s:AccessPoint/s:LN/@lnClass") == ["IHMI", "IHMI"]
    assert read_scl(scd).names == ["SMGW001", "SMGW002"], "`mms compare --all` asks only those that serve"


def test_no_cid_changes_and_without_clients_nothing_does() -> None:
    assert build_cid(plan(), "SMGW001") == build_cid(replace(plan(), clients=()), "SMGW001")
    assert b"Client" not in build_scd(replace(plan(), clients=()))
    assert build_scd(plan()) == build_scd(plan()), "a CID in between changes no SCD"
    assert_clean(build_scd(replace(plan(), ieds=())))


def test_another_reader_finds_the_servers(tmp_path: Path) -> None:
    file = tmp_path / "town.scd"
    file.write_bytes(build_scd(plan()))
    names = [ied.name for ied in load_ieds(file)]
    assert [name for name in names if name not in CLIENTS] == ["SMGW001", "SMGW002"]


@pytest.mark.parametrize(
    ("clients", "says"),
    [
        (("A", "B", "C", "D"), "4 clients, and 3 report instances"),
        (("A", "A"), "IED name 'A' occurs twice"),
        (("SMGW001",), "IED name 'SMGW001' occurs twice"),
        (("None",), "IED name 'None'"),
        (("Control centre",), "IED name 'Control centre': letters, digits"),
    ],
)
def test_impossible_clients_are_refused(clients: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(plan(), clients=clients)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A,B,C", "report_clients: 3 clients, and 2 report instances"),
        ("SMGW007", "report_clients: SMGW007: names that begin with SMGW"),
        ("a b", "report_clients: IED name 'a b'"),
    ],
)
def test_an_impossible_setting_names_itself(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BridgeSettings(report_clients=text)


def test_the_setting_is_a_list_with_commas() -> None:
    assert BridgeSettings(report_clients=" ControlCentre, Backup,").clients == CLIENTS
    assert BridgeSettings().clients == ()


def changed(old: str, new: str) -> list[Finding]:
    """Findings of the SCD with every ``old`` replaced."""
    text = build_scd(plan()).decode()
    assert old in text
    return check(text.replace(old, new).encode())


def test_what_a_client_ln_names_must_be_there() -> None:
    for old, new, rule in (
        ('lnClass="IHMI" lnInst="1"/>', 'lnClass="ITCI" lnInst="1"/>', "client-ln"),
        ('max="3">', 'max="1">', "rpt-enabled"),
    ):
        found = changed(old, new)
        assert {(finding.rule, finding.severity) for finding in found} == {(rule, Severity.ERROR)}


def test_a_file_without_the_clients_ieds_is_allowed() -> None:
    """As a CID is, whose IED configurator keeps what the SCD says."""
    root = etree.fromstring(build_scd(plan()))
    for ied in root.xpath("s:IED[@type='Client']", namespaces={"s": root.nsmap[None]}):
        root.remove(ied)
    found = check(etree.tostring(root))
    assert {(finding.rule, finding.severity) for finding in found} == {("client-ln", Severity.HINT)}


def test_any_ld_inst_names_a_node_of_the_access_point() -> None:
    """Releases before 2007B4 do not say which."""
    assert changed('ldInst="LD0"', 'ldInst="none"') == []


def test_the_difference_is_told() -> None:
    before, after = (parse(build_scd(each)) for each in (replace(plan(), clients=()), plan()))
    told = "\n".join(map(str, diff(before, after)))
    assert "ControlCentre: IED added, no address" in told
    assert "report control urcbVol clients added: ControlCentre Backup" in told
