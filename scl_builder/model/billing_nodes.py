"""What the bridge computes of a meter from its load profile, as logical nodes: demand, registers per tariff.

Demand is a derived statistic (IEC 61850-7-4): the mean of each interval is computed from the power of MMXU1
(or MMXN1), the maximum from these means. What a meter tells itself has other instances (``measuring``).
Registers per tariff begin again at 0 in each period, so frRs is true, and frVal is the energy of the last
whole period.

>>> [node.name for node in demand("MMXU", "TotW")], [node.name for node in by_tariff("MMTR")][:2]
(['MMXU4', 'MMXU5'], ['MMTR11', 'MMTR12'])
>>> Bills(period="day").freeze
86400000
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from scl_builder.model.data_object import BEH, DEMAND, FILE, DataObject, LogicalNode, plate, setting

TARIFFS = 8
"""T1 to T8."""
_REGISTERS = frozenset(("energy", "energy_import"))
_MEAN, _MOST, _FIRST_TARIFF = 4, 5, 11
"""Instances."""
_SHOWN = (("Dmd", "import", ""), ("Sup", "export", "energy_export"))
"""Direction, quantity, and what a meter must give to have it."""


@dataclass(frozen=True)
class Bills:
    """What of billing is in the types of a project."""

    period: Literal["month", "day"] = "month"
    """At the end of which registers are frozen."""
    minutes: int = 15
    """Of an interval of the load profile."""
    tariffs: int = 0
    """Registers per tariff of each meter."""
    demand: bool = True
    """Whether a meter has the demand that the bridge computes."""

    @property
    def freeze(self) -> int:
        """frPd, ms: a month is no fixed time, and INT32 has no number for it."""
        return {"month": 0, "day": 86_400_000}[self.period]

    def shown(self, nodes: Iterable[LogicalNode]) -> tuple[LogicalNode, ...]:
        """Without demand, if there is to be none."""
        return tuple(node for node in nodes if self.demand or not node.any_of)

    def applied(self, node: LogicalNode) -> LogicalNode:
        """``node`` with the settings of its calculation."""
        if not node.any_of:
            return node
        told = {"ClcIntvPer": str(60_000 * self.minutes)}
        if node.inst == str(_MOST):
            told["ClcIntvTyp"] = self.period.upper()
        objects = (
            replace(do, values=(("setVal", told[do.name]),)) if do.name in told else do for do in node.objects
        )
        return replace(node, objects=tuple(objects))


def _source(node: str) -> DataObject:
    return DataObject("ClcSrc", "ORG", FILE, refers=node)


def demand(ln_class: str, power: str) -> tuple[LogicalNode, ...]:
    """The mean power of the latest interval, and the highest of the running period with its time."""
    mean, most = (DataObject(power, "MV", DEMAND + name, unit="W") for name in ("mean", "maximum"))
    by_interval = (
        setting("ClcMth", "CalcMethodKind", "AVG"), setting("ClcMod", "CalcModeKind", "PERIOD"),
        setting("ClcIntvTyp", "CalcIntervalKind", "MS"),
        DataObject("ClcIntvPer", "ING", FILE, values=(("setVal", "900000"),)),
        _source(f"{ln_class}1"),
    )  # fmt: skip
    by_period = (
        setting("ClcMth", "CalcMethodKind", "MAX"),
        setting("ClcIntvTyp", "CalcIntervalKind", "MONTH"), _source(f"{ln_class}{_MEAN}"),
    )  # fmt: skip
    return tuple(
        LogicalNode(ln_class, str(inst), f"{ln_class}_{name}", (BEH, *settings, value), any_of=_REGISTERS)
        for inst, name, settings, value in (
            (_MEAN, "Mean", by_interval, mean),
            (_MOST, "Most", by_period, most),
        )
    )


def by_tariff(ln_class: str, *, export: bool = True) -> tuple[LogicalNode, ...]:
    """The registers of each tariff; without ``export`` of what is consumed alone."""
    return tuple(_tariff(ln_class, number, export=export) for number in range(1, TARIFFS + 1))


def _tariff(ln_class: str, number: int, *, export: bool) -> LogicalNode:
    registers = tuple(
        DataObject(
            f"{direction}Wh", "BCR", f"tariff.t{number}_{way}", unit="Wh", values=(("frRs", "true"),),
            parts=(("frVal", f"tariff.t{number}_{way}_frozen"),), needs=needs,
        )
        for direction, way, needs in _SHOWN[: 1 + export]
    )  # fmt: skip
    type_id = f"{ln_class}_Bill{number}" + ("" if export else NARROWED)
    objects = (plate(f"Tariff {number} by the calendar"), BEH, *registers)
    inst = str(_FIRST_TARIFF + number - 1)
    return LogicalNode(ln_class, inst, type_id, objects, any_of=_REGISTERS)


NARROWED = "_1"
"""The mark in the LNodeType of a meter that has no export."""

DEFAULTS = Bills()
"""A deployment without tariffs."""
