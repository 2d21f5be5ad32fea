"""DataTypeTemplates: the types behind the tables, with the constants that all meters share as Val.

IEC 61850-6 clause 9.5. Names, order, types and triggers of attributes come from nsd_cdcs, those of them that
we serve from the table of common data classes.

>>> 'id="MV_V"' in render("status-only", "1.0")
True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from scl_builder.build.clients import CLIENT_NODE
from scl_builder.build.devices import Plates, plate_node
from scl_builder.build.project import ControlModel, model_revision
from scl_builder.build.text import digest, escape, visible
from scl_builder.model import logical_devices
from scl_builder.model.billing_nodes import DEFAULTS, Bills
from scl_builder.model.cdc import SERVED_CDCS, SERVED_MEMBERS
from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.deadbands import NO_BANDS, RANGE_CONFIG, Bands, limits
from scl_builder.model.logical_devices import Profile, meter_nodes
from scl_builder.model.nsd_cdcs import (
    CDCS,
    CONTROL_SERVICES,
    CTL_VALUES,
    SERVICE_ATTRIBUTES,
    STRUCTS,
    Attribute,
)
from scl_builder.model.nsd_enums import ENUMERATIONS
from scl_builder.model.tariff_in_force import gateway_nodes

PERCENT = "%"
"""The only unit that SIUnitKind does not have: hundredths, without a dimension."""

_CONTROL_MARKS = {"project": "control", "direct-with-normal-security": "direct"}
"""What of an object can be operated → the mark in its DOType's id."""


def control_model_of(do: DataObject, control_model: ControlModel) -> ControlModel:
    """ctlModel of ``do`` in a project with ``control_model``; status-only goes for all that it has."""
    if not do.control or control_model == "status-only":
        return "status-only"
    return control_model if do.control == "project" else do.control


def do_type_id(do: DataObject) -> str:
    """DOType id of ``do``; objects that differ in more than their source have different ones."""
    unit = None if do.unit is None else _unit_id(do)
    value = do.value.replace(" ", "")
    told = (*do.values, *do.part_values, *(("", name) for name in do.leaves_out))
    shared = digest(told) if told else ""
    parts = "_".join(fed.path[1] if fed.path[1:] else fed.value.path[0] for fed in do.fed if do.parts)
    marks = (do.enum, unit, value, do.description and do.name, _CONTROL_MARKS.get(do.control), parts, shared)
    return "_".join((do.cdc, *filter(None, marks)))


def _unit_id(do: DataObject) -> str:
    return {"": "1", None: "1", PERCENT: "percent"}.get(do.unit, do.unit or "")


def attributes(do: DataObject, control_model: ControlModel) -> list[Attribute]:
    """Attributes and sub data objects of ``do``, in the standard's order; the control services come last."""
    model = control_model_of(do, control_model)
    kind = SERVED_CDCS[do.cdc]
    names = {*kind.served, *(name for name, _ in do.values), *do.sub_objects}
    for value in kind.values:
        if value.name in dict(do.parts) or (do.source and not value.name):
            names |= kind.group(value.path[0])
    if do.description:
        names.add("d")
    if model != "status-only":
        names.update(("origin", "ctlNum"))
    if model.startswith("sbo"):
        names.update(("stSeld", "sboTimeout", "sboClass"))
    if model.endswith("enhanced-security"):
        names.add("operTimeout")
    names -= set(do.leaves_out)
    own = [attribute for attribute in CDCS[do.cdc] if attribute.name in names]
    return own + [SERVICE_ATTRIBUTES[name] for name in CONTROL_SERVICES[model]]


class _Told(NamedTuple):
    """What of the project stands in the types."""

    tool_version: str
    operate_timeout: int
    """ms."""
    revision: str
    freeze: int
    """ms; frPd."""


