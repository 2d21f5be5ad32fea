"""A simulated house: what its meter would measure at an instant, reproducible from a seed.

The load is a sum of raised cosines, a₀ + Σ aₖ(1 + cos(2πt/Tₖ − φₖ)): a day with an evening and a
morning peak, and appliances that come and go. It is never negative, and its integral is known in
closed form, so the energy only rises, is the integral of the power, and needs no state: the same
seed gives the same values at the same instants. Frequency is the grid's, the same in every house.

>>> house = Household(seed=1, number=7)
>>> house.load(1.8e9) > 0 and house.energy(1.8e9 + 3600) > house.energy(1.8e9)
True
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from broker.contract.messages import EARLIEST
from broker.contract.quantities import HOUSEHOLD, QUANTITIES, Kind, Quantity
from meter_firmware.sensors.sensor import Measurement

NOMINAL_VOLTAGE = 230.0
NOMINAL_FREQUENCY = 50.0
HOUR = 3600.0
ORIGIN = EARLIEST.timestamp()
"""When the simulated meters began to count."""


@dataclass(frozen=True)
class Wave:
    """amplitude·(1 + cos(2π·t/period − phase)): amplitude in W, period in s."""

    amplitude: float
    period: float
    phase: float

    def at(self, t: float) -> float:
        """The value at ``t`` seconds."""
        return self.amplitude * (1 + math.cos(math.tau * t / self.period - self.phase))

    def until(self, t: float) -> float:
        """The integral from 0 to ``t`` seconds."""
        turn = self.period / math.tau
        swing = math.sin(math.tau * t / self.period - self.phase) + math.sin(self.phase)
        return self.amplitude * (t + turn * swing)


@dataclass(frozen=True)
class Shape:
    """One kind of wave in the load: mean W, period in hours, hour (UTC) of a peak or None for any."""

    mean: float
    period: float
    peak: float | None


# fmt: off
SHAPES: tuple[Shape, ...] = (
    #     mean period   peak
    Shape(200, 24.0,    18.0),  # evenings
    Shape(110, 12.0,    18.5),  # mornings and evenings
    Shape( 45,  8.0,     7.0),  # breakfast
    Shape( 60,  0.78,   None),  # fridge
    Shape( 45,  1.93,   None),  # washing, ironing
    Shape( 45,  0.217,  None),  # hob and kettle
    Shape( 15,  0.0131, None),  # what flickers within a minute
)
# fmt: on
BASE_LOAD = 40.0
"""W; routers and standby."""


MEASURES = HOUSEHOLD
"""What its meter measures: a house has one phase."""


class Household:
    """House ``number`` of the town ``seed``."""

    def __init__(self, *, seed: int, number: int) -> None:
        self._seed = seed
        self._number = number
        draw = random.Random(f"household {seed} {number}")
        self._size = draw.lognormvariate(0, 0.4)
        self._mains = draw.uniform(-4, 4)
        self._waves = _waves(draw, self._size)
        self._energy_before = draw.uniform(0, 5e6)

    def load(self, t: float) -> float:
        """Active power in W that the house wants at ``t`` seconds since 1970."""
        return BASE_LOAD * self._size + sum(wave.at(t - ORIGIN) for wave in self._waves)

    def energy(self, t: float) -> float:
        """Wh that the house has used until ``t``, had it never been switched off."""
        since = t - ORIGIN
        joules = BASE_LOAD * self._size * since + sum(wave.until(since) for wave in self._waves)
        return self._energy_before + joules / HOUR

    def measure(self, t: float, *, supplied: bool = True, unused: float = 0.0) -> Measurement:
        """What the meter shows at ``t``; ``unused`` Wh were not drawn while the relay was open."""
        draw = random.Random(f"noise {self._seed} {self._number} {t:.3f}")
        voltage = round(self._voltage(t) + draw.gauss(0, 0.3), 1)
        factor = round(min(1.0, 0.93 + 0.05 * math.sin(math.tau * t / 5077 + self._mains)), 2)
        current = round(self.load(t) / (voltage * factor), 3) if supplied else 0.0
        known: Measurement = {
            "voltage": voltage,
            "current": current,
            "power": round(voltage * current * factor, 1),
            "power_factor": factor if supplied else 0.0,
            "frequency": frequency(self._seed, t),
            "energy": float(math.floor(self.energy(t) - unused)),
            "alarm": False,
        }
        return {name: invented(QUANTITIES[name], t) for name in MEASURES if name not in known} | known

    def _voltage(self, t: float) -> float:
        """Sags by 3 % of a 10 kW load, and breathes with the grid."""
        return NOMINAL_VOLTAGE + self._mains - self.load(t) * 7e-4 + 1.5 * math.sin(math.tau * t / 1337)


def invented(row: Quantity, t: float) -> float:
    """A quantity that a house has no model of: a slow wave, or hours counted, within its limits."""
    hours = (t - ORIGIN) / HOUR
    value = hours if row.kind is Kind.REGISTER else 50 + 40 * math.sin(math.tau * hours)
    return round(min(max(value, row.lowest), row.highest), row.decimals)


def _waves(draw: random.Random, size: float) -> Sequence[Wave]:
    waves = []
    for shape in SHAPES:
        peak = draw.uniform(0, shape.period) if shape.peak is None else draw.gauss(shape.peak, 0.8)
        period = shape.period * (draw.uniform(0.9, 1.1) if shape.peak is None else 1)
        mean = shape.mean * size * draw.uniform(0.6, 1.4)
        waves.append(Wave(mean, period * HOUR, math.tau * peak / period))
    return waves


def frequency(seed: int, t: float) -> float:
    """Hz of the grid at ``t``: the same for every house, within ±0.05 Hz, in steps of 0.01 Hz."""
    drift = 0.03 * math.sin(math.tau * t / 907 + seed) + 0.015 * math.sin(math.tau * t / 61.7)
    return round(NOMINAL_FREQUENCY + drift, 2)
