"""MICS: the logical nodes, data objects and attributes of docs/conformance.md, read from a CID of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scl_builder.build.project import GATEWAY_INST, ControlModel
from scl_builder.model.cdc import FunctionalConstraint, ReportOption, TriggerOption
from scl_builder.model.data_object import BILLING, FILE, READING, LogicalNode
from scl_builder.model.data_object import DataObject as Row
from scl_builder.model.logical_devices import GATEWAY_LD, PROFILES, Profile
from scl_builder.model.measuring import ways
from scl_builder.read.cid import Attribute, Cid, DataObject, Device, Node
from scl_builder.read.report_control import Report

_HEAD = """
## MICS: model

This section lists every served attribute. Constants from the file are marked; all other values come from the
meters' MQTT topics ([topics.md](topics.md)) or from the state of the gateway.
"""


def model_markdown(cid: Cid, control_models: Mapping[ControlModel, frozenset[str]]) -> str:
    """The section: both kinds of logical device, data sets, report control blocks, control, enumerations."""
    (gateway,) = (device for device in cid.devices if device.domain == cid.ied + GATEWAY_INST)
    meters = (device for device in cid.devices if device is not gateway)
    return "".join(
        (
            _HEAD,
            f"\n### The IED's own logical device ({gateway.domain})\n\n",
            *_device(gateway, GATEWAY_LD),
            *(
                line
                for meter, profile in zip(meters, PROFILES, strict=True)
                for line in _meter(meter, profile)
            ),
            *_control_blocks(cid),
            *_control(cid, control_models),
            *_enumerations(cid),
        )
    )


def _meter(meter: Device, profile: Profile) -> Iterator[str]:
    yield f"\n### Logical device of a {profile.name} meter (such as {meter.domain})\n\n"
    if profile.exact:
        yield "A meter has the rows that its birth feeds; of alternatives the first that fits.\n\n"
    yield from _device(meter, profile.nodes)


def _device(device: Device, table: tuple[LogicalNode, ...]) -> Iterator[str]:
    sources = {(node.name, obj.name): _fed_from(obj) for node in table for obj in node.objects}
    yield "| data object | CDC | attributes by functional constraint | fed from |\n|---|---|---|---|\n"
    for node in device.nodes:
        for obj in node.objects:
            yield (
                f"| {node.name}.{obj.name} | {obj.cdc} | {_attributes(obj)} "
                f"| {sources.get((node.name, obj.name), '')} |\n"
            )


def _fed_from(obj: Row) -> str:
    if obj.source == FILE:
        return "the file"
    return ", ".join(
        _source(fed.source) if fed.name == obj.name else f"{fed.name} {_source(fed.source)}"
        for fed in obj.fed
    )


def _source(source: str) -> str:
    """What of a reading, or of a bill, it is, in the order in which a meter may have it."""
    name = source.removeprefix(READING).removeprefix(BILLING)
    if name == source:
        return f"`{source}`"
    return ", else ".join(f"`{source.removesuffix(name)}{way}`" for way in ways(name))


def _attributes(obj: DataObject) -> str:
    by_fc: dict[str, list[str]] = {}
    for fc, name in _named(obj):
        by_fc.setdefault(fc, []).append(name)
    return "; ".join(f"{fc}: {' '.join(names)}" for fc, names in by_fc.items())


def _named(obj: DataObject, above: str = "") -> Iterator[tuple[str, str]]:
    """Functional constraint and name of each attribute, those of sub data objects first."""
    for part in obj.parts:
        yield from _named(part, f"{above}{part.name}.")
    for attribute in obj.attributes:
        names = [attribute.name] if attribute.fc is FunctionalConstraint.CO else _leaves(attribute)
        yield from ((attribute.fc.name, above + name) for name in names)


def _leaves(attribute: Attribute) -> list[str]:
    if not attribute.children:
        return [attribute.name]
    return [f"{attribute.name}.{leaf}" for child in attribute.children for leaf in _leaves(child)]


def _control_blocks(cid: Cid) -> Iterator[str]:
    yield "\n### Data sets and report control blocks\n\n"
    yield "| data set | members, of one meter |\n|---|---|\n"
    for device, node in _nodes(cid):
        for name, members in node.data_sets:
            shown = ", ".join(
                f"{'' if member.device == device.domain else f'{member.device}/'}"
                f"{'.'.join((member.node, *member.path))} [{member.fc}]"
                for member in members
            )
            yield f"| {device.domain}/{node.name}.{name} | {shown} |\n"
    columns = ("block", "kind", "instances", "data set", "triggers", "options", "bufTm", "intgPd")
    yield f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    for device, node in _nodes(cid):
        for report in node.reports:
            yield _report(f"{device.domain}/{node.name}", report)


def _report(node: str, report: Report) -> str:
    kind = "BRCB" if report.buffered else "URCB"
    first, *_, last = [*report.instance_names()] * 2
    names = first if first == last else f"{first} to {last}"
    return (
        f"| {node}.{report.name} | {kind} | {report.instances}: {names} | {report.data_set} "
        f"| {_flags(report.triggers)} | {_flags(report.options)} | {report.buffer_ms} ms "
        f"| {report.integrity_ms} ms |\n"
    )


def _flags(value: TriggerOption | ReportOption) -> str:
    return ", ".join((flag.name or "").lower().replace("_", "-") for flag in type(value) if flag in value)


def _control(cid: Cid, control_models: Mapping[ControlModel, frozenset[str]]) -> Iterator[str]:
    yield "\n### Control models\n\n| object | ctlModel |\n|---|---|\n"
    for device, node in _nodes(cid):
        for obj in node.objects:
            models = [a.value for a in obj.attributes if a.name == "ctlModel"]
            if models and models[0] != "status-only":
                yield f"| {device.domain}/{node.name}.{obj.name} | {models[0]} |\n"
    yield "\n`METER61850_CONTROL_MODEL` of the bridge chooses that of CSWI1.Pos:\n\n"
    yield "| ctlModel | control services |\n|---|---|\n"
    for model, services in control_models.items():
        yield f"| {model} | {', '.join(sorted(services)) or 'none'} |\n"


def _enumerations(cid: Cid) -> Iterator[str]:
    found: dict[str, str] = {}
    for _, node in _nodes(cid):
        for obj in node.objects:
            for path, literals in _object_enums(obj, f"{node.name}.{obj.name}"):
                found.setdefault(literals, path)
    yield "\n### Enumerations\n\nEach with the first place where it is used.\n\n"
    yield "| used in | ordinals |\n|---|---|\n"
    for literals, path in sorted(found.items(), key=lambda item: item[1]):
        yield f"| {path} | {literals} |\n"


def _object_enums(obj: DataObject, path: str) -> Iterator[tuple[str, str]]:
    for attribute in obj.attributes:
        yield from _enums(attribute, path)
    for part in obj.parts:
        yield from _object_enums(part, f"{path}.{part.name}")


def _enums(attribute: Attribute, path: str) -> Iterator[tuple[str, str]]:
    path = f"{path}.{attribute.name}"
    if attribute.literals and len(attribute.literals) < 20:  # units are those of IEC 61850-7-3, Annex A
        yield path, ", ".join(f"{ordinal} {literal}" for literal, ordinal in attribute.literals.items())
    for child in attribute.children:
        yield from _enums(child, path)


def _nodes(cid: Cid) -> Iterator[tuple[Device, Node]]:
    for device in cid.devices:
        for node in device.nodes:
            yield device, node
