"""What a meter's page draws: its measurements, three phases together, and the limits of a voltage.

>>> from broker.contract.quantities import QUANTITIES
>>> [label for _, label, _ in curves_of(map(QUANTITIES.get, ("power", "power_l1", "power_l2", "power_l3")))]
['Power', 'Power of all phases', 'Power L1', 'Power L2', 'Power L3']
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from broker.contract.quantities import Kind, Quantity

NOMINAL_VOLTS = {"": 230.0, "L1": 230.0, "L2": 230.0, "L3": 230.0, "L12": 400.0, "L23": 400.0, "L31": 400.0}
"""By phase, and between phases (IEC 60038)."""
_THREE = ("L1", "L2", "L3")
SUPPLY_PERCENT = 10
"""A supply voltage is within this of the nominal one (EN 50160, 4.2.2)."""


def limits_of(quantity: Quantity) -> tuple[float, float] | None:
    """The lowest and the highest value of a good supply; None for what has no limits.

    >>> from broker.contract.quantities import QUANTITIES
    >>> limits_of(QUANTITIES["voltage"])
    (207.0, 253.0)
    """
    nominal = NOMINAL_VOLTS.get(quantity.phase)
    if quantity.unit != "V" or nominal is None:
        return None
    return nominal * (100 - SUPPLY_PERCENT) / 100, nominal * (100 + SUPPLY_PERCENT) / 100


def curves_of(measured: Iterable[Quantity]) -> Iterator[tuple[str, str, Quantity]]:
    """What can be chosen: names with a comma between, label, and the quantity that has unit and decimals."""
    rows = [quantity for quantity in measured if quantity.kind is Kind.MEASUREMENT]
    for base, group in groupby(rows, key=_base):
        phases = list(group)
        if base and len(phases) == len(_THREE):
            label = phases[0].label.removesuffix(f" {phases[0].phase}")
            yield ",".join(one.name for one in phases), f"{label} of all phases", phases[0]
        for quantity in phases:
            yield quantity.name, quantity.label, quantity


def _base(quantity: Quantity) -> str:
    """Name of the quantity of which this is one of three phases; empty for any other."""
    return quantity.name.removesuffix(f"_{quantity.phase.lower()}") if quantity.phase in _THREE else ""
