"""SCD and CID (IEC 61850-6 Ed 2.1, 2007B4) from a project: text is put together, no DOM is built.

Same project, same bytes, whatever the order of IEDs and meters. A meter's logical device is rendered once
and remembered by value, so that one more meter among thousands costs little. A CID carries no revision:
as long as an IED stays the same, its CID does.

>>> from scl_builder.project import Ied, Meter, Project
>>> ied = Ied("SMGW001", "127.0.0.1", 102, (Meter("SM_" + "0" * 32, name="House 1"),))
>>> build_cid(Project("town", 7, (ied,)), "SMGW001") == build_cid(Project("town", 8, (ied,)), "SMGW001")
True
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from scl_builder import tables, templates
from scl_builder.project import GATEWAY_INST, HistoryItem, Ied, Meter, Project
from scl_builder.tables import DataSet, LogicalNode, Report
from scl_builder.text import escape, unicode, visible

ACCESS_POINT = "AP1"
SUBNETWORK = "MeterNet"
NAMESPACE = "http://www.iec.ch/61850/2003/SCL"
VAL_LIMIT = 255
"""Length of VisString255 and Unicode255."""

_REMEMBERED_METERS = 65_536
"""Rendered meters that are kept; more than this in one project and every rebuild renders all."""

_SCL_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<SCL xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    f' xsi:schemaLocation="{NAMESPACE} SCL.xsd" version="2007" revision="B" release="4">\n'
)
_SCL_TAIL = "</SCL>\n"

_SELECTORS = (("OSI-TSEL", "0001"), ("OSI-SSEL", "0001"), ("OSI-PSEL", "00000001"))
"""Transport, session and presentation selectors that the server listens to."""


def build_scd(project: Project) -> bytes:
    """The SCD of ``project``."""
    ieds = sorted(project.ieds, key=lambda ied: ied.name)
    parts = [_SCL_HEAD, _scd_header(project)]
    parts += map(_substation, ieds)
    parts.append(_communication(ieds))
    parts += (_ied(ied, project) for ied in ieds)
    if ieds:
        parts.append(templates.render(project.control_model, project.tool_version))
    parts.append(_SCL_TAIL)
    return "".join(parts).encode()


def build_cid(project: Project, ied_name: str) -> bytes:
    """The CID of one IED; ValueError if ``project`` has no IED of that name."""
    ied = project.ied(ied_name)
    parts = (
        _SCL_HEAD,
        _header(f"{project.name} {ied.name}", "", project.tool_version, ""),
        _communication([ied]),
        _ied(ied, project),
        templates.render(project.control_model, project.tool_version),
        _SCL_TAIL,
    )
    return "".join(parts).encode()


def _attribute(text: str) -> str:
    """``text`` as an XML attribute value of at most 255 bytes."""
    return escape(unicode(text, VAL_LIMIT))


def _header(name: str, revision: str, tool_version: str, history: str) -> str:
    tool = _attribute(f"{tables.VENDOR} {tool_version}")
    head = (
        f'<Header id="{_attribute(name) or tables.VENDOR}" version="1" revision="{revision}" toolID="{tool}"'
    )
    return f"{head}>\n{history}</Header>\n" if history else f"{head}/>\n"


def _scd_header(project: Project) -> str:
    items = "".join(map(_history_item, sorted(project.history, key=lambda item: item.revision)))
    history = f"<History>\n{items}</History>\n" if items else ""
    return _header(project.name, str(project.revision), project.tool_version, history)


def _history_item(item: HistoryItem) -> str:
    return (
        f'<Hitem version="1" revision="{item.revision}" when="{_attribute(item.when)}"'
        f' who="{_attribute(item.who)}" what="{_attribute(item.what)}"/>\n'
    )


def _substation(ied: Ied) -> str:
    switches = "".join(_switch(ied.name, ld_name) for ld_name in sorted(m.ld_name for m in ied.meters))
    return (
        f'<Substation name="{ied.name}_Site">\n<VoltageLevel name="LV">\n<Bay name="Meters">\n{switches}'
        "</Bay>\n</VoltageLevel>\n</Substation>\n"
    )


def _switch(ied_name: str, ld_name: str) -> str:
    node = f'<LNode iedName="{ied_name}" ldInst="{ld_name}" lnClass='
    return (
        f'<ConductingEquipment name="{ld_name}" type="DIS">{node}"CSWI" lnInst="1"/>'
        f'{node}"XSWI" lnInst="1"/></ConductingEquipment>\n'
    )


def _communication(ieds: list[Ied]) -> str:
    if not ieds:
        return ""
    points = "".join(map(_connected_ap, ieds))
    return (
        f'<Communication>\n<SubNetwork name="{SUBNETWORK}" type="8-MMS">\n{points}'
        "</SubNetwork>\n</Communication>\n"
    )


def _connected_ap(ied: Ied) -> str:
    address = (("IP", ied.ip), ("IP-SUBNET", ied.subnet), *_SELECTORS, ("MMS-Port", str(ied.port)))
    rows = "".join(f'<P type="{kind}" xsi:type="tP_{kind}">{value}</P>\n' for kind, value in address)
    return (
        f'<ConnectedAP iedName="{ied.name}" apName="{ACCESS_POINT}">\n<Address>\n{rows}'
        "</Address>\n</ConnectedAP>\n"
    )


def _ied(ied: Ied, project: Project) -> str:
    meters = sorted(ied.meters, key=lambda meter: meter.ld_name)
    devices = "".join(_meter_device(meter, project.report_instances) for meter in meters)
    return (
        f'<IED name="{ied.name}" type="SmartMeterGateway" manufacturer="{tables.VENDOR}" configVersion="1"'
        ' originalSclVersion="2007" originalSclRevision="B" originalSclRelease="4">\n'
        f"{_services(len(meters), project.report_instances)}"
        f'<AccessPoint name="{ACCESS_POINT}">\n<Server>\n<Authentication/>\n'
        f"{_gateway_device(project.tool_version)}{devices}"
        "</Server>\n</AccessPoint>\n</IED>\n"
    )


def _services(meters: int, report_instances: int) -> str:
    """Only what the server offers; without meters it has neither data sets nor report blocks."""
    data_sets = meters * len(tables.METER_DATA_SETS)
    reports = meters * len(tables.METER_REPORTS) * report_instances
    conf_data_set = f'<ConfDataSet max="{data_sets}" maxAttributes="{tables.MAX_MEMBERS}" modify="false"/>\n'
    conf_report = f'<ConfReportControl max="{reports}" bufMode="both" bufConf="false"/>\n'
    settings = (
        '<ReportSettings cbName="Fix" datSet="Dyn" rptID="Dyn" optFields="Dyn" bufTime="Dyn" trgOps="Dyn"'
        ' intgPd="Dyn" resvTms="true"/>\n'
    )
    return (
        f'<Services nameLength="64">\n<DynAssociation max="{tables.MAX_ASSOCIATIONS}"/>\n<GetDirectory/>\n'
        "<GetDataObjectDefinition/>\n<DataObjectDirectory/>\n<GetDataSetValue/>\n<DataSetDirectory/>\n"
        f"{conf_data_set if meters else ''}<ReadWrite/>\n{conf_report if meters else ''}<GetCBValues/>\n"
        f"{settings if meters else ''}</Services>\n"
    )


@lru_cache(maxsize=64)
def _gateway_device(tool_version: str) -> str:
    instances = {"PhyNam": {"vendor": tables.VENDOR, "swRev": visible(tool_version, VAL_LIMIT)}}
    return _device(f'inst="{GATEWAY_INST}"', tables.GATEWAY_LD, instances, "")


@lru_cache(maxsize=_REMEMBERED_METERS)
def _meter_device(meter: Meter, report_instances: int) -> str:
    instances = {"NamPlt": _description(meter), "PhyNam": _name_plate(meter)}
    inst = meter.ld_name
    controls = "".join(_data_set(data_set, inst) for data_set in tables.METER_DATA_SETS)
    controls += "".join(_report(report, report_instances) for report in tables.METER_REPORTS)
    return _device(f'inst="{inst}" ldName="{inst}"', tables.METER_LD, instances, controls)


def _description(meter: Meter) -> dict[str, str]:
    """d: name and address in ASCII; dU: the same as it was given, where ASCII cannot say it."""
    given = ", ".join(filter(None, (meter.name, meter.address, meter.address_code)))
    plain, exact = visible(given, VAL_LIMIT), unicode(given, VAL_LIMIT)
    return {"d": plain, "dU": exact if exact != plain else ""}


def _name_plate(meter: Meter) -> dict[str, str]:
    plate = {
        "vendor": meter.vendor,
        "swRev": meter.firmware,
        "serNum": meter.serial,
        "model": meter.model,
        "owner": meter.owner,
    }
    return {name: visible(text, VAL_LIMIT) for name, text in plate.items()}


def _device(
    names: str, nodes: Iterable[LogicalNode], instances: dict[str, dict[str, str]], controls: str
) -> str:
    """An LDevice; ``instances`` holds data object → attribute → Val, ``controls`` goes into its LLN0."""
    rows = [f"<LDevice {names}>\n"]
    for node in nodes:
        tag = "LN0" if node.ln_class == "LLN0" else "LN"
        head = f'<{tag} lnClass="{node.ln_class}" inst="{node.inst}" lnType="{node.type_id}"'
        body = controls if tag == "LN0" else ""
        body += "".join(_doi(do.name, instances[do.name]) for do in node.objects if do.name in instances)
        rows.append(f"{head}>\n{body}</{tag}>\n" if body else f"{head}/>\n")
    rows.append("</LDevice>\n")
    return "".join(rows)


def _doi(name: str, values: dict[str, str]) -> str:
    rows = "".join(
        f'<DAI name="{attribute}"><Val>{escape(value)}</Val></DAI>'
        for attribute, value in values.items()
        if value
    )
    return f'<DOI name="{name}">{rows}</DOI>\n' if rows else ""


def _data_set(data_set: DataSet, ld_inst: str) -> str:
    rows = "".join(
        f'<FCDA ldInst="{ld_inst}" lnClass="{member.ln_class}" lnInst="{member.inst}" doName="{member.do}"'
        f' fc="{member.fc}"/>'
        for member in data_set.members
    )
    return f'<DataSet name="{data_set.name}">{rows}</DataSet>\n'


def _report(report: Report, instances: int) -> str:
    buffered = ' buffered="true"' if report.buffered else ""
    triggers = "".join(f' {name}="true"' for name in report.triggers)
    fields = "".join(f' {name}="true"' for name in report.fields)
    return (
        f'<ReportControl name="{report.name}" datSet="{report.data_set}" confRev="{report.conf_rev}"'
        f'{buffered} bufTime="{report.buffer_time}" indexed="true"><TrgOps{triggers}/><OptFields{fields}/>'
        f'<RptEnabled max="{instances}"/></ReportControl>\n'
    )
