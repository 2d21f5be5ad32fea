"""Rules on the file's frame: version, header, order of sections, LN0 (rules 1, 3, 13).

IEC 61850-6 clause 9; the release is 2007B4.
"""

from __future__ import annotations

from lxml import etree

from scl_builder.document import INSTANCE_NS, NS, Document, children
from scl_builder.findings import Findings, tag

VERSION = {"version": "2007", "revision": "B", "release": "4"}

# fmt: off
ORDER = {
    "SCL": ("Header", "Substation", "Communication", "IED", "DataTypeTemplates", "Line", "Process"),
    "IED": ("Services", "AccessPoint", "KDC"),
    "Server": ("Authentication", "LDevice", "Association"),
    "LN0": ("DataSet", "ReportControl", "LogControl", "DOI", "Inputs", "Log", "GSEControl",
            "SampledValueControl", "SettingControl"),
    "LN": ("DataSet", "ReportControl", "LogControl", "DOI", "Inputs", "Log"),
    "DataTypeTemplates": ("LNodeType", "DOType", "DAType", "EnumType"),
}
# fmt: on


def check_structure(doc: Document, found: Findings) -> None:
    """Version, header, order of sections and LN0 of the whole file."""
    _check_version(doc.root, found)
    _check_header(doc.root, found)
    for name in ORDER:
        for element in doc.root.iter(NS + name):
            _check_order(element, found)
    for device in doc.root.iter(NS + "LDevice"):
        _check_ln0(device, found)


def _check_version(root: etree._Element, found: Findings) -> None:
    is_version = {name: root.get(name, "") for name in VERSION}
    if is_version != VERSION:
        wanted = " ".join(f'{name}="{value}"' for name, value in VERSION.items())
        written = " ".join(f'{name}="{value}"' for name, value in is_version.items())
        found.add(root, "version", f"SCL is {written}", cure=f"write {wanted}")
    if "schemaLocation" in root.attrib:
        message = f"schemaLocation {root.get('schemaLocation', '')!r} has no namespace"
        found.add(root, "version", message, cure="write xsi:schemaLocation")
    elif INSTANCE_NS + "schemaLocation" not in root.attrib:
        message = "xsi:schemaLocation is missing"
        found.add(root, "version", message, cure='write xsi:schemaLocation="… SCL.xsd"')


def _check_header(root: etree._Element, found: Findings) -> None:
    header = next(children(root, "Header"), None)
    if header is None:
        found.add(root, "header", "Header is missing", cure="begin the file with <Header id=…>")
        found.content_told(root)
    elif not header.get("id"):
        found.add(header, "header", f"Header id is {header.get('id', '')!r}", cure="give the file an id")


def _check_order(parent: etree._Element, found: Findings) -> None:
    """Sections in the standard's order; the first that comes too late is told."""
    order = ORDER[tag(parent)]
    highest = 0
    for child in children(parent):
        name = tag(child)
        if name not in order:
            continue
        if order.index(name) < highest:
            cure = f"order in {tag(parent)}: {', '.join(order)}"
            found.add(child, "order", f"{name} comes after {order[highest]}", cure=cure)
            found.content_told(parent)
            return
        highest = order.index(name)


def _check_ln0(device: etree._Element, found: Findings) -> None:
    inst = device.get("inst", "")
    nodes = list(children(device, "LN0", "LN"))
    zeros = [node for node in nodes if tag(node) == "LN0"]
    disguised = [node for node in nodes if tag(node) == "LN" and node.get("lnClass") == "LLN0"]
    if zeros and nodes[0] is not zeros[0]:
        message = f"LDevice {inst!r} does not begin with its LN0"
        found.add(zeros[0], "ln0", message, cure="put LN0 before every LN")
        found.content_told(device)
    for node in (*zeros[1:], *(disguised if zeros else ())):
        found.add(node, "ln0", f"LDevice {inst!r} has a second LLN0", cure="keep one LN0 in each LDevice")
        found.content_told(device)
    if not zeros:
        place = disguised[0] if disguised else device
        wrong = "has LLN0 as an LN" if disguised else "has no LN0"
        cure = 'begin the LDevice with <LN0 lnClass="LLN0" inst="" …>'
        found.add(place, "ln0", f"LDevice {inst!r} {wrong}", cure=cure)
        found.content_told(device)
