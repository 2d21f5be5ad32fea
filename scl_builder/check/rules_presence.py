"""Presence conditions of attributes (rule 6): the standard's names for when an attribute must be there.

M always; MO:x with sibling x; OF:x never without it; groups all or none, or at least one; MFsubst the four
substitution attributes together; MOsbo and MOenhanced by the control model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from scl_builder.check.document import Document, ObjectType
from scl_builder.model.nsd_cdcs import Attribute
from scl_builder.read.findings import Findings

_ALL_OR_NONE = ("MFsubst", "AllOrNonePerGroup", "MAllOrNonePerGroup")
_WHOLE = "AllAtLeastOneGroup"
"""Each of the groups all or none, and at least one of them."""


def check_presence(
    doc: Document, object_type: ObjectType, table: Sequence[Attribute], found: Findings
) -> None:
    """Attributes that ``object_type`` lacks, or has without what they belong to."""
    present = set(object_type.attributes) | set(object_type.sub_objects)
    for attribute in table:
        why = _why_mandatory(object_type, attribute, present)
        if attribute.name not in present and why is not None:
            message = f"DOType {object_type.id!r} ({object_type.cdc}) lacks {attribute.name}{why}"
            found.add(object_type.element, "da-missing", message, cure=_addition(attribute))
        condition, _, sibling = attribute.presence.partition(":")
        if condition == "OF" and attribute.name in present and sibling not in present:
            message = f"{attribute.name} of {object_type.cdc} is forbidden without {sibling}"
            attr = object_type.attributes[attribute.name]
            found.add(attr.element, "da-unknown", message, cure=f"add {sibling}, or remove it")
    _check_groups(object_type, table, present, found)
    _check_scaled(doc, object_type, present, found)


def _addition(attribute: Attribute) -> str:
    if attribute.fc == "SDO":
        return f'add <SDO name="{attribute.name}" …> of CDC {attribute.type}'
    return f'add <DA name="{attribute.name}" fc="{attribute.fc}" bType="{attribute.btype}" …>'


def _why_mandatory(object_type: ObjectType, attribute: Attribute, present: set[str]) -> str | None:
    """Why the attribute must be there: a phrase, empty if it simply must, None if it need not."""
    condition, _, sibling = attribute.presence.partition(":")
    model = object_type.attributes["ctlModel"].value or "" if "ctlModel" in object_type.attributes else ""
    match condition:
        case "M":
            return ""
        case "MO" if sibling in present:
            return f", which goes with {sibling}"
        case "MOsbo" if model.startswith("sbo"):
            return f", which ctlModel {model} asks for"
        case "MOenhanced" if model.endswith("enhanced-security"):
            return f", which ctlModel {model} asks for"
    return None


def _check_groups(
    object_type: ObjectType, table: Sequence[Attribute], present: set[str], found: Findings
) -> None:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for attribute in table:
        condition, _, number = attribute.presence.partition(":")
        groups[condition, number].append(attribute.name)
    for (condition, _), names in groups.items():
        missing = [name for name in names if name not in present]
        if condition == "AtLeastOne" and len(missing) == len(names):
            _tell(object_type, f"one of {', '.join(names)}", found)
        elif condition in (*_ALL_OR_NONE, _WHOLE) and 0 < len(missing) < len(names):
            _tell(object_type, f"{', '.join(missing)}: {', '.join(names)} go together", found)
    choices = [names for (condition, _), names in groups.items() if condition == _WHOLE]
    if choices and all(present.isdisjoint(names) for names in choices):
        _tell(object_type, " or ".join(", ".join(names) for names in choices), found)


def _tell(object_type: ObjectType, what: str, found: Findings) -> None:
    message = f"DOType {object_type.id!r} ({object_type.cdc}) lacks {what}"
    found.add(object_type.element, "da-missing", message, cure="add what is missing, or remove its group")


def _check_scaled(doc: Document, object_type: ObjectType, present: set[str], found: Findings) -> None:
    """A magnitude that is an integer only needs its scale."""
    magnitude = object_type.attributes.get("mag")
    members = doc.struct_types.get(magnitude.type, {}) if magnitude else {}
    if "i" in members and "f" not in members and "sVC" not in present:
        _tell(object_type, "sVC, without which an integer value has no scale", found)
