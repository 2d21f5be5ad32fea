"""SunSpec: a device tells where its models are, and the scale of each integer.

``SunS`` stands at 40000, 0 or 50000; models follow, each with its number and length. The models of meters
are 201 to 204 (integers with scale factors) and 211 to 214 (float32); offsets are from the model's first
register. DEVICES.md 2.5, from `model_203.json` and `model_213.json` of PyPI's pysunspec2.

>>> scaled_points(dict.fromkeys(range(107), 0x8000) | {16: 500, 17: 0xFFFF}, THREE_PHASES)
{'frequency': 50.0}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meter_firmware.sensors.modbus.bus import Query, RefusedError
from meter_firmware.sensors.modbus.sensor import ModbusSensor
from meter_firmware.sensors.modbus.table import LONGEST_BLOCK, Register, Words, number, scaled
from meter_firmware.sensors.sensor import Measurement, SensorError

STARTS = (40_000, 0, 50_000)
MARK = [0x5375, 0x6E53]
"""``SunS``."""
END = 0xFFFF
MOST_MODELS = 64
INTEGERS, FLOATS = 200, 210
SINGLE_PHASE, THREE_PHASE = (1, 2), (3, 4)
"""Last digit of a model: single and split phase; star and delta."""
NOT_THERE = 0x8000


@dataclass(frozen=True)
class Point:
    """An int16, or a counter of two registers, which is scaled by 10 to the power at ``factor``."""

    quantity: str
    offset: int
    factor: int
    counter: bool = False


def _phases(name: str, offset: int, factor: int) -> tuple[Point, ...]:
    """One after another: ``current_l1`` and so on."""
    return tuple(Point(f"{name}_l{phase + 1}", offset + phase, factor) for phase in range(3))


# fmt: off
THREE_PHASES = (
    *_phases("current", 3, 6),
    *_phases("voltage", 8, 15),
    Point("voltage_l12",       12, 15),
    Point("voltage_l23",       13, 15),
    Point("voltage_l31",       14, 15),
    Point("frequency",         16, 17),
    Point("power",             18, 22),
    *_phases("power", 19, 22),
    Point("apparent_power",    23, 27),
    *_phases("apparent_power", 24, 27),
    Point("reactive_power",    28, 32),
    *_phases("reactive_power", 29, 32),
    Point("power_factor",      33, 37),
    *_phases("power_factor", 34, 37),
    Point("energy_export",     38, 54, counter=True),
    Point("energy_export_l1",  40, 54, counter=True),
    Point("energy_export_l2",  42, 54, counter=True),
    Point("energy_export_l3",  44, 54, counter=True),
    Point("energy_import",     46, 54, counter=True),
    Point("energy_import_l1",  48, 54, counter=True),
    Point("energy_import_l2",  50, 54, counter=True),
    Point("energy_import_l3",  52, 54, counter=True),
)
SINGLE = (
    Point("current",         2,  6),
    Point("voltage",         8, 15),
    Point("frequency",      16, 17),
    Point("power",          18, 22),
    Point("apparent_power", 23, 27),
    Point("reactive_power", 28, 32),
    Point("power_factor",   33, 37),
    Point("energy_export",  38, 54, counter=True),
    Point("energy_import",  46, 54, counter=True),
)
# fmt: on


def scaled_points(words: Words, points: tuple[Point, ...]) -> Measurement:
    """What the registers of an integer model tell."""
    told: Measurement = {}
    for point in points:
        value = _value(words, point)
        if value is not None:
            told[point.quantity] = value
    return told


def _value(words: Words, point: Point) -> float | None:
    raw, factor = words.get(point.offset), words.get(point.factor, NOT_THERE)
    exponent = number("i16", factor)
    if raw is None or factor == NOT_THERE or not -10 <= exponent <= 10:
        return None
    if point.counter:  # 0 is none; makers fill others with 8000h, and Kostal counts below 0
        counted = raw << 16 | words.get(point.offset + 1, 0)
        return _within(point, counted * 10**exponent) if 0 < counted < 1 << 31 else None
    if raw == NOT_THERE:
        return None
    value = number("i16", raw) * 10**exponent
    percent = point.quantity.startswith("power_factor") and abs(value) > 1  # makers differ
    return _within(point, value / 100 if percent else value)


def _within(point: Point, value: float) -> float | None:
    return scaled(Register(point.quantity, point.offset, "i16"), value)


class SunSpecSensor(ModbusSensor):
    """A meter that describes itself."""

    _place: tuple[int, int] | None = None

    def words(self) -> dict[int, int]:
        """The registers of the meter's model, by offset; SensorError if there is none."""
        start, count = self._place = self._place or self._found()
        found: list[int] = []
        try:
            for first in range(0, count, LONGEST_BLOCK):
                found += self._registers(start + first, min(LONGEST_BLOCK, count - first))
        except RefusedError:
            self._place = None  # its models are elsewhere now
            raise
        return dict(enumerate(found))

    def decoded(self, words: Words) -> Measurement:
        """The quantities of the model."""
        if words[0] >= FLOATS:
            return self._device.decode(words)
        return scaled_points(words, THREE_PHASES if self._three_phases else SINGLE)

    @property
    def _three_phases(self) -> bool:
        return "power_l1" in self._device.measures

    def _found(self) -> tuple[int, int]:
        """First address and count of the model of a meter of our phases."""
        three = self._three_phases
        wanted, other = (THREE_PHASE, SINGLE_PHASE) if three else (SINGLE_PHASE, THREE_PHASE)
        models = dict(self._models())
        for model, (start, count) in models.items():
            if model in _meters(wanted):
                return start, count
        for model in models.keys() & _meters(other):
            hint = "sunspec_1p" if three else "sunspec"
            raise SensorError("sensor is of another kind", f"it has model {model}: use kind {hint}")
        raise SensorError("sensor is of another kind", f"it has no model of a meter, but {sorted(models)}")

    def _models(self) -> Iterator[tuple[int, tuple[int, int]]]:
        address = self._mark() + len(MARK)
        for _ in range(MOST_MODELS):
            model, length = self._registers(address, 2)
            if model == END or address + 2 + length > 0xFFFF:
                return
            yield model, (address, length + 2)
            address += length + 2

    def _mark(self) -> int:
        """Where ``SunS`` stands."""
        for start in STARTS:
            try:
                if self._registers(start, 2) == MARK:
                    return start
            except RefusedError:
                continue
        raise SensorError("sensor is of another kind", f"no SunS at {', '.join(map(str, STARTS))}")

    def _registers(self, first: int, count: int) -> list[int]:
        return self._bus.read(Query(self._address, 3, first, count, seconds=self._device.answer_seconds))


def _meters(digits: tuple[int, ...]) -> set[int]:
    return {family + digit for family in (INTEGERS, FLOATS) for digit in digits}
