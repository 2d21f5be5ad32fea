"""What meters measure, as logical nodes: the tables behind the profiles of ``logical_devices``.

Direction as in IEC 61850-7-4: Dmd is what the customer takes, Sup what he feeds in, Tot is net; positive
power flows to the customer.

Registers that bills are made of are frozen at the end of the period (frVal); those of single phases are not.

Left out, because no sensor of ours gives what they need: MSQI (SeqA or SeqV is mandatory, and a meter gives
one figure of unbalance at most), MMDC (a plug gives the same quantities as a DC meter), ClcTotVA (no meter
says how it adds up apparent power), the length of the period of demand, when the maximum was.

>>> [node.name for node in THREE_PHASE[:4]]
['MMXU1', 'MMTR1', 'PhA_MMTN1', 'PhB_MMTN1']
>>> str(MADE["net_energy"][0]), str(MADE["net_energy"][1])
('energy_import − energy_export', 'energy')
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from scl_builder.model import billing_nodes
from scl_builder.model.data_object import BEH, BILLING, READING, DataObject, LogicalNode, plate, setting

TARIFFS = 4

_PHASES = {"phsA": "_l1", "phsB": "_l2", "phsC": "_l3"}
_LINES = {"phsAB": "_l12", "phsBC": "_l23", "phsCA": "_l31"}


@dataclass(frozen=True)
class Way:
    """How a value of the model is made of quantities of a reading."""

    of: tuple[str, ...]
    sign: str = ""
    """Between them; a single quantity is taken as it is."""
    unless: frozenset[str] = frozenset()
    """Not for a meter that gives one of these."""

    def __str__(self) -> str:
        return f" {self.sign} ".join(self.of)

    def fits(self, quantities: frozenset[str]) -> bool:
        """Whether a meter that gives ``quantities`` gives the value."""
        return quantities.issuperset(self.of) and quantities.isdisjoint(self.unless)

    @property
    def how(self) -> Callable[..., float]:
        """The function of the quantities."""
        return _HOW[self.sign]


def _sum(*values: float) -> float:
    return sum(values)


_HOW: dict[str, Callable[..., float]] = {
    "": operator.pos,
    "·": operator.mul,
    "−": operator.sub,
    "+": _sum,
}


def _total(name: str) -> tuple[Way, ...]:
    """The meter's own total, else the sum of three phases (not of apparent power: it does not add up)."""
    return Way((name,)), Way(tuple(name + phase for phase in _PHASES.values()), "+")


_PRODUCT = (Way(("apparent_power",)), Way(("voltage", "current"), "·"))
_DIRECTIONS = frozenset(("energy_import", "energy_export"))

MADE: dict[str, tuple[Way, ...]] = {
    "apparent_or_product": _PRODUCT,
    "apparent_power_1": (
        *_PRODUCT,
        Way(("apparent_power_l1",)),
        Way(("voltage_l1", "current_l1"), "·"),
    ),
    "net_energy": (Way(("energy_import", "energy_export"), "−"), Way(("energy",), unless=_DIRECTIONS)),
    "net_reactive": (Way(("reactive_import", "reactive_export"), "−"),),
    "total_power": _total("power"),
    "total_reactive": _total("reactive_power"),
    **{
        f"{name}_1": (Way((name,)), Way((f"{name}_l1",)))
        for name in ("voltage", "current", "power", "reactive_power", "power_factor")
    },
}
"""Values of the model → the ways to make them; a meter has the first that fits what its birth names.

``…_1`` is of a meter with one phase, whether it names the phase or not.
"""


def ways(name: str) -> tuple[Way, ...]:
    """How ``name`` is made; a quantity of the contract is itself."""
    return MADE.get(name) or (Way((name,)),)


def way_of(name: str, quantities: frozenset[str]) -> Way | None:
    """How a meter that gives ``quantities`` makes ``name``; None: it does not give it."""
    return next((way for way in ways(name) if way.fits(quantities)), None)


def _phases(
    name: str, cdc: str, quantity: str, unit: str, phases: dict[str, str], **more: str | bool
) -> DataObject:
    parts = tuple((part, f"{READING}{quantity}{suffix}") for part, suffix in phases.items())
    values = tuple((attribute, str(value).lower()) for attribute, value in more.items())
    return DataObject(name, cdc, unit=unit, parts=parts, values=values)


def _counts(name: str, quantity: str, unit: str, *, frozen: bool = True) -> DataObject:
    """A register; ``frozen``: also as it was at the end of the billing period."""
    parts = (("frVal", BILLING + quantity),) if frozen else ()
    return DataObject(name, "BCR", READING + quantity, unit=unit, parts=parts)


def _directions(suffix: str = "", *, reactive: bool = True, frozen: bool = True) -> tuple[DataObject, ...]:
    """Registers of both directions."""
    rows = (
        ("SupWh", "energy_export", "Wh"),
        ("SupVArh", "reactive_export", "VArh"),
        ("DmdWh", "energy_import", "Wh"),
        ("DmdVArh", "reactive_import", "VArh"),
    )
    return tuple(
        _counts(name, quantity + suffix, unit, frozen=frozen)
        for name, quantity, unit in rows
        if reactive or unit == "Wh"
    )


def _energy(ln_class: str) -> tuple[LogicalNode, ...]:
    """The registers of all phases, and those of each tariff, in logical nodes of their own."""
    totals = (
        _counts("TotVAh", "apparent_energy", "VAh"),
        _counts("TotWh", "net_energy", "Wh"),
        _counts("TotVArh", "net_reactive", "VArh"),
    )
    return (
        LogicalNode(
            ln_class, "1", "MMTN_All" if ln_class == "MMTN" else ln_class, (BEH, *totals, *_directions())
        ),
        *(_tariff(ln_class, number) for number in range(1, TARIFFS + 1)),
    )


