"""The sixteen rules that SCL files break, each looked up in our own file without the checker's help.

The rules are those of the design's IEC 61850 page; the numbers are theirs.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from lxml import etree

from scl_builder.build.builder import build_scd
from scl_builder.model import logical_devices
from scl_builder.model.nsd_enums import ENUMERATIONS
from tests.unit.test_scl_builder import NS, SCL, attributes, find, project

XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


@pytest.fixture(scope="module")
def scd() -> bytes:
    """Two IEDs with two meters each, two report instances."""
    return build_scd(project(2, instances=2))


def order(xml: bytes, path: str) -> list[str]:
    """Names of an element's children, repetitions folded."""
    names = [etree.QName(child).localname for child in find(xml, path)[0] if isinstance(child.tag, str)]
    return names[:1] + [name for last, name in pairwise(names) if name != last]


def test_rule_1_order_of_sections(scd: bytes) -> None:
    assert order(scd, "/s:SCL") == ["Header", "Substation", "Communication", "IED", "DataTypeTemplates"]
    assert order(scd, "//s:IED") == ["Services", "AccessPoint"]
    assert order(scd, "//s:Server") == ["Authentication", "LDevice"]
    assert order(scd, "//s:DataTypeTemplates") == ["LNodeType", "DOType", "DAType", "EnumType"]


def test_rule_2_names(scd: bytes) -> None:
    names = attributes(scd, "//s:IED/@name | //s:LDevice/@inst")
    assert len(names) == 8
    assert all(name.replace("_", "").isalnum() and name[0].isalpha() and len(name) <= 64 for name in names)
    assert set(attributes(scd, "//s:Services/@nameLength")) == {"64"}


def test_rule_3_one_lln0_first(scd: bytes) -> None:
    for device in find(scd, "//s:LDevice"):
        children = [etree.QName(child).localname for child in device if child.tag != f"{SCL}Private"]
        assert children[0] == "LN0"
        assert children.count("LN0") == 1
        assert device.findall(f"{SCL}LN[@lnClass='LLN0']") == []


def test_rule_4_types_have_the_class_of_their_nodes(scd: bytes) -> None:
    classes = {(e.get("id"), e.get("lnClass")) for e in find(scd, "//s:LNodeType")}
    assert {(e.get("lnType"), e.get("lnClass")) for e in find(scd, "//s:LN0 | //s:LN")} <= classes


def test_rule_5_name_space(scd: bytes) -> None:
    types = attributes(scd, "//s:LNodeType[@lnClass='LLN0']/s:DO[@name='NamPlt']/@type")
    for type_id in types:
        value = attributes(scd, f"//s:DOType[@id='{type_id}']/s:DA[@name='ldNs']/s:Val/text()")
        assert value == ["IEC 61850-7-4:2007B"]


def test_rule_6_control_has_its_services(scd: bytes) -> None:
    rows = attributes(scd, "//s:DOType[@id='DPC_control']/s:DA/@name")
    assert rows == ["origin", "ctlNum", "stVal", "q", "t", "stSeld", "ctlModel", "sboTimeout", "sboClass",
                    "operTimeout", "SBOw", "Oper", "Cancel"]  # fmt: skip
    assert attributes(scd, "//s:DOType[@id='DPC']/s:DA/@name") == ["stVal", "q", "t", "ctlModel"]
    rows = attributes(scd, "//s:DOType[@id='SPC_direct']/s:DA/@name")
    assert rows == ["origin", "ctlNum", "stVal", "q", "t", "ctlModel", "Oper"]
    members = attributes(scd, "//s:DAType[@id='Oper_DPC']/s:BDA/@name")
    assert members == ["ctlVal", "origin", "ctlNum", "T", "Test", "Check"]


def test_rule_7_enumerations_are_the_standards(scd: bytes) -> None:
    kinds = find(scd, "//s:EnumType")
    assert len(kinds) == 13
    for kind in kinds:
        literals = {int(val.get("ord", "")): val.text or "" for val in kind}
        assert literals == ENUMERATIONS[kind.get("id", "")]


def test_rule_8_members_of_data_sets(scd: bytes) -> None:
    device = find(scd, "//s:LDevice[@inst='GW']")[0]
    rows = [
        (
            fcda.get("ldInst"),
            f"{fcda.get('lnClass')}{fcda.get('lnInst', '')}.{fcda.get('doName')}",
            fcda.get("fc"),
        )
        for fcda in device.iter(f"{SCL}FCDA")
    ]
    members = {
        "MX": ("MMXN1.Vol", "MMXN1.Amp", "MMXN1.Watt", "MMXN1.PwrFact"),
        "ST": ("MMTN1.TotWh", "XSWI1.Pos", "LPHD1.PhyHealth", "LLN0.Beh"),
    }
    of_meters = [
        (inst, name, fc) for fc, names in members.items() for name in names for inst in ("M1000", "M1001")
    ]
    assert rows[: len(of_meters)] == of_meters
    assert {(inst, fc) for inst, _, fc in rows[len(of_meters) :]} == {("GW", "ST")}
    assert find(scd, "//s:LDevice[@inst!='GW']//s:DataSet") == []