def _values(do: DataObject, control_model: ControlModel, told: _Told) -> dict[str, str]:
    """Attribute → the Val that its DOType carries."""
    values = {
        "ctlModel": control_model_of(do, control_model),
        "pulsQty": "1",
        "frEna": "true",
        "frPd": str(told.freeze),
        "frRs": "false",
        "sboTimeout": str(logical_devices.SELECT_TIMEOUT),
        "operTimeout": str(told.operate_timeout),
        "sboClass": "operate-once",
    }
    if do.value:
        values["stVal"] = do.value
    if do.description:
        values["d"] = do.description
    if do.cdc == "LPL":
        values |= {"vendor": logical_devices.VENDOR, "swRev": visible(told.tool_version, 255)}
        values |= {"ldNs": logical_devices.LD_NAMESPACE, "configRev": told.revision}
    return values | dict(do.values)


def _type_id(attribute: Attribute, do: DataObject) -> str:
    """``type`` of a DA or BDA: an EnumType or DAType id, or empty for a basic type."""
    match attribute.btype, attribute.type:
        case "Enum", kind:
            return kind or do.enum
        case "Struct", "Unit":
            return f"Unit_{_unit_id(do)}"
        case "Struct", "RangeConfig":
            return f"RangeConfig_{digest((('', dict(do.values)[RANGE_CONFIG]),))}"
        case "Struct", ("Oper" | "SBOw" | "Cancel") as service:
            return f"{service}_{do.cdc}"
    return attribute.type


def _element(tag: str, attribute: Attribute, type_id: str, value: str | None) -> str:
    xml = f'<{tag} name="{attribute.name}"'
    if attribute.fc:
        xml += f' fc="{attribute.fc}"'
    xml += f' bType="{attribute.btype}"' + (f' type="{type_id}"' if type_id else "")
    xml += "".join(f' {trigger}="true"' for trigger in attribute.triggers)
    if value is None:
        return xml + "/>"
    return f"{xml}><Val>{escape(value)}</Val></{tag}>"


def _do_type(do: DataObject, control_model: ControlModel, told: _Told) -> str:
    values, parts = _values(do, control_model, told), do.sub_objects
    rows = (
        f'<SDO name="{attribute.name}" type="{do_type_id(parts[attribute.name])}"/>'
        if attribute.name in parts
        else _element("DA", attribute, _type_id(attribute, do), _val(attribute, values))
        for attribute in attributes(do, control_model)
    )
    return "\n".join((f'<DOType id="{do_type_id(do)}" cdc="{do.cdc}">', *rows, "</DOType>"))


def _val(attribute: Attribute, values: Mapping[str, str]) -> str | None:
    """Its Val; a constructed attribute has its values in its type, and an empty text is none."""
    return None if attribute.btype == "Struct" else values.get(attribute.name) or None


def _members(struct: str, do: DataObject) -> Iterator[Attribute]:
    """Members that constructed attribute ``struct`` of ``do`` is served with; ctlVal gets its bType."""
    for member in STRUCTS[struct]:
        if member.name not in SERVED_MEMBERS[struct].split():
            continue
        ctl_value = member.btype == "CTL"
        btype = CTL_VALUES[do.cdc] if ctl_value else member.btype
        yield Attribute(member.name, "", btype, member.type, member.presence)


def _da_types(attribute: Attribute, do: DataObject) -> Iterator[tuple[str, str]]:
    """(id, XML) of the DAType behind a constructed attribute, and of those inside it."""
    if attribute.btype != "Struct":
        return
    if attribute.type == "RangeConfig":
        yield from _range_types(attribute, do)
        return
    type_id = _type_id(attribute, do)
    unit, multiplier = ("", "c") if do.unit == PERCENT else (do.unit, "")
    units = {"SIUnit": unit, "multiplier": multiplier} if attribute.type == "Unit" else {}
    members = list(_members(attribute.type, do))
    rows = (_element("BDA", member, _type_id(member, do), units.get(member.name)) for member in members)
    yield type_id, "\n".join((f'<DAType id="{type_id}">', *rows, "</DAType>"))
    for member in members:
        yield from _da_types(member, do)


