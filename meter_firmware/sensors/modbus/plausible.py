"""Whether first values can be those of a meter of this kind: meters of one name have different registers.

Voltages to neutral of 80 to 300 V (0 for a phase that is not connected), 45 to 65 Hz, and a power of at
most 1.2 times voltage and current.

>>> complaints({"voltage": 23.1, "frequency": 50.0})
['voltage 23.1 V']
"""

from __future__ import annotations

from meter_firmware.sensors.sensor import Measurement

VOLTS, HERTZ = (80.0, 300.0), (45.0, 65.0)
MOST, SLACK = 1.2, 25.0
"""A power above ``MOST`` × V × A + ``SLACK`` W is none: the load may change between two registers."""
PHASES = ("", "_l1", "_l2", "_l3")


def complaints(measured: Measurement, *, alternating: bool = True) -> list[str]:
    """Each value that cannot be, with its unit; none if the values are plausible.

    Of direct current only the power is judged: its voltage may be any.
    """
    powers = [text for phase in PHASES if (text := _too_much(measured, phase))]
    if not alternating:
        return powers
    volts = {phase: measured[f"voltage{phase}"] for phase in PHASES if f"voltage{phase}" in measured}
    found = [
        f"voltage{phase} {value:g} V"
        for phase, value in volts.items()
        if not VOLTS[0] <= value <= VOLTS[1] and (value or not any(volts.values()))
    ]
    hertz = measured.get("frequency")
    if hertz is not None and not HERTZ[0] <= hertz <= HERTZ[1]:
        found.append(f"frequency {hertz:g} Hz")
    return found + powers


def _too_much(measured: Measurement, phase: str) -> str:
    told = [measured.get(f"{name}{phase}") for name in ("power", "voltage", "current")]
    if any(value is None for value in told):
        return ""
    watts, volts, amperes = (float(value or 0) for value in told)
    fits = abs(watts) <= MOST * volts * amperes + SLACK
    return "" if fits else f"power{phase} {watts:g} W at {volts:g} V and {amperes:g} A"
