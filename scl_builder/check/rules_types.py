"""Rules on DataTypeTemplates: references, classes, data objects, attributes (rules 4, 6).

What a class or a common data class must have comes from the tables nsd_nodes and nsd_cdcs.
"""

from __future__ import annotations

from collections.abc import Mapping

from scl_builder.check.document import Attr, Document, NodeType, ObjectType, ends_first
from scl_builder.check.rules_presence import check_presence
from scl_builder.model.nsd_cdcs import CDCS, CTL_VALUES, SERVICE_ATTRIBUTES, STRUCTS, TRIGGERS, Attribute
from scl_builder.model.nsd_nodes import COMPLETE_CLASSES, DERIVED, LN_CLASSES, rule
from scl_builder.read.findings import Findings, Severity

_SETTING_GROUPS = ("SG", "SE")


def check_types(doc: Document, found: Findings) -> None:
    """Every LNodeType, DOType and DAType of the file."""
    _check_references(doc, found)
    _check_loops(doc, found)
    for node_type in doc.node_types.values():
        _check_node_type(doc, node_type, found)
    for object_type in doc.object_types.values():
        _check_object_type(doc, object_type, found)


def _check_references(doc: Document, found: Findings) -> None:
    for node_type in doc.node_types.values():
        for name, do in node_type.objects.items():
            type_id = do.get("type", "")
            if type_id not in doc.object_types:
                message = f"DO {name} has type {type_id!r}, and no DOType has that id"
                found.add(do, "dangling", message, cure=_near(type_id, doc.object_types, "DOType"))
    for object_type in doc.object_types.values():
        _check_sub_objects(doc, object_type, found)
        for attr in object_type.attributes.values():
            _check_attribute_type(doc, attr, found)
    for members in doc.struct_types.values():
        for attr in members.values():
            _check_attribute_type(doc, attr, found)


def _check_sub_objects(doc: Document, object_type: ObjectType, found: Findings) -> None:
    for name, type_id in object_type.sub_objects.items():
        if type_id not in doc.object_types:
            message = f"SDO {name} of {object_type.id!r} has type {type_id!r}, and no DOType has that id"
            cure = _near(type_id, doc.object_types, "DOType")
            found.add(object_type.element, "dangling", message, cure=cure)


def _check_attribute_type(doc: Document, attr: Attr, found: Findings) -> None:
    kinds: dict[str, tuple[str, Mapping[str, object]]] = {
        "Enum": ("EnumType", doc.enums),
        "Struct": ("DAType", doc.struct_types),
    }
    if attr.btype not in kinds:
        return
    kind, known = kinds[attr.btype]
    if attr.type not in known:
        message = f"{attr.name} has type {attr.type!r}, and no {kind} has that id"
        found.add(attr.element, "dangling", message, cure=_near(attr.type, known, kind))


def _near(type_id: str, known: Mapping[str, object], kind: str) -> str:
    """A cure that names the id that was meant, if one differs in case or by a mark only."""

    def plain(text: str) -> str:
        return "".join(char for char in text.casefold() if char.isalnum())

    meant = [other for other in known if plain(other) == plain(type_id)]
    return f"write {meant[0]!r}" if meant else f"add the {kind}, or name one that exists"


def _check_loops(doc: Document, found: Findings) -> None:
    """A type that holds itself, directly or not, has no end."""
    for key in _in_loops(doc.struct_graph):
        message = f"DAType {key!r} contains itself"
        found.add(doc.struct_elements[key], "loop", message, cure="break the loop")
    for key in _in_loops(doc.object_graph):
        message = f"DOType {key!r} contains itself"
        found.add(doc.object_types[key].element, "loop", message, cure="break the loop")


def _in_loops(graph: Mapping[str, list[str]]) -> set[str]:
    """Nodes that lead to a loop and are led to from one: those of loops, and those between two."""
    looped = graph.keys() - set(ends_first(graph))
    backwards: dict[str, list[str]] = {key: [] for key in looped}
    for key in looped:
        for target in graph[key]:
            if target in looped:
                backwards[target].append(key)
    return looped - set(ends_first(backwards))


