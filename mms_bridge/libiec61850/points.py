"""The data objects of a logical device that are fed: where the library has the value, q and t of each.

>>> points = Points(shape_of(types), handles, quiet=b"")  # doctest: +SKIP
>>> points.bind(server)  # doctest: +SKIP
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mms_bridge.datamodel.bands import BAND_SETTINGS, Band, band_of
from mms_bridge.datamodel.value import Key
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.node_plan import Fed, Kind, plans
from scl_builder.model.cdc import Path
from scl_builder.read.cid import Device, NodeType

BAND_NAMES = frozenset(path[0] for path in BAND_SETTINGS)


def _update_text(server: int, attribute: int, text: str) -> None:
    lib.IedServer_updateVisibleStringAttributeValue(server, attribute, text.encode("latin-1", "replace"))


def _set_text(value: int, text: str) -> None:
    lib.MmsValue_setVisibleString(value, text.encode("latin-1", "replace"))


_UPDATE: dict[Kind, Callable[..., None]] = {
    Kind.BOOLEAN: lib.IedServer_updateBooleanAttributeValue,
    Kind.INT32: lib.IedServer_updateInt32AttributeValue,
    Kind.INT64: lib.IedServer_updateInt64AttributeValue,
    Kind.FLOAT: lib.IedServer_updateFloatAttributeValue,
    Kind.DBPOS: lib.IedServer_updateDbposValue,
    Kind.TEXT: _update_text,
}
_SET: dict[Kind, Callable[..., None]] = {
    Kind.BOOLEAN: lib.MmsValue_setBoolean,
    Kind.INT32: lib.MmsValue_setInt32,
    Kind.INT64: lib.MmsValue_setInt64,
    Kind.FLOAT: lib.MmsValue_setFloat,
    Kind.DBPOS: lib.MmsValue_setBitStringFromIntegerBigEndian,
    Kind.TEXT: _set_text,
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
    bands: tuple[Band | None, ...]
    """Deadband and range of each, as its type says."""


@lru_cache(maxsize=64)
def shape_of(nodes: tuple[tuple[str, NodeType], ...]) -> Shape:
    """The shape of a device whose logical nodes have these names and types."""
    fed = [(name, one) for name, node_type in nodes for plan in plans(node_type) for one in plan.fed]
    kinds = [one.kind for _, one in fed]
    return Shape(
        {(name, one.name): place for place, (name, one) in enumerate(fed)},
        tuple(_UPDATE[kind] for kind in kinds),
        tuple(_SET[kind] for kind in kinds),
        tuple(band_of(one.settings) for _, one in fed),
    )


def bands_of(device: Device, shape: Shape) -> tuple[Band | None, ...]:
    """The bands of ``shape``; those of the device's own where its instance values give some."""
    if not any(BAND_NAMES.intersection(path) for node in device.nodes for path in node.values):
        return shape.bands
    return tuple(
        band_of(dict(one.settings) | _own(one, node.values))
        for node in device.nodes
        for plan in plans(node.type)
        for one in plan.fed
    )


def _own(fed: Fed, values: Mapping[Path, str]) -> dict[Path, str]:
    own = ((tail, values.get((*fed.path, *tail))) for tail in BAND_SETTINGS)
    return {tail: text for tail, text in own if text is not None}


class Beside:
    """What measured values with a band have beside value, q and t, by their place.

    ``instant`` are handles of attributes, then of MmsValues; ``range`` of attributes; 0 where there is none.
    """

    __slots__ = ("instant", "now", "range", "shown")

    def __init__(self, instant: Sequence[int], range_: Sequence[int]) -> None:
        self.instant = array("Q", instant)
        self.range = array("Q", range_)
        self.shown = array("d", [math.nan]) * len(self.instant)  # mag, as it was written last
        self.now = bytearray(len(self.instant))  # range, likewise


@lru_cache(maxsize=256)
def quiet_places(shape: Shape, wanted: frozenset[Key]) -> bytes:
    """1 for each data object that is not ``wanted``."""
    return bytes((node, name.partition(".")[0]) not in wanted for node, name in shape.places)


class Points:
    """The fed data objects of one logical device, by their place in ``shape``.

    ``value`` and ``q`` are handles of attributes. ``held`` and ``t`` are handles of MmsValues: of the value,
    and of t, which raises no report. ``quality`` is q as it was written last: writing it costs a call into
    the library. ``quiet`` is 1 where no report control block wants the value.
    """

    __slots__ = ("_unlisted", "bands", "beside", "held", "q", "quality", "quiet", "shape", "t", "value")

    def __init__(
        self,
        shape: Shape,
        handles: Sequence[int],
        *,
        quiet: bytes,
        unlisted: bytes = b"",
        bands: Sequence[Band | None] = (),
        beside: Beside | None = None,
    ) -> None:
        """``handles`` of the attributes: value, q and t of each place in turn.

        ``quiet`` before a client has enabled an unbuffered block, ``unlisted`` (else none is) from then on.
        """
        self.shape = shape
        self.bands = bands or shape.bands
        self.beside = beside or Beside((0,) * len(shape.places), (0,) * len(shape.places))
        self.value = array("Q", handles[0::3])
        self.q = array("Q", handles[1::3])
        self.t = array("Q", handles[2::3])
        self.held = self.value
        self.quality = array("H", bytes(2 * len(self.value)))
        self.quiet = quiet
        self._unlisted = unlisted or bytes(len(quiet))

    def bind(self, server: int) -> None:
        """Look the MmsValues up; ``t`` and ``held`` have the attributes until then."""
        find = lib.IedServer_getAttributeValue
        self.held = array("Q", [find(server, handle) for handle in self.value])
        self.t = array("Q", [find(server, handle) for handle in self.t])
        instant = self.beside.instant
        self.beside.instant = array("Q", [handle and find(server, handle) for handle in instant])

    def enabled(self) -> None:
        """A client has enabled an unbuffered block: those want what is in the configured data sets."""
        self.quiet = self._unlisted

    def speak_up(self) -> None:
        """Some report control block may want any value."""
        self.quiet = self._unlisted = bytes(len(self.quiet))
