"""A simulated house behind a wired meter: one or three phases, one direction or two.

Each phase has a load of its own (`meter_firmware.sensors.household`). With ``solar`` the third phase feeds
in what its load would draw, so that import and export both count up, and are known in closed form.

>>> house = WiredHouse(seed=1, number=7, measures=("voltage_l1", "voltage_l2", "voltage_l3"))
>>> all(200 < volts < 250 for name, volts in house.measure(1.8e9).items() if name != "alarm")
True
"""

from __future__ import annotations

import math

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.household import Household, invented
from meter_firmware.sensors.sensor import Measurement

PHASES = ("_l1", "_l2", "_l3")
NUMBERS_OF_A_PHASE = 1_000_000
"""Phases of a house are houses of the town whose numbers are this far apart."""
REACTIVE, APPARENT = 0.3, 1.05
"""varh and VAh for each Wh."""
USUAL = {"thd_u": 2.1, "thd_i": 8.4, "unbalance_u": 0.6, "demand_max": 9200.0}
"""What no model is worth: percent, and the W of the month's maximum."""


class WiredHouse:
    """House ``number`` of the town ``seed``, as a meter of these quantities measures it."""

    def __init__(self, *, seed: int, number: int, measures: tuple[str, ...], solar: bool = False) -> None:
        self._measures = measures
        three = any(name.endswith(PHASES) for name in measures)
        self._phases = [
            Household(seed=seed, number=number + phase * NUMBERS_OF_A_PHASE)
            for phase in range(3 if three else 1)
        ]
        self._solar = solar and three

    def measure(self, t: float) -> Measurement:
        """What the meter shows at ``t`` s since 1970."""
        seen = [self._phase(place, house, t) for place, house in enumerate(self._phases)]
        told = _total(seen) if len(seen) > 1 else seen[0]
        for suffix, phase in zip(PHASES, seen, strict=False):
            told |= {f"{name}{suffix}": value for name, value in phase.items()}
        told |= _lines(seen) | USUAL | {"alarm": False}
        told |= {f"{name}{suffix}": USUAL[name] for name in ("thd_u", "thd_i") for suffix in PHASES}
        for way in ("import", "export"):  # all in the first tariff
            told |= {f"energy_{way}_t1": told[f"energy_{way}"], f"energy_{way}_t2": 0.0}
        rest = (name for name in self._measures if name not in told)
        told |= {name: invented(QUANTITIES[name], t) for name in rest}
        return {name: told[name] for name in (*self._measures, "alarm")}

    def _phase(self, place: int, house: Household, t: float) -> Measurement:
        """One phase, with both directions."""
        told = house.measure(t)
        feeds = self._solar and place == len(PHASES) - 1
        sign = -1 if feeds else 1
        watts, factor = sign * told["power"], told["power_factor"]
        counted = told["energy"]
        return told | {
            "power": watts,
            "power_factor": sign * factor,
            "apparent_power": round(told["voltage"] * told["current"], 1),
            "reactive_power": round(abs(watts) * math.tan(math.acos(factor)), 1),
            "energy_import": 0.0 if feeds else counted,
            "energy_export": counted if feeds else 0.0,
            "reactive_import": round(counted * REACTIVE),
            "reactive_export": 0.0,
            "apparent_energy": round(counted * APPARENT),
            "demand": watts,
        }


def _total(phases: list[Measurement]) -> Measurement:
    """The sums; the frequency is the same in all phases."""
    sums = {
        name: round(sum(phase[name] for phase in phases), 1)
        for name in phases[0]
        if name not in ("voltage", "frequency", "power_factor", "alarm")
    }
    apparent = sums["apparent_power"]
    factor = round(sums["power"] / apparent, 3) if apparent else 1.0
    return sums | {
        "voltage": phases[0]["voltage"],
        "frequency": phases[0]["frequency"],
        "power_factor": max(-1.0, min(1.0, factor)),
    }


def _lines(phases: list[Measurement]) -> Measurement:
    """Voltages between the phases, and the current that comes back in the neutral: all 120° apart."""
    volts = [phase["voltage"] for phase in phases]
    if len(volts) == 1:
        return {}
    pairs = {"voltage_l12": (0, 1), "voltage_l23": (1, 2), "voltage_l31": (2, 0)}
    amps = [math.copysign(phase["current"], phase["power"]) for phase in phases]
    squares = sum(amp**2 for amp in amps) - sum(amps[a] * amps[b] for a, b in pairs.values())
    neutral = {"current_n": round(math.sqrt(max(0.0, squares)), 3)}
    return neutral | {
        name: round(math.sqrt(volts[a] ** 2 + volts[b] ** 2 + volts[a] * volts[b]), 1)
        for name, (a, b) in pairs.items()
    }