def test_rules_9_and_10_report_blocks(scd: bytes) -> None:
    blocks = find(scd, "//s:IED[1]//s:ReportControl")
    rows = {
        (b.get("name"), b.get("datSet"), b.get("buffered", "false"), b.get("confRev"), b.get("indexed"))
        for b in blocks
    }
    assert rows == {
        *(
            (f"urcb{name}", f"ds{name}", "false", "2", "true")
            for name in ("Vol", "Amp", "Watt", "PF", "TotWh")
        ),
        *((f"brcb{name}", f"ds{name}", "true", "2", "true") for name in ("Pos", "Health", "Beh", "Gw")),
    }
    assert set(attributes(scd, "//s:RptEnabled/@max")) == {"2"}
    for block in blocks:
        triggers, fields = block[0].attrib, block[1].attrib
        assert dict(triggers) == {"dchg": "true", "qchg": "true", "period": "true"}
        assert {"seqNum", "timeStamp", "dataSet", "reasonCode"} <= set(fields)
        assert ({"entryID", "configRef"} <= set(fields)) == (block.get("buffered") == "true")
        assert "bufOvfl" not in fields  # true by default, as gi


def test_rule_11_services(scd: bytes) -> None:
    services = find(scd, "//s:IED[1]/s:Services")[0]
    offered = [etree.QName(child).localname for child in services]
    assert offered == ["DynAssociation", "GetDirectory", "GetDataObjectDefinition", "DataObjectDirectory",
                       "GetDataSetValue", "DataSetDirectory", "ConfDataSet", "DynDataSet", "ReadWrite",
                       "ConfReportControl", "GetCBValues", "ReportSettings"]  # fmt: skip
    assert attributes(scd, "//s:IED[1]//s:ConfReportControl/@max") == ["24"]
    assert attributes(scd, "//s:IED[1]//s:ConfDataSet/@max") == ["12"]
    assert attributes(scd, "//s:IED[1]//s:DynDataSet/@max") == ["10"]


def test_rule_12_typed_addresses(scd: bytes) -> None:
    point = find(scd, "//s:ConnectedAP[@iedName='SMGW001'][@apName='AP1']/s:Address")[0]
    rows = {row.get("type"): row.text for row in point}
    assert rows == {"IP": "192.0.2.10", "IP-SUBNET": "255.255.255.0", "OSI-TSEL": "0001", "OSI-SSEL": "0001",
                    "OSI-PSEL": "00000001", "MMS-Port": "103"}  # fmt: skip
    assert all(row.get(f"{XSI}type") == f"tP_{row.get('type')}" for row in point)
    assert attributes(scd, "//s:SubNetwork/@type") == ["8-MMS"]


def test_rule_13_header_and_version(scd: bytes) -> None:
    (root,) = find(scd, "/s:SCL")
    assert (root.get("version"), root.get("revision"), root.get("release")) == ("2007", "B", "4")
    assert root.get(f"{XSI}schemaLocation", "").startswith(NS["s"])
    header = root[0]
    assert (header.get("id"), header.get("revision")) == ("town", "3")
    assert attributes(scd, "//s:Hitem/@what") == ["2 meters more"]


def test_rule_14_switches_of_the_substation(scd: bytes) -> None:
    assert attributes(scd, "//s:Substation/@name") == ["SMGW001_Site", "SMGW002_Site"]
    assert attributes(scd, "//s:Bay/@name") == ["Bay_12345"] * 2
    nodes = [(e.get("iedName"), e.get("ldInst"), e.get("lnClass")) for e in find(scd, "//s:LNode")]
    devices = attributes(scd, "//s:IED[@name='SMGW001']//s:LDevice[@inst!='GW']/@inst")
    assert [node for node in nodes if node[0] == "SMGW001"] == [("SMGW001", i, "XSWI") for i in devices]


def test_rule_15_gateway_last_and_without_ld_name(scd: bytes) -> None:
    devices = find(scd, "//s:IED[1]//s:LDevice")
    assert [(device.get("inst"), device.get("ldName"), device.get("desc")) for device in devices] == [
        ("M1000", None, "House 1000"),
        ("M1001", None, "House 1001"),
        ("GW", None, None),
    ]


def test_rule_16_line_ends_and_encoding(scd: bytes) -> None:
    assert scd.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    assert b"\r" not in scd
    assert scd.endswith(b"</SCL>\n")


def test_values_of_a_meter(scd: bytes) -> None:
    path = "//s:LDevice[@inst!='GW'][1]//s:DOI[@name='{}']/s:DAI"
    plate = {row.get("name"): row[0].text for row in find(scd, path.format("PhyNam"))[:5]}
    assert plate == {"vendor": "Peacefair", "swRev": "0.1.0", "serNum": "PZ001000", "model": "PZEM-004T v3",
                     "location": "Main Street 1000, 12345"}  # fmt: skip
    assert find(scd, path.format("NamPlt"))[0][0].text == "House 1000"


def test_units_are_fixed_in_the_types(scd: bytes) -> None:
    for do in (do for node in logical_devices.METER_LD for do in node.objects if do.unit is not None):
        type_id = attributes(scd, f"//s:DO[@name='{do.name}']/@type")[0]
        units = attributes(scd, f"//s:DOType[@id='{type_id}']/s:DA[@name='units']/@type")[0]
        value = find(scd, f"//s:DAType[@id='{units}']/s:BDA[@name='SIUnit']/s:Val")[0].text or ""
        assert value == do.unit
        assert value in ENUMERATIONS["SIUnitKind"].values()
