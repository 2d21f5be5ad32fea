"""Rules on control (rule 6): a control model asks for its services, and for no others.

IEC 61850-8-1 (2007B): Oper for every model but status-only; SBO with normal, SBOw with enhanced security;
Cancel for both select-before-operate models.
"""

from __future__ import annotations

from lxml import etree

from scl_builder.check.document import Document, ObjectType, children, value_of
from scl_builder.model.nsd_cdcs import CONTROL_SERVICES, CTL_VALUES, SERVICE_ATTRIBUTES
from scl_builder.model.nsd_nodes import rule
from scl_builder.read.findings import Findings, Severity

_CANCEL = "Cancel"


def check_control(doc: Document, found: Findings) -> None:
    """Control models of all types and instances."""
    for object_type in doc.object_types.values():
        attr = object_type.attributes.get("ctlModel")
        if object_type.cdc in CTL_VALUES and attr and attr.value is not None:
            _check_services(object_type, attr.element, attr.value, found)
            _check_no_more(object_type, attr.value, found)
    open_types = {node_type: _undecided(doc, node_type) for node_type in doc.node_types}
    for _, device in doc.devices:
        for node in device.nodes.values():
            for name in open_types.get(node.get("lnType", ""), ()):
                _check_instance(doc, node, name, found)


def _undecided(doc: Document, ln_type: str) -> list[str]:
    """Data objects of an LNodeType whose control model is left to the instance."""
    return [name for name in doc.node_types[ln_type].objects if _is_open(doc.object_type(ln_type, name))]


def _is_open(object_type: ObjectType | None) -> bool:
    attr = object_type.attributes.get("ctlModel") if object_type else None
    return attr is not None and attr.value is None


def _check_instance(doc: Document, node: etree._Element, name: str, found: Findings) -> None:
    object_type = doc.object_type(node.get("lnType", ""), name)
    models = [
        dai
        for doi in children(node, "DOI")
        if doi.get("name") == name
        for dai in children(doi, "DAI")
        if dai.get("name") == "ctlModel" and value_of(dai) is not None
    ]
    known = object_type is not None and object_type.cdc in CTL_VALUES
    if models and object_type is not None and known:
        _check_services(object_type, models[0], value_of(models[0]) or "", found)
    elif known and rule(node.get("lnClass", ""), name):
        message = f"ctlModel of {node.get('lnClass', '')}{node.get('inst', '')}.{name} has no value"
        cure = "give it a Val in its DOType or a DAI: a client cannot know how to operate"
        found.add(node, "control", message, cure=cure, severity=Severity.WARNING)


def _check_services(object_type: ObjectType, place: etree._Element, model: str, found: Findings) -> None:
    for name in CONTROL_SERVICES.get(model, ()):
        if name not in object_type.attributes:
            message = f"ctlModel is {model!r}, and DOType {object_type.id!r} has no {name}"
            wanted = SERVICE_ATTRIBUTES[name]
            cure = f'add <DA name="{name}" fc="CO" bType="{wanted.btype}" …>, or write ctlModel status-only'
            found.add(place, "control", message, cure=cure)


def _check_no_more(object_type: ObjectType, model: str, found: Findings) -> None:
    if model not in CONTROL_SERVICES:
        return
    allowed = {*CONTROL_SERVICES[model], *([_CANCEL] if model != "status-only" else [])}
    for name in SERVICE_ATTRIBUTES:
        if name in object_type.attributes and name not in allowed:
            message = f"DOType {object_type.id!r} has {name}, and ctlModel is {model!r}"
            element = object_type.attributes[name].element
            found.add(element, "control", message, cure=f"remove {name}, or change ctlModel")
