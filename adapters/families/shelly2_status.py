"""Shelly Gen2 and later: the status of a component as quantities.

``aenergy`` also counts what ``ret_aenergy`` counts: import is their difference. A power factor is unsigned:
its sign is that of the power. A ``null`` is absent; where a phase is absent, so is the total.

>>> told = {"apower": -40.5, "pf": 0.9, "aenergy": {"total": 41207.115}, "ret_aenergy": {"total": 12.004}}
>>> found = measured("switch", told).measured
>>> found["energy_import"], found["power_factor"]
(41195.111, -0.9)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from adapters.family import Finding
from adapters.measured import Gathered, excerpt, inner, number

FRESH = 180.0
"""Seconds for which a status counts beside a newer one: counters come each minute."""
MOST = 16
"""Components of one kind that are read."""
_COMPONENT = re.compile(r"(switch|pm1|em|em1|emdata|em1data):(\d{1,3})\Z", re.ASCII)

_METER = {
    "apower": "power",
    "voltage": "voltage",
    "current": "current",
    "aprtpower": "apparent_power",
    "pf": "power_factor",
    "freq": "frequency",
}
_CLAMP = {
    "act_power": "power",
    "voltage": "voltage",
    "current": "current",
    "aprt_power": "apparent_power",
    "pf": "power_factor",
    "freq": "frequency",
}
_TOTALS = {"total_current": "current", "total_act_power": "power", "total_aprt_power": "apparent_power"}
_CLAMP_COUNTERS = {"total_act_energy": "energy_import", "total_act_ret_energy": "energy_export"}
_COUNTERS = {"total_act": "energy_import", "total_act_ret": "energy_export"}
LETTERS = {"a": "_l1", "b": "_l2", "c": "_l3"}


def _phases(names: dict[str, str]) -> dict[str, str]:
    return {
        f"{letter}_{told}": f"{name}{phase}"
        for letter, phase in LETTERS.items()
        for told, name in names.items()
        if name != "frequency"
    }


FIELDS: dict[str, dict[str, str]] = {
    "switch": _METER,
    "pm1": _METER,
    "em": _phases(_CLAMP) | {"n_current": "current_n"} | _TOTALS,
    "em1": _CLAMP,
    "emdata": _phases(_CLAMP_COUNTERS) | _COUNTERS,
    "em1data": _CLAMP_COUNTERS,
}
"""Field → quantity, of each kind of component."""
_OTHERS = {
    "switch": {"output", "aenergy", "ret_aenergy"},
    "pm1": {"aenergy", "ret_aenergy"},
    "em": {"a_freq", "b_freq", "c_freq"},
}
COUNTERS_OF = {"em": "emdata", "em1": "em1data"}
"""The component with the counters of another one."""
METER_OF = {counters: meter for meter, counters in COUNTERS_OF.items()}


def component(name: str) -> tuple[str, int] | None:
    """``em1:2`` as kind and number; None for a component that does not matter here."""
    found = _COMPONENT.match(name)
    return (found[1], int(found[2])) if found and int(found[2]) < MOST else None


@dataclass
class Status:
    """What is known of a component: the full status, and the changes since."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    """Whether a full status was among it."""
    heard: float = float("-inf")

    def replace(self, told: dict[str, Any], *, now: float) -> None:
        """A full status."""
        self.fields, self.complete = {}, True
        self._overlay(told, now)

    def change(self, told: dict[str, Any], *, now: float) -> None:
        """What has changed; a null removes. After a silence what was known counts no more."""
        if not self.fresh(now):
            self.fields, self.complete = {}, False
        self._overlay(told, now)

    def fresh(self, now: float) -> bool:
        """Whether it counts beside a newer status of another component."""
        return now - self.heard <= FRESH

    def _overlay(self, told: dict[str, Any], now: float) -> None:
        self.heard = now
        for name in told.keys() & (FIELDS[self.kind].keys() | _OTHERS.get(self.kind, set())):
            value, before = told[name], self.fields.get(name)
            if value is None:
                self.fields.pop(name, None)
            elif isinstance(value, dict):
                whole = value.get("total", before.get("total") if isinstance(before, dict) else None)
                self.fields[name] = {"total": _small(whole)}
            else:
                self.fields[name] = _small(value)


def _small(value: object) -> object:
    """A value, or a short name of what is none: it is kept for as long as the device is known."""
    return value if isinstance(value, bool | int | float) or value is None else excerpt(value)


def measured(kind: str, fields: dict[str, Any], *, complete: bool = True, two_way: bool = False) -> Gathered:
    """The quantities of a component's status."""
    gathered = Gathered()
    for field_name, name in FIELDS[kind].items():
        gathered.put(name, fields.get(field_name))
    if kind == "em":
        told = (fields.get(f"{letter}_freq") for letter in LETTERS)
        gathered.put("frequency", next((one for one in told if one is not None), None))
        _only_whole(gathered, _TOTALS.values())
    elif kind == "emdata":
        _only_whole(gathered, _COUNTERS.values())
    elif kind in ("switch", "pm1") and complete:
        _energy(gathered, fields, two_way=two_way)
    gathered.sign_power_factors()
    return gathered


def _only_whole(gathered: Gathered, totals: Iterable[str]) -> None:
    """A total without one of its phases is none: the device sums what it has."""
    for name in totals:
        phases = [f"{name}{phase}" for phase in LETTERS.values()]
        if name in gathered.measured and not all(phase in gathered.measured for phase in phases):
            value = gathered.measured.pop(name)
            gathered.findings.append(Finding("total without all phases", f"{name} {value:g} is left out"))


def _energy(gathered: Gathered, fields: dict[str, Any], *, two_way: bool) -> None:
    whole, back = (inner(fields, name).get("total") for name in ("aenergy", "ret_aenergy"))
    if back is None and not two_way:
        gathered.put("energy", whole)
        return
    gathered.put("energy_export", back)
    both = number(whole), number(back)
    if both[0] is not None and both[1] is not None:
        gathered.put("energy_import", both[0] - both[1])
