"""The simulator's hardware: a sensor and a relay on one simulated house.

An open relay cuts the house off: current and power are zero, the energy stands still. How much was
not drawn is kept in a file, as a real sensor keeps its counter, so the energy never jumps.

>>> with tempfile.TemporaryDirectory() as folder:
...     hardware = SimulatedHardware(Household(seed=1, number=1), Path(folder) / "hardware.json")
...     hardware.drive(Position.OPEN)
...     asyncio.run(hardware.read())["power"]
0.0
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from broker import durable
from broker.contract.messages import utc_now
from broker.contract.relay import Position
from meter_firmware.relay.pin import RelayError
from meter_firmware.sensors.household import MEASURES, Household
from meter_firmware.sensors.sensor import Measurement


@dataclass(frozen=True)
class Cut:
    """Wh that were not drawn so far, and since when (s since 1970) the house is cut off."""

    unused: float = 0.0
    since: float | None = None


class SimulatedHardware:
    """Sensor and pin of one meter; ``path`` is its memory."""

    measures = MEASURES

    def __init__(self, house: Household, path: Path) -> None:
        self._house = house
        self._path = path
        self._cut: Cut | None = None
        self._energy = 0.0

    async def read(self) -> Measurement:
        """Measure the house now."""
        return self.measure(utc_now().timestamp())

    def measure(self, t: float) -> Measurement:
        """Measure the house at ``t`` s since 1970; the counter stands still if the clock is set back."""
        cut = self._cut or Cut()
        unused = self._unused(cut, t)
        measured = self._house.measure(t, supplied=cut.since is None, unused=unused)
        self._energy = max(self._energy, measured["energy"])
        return measured | {"energy": self._energy}

    def drive(self, position: Position) -> None:
        """Connect the house or cut it off; RelayError if the memory cannot be written."""
        self.switch(position, utc_now().timestamp())

    def switch(self, position: Position, t: float) -> None:
        """Connect the house or cut it off at ``t`` s since 1970; RelayError as above."""
        try:
            cut = self._cut or self._remembered()
            if (position is Position.OPEN) == (cut.since is None):
                unused = self._unused(cut, t)
                cut = Cut(unused, t if position is Position.OPEN else None)
                durable.replace(self._path, json.dumps(asdict(cut)).encode(), mode=durable.PUBLIC)
        except (OSError, ValueError, TypeError) as error:
            raise RelayError(f"{self._path}: {error}") from error
        self._cut = cut

    def close(self) -> None:
        """Nothing to give back."""

    def _unused(self, cut: Cut, t: float) -> float:
        if cut.since is None:
            return cut.unused
        return cut.unused + self._house.energy(t) - self._house.energy(cut.since)

    def _remembered(self) -> Cut:
        return Cut(**json.loads(self._path.read_text())) if self._path.exists() else Cut()
