"""The data objects of a logical device that are fed: where the library has the value, q and t of each.

>>> points = Points(shape_of(types), handles, quiet=b"")  # doctest: +SKIP
>>> points.bind(server)  # doctest: +SKIP
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mms_bridge.datamodel.value import Key
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.node_plan import Kind, plans
from scl_builder.read.cid import NodeType

_UPDATE = {
    Kind.BOOLEAN: lib.IedServer_updateBooleanAttributeValue,
    Kind.INT32: lib.IedServer_updateInt32AttributeValue,
    Kind.INT64: lib.IedServer_updateInt64AttributeValue,
    Kind.FLOAT: lib.IedServer_updateFloatAttributeValue,
    Kind.DBPOS: lib.IedServer_updateDbposValue,
}
_SET = {
    Kind.BOOLEAN: lib.MmsValue_setBoolean,
    Kind.INT32: lib.MmsValue_setInt32,
    Kind.INT64: lib.MmsValue_setInt64,
    Kind.FLOAT: lib.MmsValue_setFloat,
    Kind.DBPOS: lib.MmsValue_setBitStringFromIntegerBigEndian,
}


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Which data objects of a logical device are fed, and how: one for all devices of the same types."""

    places: Mapping[Key, int]
    """(logical node, data object) -> its place."""
    update: tuple[Callable[..., None], ...]
    """(server, attribute, value): writes the value; the reports see it."""
    set: tuple[Callable[..., None], ...]
    """(MmsValue, value): writes it; no report sees it."""


@lru_cache(maxsize=64)
def shape_of(nodes: tuple[tuple[str, NodeType], ...]) -> Shape:
    """The shape of a device whose logical nodes have these names and types."""
    fed = [(name, one) for name, node_type in nodes for plan in plans(node_type) for one in plan.fed]
    kinds = [one.kind for _, one in fed]
    return Shape(
        {(name, one.name): place for place, (name, one) in enumerate(fed)},
        tuple(_UPDATE[kind] for kind in kinds),
        tuple(_SET[kind] for kind in kinds),
    )


@lru_cache(maxsize=256)
def quiet_places(shape: Shape, wanted: frozenset[Key]) -> bytes:
    """1 for each data object that is not ``wanted`` by any data set."""
    return bytes((node, name.partition(".")[0]) not in wanted for node, name in shape.places)


class Points:
    """The fed data objects of one logical device, by their place in ``shape``.

    ``value`` and ``q`` are handles of attributes. ``held`` and ``t`` are handles of MmsValues: of the value,
    and of t, which raises no report. ``quality`` is q as it was written last: writing it costs a call into
    the library. ``quiet`` is 1 where no report control block wants the value.
    """

    __slots__ = ("held", "q", "quality", "quiet", "shape", "t", "value")

    def __init__(self, shape: Shape, handles: Sequence[int], *, quiet: bytes) -> None:
        """``handles`` of the attributes: value, q and t of each place in turn."""
        self.shape = shape
        self.value = array("Q", handles[0::3])
        self.q = array("Q", handles[1::3])
        self.t = array("Q", handles[2::3])
        self.held = self.value
        self.quality = array("H", bytes(2 * len(self.value)))
        self.quiet = quiet

    def bind(self, server: int) -> None:
        """Look the MmsValues up; ``t`` and ``held`` have the attributes until then."""
        find = lib.IedServer_getAttributeValue
        self.held = array("Q", [find(server, handle) for handle in self.value])
        self.t = array("Q", [find(server, handle) for handle in self.t])

    def speak_up(self) -> None:
        """Some report control block may want any value."""
        self.quiet = bytes(len(self.quiet))
