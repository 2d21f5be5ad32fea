"""Rules between sections: Services, Communication, Substation against the IEDs (rules 11, 12, 14).

IEC 61850-6 clauses 9.2, 9.3.2 and 9.4.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from lxml import etree

from scl_builder.check.document import INSTANCE_NS, NS, Document, IedEntry, children, first, node_name, number
from scl_builder.read.findings import Findings, Severity, tag

_OFFERS = {
    "GOOSE": "GSEControl",
    "GSSE": "GSEControl",
    "GSEDir": "GSEControl",
    "SMVsc": "SampledValueControl",
    "ConfLogControl": "LogControl",
    "SettingGroups": "SettingControl",
}
"""Service → the control blocks that the IED may have by it: a capability, which need not be used."""
# fmt: off
_TYPED_P = frozenset((
    "IP", "IP-SUBNET", "IP-GATEWAY", "IPv6", "IPv6-SUBNET", "IPv6-GATEWAY", "DNSName", "IPv6FlowLabel",
    "IPv6ClassOfTraffic", "IP-ClassOfTraffic", "IP-IGMPv3Src", "IPv6-IGMPv3Src", "OSI-NSAP",
    "OSI-TSEL", "OSI-SSEL", "OSI-PSEL", "OSI-AP-Title", "OSI-AP-Invoke", "OSI-AE-Qualifier",
    "OSI-AE-Invoke", "MAC-Address", "APPID", "VLAN-PRIORITY", "VLAN-ID", "SNTP-Port", "MMS-Port",
    "UDP-Port", "TCP-Port", "C37-118-IP-Port",
))
# fmt: on
"""Kinds of P that the schema has a type for."""

_NO_IED = "None"


def check_system(doc: Document, found: Findings) -> None:
    """Services, Communication and Substation of the whole file."""
    for ied in doc.ieds:
        _check_services(ied, found)
        for enabled in ied.element.iter(NS + "RptEnabled"):
            _check_clients(doc, enabled, found)
    _check_communication(doc, found)
    for substation in children(doc.root, "Substation", "Line", "Process"):
        for node in substation.iter(NS + "LNode"):
            _check_lnode(doc, node, found)


def _check_services(ied: IedEntry, found: Findings) -> None:
    sections = [ied.element, *children(ied.element, "AccessPoint")]
    services = [section for parent in sections for section in children(parent, "Services")]
    reports = sum(_instances(report) for report in ied.element.iter(NS + "ReportControl"))
    sizes = [sum(1 for _ in children(data_set, "FCDA")) for data_set in ied.element.iter(NS + "DataSet")]
    place = services[0] if services else ied.element
    _check_limit(services, place, "ConfReportControl", "max", reports, found)
    _check_limit(services, place, "ConfDataSet", "max", len(sizes), found)
    if any(first(section, "ConfDataSet") is not None for section in services):
        _check_limit(services, place, "ConfDataSet", "maxAttributes", max(sizes, default=0), found)
    for section in services:
        _check_offers(ied, section, found)


def _instances(report: etree._Element) -> int:
    enabled = first(report, "RptEnabled")
    count = number(enabled.get("max", "1")) if enabled is not None else 1
    return count or 1


def _check_limit(
    services: list[etree._Element],
    place: etree._Element,
    name: str,
    attribute: str,
    needed: int,
    found: Findings,
) -> None:
    """``name`` is there when it is needed, and its ``attribute`` is large enough (absent: no limit)."""
    elements = [element for section in services for element in children(section, name)]
    if not elements:
        if needed:
            message = f"Services lacks {name}, and the IED has {needed}"
            cure = f'add <{name} max="{needed}"/>: without it tools may not change them'
            found.add(place, "services", message, cure=cure, severity=Severity.WARNING)
        return
    limit = number(elements[0].get(attribute))
    if limit is not None and limit < needed:
        message = f"{name} {attribute} is {limit}, and the IED has {needed}"
        found.add(elements[0], "services", message, cure=f'write {attribute}="{needed}" or more')


def _check_offers(ied: IedEntry, services: etree._Element, found: Findings) -> None:
    for offer in children(services, *_OFFERS):
        blocks = _OFFERS[tag(offer)]
        if offer.get("max") != "0" and next(ied.element.iter(NS + blocks), None) is None:
            message = f"Services offers {tag(offer)}, and the IED has no {blocks}"
            cure = "remove it if the IED does not serve it"
            found.add(offer, "services", message, cure=cure, severity=Severity.HINT)


def _check_clients(doc: Document, enabled: etree._Element, found: Findings) -> None:
    """Each ClientLN names a logical node, if its IED is in the file: a CID need not have the clients."""
    clients = list(children(enabled, "ClientLN"))
    limit = number(enabled.get("max", "1"))
    if limit is not None and len(clients) > limit:
        message = f"RptEnabled max is {limit}, and it names {len(clients)} clients"
        found.add(enabled, "rpt-enabled", message, cure=f'write max="{len(clients)}" or more')
    for client in clients:
        ied = doc.ied_by_name.get(client.get("iedName", ""))
        if ied is None:
            message = f"ClientLN names IED {client.get('iedName', '')!r}, which is not in the file"
            cure = "add the client's IED: an SCD has every IED that it names"
            found.add(client, "client-ln", message, cure=cure, severity=Severity.HINT)
        elif node_name(client, "lnInst") not in _client_nodes(ied, client):
            where = f"{ied.name}.{client.get('ldInst', '')}/{node_name(client, 'lnInst')}"
            message = f"ClientLN {where!r} names no logical node"
            found.add(client, "client-ln", message, cure="name a logical node of the client's IED")


def _client_nodes(ied: IedEntry, client: etree._Element) -> Container[str]:
    """Those of the device, or of the access point: ldInst of a node without a device is any, or LD0."""
    device = client.get("ldInst", "")
    return _nodes(ied, device if device in ied.devices else "")


def _check_communication(doc: Document, found: Findings) -> None:
    points = {
        (ied.name, point.get("name", "")): point
        for ied in doc.ieds
        for point in children(ied.element, "AccessPoint")
    }
    connected: set[tuple[str, str]] = set()
    endpoints: set[tuple[etree._Element | None, str, str]] = set()
    for entry in _connected_points(doc.root):
        key = (entry.get("iedName", ""), entry.get("apName", ""))
        connected.add(key)
        if key not in points:
            message = f"ConnectedAP {'.'.join(key)!r} names no access point"
            found.add(entry, "connected-ap", message, cure="name an IED and an AccessPoint that exist")
        _check_address(entry, endpoints, found)
    for key, point in points.items():
        if key not in connected and first(point, "Server") is not None:
            message = f"access point {'.'.join(key)!r} has no ConnectedAP"
            cure = f'add <ConnectedAP iedName="{key[0]}" apName="{key[1]}"> to Communication'
            found.add(point, "connected-ap", message, cure=cure, severity=Severity.WARNING)


def _connected_points(root: etree._Element) -> Iterator[etree._Element]:
    for communication in children(root, "Communication"):
        yield from communication.iter(NS + "ConnectedAP")


def _check_address(
    entry: etree._Element, endpoints: set[tuple[etree._Element | None, str, str]], found: Findings
) -> None:
    """Each subnetwork has its own addresses: the same ones in another are other ones."""
    address = first(entry, "Address")
    rows = list(children(address, "P")) if address is not None else []
    values = {row.get("type", ""): (row.text or "").strip() for row in rows}
    name = entry.get("iedName", "")
    if not any(kind in values for kind in ("IP", "IPv6")):
        message = f"ConnectedAP of {name!r} has no IP address"
        cure = 'add <P type="IP" xsi:type="tP_IP">, without which no client finds it'
        found.add(entry, "address", message, cure=cure, severity=Severity.WARNING)
    for row in rows:
        _check_typed(row, found)
    address_of = (values.get("IP", ""), values.get("MMS-Port", "102"))
    endpoint = (entry.getparent(), *address_of)
    if endpoint in endpoints and address_of[0]:
        message = f"{':'.join(address_of)} of {name!r} is taken by another access point"
        found.add(entry, "duplicate", message, cure="give every access point its own address and port")
    endpoints.add(endpoint)


def _check_typed(row: etree._Element, found: Findings) -> None:
    """Without its xsi:type the schema does not check the value of a P; a wrong one is the schema's error."""
    kind = row.get("type", "")
    prefix, _, written = row.get(INSTANCE_NS + "type", "").rpartition(":")
    if written == f"tP_{kind}" and row.nsmap.get(prefix or None) != NS[1:-1]:
        right = f"{row.prefix}:{written}" if row.prefix else written
        message = f"xsi:type {row.get(INSTANCE_NS + 'type')!r} of P {kind!r} is not of the name space of SCL"
        found.add(row, "address", message, cure=f'write xsi:type="{right}"', severity=Severity.WARNING)
        found.told(row)
    elif written in ("", "tP") and kind in _TYPED_P:
        message = f"P {kind!r} has no xsi:type: its value is not checked"
        found.add(row, "address", message, cure=f'write xsi:type="tP_{kind}"', severity=Severity.HINT)


