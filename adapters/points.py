"""The metering points that we have met: who they are as meters, kept so that a restart knows them at once.

A meter's id follows from family and key, so that it is the same for ever, on another machine too.

>>> meter_id_of("tasmota", "a0b0c0d0e0f4") == meter_id_of("tasmota", "A0B0C0D0E0F4")
True
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import UUID, uuid5

from pydantic import TypeAdapter

from adapters.family import Measured, Point
from adapters.measured import in_order
from broker import durable
from broker.contract.birth import Hardware
from broker.contract.quantities import QUANTITIES

NAMESPACE = UUID("5b1f5b0e-61d8-5c50-9a3c-4d61850ada97")
"""Of the meters of other makers' devices; never changed."""
FILE_NAME = "point.json"
_POINT: TypeAdapter[Point] = TypeAdapter(Point)


def meter_id_of(family: str, key: str) -> str:
    """The meter_id of a metering point."""
    return str(uuid5(NAMESPACE, f"{family}/{key.casefold()}"))


def with_measured(point: Point, measured: Measured) -> Point:
    """The point, measuring also what it has told now; the same object if that is nothing new."""
    new = [name for name in measured if name in QUANTITIES and name not in point.quantities]
    return replace(point, quantities=in_order((*point.quantities, *new))) if new else point


def merged(new: Point, old: Point | None) -> Point:
    """``new``, with the quantities that were met before: an announcement may tell fewer."""
    before = old.quantities if old else ()
    return replace(new, quantities=in_order((*before, *new.quantities)))


def hardware(point: Point) -> Hardware:
    """As the birth tells it; the serial number is the key where the device tells none that can stand."""
    told = {"vendor": _short(point.vendor), "model": _short(point.model)}
    return Hardware(serial=_short(point.serial) or _short(point.key) or "unknown", **told)


def _short(text: str) -> str:
    return "".join(filter(str.isprintable, text)).strip()[:255]


@dataclass(frozen=True)
class Kept:
    """A metering point as its meter's folder has it."""

    family: str
    source: str
    """Name of the source that it was accepted from; empty: an older version has written the file."""
    point: Point


def save(folder: Path, kept: Kept) -> None:
    """Keep the point in the meter's folder; OSError if that fails."""
    durable.make_folder(folder)
    told = asdict(kept)
    durable.replace(folder / FILE_NAME, (json.dumps(told) + "\n").encode(), mode=durable.PUBLIC)


def kept(data_dir: Path) -> list[Kept]:
    """The point of each meter's folder; one that is damaged is left out: the device tells it anew."""
    found = []
    for file in sorted(data_dir.glob(f"*/{FILE_NAME}")):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            point = _POINT.validate_python(told["point"])
            one = Kept(str(told["family"]), str(told.get("source", "")), point)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if file.parent.name == meter_id_of(one.family, point.key):
            found.append(one)
    return found