def _check_node_type(doc: Document, node_type: NodeType, found: Findings) -> None:
    ln_class = node_type.ln_class
    if ln_class not in LN_CLASSES:
        if not _is_extension(doc, node_type):
            message = f"lnClass {ln_class!r} of LNodeType {node_type.id!r} is not in IEC 61850-7-4"
            cure = "use a class of 7-4, or name its name space in NamPlt.lnNs"
            found.add(node_type.element, "ln-class", message, cure=cure, severity=Severity.WARNING)
        return
    _check_name_plate(doc, node_type, found)
    for name in node_type.objects:
        _check_object(doc, node_type, name, found)
    for wanted in LN_CLASSES[ln_class].values():
        presence = wanted.of(derived=DERIVED in node_type.objects)
        mandatory = presence == "M" or (presence == "MOrootLD" and "GrRef" not in node_type.objects)
        condition, _, sibling = presence.partition(":")
        mandatory = mandatory or (condition == "1of" and sibling not in node_type.objects)
        if mandatory and wanted.name not in node_type.objects:
            message = f"LNodeType {node_type.id!r} ({ln_class}) lacks the mandatory {wanted.name}"
            cure = f'add <DO name="{wanted.name}" …> of CDC {wanted.cdc}'
            found.add(node_type.element, "do-missing", message, cure=cure)


def _check_name_plate(doc: Document, node_type: NodeType, found: Findings) -> None:
    """configRev is mandatory in LLN0; ldNs belongs to LLN0 alone (that it is there: rules_values)."""
    plate = doc.object_type(node_type.id, "NamPlt")
    if plate is None or plate.cdc != "LPL":
        return
    if node_type.ln_class == "LLN0" and "configRev" not in plate.attributes:
        message = f"DOType {plate.id!r} (LPL), the NamPlt of LLN0, lacks configRev"
        cure = 'add <DA name="configRev" fc="DC" bType="VisString255" …>'
        found.add(plate.element, "da-missing", message, cure=cure)
    if node_type.ln_class != "LLN0" and "ldNs" in plate.attributes:
        message = f"NamPlt of {node_type.ln_class} ({plate.id}) has ldNs"
        cure = "give it a DOType of its own: only LLN0 names the name space of the logical device"
        found.add(node_type.objects["NamPlt"], "da-unknown", message, cure=cure)


def _is_extension(doc: Document, node_type: NodeType) -> bool:
    plate = doc.object_type(node_type.id, "NamPlt")
    return plate is not None and "lnNs" in plate.attributes


def _check_object(doc: Document, node_type: NodeType, name: str, found: Findings) -> None:
    do, ln_class = node_type.objects[name], node_type.ln_class
    object_type = doc.object_types.get(do.get("type", ""))
    wanted = rule(ln_class, name)
    if wanted is None:
        is_extension = object_type is not None and "dataNs" in object_type.attributes
        if ln_class in COMPLETE_CLASSES and not is_extension:
            message = f"{ln_class} has no data object {name!r}"
            found.add(do, "do-unknown", message, cure="remove it, or name its name space in dataNs")
        return
    condition, _, sibling = wanted.of(derived=DERIVED in node_type.objects).partition(":")
    if condition == "OF" and sibling not in node_type.objects:
        message = f"{name} of {ln_class} is forbidden without {sibling}"
        found.add(do, "do-unknown", message, cure=f"add {sibling}, or remove {name}")
    if condition == "F":
        message = f"{name} of {ln_class} is forbidden beside {DERIVED}: it is a derived statistic"
        found.add(do, "do-unknown", message, cure=f"remove {name} or {DERIVED}")
    if condition == "1of" and sibling in node_type.objects:
        message = f"{name} of {ln_class} is forbidden beside {sibling}"
        found.add(do, "do-unknown", message, cure=f"remove {name} or {sibling}")
    if object_type is not None and object_type.cdc != wanted.cdc:
        message = f"{name} of {ln_class} has CDC {object_type.cdc!r} ({object_type.id})"
        found.add(do, "cdc", message, cure=f"use a DOType of CDC {wanted.cdc}")


def _check_object_type(doc: Document, object_type: ObjectType, found: Findings) -> None:
    table = CDCS.get(object_type.cdc)
    if table is None:
        return
    known = {attribute.name: attribute for attribute in table}
    if object_type.cdc in CTL_VALUES:
        known |= SERVICE_ATTRIBUTES
    for attr in object_type.attributes.values():
        if attr.name not in known:
            if "dataNs" not in object_type.attributes:
                message = f"{object_type.cdc} has no attribute {attr.name!r} (DOType {object_type.id!r})"
                cure = "remove it, or name its name space in dataNs"
                found.add(attr.element, "da-unknown", message, cure=cure)
            continue
        _check_attribute(doc, object_type, attr, known[attr.name], found)
    _check_sub_cdcs(doc, object_type, known, found)
    check_presence(doc, object_type, table, found)