def _check_lnode(doc: Document, node: etree._Element, found: Findings) -> None:
    ied_name = node.get("iedName", _NO_IED)
    if ied_name == _NO_IED:
        return
    ied = doc.ied_by_name.get(ied_name)
    name = node_name(node, "lnInst")
    if ied is None or name not in _nodes(ied, node.get("ldInst", "")):
        where = f"{ied_name}.{node.get('ldInst', '')}/{name}"
        message = f"LNode {where!r} names no logical node"
        found.add(node, "lnode", message, cure="name a logical node of an IED in this file, or remove it")
    elif (ln_type := node.get("lnType")) and (served := _type_of(ied, node)) not in (None, ln_type):
        message = f"LNode {name!r} has lnType {ln_type!r}, and its logical node has {served!r}"
        cure = f'write lnType="{served}", or leave it out'
        found.add(node, "lnode-type", message, cure=cure, severity=Severity.WARNING)


def _type_of(ied: IedEntry, node: etree._Element) -> str | None:
    """lnType of the logical node that an LNode names, if it names a device."""
    device = ied.devices.get(node.get("ldInst", ""))
    return None if device is None else device.nodes[node_name(node, "lnInst")].get("lnType")


def _nodes(ied: IedEntry, device: str) -> Container[str]:
    """MMS names of the logical nodes of a device; without one, of those that stand in an access point."""
    if device:
        return ied.devices[device].nodes if device in ied.devices else ()
    points = children(ied.element, "AccessPoint")
    return {node_name(node) for point in points for node in children(point, "LN")}
