"""Deadbands and ranges of measured values (IEC 61850-7-3 Ed 2.1: db, dbRef, zeroDb, zeroDbRef, rangeC).

The table has the nominal value of each kind of quantity; all percentages are of it. ``mag`` follows
``instMag`` when it has moved by more than db, which counts in 0.001 % of dbRef. Where there is a rangeC,
dbRef is its max − min, so that who reads by Edition 2 (which has no dbRef) computes the same deadband.

>>> bands = Bands.of(deadband="1", ranges="voltage=10")
>>> bands.values("V")[:2]
(('db', '500'), ('dbRef', '460'))
>>> limits(dict(bands.values("V"))["rangeC"])["hLim"]
'253'
>>> bands.values("Hz"), Bands.of(deadband="0").values("A")
((('db', '20'), ('dbRef', '50')), ())
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scl_builder.model.data_object import DEMAND, DataObject, LogicalNode


@dataclass(frozen=True)
class Nominal:
    """A kind of quantity, by its unit."""

    kind: str
    """How the settings call it."""
    nominal: float
    lowest: float
    """min of rangeC, times the nominal value."""
    highest: float
    """max of rangeC, likewise."""
    share: float = 1.0
    """Of the percentage that is given for all kinds."""


# fmt: off
NOMINALS: dict[str, Nominal] = {
    #               kind              nominal lowest highest
    "V":   Nominal("voltage",          230.0,   0.0,   2.0),
    "A":   Nominal("current",           10.0,   0.0,  20.0),  # Iref of a direct connected meter
    "W":   Nominal("power",           2300.0, -20.0,  20.0),
    "VAr": Nominal("reactive_power",  2300.0, -20.0,  20.0),
    "VA":  Nominal("apparent_power",  2300.0,   0.0,  20.0),
    "":    Nominal("power_factor",       1.0,  -1.0,   1.0),
    "Hz":  Nominal("frequency",         50.0,   0.8,   1.2, share=0.02),  # 1 % would be 0.5 Hz
    "%":   Nominal("distortion",       100.0,   0.0,  10.0),
}
# fmt: on
"""SIUnitKind literal → its row; a data object with three phases or lines says how many times the nominal."""
KINDS = frozenset(row.kind for row in NOMINALS.values())
OUTER = 1.5
"""hhLim and llLim are so many times as far from the nominal value as hLim and lLim."""
LIMITS = ("hhLim", "hLim", "lLim", "llLim", "min", "max")
"""Members of rangeC, in the standard's order."""
RANGE_CONFIG = "rangeC"


def _numbers(what: str, text: str, *, highest: float) -> dict[str, float]:
    """``1,frequency=0.5``: kind → number; '' is for all other kinds."""
    found: dict[str, float] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        kind, _, number = item.rpartition("=")
        try:
            found[kind.strip()] = float(number)
        except ValueError:
            raise ValueError(f"{what} {item[:80]!r}: a number, or KIND=NUMBER") from None
        if kind.strip() not in KINDS | {""}:
            raise ValueError(f"{what} {item[:80]!r}: the kind is one of {', '.join(sorted(KINDS))}")
        if not 0 <= found[kind.strip()] <= highest:
            raise ValueError(f"{what} {item[:80]!r}: 0 to {highest:g}")
    return found


def limits(text: str) -> dict[str, str]:
    """Member of rangeC → its value, from the text that stands for all of them."""
    return dict(zip(LIMITS, text.split(), strict=True))


def _text(number: float) -> str:
    return f"{number:.7g}"


@dataclass(frozen=True)
class Bands:
    """Percent of the nominal value, by kind; one without a row has no deadband and no range."""

    deadband: tuple[tuple[str, float], ...] = ()
    zero: tuple[tuple[str, float], ...] = ()
    ranges: tuple[tuple[str, float], ...] = ()
    nominal: tuple[tuple[str, float], ...] = ()
    """Other nominal values than those of the table."""

    @classmethod
    def of(cls, *, deadband: str = "", zero: str = "", ranges: str = "", nominal: str = "") -> Bands:
        """From the settings' texts; ValueError names what is none."""
        tables = (
            _numbers("deadband", deadband, highest=100),
            _numbers("zero deadband", zero, highest=100),
            _numbers("range", ranges, highest=60),
            _numbers("nominal value", nominal, highest=1e9),
        )
        if "" in tables[3] or not all(tables[3].values()):
            raise ValueError(f"nominal value {nominal[:80]!r}: KIND=NUMBER, above 0")
        return cls(*(tuple(sorted(table.items())) for table in tables))

    def values(self, unit: str, times: float = 1.0) -> tuple[tuple[str, str], ...]:
        """Attributes of a data object with that unit and their Val; rangeC stands for all its members."""
        row = NOMINALS.get(unit)
        if row is None:
            return ()  # a row that someone has added: no nominal value is known
        nominal = float(_text(dict(self.nominal).get(row.kind, row.nominal) * times))
        near = self._percent(self.ranges, row)
        reference = nominal * (row.highest - row.lowest) if near else nominal
        found: dict[str, str] = {}
        for names, table in ((("db", "dbRef"), self.deadband), (("zeroDb", "zeroDbRef"), self.zero)):
            if count := round(self._percent(table, row) * 1000 * nominal / reference):
                found |= dict(zip(names, (str(count), _text(reference)), strict=True))
        if near:
            far = OUTER * near
            around = (nominal * (1 + part / 100) for part in (far, near, -near, -far))
            ends = (nominal * row.lowest, nominal * row.highest)
            found |= {"range": "", RANGE_CONFIG: " ".join(map(_text, (*around, *ends)))}
        return tuple(found.items())

    @staticmethod
    def _percent(table: tuple[tuple[str, float], ...], row: Nominal) -> float:
        told = dict(table)
        return told.get(row.kind, told.get("", 0.0) * row.share)

    def applied(self, node: LogicalNode) -> LogicalNode:
        """``node`` with the attributes of its measured values."""
        return replace(node, objects=tuple(map(self._object, node.objects)))

    def _object(self, do: DataObject) -> DataObject:
        instant = _INSTANT.get(do.cdc)
        if instant is None or do.unit is None or do.source.startswith(DEMAND):
            return do  # a figure of a bill is what it is, and changes once an hour
        if not (told := self.values(do.unit, do.times)):
            return do
        own: Mapping[str, str] = {instant: "", **dict(told)}
        if do.parts:
            return replace(do, part_values=tuple(own.items()))
        return replace(do, values=(*do.values, *own.items()))


NO_BANDS = Bands()
"""Every change is an event."""

_INSTANT = {"MV": "instMag", "CMV": "instCVal", "WYE": "instCVal", "DEL": "instCVal"}
"""Class → the value without a deadband, of it or of its sub data objects."""
