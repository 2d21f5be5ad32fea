"""The form of packs: up to 1,000 readings of one meter in one row, about a tenth of their size as rows.

A row for each reading costs PostgreSQL 28 bytes before the first value, and its unique key 36 more:
no choice of column types comes to less than about 95. So readings of hours gone by are packed: a pack
holds consecutive readings without a hole, so that (meter, epoch, seq) is in a pack exactly when
``first_seq <= seq <= last``, and the key of the contract holds over rows and packs together.

The data is deflated JSON (RFC 1950, RFC 8259), a list for each column that is not empty; every value
comes back as the same number. A list of whole numbers is kept as differences, under ``name+``; where
all values are the same, that value stands in place of the list. A column that is not there is empty, so
packs of before a column existed are read like the others.

>>> first = NOTHING._replace(epoch=1, seq=7, ts=1000, voltage=230.5, energy=98414.0, alarm=False)
>>> rows = [first, first._replace(seq=8, ts=2000, voltage=230.7, energy=98415.0)]
>>> zlib.decompress(encode(rows))
b'{"ts+":[1000,1000],"voltage":[230.5,230.7],"energy+":[98414,1],"alarm":false}'
>>> list(decode(1, 7, 8, encode(rows))) == rows
True
"""

from __future__ import annotations

import zlib
from collections import namedtuple
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any, NamedTuple

import orjson

from broker.contract.quantities import QUANTITIES

MAX_READINGS = 1000
"""In one pack: what has to be unpacked to read one of them."""

_EXACT = 2**53


_NAMES = ("epoch", "seq", "ts", *QUANTITIES, "alarm", "other", "clock_synchronized")
_namedtuple: Any = namedtuple  # mypy would read the fields, which follow from a table
_Fields: Any = _namedtuple("_Fields", _NAMES, defaults=(None, None))


class StoredReading(_Fields):  # type: ignore[misc]
    """One reading as it is in the database, with the quantities of the table; None is absent."""

    __slots__ = ()

    epoch: int
    seq: int
    ts: int
    """ms since 1970 UTC."""
    alarm: bool | None
    other: str | None
    """JSON object of other numbers."""
    clock_synchronized: bool | None
    """False: the meter did not know the time; None: nobody noted it."""

    @property
    def counter(self) -> float | None:
        """Wh that the meter has counted as used: `energy`, or `energy_import` of a two-way meter."""
        counted: float | None = self.energy if self.energy is not None else self.energy_import
        return counted


NOTHING = StoredReading._make([None] * len(StoredReading._fields))
"""A reading to make others of, by ``_replace``."""


class Counted(NamedTuple):
    """What of a reading tells how much energy was used (`bridge.store.energy`)."""

    epoch: int
    seq: int
    ts: int
    voltage: float | None
    frequency: float | None
    power: float | None
    energy: float | None
    energy_import: float | None

    @property
    def counter(self) -> float | None:
        """As of `StoredReading`."""
        return self.energy if self.energy is not None else self.energy_import


class EndOfRun(Counted):
    """The last reading of a run, whose first is the one before it (`bridge.store.plain_runs`)."""

    __slots__ = ()


Columns = dict[str, Sequence[Any]]
"""Field of `StoredReading` → its values. A field that is not there is None in all of the readings."""

_VALUES = StoredReading._fields[2:]
_NOTHING = repeat(None)


def encode(rows: Sequence[StoredReading]) -> bytes:
    """The data of a pack of these readings, in the order of seq and without a hole."""
    return packed(columns_of(rows))


def columns_of(rows: Iterable[StoredReading]) -> Columns:
    """The other way round of `readings_of`; of at least one reading."""
    return dict(zip(StoredReading._fields, zip(*rows, strict=True), strict=True))


def packed(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """The same of columns."""
    found = (_encoded(name, columns[name]) for name in _VALUES if name in columns)
    return zlib.compress(orjson.dumps({key: values for key, values in found if values is not None}), 6)


def _encoded(name: str, values: Sequence[Any]) -> tuple[str, Any]:
    if name != "ts" and values.count(values[0]) == len(values) and _plain_zero(values):
        return name, values[0]
    if all(type(value) is int or _whole(value) for value in values):
        whole = [int(value) for value in values]
        return f"{name}+", [whole[0], *(later - earlier for earlier, later in pairwise(whole))]
    return name, list(values)


def _whole(value: object) -> bool:
    """True for a float that is the same after a way through int; −0.0 is not."""
    return (
        type(value) is float
        and value.is_integer()
        and abs(value) < _EXACT
        and (value != 0 or str(value) == "0.0")
    )


def _plain_zero(values: Sequence[Any]) -> bool:
    """False for zeros of which some are −0.0: they are equal, and yet not the same."""
    return values[0] != 0 or len(set(map(str, values))) == 1


def decode(epoch: int, first_seq: int, last_seq: int, data: bytes) -> Iterator[StoredReading]:
    """The readings of a pack, by seq."""
    return readings_of(unpacked(epoch, first_seq, last_seq, data))


def readings_of(columns: Columns) -> Iterator[StoredReading]:
    """Row by row."""
    return map(StoredReading._make, _rows(columns, StoredReading._fields))


def counted_of(columns: Columns, register: str = "") -> Iterator[Counted]:
    """The same, of what counts energy; also of readings without a counter.

    With the name of another ``register`` that is the counter.
    """
    if register:
        others = {name: values for name, values in columns.items() if name not in _COUNTERS}
        columns = {**others, "energy_import": columns.get(register, [None] * len(columns["ts"]))}
    return map(Counted._make, _rows(columns, Counted._fields))


_COUNTERS = ("energy", "energy_import")


def _rows(columns: Columns, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns.get(name, _NOTHING) for name in names), strict=False)  # as long as ``epoch``


def joined(pieces: Iterable[Columns]) -> Columns:
    """The columns of all pieces, one after the other; empty without a reading."""
    several = list(pieces)
    if len(several) == 1:
        return several[0]
    names = dict.fromkeys(name for piece in several for name in piece)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for piece in several:
        nothing = [None] * len(piece["ts"])
        for name, values in found.items():
            values.extend(piece.get(name, nothing))
    return {**found}


def unpacked(
    epoch: int, first_seq: int, last_seq: int, data: bytes, *, only: Container[str] | None = None
) -> Columns:
    """The columns of a pack, or ``only`` these of them, by seq."""
    count = last_seq - first_seq + 1
    columns: Columns = {"epoch": [epoch] * count, "seq": range(first_seq, last_seq + 1)}
    told = orjson.loads(zlib.decompress(data))
    for name in _names(told):
        if only is None or name in only:
            columns[name] = _decoded(told, name, count)
    return columns


def names_in(data: bytes) -> list[str]:
    """The fields of `StoredReading` that a pack has, but for epoch and seq."""
    return _names(orjson.loads(zlib.decompress(data)))


def _names(told: dict[str, Any]) -> list[str]:
    names = (key.removesuffix("+") for key in told)
    return [name for name in names if name in _KNOWN]  # else it is of a newer program


_KNOWN = frozenset(_VALUES)


def _decoded(told: dict[str, Any], name: str, count: int) -> list[Any]:
    if (differences := told.get(f"{name}+")) is not None:
        whole = accumulate(differences)
        return list(whole if name == "ts" else map(float, whole))
    values = told.get(name)
    return values if isinstance(values, list) else [values] * count