def _range_types(attribute: Attribute, do: DataObject) -> Iterator[tuple[str, str]]:
    """The types of rangeC: that of each limit has its value."""
    told = limits(dict(do.values)[RANGE_CONFIG])
    type_id, members = _type_id(attribute, do), list(_members(attribute.type, do))
    rows = (_element("BDA", member, f"{member.type}_{told[member.name]}", None) for member in members)
    yield type_id, "\n".join((f'<DAType id="{type_id}">', *rows, "</DAType>"))
    for kind, text in {(member.type, told[member.name]) for member in members}:
        (value,) = _members(kind, do)
        yield f"{kind}_{text}", f'<DAType id="{kind}_{text}">\n{_element("BDA", value, "", text)}\n</DAType>'


def _enum_type(kind: str) -> str:
    rows = (f'<EnumVal ord="{ord_}">{escape(text)}</EnumVal>' for ord_, text in ENUMERATIONS[kind].items())
    return "\n".join((f'<EnumType id="{kind}">', *rows, "</EnumType>"))


def _enum_kinds(do: DataObject, control_model: ControlModel) -> set[str]:
    """Enumerations that ``do`` uses, directly or inside its constructed attributes."""
    pending, kinds = attributes(do, control_model), set()
    while pending:
        attribute = pending.pop()
        if attribute.btype == "Enum":
            kinds.add(_type_id(attribute, do))
        elif attribute.btype == "Struct":
            pending += _members(attribute.type, do)
    return kinds


def _with_parts(objects: Iterable[DataObject]) -> Iterator[DataObject]:
    """Data objects, each followed by its sub data objects."""
    for do in objects:
        yield do
        yield from _with_parts(do.sub_objects.values())


def _ln_type(node: LogicalNode) -> str:
    rows = (f'<DO name="{do.name}" type="{do_type_id(do)}"/>' for do in node.objects)
    return "\n".join((f'<LNodeType id="{node.type_id}" lnClass="{node.ln_class}">', *rows, "</LNodeType>"))


def _in_order(types: Iterable[tuple[str, str]]) -> list[str]:
    return [xml for _, xml in sorted(dict(types).items())]


@lru_cache(maxsize=64)
def render(
    control_model: ControlModel,
    tool_version: str,
    plates: Plates = frozenset(),
    profiles: frozenset[Profile] = frozenset((logical_devices.SINGLE_PHASE,)),
    *,
    operate_timeout: int = logical_devices.OPERATE_TIMEOUT,
    bands: Bands = NO_BANDS,
    bills: Bills = DEFAULTS,
    clients: bool = False,
) -> str:
    """The DataTypeTemplates element, sections and ids in order, one element a line."""
    revision = model_revision(control_model, bands, operate_timeout, bills)
    told = _Told(tool_version, operate_timeout, revision, bills.freeze)
    own = (node for profile in profiles for node in meter_nodes(profile, relay=True, bills=bills))
    nodes = [*gateway_nodes(tariffs=bills.tariffs), *map(bands.applied, map(bills.applied, own))]
    nodes += map(plate_node, plates)
    nodes += [CLIENT_NODE] if clients else []
    objects = list(_with_parts(do for node in nodes for do in node.objects))
    kinds = sorted(set().union(*(_enum_kinds(do, control_model) for do in objects)))
    da_types = (
        pair for do in objects for attr in attributes(do, control_model) for pair in _da_types(attr, do)
    )
    parts = [
        *_in_order((node.type_id, _ln_type(node)) for node in nodes),
        *_in_order((do_type_id(do), _do_type(do, control_model, told)) for do in objects),
        *_in_order(da_types),
        *map(_enum_type, kinds),
    ]
    return "\n".join(("<DataTypeTemplates>", *parts, "</DataTypeTemplates>\n"))
