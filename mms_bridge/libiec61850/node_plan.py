"""How the data objects of a logical node type are made in the library's model: planned once, run often.

A town has thousands of logical devices of a handful of types. What is the same in all of them (names,
types, functional constraints, triggers, constant values, which attributes are fed) stands here; what is a
device's own (its instance values) is added by ``ied_model.py``.

>>> [plan.name for plan in plans(node_type)]  # doctest: +SKIP
[b'Beh', b'Amp', b'Vol', b'Watt', b'VolAmp', b'PwrFact', b'Hz']
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from mms_bridge.datamodel.bands import BAND_SETTINGS
from mms_bridge.libiec61850.bindings import ATTRIBUTE_TYPES, lib
from scl_builder.model.cdc import FunctionalConstraint, Path
from scl_builder.read.cid import Attribute, DataObject, NodeType


class Kind(Enum):
    """How a value attribute is written."""

    BOOLEAN = "BOOLEAN"
    INT32 = "INT32"
    INT64 = "INT64"
    FLOAT = "FLOAT32"
    DBPOS = "Dbpos"
    TEXT = "VisString255"


TEXTS = ("VisString32", "VisString64", "VisString129", "VisString255", "ObjRef", "Unicode255")
"""bTypes of texts that have a Val."""

_KINDS = {kind.value: kind for kind in Kind} | {"Enum": Kind.INT32}

PROCESS = (FunctionalConstraint.ST, FunctionalConstraint.MX)
"""Functional constraints of what the process says, with its q and t."""


class Fed(NamedTuple):
    """Where a value, its q and its t are, in the order in which the attributes are made."""

    name: str
    """From the data object down: ``Vol``, ``PhV.phsA``, ``DmdWh.frVal``."""
    kind: Kind
    places: tuple[int, int, int]
    path: Path
    """Of the data object or sub data object."""
    instant: int = 0
    """Place of the value without a deadband (instMag.f); 0: it has none."""
    range: int = 0
    """Place of range, likewise."""
    settings: Mapping[Path, str] = {}
    """What its type says of deadband and range: path below the data object → Val."""


class Creation(NamedTuple):
    """An attribute or a sub data object; ``parent`` is a place, 0 is the data object itself."""

    name: bytes
    parent: int
    b_type: int | None
    """None: a sub data object."""
    fc: int
    triggers: int


_Row = tuple[Creation, Attribute | None, Path]
"""A node of the model, its attribute (None for a data object), and its path from the data object down."""


@dataclass(frozen=True)
class Plan:
    """One data object of a type."""

    name: bytes
    obj: DataObject
    attributes: tuple[Creation, ...]
    """In this order they get the places 1, 2, …"""
    sources: tuple[Attribute | None, ...]
    """The attribute of each place; None for a data object."""
    places: Mapping[Path, int]
    constants: tuple[tuple[int, int], ...]
    """Place and MmsValue of each constant of the type; the library takes a copy."""
    qualities: tuple[int, ...]
    """Places of q; invalid, unless the file gives the object a value, until something feeds it."""
    fed: tuple[Fed, ...]
    control_model: tuple[Mapping[str, int], str] | None
    """Literals of ctlModel and its value in the type, if the object has Oper."""


_plans: weakref.WeakKeyDictionary[NodeType, tuple[Plan, ...]] = weakref.WeakKeyDictionary()


def plans(node_type: NodeType) -> tuple[Plan, ...]:
    """The plans of a type's data objects; ValueError names what the library could not take."""
    found = _plans.get(node_type)
    if found is None:
        found = _plans[node_type] = tuple(map(_plan, node_type.objects))
        weakref.finalize(node_type, _free, [value for plan in found for _, value in plan.constants])
    return found


def _free(values: list[int]) -> None:
    for value in values:
        lib.MmsValue_delete(value)


def create(creation: Creation, parent: int) -> int:
    """Make the node below ``parent`` in the library's model; its handle."""
    name, _, b_type, fc, triggers = creation
    if b_type is None:
        return int(lib.DataObject_create(name, parent, 0))
    return int(lib.DataAttribute_create(name, parent, b_type, fc, triggers, 0, 0))


def _plan(obj: DataObject) -> Plan:
    flat: list[_Row] = []
    _flatten_object(obj, 0, (obj.name,), flat)
    places = {path: place for place, (_, _, path) in enumerate(flat, 1)}
    constants = tuple(
        (place, mms_value(attribute, attribute.value))
        for place, (_, attribute, _) in enumerate(flat, 1)
        if attribute is not None and attribute.value is not None
    )
    return Plan(
        obj.name.encode(),
        obj,
        tuple(creation for creation, _, _ in flat),
        (None, *(attribute for _, attribute, _ in flat)),
        places,
        constants,
        _qualities(flat),
        tuple(_fed(obj, places, flat)),
        _control_model(obj),
    )