def _check_sub_cdcs(
    doc: Document, object_type: ObjectType, known: Mapping[str, Attribute], found: Findings
) -> None:
    for name, type_id in object_type.sub_objects.items():
        wanted = known.get(name)
        if wanted is None or wanted.fc != "SDO":
            message = f"{object_type.cdc} has no sub data object {name!r}"
            found.add(object_type.element, "da-unknown", message, cure="remove it")
        elif type_id in doc.object_types and doc.object_types[type_id].cdc != wanted.type:
            message = f"{name} of {object_type.cdc} has CDC {doc.object_types[type_id].cdc!r}"
            found.add(object_type.element, "cdc", message, cure=f"use a DOType of CDC {wanted.type}")


def _check_attribute(
    doc: Document, object_type: ObjectType, attr: Attr, wanted: Attribute, found: Findings
) -> None:
    is_setting = wanted.fc == "SP" and attr.fc in _SETTING_GROUPS
    if attr.fc != wanted.fc and not is_setting:
        message = f"{attr.name} of {object_type.cdc} has fc {attr.fc!r}"
        found.add(attr.element, "da-fc", message, cure=f'write fc="{wanted.fc}"')
    _check_basic_type(object_type.cdc, attr, wanted.btype, found)
    _check_triggers(object_type.cdc, attr, wanted, found)
    if wanted.btype == attr.btype == "Struct" and wanted.type in STRUCTS:
        _check_struct(doc, attr, wanted.type, object_type.cdc, found)


def _check_basic_type(where: str, attr: Attr, wanted: str, found: Findings) -> None:
    if attr.btype != wanted:
        message = f"{attr.name} of {where} has bType {attr.btype!r}"
        found.add(attr.element, "da-type", message, cure=f'write bType="{wanted}"')


def _check_triggers(cdc: str, attr: Attr, wanted: Attribute, found: Findings) -> None:
    """A trigger that 7-3 does not give is told, and a status or measured value that never reports."""
    written = {name for name in TRIGGERS if attr.element.get(name) in ("true", "1")}
    missing = [name for name in wanted.triggers if name not in written and name != "dupd"]
    if extra := written - set(wanted.triggers):
        message = f"{attr.name} of {cdc} has trigger {', '.join(sorted(extra))}"
        found.add(attr.element, "trigger", message, cure="remove it: 7-3 gives it none")
    elif missing and wanted.fc in ("ST", "MX") and wanted.presence != "O":
        message = f"{attr.name} of {cdc} lacks {missing[0]}: a change would never be reported"
        cure = f'write {missing[0]}="true"'
        found.add(attr.element, "trigger", message, cure=cure, severity=Severity.WARNING)


def _check_struct(doc: Document, attr: Attr, kind: str, cdc: str, found: Findings) -> None:
    """Members of the DAType behind ``attr``, which 7-3 or 8-1 calls ``kind``."""
    members = doc.struct_types.get(attr.type)
    if members is None:
        return
    element = doc.struct_elements[attr.type]
    known = {member.name: member for member in STRUCTS[kind]}
    for member in members.values():
        wanted = known.get(member.name)
        if wanted is None:
            found.add(member.element, "da-unknown", f"{kind} has no member {member.name!r}", cure="remove it")
            continue
        btype = CTL_VALUES.get(cdc, member.btype) if wanted.btype == "CTL" else wanted.btype
        _check_basic_type(kind, member, btype, found)
        if wanted.btype == member.btype == "Struct" and wanted.type != kind:
            _check_struct(doc, member, wanted.type, cdc, found)
    for wanted in known.values():
        if wanted.presence == "M" and wanted.name not in members:
            message = f"DAType {attr.type!r} ({kind}) lacks {wanted.name}"
            found.add(element, "da-missing", message, cure=f'add <BDA name="{wanted.name}" …>')
    choice = [member.name for member in known.values() if member.presence.startswith("AtLeastOne")]
    if choice and not members.keys() & set(choice):
        message = f"DAType {attr.type!r} ({kind}) has none of {', '.join(choice)}"
        found.add(element, "da-missing", message, cure=f'add <BDA name="{choice[-1]}" …>')
