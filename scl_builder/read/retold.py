"""What a CID tells anew that leaves the model as it was: texts that describe, and whose a spare device is.

A server's model is fixed when it is made; its texts are not. So a CID that differs from the one that is
served in names, places and plates alone needs no other server, and its clients and their buffers live on.

>>> retold(before, after)  # doctest: +SKIP
Retold(owners={'SMGW001M17': '3f2504e0-…'}, texts=(Text('SMGW001M17', 'LLN0', ('NamPlt', 'd'), …),))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scl_builder.model.cdc import FunctionalConstraint, Path
from scl_builder.read.cid import Attribute, Cid, DataObject, Device, Node, NodeType

_TEXTS = ("VisString32", "VisString64", "VisString129", "VisString255", "Unicode255")
_OF_THE_MODEL = ("configRev", "paramRev", "valRev")
"""Texts that count the changes of something else."""


class Text(NamedTuple):
    """A text that is another one now."""

    domain: str
    node: str
    path: Path
    """From the data object down."""
    attribute: Attribute
    value: str


@dataclass(frozen=True)
class Retold:
    """What is new."""

    owners: Mapping[str, str]
    """MMS domain of each device that was nobody's → the meter_id of its meter."""
    texts: tuple[Text, ...]


def retold(before: Cid, after: Cid) -> Retold | None:
    """What ``after`` tells anew; None if its model is another, or a device has changed its owner."""
    types = _Types()
    if _frame(before) != _frame(after) or len(before.devices) != len(after.devices):
        return None
    owners, texts = dict[str, str](), list[Text]()
    for old, new in zip(before.devices, after.devices, strict=True):
        if not types.alike(old, new) or old.meter_id not in ("", new.meter_id):
            return None
        if old.meter_id != new.meter_id:
            owners[new.domain] = new.meter_id
        texts += types.changed(old, new)
    return Retold(owners, tuple(texts))


def _frame(cid: Cid) -> tuple[object, ...]:
    return cid.ied, cid.endpoint, cid.tls_endpoint, cid.max_associations


@dataclass(frozen=True)
class _Shape:
    """A node type without its texts, and its texts."""

    model: object
    texts: Mapping[Path, Attribute]


class _Types:
    """The shapes of two files' types, each made once."""

    def __init__(self) -> None:
        self._shapes: dict[NodeType, _Shape] = {}

    def _of(self, node_type: NodeType) -> _Shape:
        if node_type not in self._shapes:
            texts = {path: attribute for obj in node_type.objects for path, attribute in _texts(obj, ())}
            self._shapes[node_type] = _Shape(tuple(map(_object, node_type.objects)), texts)
        return self._shapes[node_type]

    def alike(self, old: Device, new: Device) -> bool:
        """Whether two devices are the same but for texts."""
        same_names = (old.domain, old.inst) == (new.domain, new.inst) and len(old.nodes) == len(new.nodes)
        return same_names and all(
            (one.name, one.data_sets, one.reports) == (other.name, other.data_sets, other.reports)
            and (one.type is other.type or self._of(one.type).model == self._of(other.type).model)
            and self._values(one) == self._values(other)
            for one, other in zip(old.nodes, new.nodes, strict=True)
        )

    def _values(self, node: Node) -> dict[Path, str]:
        """The instance's values that are no texts."""
        if not node.values:
            return {}
        texts = self._of(node.type).texts
        return {path: value for path, value in node.values.items() if path not in texts}

    def changed(self, old: Device, new: Device) -> Iterator[Text]:
        """The texts that are others now."""
        for one, other in zip(old.nodes, new.nodes, strict=True):
            if one.type is other.type and one.values == other.values:
                continue
            before = self._of(one.type).texts
            for path, attribute in self._of(other.type).texts.items():
                value = _text(other, path, attribute)
                if value != _text(one, path, before[path]):
                    yield Text(new.domain, other.name, path, attribute, value)


def _text(node: Node, path: Path, attribute: Attribute) -> str:
    return node.values.get(path, attribute.value or "")


def _is_text(attribute: Attribute) -> bool:
    return (
        attribute.fc is FunctionalConstraint.DC
        and attribute.b_type in _TEXTS
        and attribute.name not in _OF_THE_MODEL
    )


def _texts(obj: DataObject, above: Path) -> Iterator[tuple[Path, Attribute]]:
    path = (*above, obj.name)
    for attribute in obj.attributes:
        if _is_text(attribute):
            yield (*path, attribute.name), attribute
    for part in obj.parts:
        yield from _texts(part, path)


def _object(obj: DataObject) -> object:
    return obj.name, obj.cdc, tuple(map(_attribute, obj.attributes)), tuple(map(_object, obj.parts))


def _attribute(one: Attribute) -> object:
    value = None if _is_text(one) else one.value
    literals = tuple(one.literals.items())
    children = tuple(map(_attribute, one.children))
    return one.name, one.b_type, one.fc, one.triggers, value, literals, children
