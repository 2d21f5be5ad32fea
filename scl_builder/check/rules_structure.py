"""Rules on the file's frame: version, header, order of sections, LN0 (rules 1, 3, 13).

IEC 61850-6 clause 9.
"""

from __future__ import annotations

from lxml import etree

from scl_builder.check.document import INSTANCE_NS, NS, Document, children
from scl_builder.check.edition import Edition, Kind
from scl_builder.check.schema import VERSION
from scl_builder.read.findings import Findings, Severity, tag

_JUDGED = {
    Kind.FIRST: " is judged by the schema of 2007B4, with warnings, and not by the tables of 7-3 and 7-4",
    Kind.OLDER: " is judged by the schema and tables of 2007B4, with warnings",
    Kind.NEWER: " is newer than the schema and tables of 2007B4, which give warnings",
}

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
    """Header, order of sections and LN0 of the whole file."""
    _check_header(doc.root, found)
    for name in ORDER:
        for element in doc.root.iter(NS + name):
            _check_order(element, found)
    for device in doc.root.iter(NS + "LDevice"):
        _check_ln0(device, found)


def check_version(root: etree._Element, edition: Edition | None, found: Findings) -> None:
    """The edition that SCL names, and the place of its schema."""
    names = " ".join(f'{name}="{root.get(name)}"' for name in VERSION if name in root.attrib)
    wanted = " ".join(f'{name}="{value}"' for name, value in VERSION.items())
    if edition is None:
        found.add(
            root, "version", f"SCL is {names}, which is no edition of IEC 61850-6", cure=f"write {wanted}"
        )
    elif edition.kind is not Kind.OURS or edition.name != "".join(VERSION.values()):
        message = f"SCL is {names or 'without version'}: {edition.name}{_JUDGED.get(edition.kind, '')}"
        cure = f"write {wanted} where the reader needs it, and check again"
        found.add(root, "version", message, cure=cure, severity=Severity.HINT)
    if "schemaLocation" in root.attrib:
        message = f"schemaLocation {root.get('schemaLocation', '')!r} has no namespace"
        found.add(root, "version", message, cure="write xsi:schemaLocation")
    elif INSTANCE_NS + "schemaLocation" not in root.attrib:
        cure = 'write xsi:schemaLocation="… SCL.xsd" for tools that look for it'
        found.add(root, "version", "xsi:schemaLocation is missing", cure=cure, severity=Severity.HINT)


def _check_header(root: etree._Element, found: Findings) -> None:
    header = next(children(root, "Header"), None)
    if header is None:
        found.add(root, "header", "Header is missing", cure="begin the file with <Header id=…>")
        found.content_told(root)
    elif not header.get("id"):
        # the schema wants the attribute, and takes an empty one
        severity = Severity.WARNING if "id" in header.attrib else Severity.ERROR
        message = f"Header id is {header.get('id', '')!r}"
        found.add(header, "header", message, cure="give the file an id", severity=severity)


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
