"""Rules on logical nodes, data sets and report control blocks (rules 4, 8, 9, 10).

IEC 61850-6 clauses 9.3.5 to 9.3.8.
"""

from __future__ import annotations

from lxml import etree

from scl_builder.check.document import Device, Document, IedEntry, children, first, flag, node_name, number
from scl_builder.model.logical_devices import MAX_MEMBERS
from scl_builder.read.findings import Findings, Severity, tag

_CONTROL_BLOCKS = ("ReportControl", "LogControl", "GSEControl", "SampledValueControl")


def check_reports(doc: Document, found: Findings) -> None:
    """Types, data sets and report control blocks of every logical node."""
    members = _Members(doc)
    for ied, device in doc.devices:
        for node in device.nodes.values():
            _check_ln_type(doc, node, found)
            names = set()
            for data_set in children(node, "DataSet"):
                names.add(data_set.get("name", ""))
                _check_data_set(data_set, found)
                for fcda in children(data_set, "FCDA"):
                    members.check(ied, device, fcda, found)
            for block in children(node, *_CONTROL_BLOCKS):
                _check_block(block, names, found)
            for report in children(node, "ReportControl"):
                _check_instances(report, found)


def _check_ln_type(doc: Document, node: etree._Element, found: Findings) -> None:
    ln_type, ln_class = node.get("lnType", ""), node.get("lnClass", "")
    node_type = doc.node_types.get(ln_type)
    if node_type is None:
        message = f"{node_name(node)} has lnType {ln_type!r}, and no LNodeType has that id"
        found.add(node, "ln-type", message, cure="add the LNodeType, or name one that exists")
    elif node_type.ln_class != ln_class:
        message = f"{node_name(node)} has lnType {ln_type!r}, which is of class {node_type.ln_class}"
        found.add(node, "ln-type", message, cure=f"name an LNodeType of class {ln_class}")


def _check_data_set(data_set: etree._Element, found: Findings) -> None:
    size = sum(1 for _ in children(data_set, "FCDA"))
    if size > MAX_MEMBERS:
        message = f"data set {data_set.get('name', '')!r} has {size} members"
        found.add(data_set, "members", message, cure=f"split it: {MAX_MEMBERS} is the limit")


class _Members:
    """Looks up what an FCDA names; every (type, path, fc) is looked up once."""

    def __init__(self, doc: Document) -> None:
        self._doc = doc
        self._known: dict[tuple[str, str, str, str], str] = {}

    def check(self, ied: IedEntry, device: Device, fcda: etree._Element, found: Findings) -> None:
        """Add a finding if ``fcda`` names nothing, or with the wrong functional constraint."""
        if not (fcda.get("lnClass") and fcda.get("doName")):
            message = f"FCDA names all that has fc {fcda.get('fc', '')!r}: lnClass or doName is missing"
            cure = "name a data object: most tools take nothing else"
            found.add(fcda, "fcda", message, cure=cure, severity=Severity.WARNING)
            return
        target = ied.devices.get(fcda.get("ldInst", device.inst))
        node = target.nodes.get(node_name(fcda, "lnInst")) if target else None
        names = (fcda.get("ldInst", ""), node_name(fcda, "lnInst"), fcda.get("doName", ""))
        where = ".".join(filter(None, (*names, fcda.get("daName", ""))))
        if node is None:
            message = f"FCDA {where!r}: IED {ied.name!r} has no such logical node"
            found.add(fcda, "fcda", message, cure="name a logical node that exists")
            return
        do_name, da_name, fc = fcda.get("doName", ""), fcda.get("daName", ""), fcda.get("fc", "")
        key = (node.get("lnType", ""), do_name, da_name, fc)
        if key not in self._known:
            self._known[key] = self._fault(*key)
        if self._known[key]:
            cure = "name data that the type has, with its functional constraint"
            found.add(fcda, "fcda", f"FCDA {where!r} [{fc}]: {self._known[key]}", cure=cure)

    def _fault(self, ln_type: str, do_name: str, da_name: str, fc: str) -> str:
        if ln_type not in self._doc.node_types:
            return ""
        parts = (*do_name.split("."), *filter(None, da_name.split(".")))
        path = tuple(part.partition("(")[0] for part in parts)
        object_type = self._doc.find_object(ln_type, path)
        if object_type is None:
            if self._doc.is_dangling(ln_type, path[0]):
                return ""
            return f"LNodeType {ln_type!r} has no such data object"
        if not object_type[1]:
            constraints = self._doc.constraints(object_type[0])
            listed = ", ".join(sorted(constraints))
            return "" if fc in constraints else f"the data object has no attribute with it, but {listed}"
        attribute = self._doc.find_attribute(ln_type, path)
        if attribute is None:
            return f"LNodeType {ln_type!r} has no such attribute"
        return "" if attribute[1] == fc else f"the attribute has {attribute[1]}"


def _check_block(block: etree._Element, data_sets: set[str], found: Findings) -> None:
    name, data_set = block.get("name", ""), block.get("datSet")
    if data_set is not None and data_set not in data_sets:
        message = f"{tag(block)} {name!r} has datSet {data_set!r}, and its LN has no such DataSet"
        found.add(block, "dat-set", message, cure="name a DataSet of the same logical node")
    if block.get("confRev") is None and tag(block) != "LogControl":
        message = f"{tag(block)} {name!r} has no confRev"
        cure = "write confRev, and raise it when the members change"
        # the schema requires it of reports only
        severity = Severity.ERROR if tag(block) == "ReportControl" else Severity.HINT
        found.add(block, "conf-rev", message, cure=cure, severity=severity)


def _check_instances(report: etree._Element, found: Findings) -> None:
    name = report.get("name", "")
    enabled = first(report, "RptEnabled")
    if enabled is None:
        message = f"report block {name!r} has no RptEnabled"
        cure = 'add <RptEnabled max="1"/>: tools differ in what they take without it'
        found.add(report, "rpt-enabled", message, cure=cure, severity=Severity.WARNING)
        return
    count = number(enabled.get("max", "1"))
    if count == 0:
        message = f"report block {name!r} has RptEnabled max 0"
        found.add(enabled, "rpt-enabled", message, cure="write 1 or more: one for each client")
    elif count and count > 1 and not flag(report, "indexed", default=True):
        message = f"report block {name!r} is not indexed and has RptEnabled max {count}"
        found.add(report, "rpt-enabled", message, cure='write indexed="true", or max="1"')
