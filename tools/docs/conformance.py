"""docs/conformance.md, written from the code: PICS (which services), MICS (which model), PIXIT (how exactly).

The shape follows the templates of IEC 61850-7-2, 8-1 and 10. A CID is built as the bridge builds it, and what
stands in it is told; numbers come from the constants that the server runs with. Nothing is typed twice.

>>> conformance_markdown().splitlines()[0]
'# Conformance statement'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import get_args

from lxml import etree

from bridge.settings import BridgeSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import ControlModel, Ied, Meter, Project
from scl_builder.model.logical_devices import PROFILES
from scl_builder.read.cid import read_cid
from tools.docs.conformance_model import model_markdown
from tools.docs.conformance_pixit import pixit_markdown
from tools.docs.conformance_stacks import stacks_markdown
from tools.docs.conformance_tests import tests_markdown

NS = "{http://www.iec.ch/61850/2003/SCL}"
EXAMPLE = "SMGW001"

_HEAD = """\
# Conformance statement

`make docs` generates this file from the code: change it there. The model here is the one that the builder
writes into a CID with a meter of each profile. The server is built from the CID; `meter61850 mms compare`
shows that both are equal. [scada.md](scada.md) describes the use.

| | |
|---|---|
"""


@dataclass(frozen=True)
class Offer:
    """One ACSI service and what shows that it is offered."""

    group: str
    service: str
    mms: str
    evidence: str
    """``yes``, ``no``, ``services/ELEMENT`` of the file, ``co/ATTRIBUTE`` of a control, ``file/SERVICE``."""


# fmt: off
OFFERS: tuple[Offer, ...] = (
    Offer("Association", "Associate, Release, Abort", "Initiate, Conclude, Abort", "yes"),
    Offer("Server", "GetServerDirectory (logical devices)", "GetNameList", "services/GetDirectory"),
    Offer("Logical device", "GetLogicalDeviceDirectory", "GetNameList", "services/GetDirectory"),
    Offer("Logical node", "GetLogicalNodeDirectory", "GetNameList", "services/GetDirectory"),
    Offer("Logical node", "GetAllDataValues", "Read", "services/ReadWrite"),
    Offer("Data", "GetDataValues", "Read", "services/ReadWrite"),
    Offer("Data", "SetDataValues", "Write", "no"),
    Offer("Data", "GetDataDirectory", "GetVariableAccessAttributes", "services/DataObjectDirectory"),
    Offer("Data", "GetDataDefinition", "GetVariableAccessAttributes", "services/GetDataObjectDefinition"),
    Offer("Data set", "GetDataSetValues", "Read", "services/GetDataSetValue"),
    Offer("Data set", "SetDataSetValues", "Write", "services/SetDataSetValue"),
    Offer("Data set", "CreateDataSet, DeleteDataSet",
          "Define/DeleteNamedVariableList", "services/DynDataSet"),
    Offer("Data set", "GetDataSetDirectory", "GetNamedVariableListAttributes", "services/DataSetDirectory"),
    Offer("Substitution", "SetDataValues with FC SV", "Write", "no"),
    Offer("Setting group", "SelectActiveSG and the others", "Write, Read", "services/SettingGroups"),
    Offer("Reporting", "Report (URCB and BRCB)", "InformationReport", "services/ConfReportControl"),
    Offer("Reporting", "GetURCBValues, GetBRCBValues", "Read", "services/GetCBValues"),
    Offer("Reporting", "SetURCBValues, SetBRCBValues", "Write", "services/ReportSettings"),
    Offer("Logging", "QueryLogByTime, QueryLogAfter", "ReadJournal", "services/ConfLogControl"),
    Offer("GOOSE", "SendGOOSEMessage, GetGoCBValues, SetGoCBValues", "–", "services/GOOSE"),
    Offer("Sampled values", "SendMSVMessage, SendUSVMessage", "–", "services/SMVsc"),
    Offer("Control", "Select", "Read of SBO", "co/SBO"),
    Offer("Control", "SelectWithValue", "Write of SBOw", "co/SBOw"),
    Offer("Control", "Cancel", "Write of Cancel", "co/Cancel"),
    Offer("Control", "Operate", "Write of Oper", "co/Oper"),
    Offer("Control", "CommandTermination", "InformationReport", "co/SBOw"),
    Offer("Control", "TimeActivatedOperate", "Write of Oper with operTm", "co/operTm"),
    Offer("File", "GetFile", "FileOpen, FileRead, FileClose", "no"),
    Offer("File", "GetFileAttributeValues, GetServerDirectory", "FileDirectory", "no"),
    Offer("File", "SetFile", "ObtainFile", "no"),
    Offer("File", "DeleteFile", "FileDelete", "no"),
    Offer("Time", "TimeSynchronization", "SNTP", "no"),
)
"""ACSI services (IEC 61850-7-2) and what carries them (IEC 61850-8-1)."""
# fmt: on


@cache
def example_cid(control_model: ControlModel | None = None) -> bytes:
    """The CID of one IED with a meter of each profile, as a bridge with default settings writes it."""
    defaults = {name: field.default for name, field in BridgeSettings.model_fields.items()}
    meters = tuple(
        Meter(f"00000000-0000-4000-8000-{number:012}", f"M{number}", name=f"House {number}", profile=profile)
        for number, profile in enumerate(PROFILES, 1)
    )
    project = Project(
        "conformance",
        1,
        (Ied(EXAMPLE, "192.0.2.1", defaults["mms_port"], meters),),
        report_instances=defaults["report_instances"],
        control_model=control_model or defaults["control_model"],
        tool_version=version("meter61850"),
        bands=BridgeSettings().bands,
    )
    return build_cid(project, EXAMPLE)


def conformance_markdown() -> str:
    """The whole document."""
    cid = read_cid(example_cid())
    return "".join(
        (
            _HEAD,
            *(f"| {name} | {text} |\n" for name, text in _identity()),
            *_pics(),
            model_markdown(cid, _control_models()),
            pixit_markdown(cid, _services()),
            tests_markdown(),
            stacks_markdown(),
        )
    )


def _identity() -> Iterator[tuple[str, str]]:
    root = etree.fromstring(example_cid())
    yield "product", f"meter61850 {version('meter61850')}, an MMS gateway for meters (IEC 61850-90-2: Proxy)"
    yield "MMS stack", f"libiec61850 as shipped by pyiec61850-ng {version('pyiec61850-ng')}"
    edition = "".join(root.get(name, "") for name in ("version", "revision", "release"))
    yield "edition", f"SCL {edition} (Edition 2.1)"
    yield "role", "server; no client functions, no publisher, no subscriber"


def _services() -> etree._Element:
    found = etree.fromstring(example_cid()).find(f"{NS}IED/{NS}Services")
    assert found is not None
    return found


def _control_models() -> dict[ControlModel, frozenset[str]]:
    """Each control model and the control services that an object with it has."""
    return {
        model: frozenset(
            attribute.name
            for device in read_cid(example_cid(model)).devices
            for node in device.nodes
            if node.name.startswith("CSWI")
            for obj in node.objects
            for attribute in obj.attributes
            if attribute.fc.name == "CO"
        )
        for model in get_args(ControlModel)
    }


def _pics() -> Iterator[str]:
    names = {etree.QName(element).localname for element in _services()}
    control = frozenset().union(*_control_models().values())
    yield "\n## PICS: services\n\n| group | ACSI service (7-2) | MMS (8-1) | offered |\n|---|---|---|---|\n"
    for offer in OFFERS:
        answer = "yes" if _offered(offer.evidence, names, control) else "**no**"
        yield f"| {offer.group} | {offer.service} | {offer.mms} | {answer} |\n"
    yield "\nThe Services element of each IED contains the same:\n\n```xml\n"
    yield "".join(f"{_tag(element)}\n" for element in _services()) + "```\n"


def _tag(element: etree._Element) -> str:
    attributes = "".join(f' {name}="{value}"' for name, value in element.attrib.items())
    return f"<{etree.QName(element).localname}{attributes}/>"


def _offered(evidence: str, services: set[str], control: frozenset[str]) -> bool:
    kind, _, name = evidence.partition("/")
    match kind:
        case "services":
            return name in services
        case "co":
            return name in control
    return kind == "yes"