def _tariff(ln_class: str, number: int) -> LogicalNode:
    objects = (plate(f"Tariff {number}"), BEH, *_directions(f"_t{number}", reactive=False))
    return LogicalNode(ln_class, str(number + 1), f"{ln_class}_T{number}", objects)


def _demand(ln_class: str, power: str) -> tuple[LogicalNode, ...]:
    """The mean of the running period, and the highest such mean.

    The meter computes both from what it measures itself, not from the values of MMXU1 or MMXN1: they are no
    derived statistics, which have a ClcSrc.
    """
    average, highest = (setting("ClcMth", "CalcMethodKind", literal) for literal in ("AVG", "MAX"))
    period = setting("ClcMod", "CalcModeKind", "PERIOD")
    mean, most = (
        DataObject(power, "MV", READING + name, unit="W", times=3.0 if power == "TotW" else 1.0)
        for name in ("demand", "demand_max")
    )
    return (
        LogicalNode(ln_class, "2", f"{ln_class}_Avg", (BEH, average, period, mean)),
        LogicalNode(ln_class, "3", f"{ln_class}_Max", (BEH, highest, most)),
    )


# fmt: off
_HZ = DataObject("Hz", "MV", "reading.frequency", unit="Hz")

ONE_WAY: tuple[LogicalNode, ...] = (
    LogicalNode("MMXN", "1", "MMXN", (
        BEH,
        DataObject("Amp", "MV", "reading.current", unit="A"),
        DataObject("Vol", "MV", "reading.voltage", unit="V"),
        DataObject("Watt", "MV", "reading.power", unit="W"),
        DataObject("VolAmp", "MV", "reading.apparent_or_product", unit="VA"),
        DataObject("PwrFact", "MV", "reading.power_factor", unit=""),
        _HZ,
    )),
    LogicalNode("MMTN", "1", "MMTN", (
        BEH,
        _counts("TotWh", "energy", "Wh"),
    )),
    *billing_nodes.demand("MMXN", "Watt"),
)
"""One phase, one direction; it has all of these, whatever its sensor gives."""

ONE_PHASE: tuple[LogicalNode, ...] = (
    LogicalNode("MMXN", "1", "MMXN_More", (
        BEH,
        DataObject("Amp", "MV", "reading.current_1", unit="A"),
        DataObject("Vol", "MV", "reading.voltage_1", unit="V"),
        DataObject("Watt", "MV", "reading.power_1", unit="W"),
        DataObject("VolAmpr", "MV", "reading.reactive_power_1", unit="VAr"),
        DataObject("VolAmp", "MV", "reading.apparent_power_1", unit="VA"),
        DataObject("PwrFact", "MV", "reading.power_factor_1", unit=""),
        _HZ,
    )),
    *_energy("MMTN"),
    *_demand("MMXN", "Watt"),
    *billing_nodes.demand("MMXN", "Watt"),
    LogicalNode("MHAN", "1", "MHAN", (
        BEH,
        _HZ,
        DataObject("ThdAmp", "MV", "reading.thd_i_l1", unit="%"),
        DataObject("ThdVol", "MV", "reading.thd_u_l1", unit="%"),
    ), needs=frozenset(("frequency",))),
)
"""One phase, and more than :data:`ONE_WAY` has: two directions, reactive power, tariffs, demand."""

_TOTAL, *_TARIFFS = _energy("MMTR")
THREE_PHASE: tuple[LogicalNode, ...] = (
    LogicalNode("MMXU", "1", "MMXU", (
        BEH,
        DataObject("TotW", "MV", "reading.total_power", unit="W", times=3.0),
        DataObject("TotVAr", "MV", "reading.total_reactive", unit="VAr", times=3.0),
        DataObject("TotVA", "MV", "reading.apparent_power", unit="VA", times=3.0),
        DataObject("TotPF", "MV", "reading.power_factor", unit=""),
        _HZ,
        replace(_phases("PPV", "DEL", "voltage", "V", _LINES), times=math.sqrt(3)),
        _phases("PhV", "WYE", "voltage", "V", _PHASES, phsToNeut=True),
        _phases("A", "WYE", "current", "A", _PHASES | {"neut": "_n"}),
        _phases("W", "WYE", "power", "W", _PHASES),
        _phases("VAr", "WYE", "reactive_power", "VAr", _PHASES),
        _phases("VA", "WYE", "apparent_power", "VA", _PHASES),
        _phases("PF", "WYE", "power_factor", "", _PHASES),
        setting("PFSign", "PFSignKind", "IEC", "TotPF", "PF"),
    )),
    _TOTAL,
    *(
        LogicalNode("MMTN", "1", f"MMTN_{phase}", (BEH, *_directions(suffix, frozen=False)), f"{phase}_")
        for phase, suffix in (("PhA", "_l1"), ("PhB", "_l2"), ("PhC", "_l3"))
    ),
    *_TARIFFS,
    *_demand("MMXU", "TotW"),
    *billing_nodes.demand("MMXU", "TotW"),
    LogicalNode("MHAI", "1", "MHAI", (
        BEH,
        _HZ,
        _phases("ThdA", "WYE", "thd_i", "%", _PHASES),
        _phases("ThdPhV", "WYE", "thd_u", "%", _PHASES),
    ), needs=frozenset(("frequency",))),
)
"""Three phases; MMTR has no phases, so those of the registers are MMTN with a prefix."""
# fmt: on
