"""What families of devices have in common: numbers, times and JSON of others, taken with care.

A value that is no number, or is outside of its limits in `broker.contract.quantities`, is left out with a
:class:`Finding`; ``null`` is absent without one. Scaling is decimal, so that 41.224 kWh are 41224 Wh.

>>> told = Gathered()
>>> told.put("energy", 41.224, factor=1000), told.put("voltage", -3), told.put("current", None)
(None, None, None)
>>> told.measured, told.findings[0].detail
({'energy': 41224.0}, 'voltage -3 V is outside of 0 to 1e+12')
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic_core import from_json

from adapters.family import Finding, Measured, Step, Values
from broker.contract.messages import EARLIEST, LATEST, whole
from broker.contract.quantities import QUANTITIES

MAX_PAYLOAD = 256 * 1024
"""Octets of a device's message; longer ones are not read."""
_LOADS = ("power", "current", "energy")
_NUMBER = re.compile(rb"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?\Z")


class UnreadableError(ValueError):
    """A message that cannot be read; it becomes a :class:`Finding`."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.finding = Finding(cause, detail)


def excerpt(told: object) -> str:
    """The beginning of ``told``, for a finding."""
    if isinstance(told, bytes):
        return repr(told[:80])
    if isinstance(told, int) and told.bit_length() > 64:
        return "an integer beyond all limits"
    return repr(told[:80] if isinstance(told, str) else told) if _plain(told) else type(told).__name__


def _plain(told: object) -> bool:
    return told is None or isinstance(told, bool | int | float | str)


def loaded(topic: str, payload: bytes, *, limit: int = MAX_PAYLOAD) -> Any:
    """The JSON in ``payload``, of at most ``limit`` octets; UnreadableError where there is none."""
    if len(payload) > limit:
        raise UnreadableError("message is too long", f"{topic}: {len(payload)} octets, at most {limit}")
    try:
        return from_json(whole(payload), allow_inf_nan=False)
    except (ValueError, RecursionError):
        raise UnreadableError("message is no JSON", f"{topic}: {excerpt(payload)}") from None


def loaded_object(topic: str, payload: bytes, *, limit: int = MAX_PAYLOAD) -> dict[str, Any]:
    """The JSON object in ``payload``; UnreadableError where there is none."""
    told = loaded(topic, payload, limit=limit)
    if not isinstance(told, dict):
        raise UnreadableError("message is no JSON object", f"{topic}: {excerpt(payload)}")
    return told


def number(told: object) -> Decimal | None:
    """``told`` as a finite number; None for everything else."""
    if isinstance(told, Decimal):
        return told if told.is_finite() else None
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(_bounded(told)):
        return None
    return Decimal(told) if isinstance(told, int) else Decimal(repr(told))


def _bounded(told: float) -> float:
    try:
        return float(told)
    except OverflowError:  # an integer of 400 digits
        return math.inf


def text_number(payload: bytes) -> Decimal | None:
    """A payload that is a number in text; None for everything else."""
    return Decimal(payload.decode()) if _NUMBER.match(payload) else None


def total(parts: Iterable[object]) -> Decimal | None:
    """The sum; None unless every part is a number."""
    numbers = [number(part) for part in parts]
    found = [part for part in numbers if part is not None]
    return sum(found, Decimal(0)) if found and len(found) == len(numbers) else None


def device_time(told: object) -> datetime | None:
    """ISO 8601 with an offset, or seconds since 1970; None where it names no instant after 2019."""
    try:
        if isinstance(told, str):
            at = datetime.fromisoformat(told)
        elif (seconds := number(told)) is not None and 0 < seconds < 1e11:
            at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(seconds * 1000))
        else:
            return None
        return at.astimezone(UTC) if at.tzinfo is not None and EARLIEST <= at < LATEST else None
    except (ValueError, OverflowError):
        return None


class Gathered:
    """Values of one instant, and what of it was left out."""

    def __init__(self) -> None:
        self.measured: Measured = {}
        self.findings: list[Finding] = []

    def put(self, name: str, told: object, *, factor: int | Decimal = 1) -> None:
        """Take ``told`` times ``factor`` as quantity ``name``, in its unit."""
        if told is None:
            return
        row, value = QUANTITIES[name], number(told)
        if value is None:
            self.findings.append(Finding("value is no number", f"{name} {excerpt(told)}"))
            return
        scaled = float(value * factor)
        if row.lowest <= scaled <= row.highest:
            self.measured[name] = scaled + 0.0  # no -0.0
            return
        unit = f" {row.unit}" if row.unit else ""
        self.findings.append(
            Finding(
                "value is outside of its limits",
                f"{name} {scaled:g}{unit} is outside of {row.lowest:g} to {row.highest:g}",
            )
        )

    def sign_power_factors(self) -> None:
        """A power factor has the sign of its power, whatever the device does."""
        for name, power in _FACTORS.items():
            if name in self.measured and self.measured.get(power):
                self.measured[name] = math.copysign(self.measured[name], self.measured[power]) + 0.0

    def steps(
        self, key: str, *, at: datetime | None = None, historical: bool = False, where: str = ""
    ) -> list[Step]:
        """The findings, and the values where there are any."""
        found: list[Step] = [
            Finding(f.cause, f"{where}: {f.detail}" if where else f.detail) for f in self.findings
        ]
        return found + ([Values(key, self.measured, at, historical)] if self.measured else [])


_FACTORS = {f"power_factor{phase}": f"power{phase}" for phase in ("", "_l1", "_l2", "_l3")}


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Quantities in the order of the contract, each once; another name is left out."""
    wanted = set(names)
    return tuple(name for name in QUANTITIES if name in wanted)


def measures_load(names: Iterable[str]) -> bool:
    """Whether a device with these quantities is a meter: a voltage alone is a battery's."""
    return any(name.startswith(_LOADS) for name in names)


def text(told: object, *, otherwise: str = "") -> str:
    """``told`` if it is a text, in at most 255 characters without control characters."""
    if not isinstance(told, str):
        return otherwise
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in told[:255]) or otherwise


def inner(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object ``name`` in ``told``; empty where there is none."""
    found = told.get(name)
    return found if isinstance(found, dict) else {}
