"""The quantities: one table, and everything that lists quantities follows from it.

From a row follow the field of a reading and its limits, the columns of the database and the step that adds
them, packs and roll-ups, the fields of HTTP, CSV and Parquet, what the page and the command line show,
docs/topics.md, and what a simulated meter measures. Only which data object it feeds stands elsewhere
(`scl_builder.model.logical_devices`).

Rows are only ever appended: their names are on the wire, in databases and in packs. A quantity that a sensor
does not give is absent in its readings. Positive power is consumption.

>>> QUANTITIES["energy"].unit, QUANTITIES["energy"].kind.value
('Wh', 'register')
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the value behaves in time."""

    MEASUREMENT = "measurement"
    """It is of the instant at which the sensor was read."""
    REGISTER = "register"
    """It counts up since the sensor's last reset."""


@dataclass(frozen=True)
class Quantity:
    """A row of the table."""

    name: str
    """On the wire, in the database, in exports: of the pattern :data:`NAME`."""
    unit: str
    """Empty for a ratio."""
    kind: Kind
    phase: str
    """``L1``, ``L12``, ``N``; empty for the one phase of a single-phase meter, or for the total."""
    lowest: float
    """What is below, or above ``highest``, is no value: the quantity is absent in that reading."""
    highest: float
    decimals: int
    """That people are shown."""
    label: str
    """For people."""
    meaning: str = ""
    """What the label leaves open; for docs/topics.md."""

    @property
    def description(self) -> str:
        """Unit and meaning, in a line."""
        counts = "counted up since the sensor's last reset" if self.kind is Kind.REGISTER else ""
        return ", ".join(filter(None, (self.unit or self.label, self.meaning, counts))) + "."


_M, _R = Kind.MEASUREMENT, Kind.REGISTER

# fmt: off
QUANTITIES: dict[str, Quantity] = {
    row.name: row
    for row in (
        #        name            unit  kind phase lowest highest decimals label          meaning
        Quantity("voltage",      "V",  _M,  "",    0.0,  1e12,   1,       "Voltage",      "RMS"),
        Quantity("current",      "A",  _M,  "",    0.0,  1e12,   3,       "Current",      "RMS"),
        Quantity("power",        "W",  _M,  "",  -1e12,  1e12,   1,       "Power",        "active"),
        Quantity("power_factor", "",   _M,  "",   -1.0,  1.0,    2,       "Power factor"),
        Quantity("frequency",    "Hz", _M,  "",    0.0,  1000.0, 2,       "Frequency"),
        Quantity("energy",       "Wh", _R,  "",    0.0,  1e12,   0,       "Energy",       "active"),
    )
}
# fmt: on
"""Name → row, in the order in which they were appended."""

NAME = r"^[A-Za-z][0-9A-Za-z_]{0,63}$"
"""Pattern of a quantity's name, also of one that only a newer meter knows."""