def _flatten_object(obj: DataObject, place: int, path: Path, flat: list[_Row]) -> None:
    """The attributes and sub data objects of ``obj``, which has ``place``."""
    for attribute in obj.attributes:
        _flatten(attribute, place, (*path, attribute.name), flat)
    for part in obj.parts:
        flat.append((Creation(part.name.encode(), place, None, 0, 0), None, (*path, part.name)))
        _flatten_object(part, len(flat), (*path, part.name), flat)


def _flatten(attribute: Attribute, parent: int, path: Path, flat: list[_Row]) -> None:
    b_type = ATTRIBUTE_TYPES.get(attribute.b_type)
    if b_type is None:
        raise ValueError(f"{'.'.join(path)}: bType {attribute.b_type} cannot be served")
    creation = Creation(attribute.name.encode(), parent, b_type, attribute.fc, attribute.triggers)
    flat.append((creation, attribute, path))
    place = len(flat)
    for child in attribute.children:
        _flatten(child, place, (*path, child.name), flat)


def _qualities(flat: list[_Row]) -> tuple[int, ...]:
    """Where q is, but for the objects to which the type gives a value."""
    given = [
        path
        for _, attribute, path in flat
        if attribute is not None and attribute.value is not None and attribute.fc in PROCESS
    ]
    return tuple(
        place
        for place, (_, attribute, (*above, _)) in enumerate(flat, 1)
        if attribute is not None
        and attribute.b_type == "Quality"
        and not any(list(path[: len(above)]) == above for path in given)
    )


def _fed(obj: DataObject, places: Mapping[Path, int], flat: list[_Row]) -> Iterator[Fed]:
    """The values for which the file has all three attributes."""
    for name, path, value in obj.values():
        wanted = [places.get((*path, *tail)) for tail in (value.path, (value.q,), (value.t,))]
        found = [place for place in wanted if place is not None]
        attributes = [attribute for place in found if (attribute := flat[place - 1][1]) is not None]
        if len(attributes) < len(wanted) or any(one.fc not in PROCESS for one in attributes):
            continue
        kind = _KINDS.get(attributes[0].b_type)
        if kind is None:
            raise ValueError(f"{name}: bType {attributes[0].b_type} is none that we write")
        value_at, q, t = found
        instant = places.get((*path, *value.instant), 0) if value.instant else 0
        settings = _band_settings(path, places, flat)
        yield Fed(name, kind, (value_at, q, t), path, instant, places.get((*path, "range"), 0), settings)


def _band_settings(path: Path, places: Mapping[Path, int], flat: list[_Row]) -> dict[Path, str]:
    """What the type says of the deadband and the range of the data object at ``path``."""
    wanted = ((tail, places.get((*path, *tail))) for tail in BAND_SETTINGS)
    found = ((tail, flat[place - 1][1]) for tail, place in wanted if place is not None)
    return {tail: one.value for tail, one in found if one is not None and one.value is not None}


def _control_model(obj: DataObject) -> tuple[Mapping[str, int], str] | None:
    attributes = {attribute.name: attribute for attribute in obj.attributes}
    if "ctlModel" not in attributes or "Oper" not in attributes:
        return None
    return attributes["ctlModel"].literals, attributes["ctlModel"].value or "status-only"


# bType -> MmsValue constructor for a Val's text
_FROM_TEXT: dict[str, Callable[[str], int]] = {
    "BOOLEAN": lambda text: int(lib.MmsValue_newBoolean(text in ("true", "1"))),
    "FLOAT32": lambda text: int(lib.MmsValue_newFloat(float(text))),
    "Unicode255": lambda text: int(lib.MmsValue_newMmsString(text.encode())),
    **dict.fromkeys(
        ("INT8", "INT16", "INT32"), lambda text: int(lib.MmsValue_newIntegerFromInt32(int(text)))
    ),
    "INT64": lambda text: int(lib.MmsValue_newIntegerFromInt64(int(text))),
    **dict.fromkeys(
        ("INT8U", "INT16U", "INT32U"), lambda text: int(lib.MmsValue_newUnsignedFromUint32(int(text)))
    ),
    **dict.fromkeys(
        TEXTS[:-1],
        lambda text: int(lib.MmsValue_newVisibleString(text.encode("latin-1", "replace"))),
    ),
}


def mms_value(attribute: Attribute | None, text: str) -> int:
    """A new MmsValue of ``text``; ValueError if the attribute takes none such."""
    if attribute is None:
        raise ValueError(f"a data object takes no value such as {text!r}")
    if attribute.b_type == "Enum":
        if text not in attribute.literals:
            raise ValueError(f"{attribute.name}: {text!r} is none of {', '.join(attribute.literals)}")
        return int(lib.MmsValue_newIntegerFromInt32(attribute.literals[text]))
    if attribute.b_type not in _FROM_TEXT:
        raise ValueError(f"{attribute.name}: a Val of bType {attribute.b_type} cannot be served")
    return _FROM_TEXT[attribute.b_type](text)
