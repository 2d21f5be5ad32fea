"""SCD and CID (IEC 61850-6 Ed 2.1, 2007B4) from a project: text is put together, no DOM is built.

Same project, same bytes, whatever the order of IEDs and meters. What was rendered of an IED is remembered, so
that one more meter among thousands costs one IED. A CID carries no revision: as long as an IED stays the
same, so does its CID.

>>> from scl_builder.build.project import Ied, Meter, Project
>>> ied = Ied("SMGW001", "127.0.0.1", 102, (Meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "M1"),))
>>> build_cid(Project("town", 7, (ied,)), "SMGW001") == build_cid(Project("town", 8, (ied,)), "SMGW001")
True
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from scl_builder.build import devices, single_line, site, templates
from scl_builder.build.clients import client_ied, report_clients
from scl_builder.build.project import HistoryItem, Ied, Project
from scl_builder.build.render_cache import Remembered
from scl_builder.build.text import escape, unicode
from scl_builder.model import logical_devices
from scl_builder.model.billing_nodes import Bills
from scl_builder.model.topology import Topology

NAMESPACE = "http://www.iec.ch/61850/2003/SCL"

_SCL_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<SCL xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    f' xsi:schemaLocation="{NAMESPACE} SCL.xsd" version="2007" revision="B" release="4">\n'
)
_SCL_TAIL = "</SCL>\n"


def build_scd(project: Project) -> bytes:
    """The SCD of ``project``."""
    ieds = sorted(project.ieds, key=lambda ied: ied.name)
    parts = [_SCL_HEAD, _scd_header(project)]
    parts += _substations(project.topology, ieds)
    parts.append(site.communication(ieds))
    parts += (_of_ied(project, ied, project.clients) for ied in ieds)
    if ieds:
        parts += map(client_ied, project.clients)
        parts.append(_templates(project, ieds, project.clients))
    parts.append(_SCL_TAIL)
    return "".join(parts).encode()


def _substations(topology: Topology | None, ieds: list[Ied]) -> Iterator[str]:
    found = single_line.placed(topology, ieds) if topology else {}
    elsewhere: dict[str, set[str]] = defaultdict(set)
    for meters in found.values():
        for meter in meters:
            elsewhere[meter.ied].add(meter.inst)
    if topology:
        yield single_line.substations(topology, found)
    for ied in ieds:
        yield site.substation(ied, frozenset(elsewhere.get(ied.name, ())))


def build_cid(project: Project, ied_name: str) -> bytes:
    """The CID of one IED; ValueError if ``project`` has no IED of that name."""
    ied = project.ied(ied_name)
    parts = (
        _SCL_HEAD,
        _header(f"{project.name} {ied.name}", "", project.tool_version, ""),
        site.communication([ied]),
        _of_ied(project, ied),
        _templates(project, [ied]),
        _SCL_TAIL,
    )
    return "".join(parts).encode()


def forget() -> None:
    """Forget what was rendered, as a process does that ends."""
    _ied.forget()
    site.substation.forget()
    single_line.drawn.forget()
    devices.shared_plates.forget()
    templates.render.cache_clear()


def _templates(project: Project, ieds: list[Ied], clients: tuple[str, ...] = ()) -> str:
    plates = frozenset[devices.Plate]().union(*map(devices.shared_plates, ieds))
    profiles = frozenset(meter.profile for ied in ieds for meter in ied.meters)
    return templates.render(
        project.control_model,
        project.tool_version,
        plates,
        profiles or frozenset((logical_devices.SINGLE_PHASE,)),
        operate_timeout=project.operate_timeout,
        bands=project.bands,
        bills=project.bills,
        clients=bool(clients),
    )


def _attribute(text: str) -> str:
    """``text`` as an XML attribute value of at most 255 bytes."""
    return escape(unicode(text, devices.VAL_LIMIT))


def _header(name: str, revision: str, tool_version: str, history: str) -> str:
    tool = _attribute(f"{logical_devices.VENDOR} {tool_version}")
    header = _attribute(name) or logical_devices.VENDOR
    head = f'<Header id="{header}" version="1" revision="{revision}" toolID="{tool}"'
    return f"{head}>\n{history}</Header>\n" if history else f"{head}/>\n"


def _scd_header(project: Project) -> str:
    items = "".join(map(_history_item, sorted(project.history, key=lambda item: item.revision)))
    history = f"<History>\n{items}</History>\n" if items else ""
    return _header(project.name, str(project.revision), project.tool_version, history)


def _history_item(item: HistoryItem) -> str:
    why = f' why="{_attribute(item.why)}"' if item.why else ""
    return (
        f'<Hitem version="1" revision="{item.revision}" when="{_attribute(item.when)}"'
        f' who="{_attribute(item.who)}" what="{_attribute(item.what)}"{why}/>\n'
    )


def _of_ied(project: Project, ied: Ied, clients: tuple[str, ...] = ()) -> str:
    told = project.tool_version, project.model_revision
    return _ied(ied, project.report_instances, *told, report_clients(clients), project.bills)


@Remembered
def _ied(
    ied: Ied, report_instances: int, tool_version: str, revision: str, clients: str, bills: Bills
) -> str:
    shared = devices.shared_plates(ied)
    enabled = f'<RptEnabled max="{report_instances}"'
    enabled += f">{clients}</RptEnabled>" if clients else "/>"
    gateway = devices.gateway_device(ied, enabled=enabled, tool_version=tool_version, bills=bills)
    meters = "".join(
        devices.meter_device(meter, shared, revision, domain=ied.domain(meter), bills=bills)
        for meter in devices.in_order(ied.meters)
    )
    # the gateway last: who reads the file once from its beginning knows by then what the members are called
    return (
        f'<IED name="{ied.name}" type="SmartMeterGateway" manufacturer="{logical_devices.VENDOR}"'
        f' configVersion="{revision}"'
        ' originalSclVersion="2007" originalSclRevision="B" originalSclRelease="4">\n'
        f"{_services(report_instances if ied.meters else 0)}"
        f'<AccessPoint name="{site.ACCESS_POINT}">\n<Server>\n<Authentication/>\n'
        f"{meters}{gateway}</Server>\n</AccessPoint>\n{site.tls_access_point(ied)}</IED>\n"
    )


def _services(report_instances: int) -> str:
    """Only what the server offers; without report instances (no meter) it has no block of its own."""
    limits = f'max="{{}}" maxAttributes="{logical_devices.MAX_MEMBERS}"'
    conf_data_set = f'<ConfDataSet {limits.format(len(logical_devices.GROUPS))} modify="false"/>\n'
    reports = len(logical_devices.GROUPS) * report_instances
    conf_report = f'<ConfReportControl max="{reports}" bufMode="both" bufConf="false"/>\n'
    settings = (
        '<ReportSettings cbName="Fix" datSet="Dyn" rptID="Dyn" optFields="Dyn" bufTime="Dyn" trgOps="Dyn"'
        ' intgPd="Dyn" resvTms="true"/>\n'
    )
    return (
        f'<Services nameLength="64">\n<DynAssociation max="{logical_devices.MAX_ASSOCIATIONS}"/>\n'
        f"<GetDirectory/>\n"
        "<GetDataObjectDefinition/>\n<DataObjectDirectory/>\n<GetDataSetValue/>\n<DataSetDirectory/>\n"
        f"{conf_data_set if reports else ''}"
        f"<DynDataSet {limits.format(logical_devices.MAX_DYNAMIC_DATA_SETS)}/>\n"
        f"<ReadWrite/>\n{conf_report if reports else ''}<GetCBValues/>\n"
        f"{settings if reports else ''}</Services>\n"
    )
