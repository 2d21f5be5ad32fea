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
from functools import partial


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
    household: bool = True
    """Whether the meter of a plain simulated house, with one phase and one direction, measures it."""

    @property
    def description(self) -> str:
        """Unit and meaning, in a line."""
        counts = "counted up since the sensor's last reset" if self.kind is Kind.REGISTER else ""
        return ", ".join(filter(None, (self.unit or self.label, self.meaning, counts))) + "."


_M, _R = Kind.MEASUREMENT, Kind.REGISTER


_more = partial(Quantity, household=False)
"""A row for meters that measure more than one phase and one direction."""


def _phases(
    name: str,
    unit: str,
    lowest: float,
    highest: float,
    decimals: int,
    label: str,
    meaning: str = "",
    *,
    phases: tuple[str, ...] = ("L1", "L2", "L3"),
) -> tuple[Quantity, ...]:
    """The same measurement of each phase: ``voltage_l1`` and so on."""
    return tuple(
        _more(
            f"{name}_{phase.lower()}", unit, _M, phase, lowest, highest, decimals, f"{label} {phase}", meaning
        )
        for phase in phases
    )


def _registers(suffix: str, count: int, *, reactive: bool) -> tuple[Quantity, ...]:
    """Registers of phases (``energy_import_l1``) or of tariffs (``energy_import_t1``)."""
    kinds = [("energy", "Wh", "Energy", "active")]
    kinds += [("reactive", "varh", "Reactive", "reactive")] if reactive else []
    return tuple(
        _more(
            f"{name}_{way}{suffix}{number}",
            unit,
            _R,
            f"L{number}" if suffix == "_l" else "",
            0.0,
            1e12,
            0,
            f"{label} {way} {suffix[1].upper()}{number}",
            f"{meaning}, {'consumed' if way == 'import' else 'fed in'}",
        )
        for name, unit, label, meaning in kinds
        for way in ("import", "export")
        for number in range(1, count + 1)
    )


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
        # The totals of meters that measure more (a three-phase meter's power is its total)
        _more("reactive_power", "var", _M, "",   -1e12, 1e12, 1, "Reactive power", "positive: inductive"),
        _more("apparent_power", "VA",  _M, "",    0.0,  1e12, 1, "Apparent power"),
        # Phases
        *_phases("voltage", "V", 0.0, 1e12, 1, "Voltage", "RMS, to neutral"),
        *_phases("current", "A", 0.0, 1e12, 3, "Current", "RMS"),
        *_phases("power", "W", -1e12, 1e12, 1, "Power", "active"),
        *_phases("reactive_power", "var", -1e12, 1e12, 1, "Reactive power", "positive: inductive"),
        *_phases("apparent_power", "VA", 0.0, 1e12, 1, "Apparent power"),
        *_phases("power_factor", "", -1.0, 1.0, 2, "Power factor"),
        *_phases("voltage", "V", 0.0, 1e12, 1, "Voltage", "RMS", phases=("L12", "L23", "L31")),
        *_phases("current", "A", 0.0, 1e12, 3, "Current", "RMS, of the neutral", phases=("N",)),
        # Registers of a meter that tells the directions; the others count in energy
        _more("energy_import",   "Wh",   _R, "", 0.0, 1e12, 0, "Energy import",   "active, consumed"),
        _more("energy_export",   "Wh",   _R, "", 0.0, 1e12, 0, "Energy export",   "active, fed in"),
        _more("reactive_import", "varh", _R, "", 0.0, 1e12, 0, "Reactive import", "reactive, consumed"),
        _more("reactive_export", "varh", _R, "", 0.0, 1e12, 0, "Reactive export", "reactive, fed in"),
        _more("apparent_energy", "VAh",  _R, "", 0.0, 1e12, 0, "Apparent energy"),
        *_registers("_l", 3, reactive=True),
        *_registers("_t", 4, reactive=False),
        # Demand, as far as a sensor tells it
        _more("demand",     "W", _M, "", -1e12, 1e12, 0, "Demand", "mean of the running period"),
        _more("demand_max", "W", _M, "", -1e12, 1e12, 0, "Maximum demand", "of the billing period"),
        # Quality of supply
        *_phases("thd_u", "%", 0.0, 1000.0, 1, "Voltage THD", "total harmonic distortion"),
        *_phases("thd_i", "%", 0.0, 1000.0, 1, "Current THD", "total harmonic distortion"),
        _more("unbalance_u", "%", _M, "", 0.0, 1000.0, 1, "Voltage unbalance"),
    )
}
# fmt: on
"""Name → row, in the order in which they were appended."""

HOUSEHOLD = tuple(row.name for row in QUANTITIES.values() if row.household)
"""What a meter measures whose birth does not say what."""

NAME = r"^[A-Za-z][0-9A-Za-z_]{0,63}$"
"""Pattern of a quantity's name, also of one that only a newer meter knows."""
