"""What is served is what the file says: discovered by an independent client, compared both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from open61850 import scl
from open61850.mms import MmsClient, ObjectName, discover
from open61850.mms.model import ServerModel, compare
from open61850.mms.types import PrimitiveType

from scl_builder.project import ControlModel
from tests.brokers import Broker
from tests.mms import scene

NS = "{http://www.iec.ch/61850/2003/SCL}"

# bType -> MMS type of IEC 61850-8-1 (kind, size; negative is variable)
MMS_TYPES = {
    "BOOLEAN": ("boolean", None),
    "INT8U": ("unsigned", 8),
    "INT32U": ("unsigned", 32),
    "INT8": ("integer", 8),
    "INT32": ("integer", 32),
    "INT64": ("integer", 64),
    "FLOAT32": ("float", 32),
    "Enum": ("integer", 8),
    "Dbpos": ("bit-string", 2),
    "Check": ("bit-string", -2),
    "Quality": ("bit-string", -13),
    "Timestamp": ("utc-time", None),
    "VisString64": ("visible-string", -64),
    "VisString255": ("visible-string", -255),
    "Unicode255": ("mms-string", -255),
    "Octet64": ("octet-string", -64),
}


@pytest.mark.parametrize("control_model", ["sbo-with-enhanced-security", "direct-with-normal-security"])
async def test_discovered_model_is_the_cid(
    broker: Broker, tmp_path: Path, control_model: ControlModel
) -> None:
    async with scene(broker, control_model=control_model) as running:
        for number in range(3):
            await running.add_meter(number)
        path = tmp_path / "served.cid"
        path.write_bytes(await running.publish_cid())
        with await running.associate() as client:
            served = await asyncio.to_thread(discover, client, types=True)
            expected = scl.load_model(path)
            assert compare(expected, served) == []
            assert compare(served, expected) == []
            assert type_differences(path, served) == []
            assert await asyncio.to_thread(block_differences, path, client) == []


def type_differences(path: Path, served: ServerModel) -> list[str]:
    """Attributes whose served MMS type is not that of their bType."""
    root = ElementTree.parse(path).getroot()
    templates = {(e.tag, e.get("id")): e for e in root.iterfind(f"{NS}DataTypeTemplates/*")}
    expected, found = {}, {}
    ied = scl.load_ieds(path)[0]
    for ld in root.iter(f"{NS}LDevice"):
        domain = ied.domain(ld.attrib["inst"])
        for ln in (*ld.iterfind(f"{NS}LN0"), *ld.iterfind(f"{NS}LN")):
            name = ln.attrib["lnClass"] + ln.attrib["inst"]
            for do in templates[f"{NS}LNodeType", ln.attrib["lnType"]].iterfind(f"{NS}DO"):
                for fc, attribute, b_type in attributes(templates, do):
                    expected[f"{domain}/{name}.{do.attrib['name']}.{attribute} [{fc}]"] = MMS_TYPES[b_type]
    for node in served.logical_nodes():
        for reference in node.references():
            leaf = node.type_of(reference)
            assert isinstance(leaf, PrimitiveType), reference
            found[str(reference)] = (leaf.kind, leaf.size)
    return sorted(
        f"{r}: {expected.get(r)} != {found.get(r)}"
        for r in expected.keys() | found.keys()
        if expected.get(r) != found.get(r)
    )


def attributes(
    templates: dict[tuple[str, str | None], ElementTree.Element], do: ElementTree.Element
) -> Iterator[tuple[str, str, str]]:
    """FC, dotted name and bType of every leaf of a data object."""

    def walk(element: ElementTree.Element, fc: str, name: str) -> Iterator[tuple[str, str, str]]:
        if element.attrib["bType"] != "Struct":
            yield fc, name, element.attrib["bType"]
            return
        for bda in templates[f"{NS}DAType", element.attrib["type"]].iterfind(f"{NS}BDA"):
            yield from walk(bda, fc, f"{name}.{bda.attrib['name']}")

    for da in templates[f"{NS}DOType", do.attrib["type"]].iterfind(f"{NS}DA"):
        yield from walk(da, da.attrib["fc"], da.attrib["name"])


def block_differences(path: Path, client: MmsClient) -> list[str]:
    """Data sets whose members, and report blocks whose data set or revision, are not the file's."""
    differences = []
    ied = scl.load_ieds(path)[0]
    for data_set in ied.data_sets:
        expected = [reference.object_name for reference in data_set.references()]
        if (members := client.get_data_set_members(data_set.object_name)) != expected:
            differences.append(f"{data_set.object_name}: {members}")
    revisions = {
        rc.attrib["name"]: int(rc.attrib["confRev"])
        for rc in ElementTree.parse(path).getroot().iter(f"{NS}ReportControl")
    }
    for block in ied.report_controls:
        for instance in block.instances():
            told = [
                getattr(client.read(ObjectName(f"{instance.item}${name}", instance.domain)), "value", None)
                for name in ("DatSet", "ConfRev", "RptEna")
            ]
            if told != [block.data_set_reference, revisions[block.name], False]:
                differences.append(f"{instance}: {told}")
    return differences


async def test_types_are_compared_at_all(broker: Broker, tmp_path: Path) -> None:
    """The comparison above must see a wrong type: here the file is changed after it was served."""
    async with scene(broker) as running:
        await running.add_meter(1)
        path = tmp_path / "other.cid"
        cid = await running.publish_cid()
        path.write_bytes(cid.replace(b'bType="FLOAT32"', b'bType="INT32"'))
        with await running.associate() as client:
            served = await asyncio.to_thread(discover, client, types=True)
        found = type_differences(path, served)
        assert any("MMXN1.Vol.mag.f [MX]: ('integer', 32) != ('float', 32)" in line for line in found)
