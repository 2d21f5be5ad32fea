"""Which rows of a table a meter has: those that the quantities of its birth feed.

What remains of a logical node has an LNodeType of its own; its id says which values the node has, so that
meters with the same share it, in every file.

>>> from scl_builder.model.measuring import THREE_PHASE
>>> nodes = narrowed(THREE_PHASE, frozenset(("voltage_l1", "voltage_l2", "energy_export")))
>>> [(node.name, node.type_id, [do.name for do in node.objects]) for node in nodes]
[('MMXU1', 'MMXU_300', ['Beh', 'PhV']), ('MMTR1', 'MMTR_8', ['Beh', 'SupWh'])]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace

from scl_builder.model.billing_nodes import NARROWED
from scl_builder.model.data_object import BILLING, READING, DataObject, LogicalNode
from scl_builder.model.measuring import way_of, ways


def quantities_of(nodes: Iterable[LogicalNode]) -> frozenset[str]:
    """The quantities of a reading that ``nodes`` show."""
    return frozenset(
        name for node in nodes for source in _sources(node) for way in ways(source) for name in way.of
    )


def narrowed(nodes: Iterable[LogicalNode], quantities: frozenset[str]) -> tuple[LogicalNode, ...]:
    """What a meter that gives ``quantities`` has of ``nodes``."""
    found = [there for node in nodes if (there := _node(node, quantities)) is not None]
    registers = next((node.name for node in found if node.ln_class in ("MMTN", "MMTR")), "")
    has = {(node.name, do.name) for node in found for do in node.objects}
    return tuple(_sourced(node, has, registers) for node in found)


def _sources(node: LogicalNode) -> Iterator[str]:
    """What of a reading the node's values show, in order."""
    sources = (fed.source for do in node.objects for fed in do.fed)
    return (source.removeprefix(READING) for source in sources if source.startswith(READING))


def _is_given(source: str, quantities: frozenset[str]) -> bool:
    name = source.removeprefix(READING).removeprefix(BILLING)
    return name == source or way_of(name, quantities) is not None


def _node(node: LogicalNode, quantities: frozenset[str]) -> LogicalNode | None:
    if node.any_of:
        return _computed(node, quantities)
    sources = list(_sources(node))
    given = [way_of(source, quantities) is not None for source in sources]
    own = {source for source, there in zip(sources, given, strict=True) if there} - node.needs
    if not own or not node.needs <= quantities:
        return None
    if all(given):
        return node
    objects = [found for do in node.objects if (found := _object(do, quantities)) is not None]
    names = {do.name for do in objects}
    objects = [do for do in objects if not do.beside or names.intersection(do.beside)]
    mask = sum(1 << place for place, there in enumerate(given) if there)
    return replace(node, type_id=f"{node.type_id}_{mask:x}", objects=tuple(objects))


def _computed(node: LogicalNode, quantities: frozenset[str]) -> LogicalNode | None:
    if node.any_of.isdisjoint(quantities):
        return None
    objects = tuple(do for do in node.objects if not do.needs or do.needs in quantities)
    if objects == node.objects:
        return node
    return replace(node, type_id=node.type_id + NARROWED, objects=objects)


def _sourced(node: LogicalNode, has: Set[tuple[str, str]], registers: str) -> LogicalNode:
    """The source of demand is the logical node of the registers, if the meter does not give the power."""
    value = node.objects[-1].name
    if all(not do.refers or (do.refers, value) in has for do in node.objects):
        return node
    return replace(
        node, objects=tuple(replace(do, refers=registers) if do.refers else do for do in node.objects)
    )


def _object(do: DataObject, quantities: frozenset[str]) -> DataObject | None:
    parts = tuple(part for part in do.parts if _is_given(part[1], quantities))
    if do.source and _is_given(do.source, quantities):
        return replace(do, parts=parts)
    return replace(do, source="", parts=parts) if parts else None
