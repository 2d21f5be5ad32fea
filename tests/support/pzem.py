"""A PZEM-004T v3 on a pseudo-terminal, with the thesis's values.

>>> with Pzem(tmp_path) as pzem:  # doctest: +SKIP
...     pzem.mode = Mode.BAD_CRC
...     serial.Serial(pzem.port)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.modbus import Slaves, image

THESIS = (2310, 191, 0, 213, 0, 32878, 1, 500, 48, 0)
"""The thesis's raw registers: 231.0 V, 0.191 A, 21.3 W, 98,414 Wh, 50.0 Hz, 0.48, no alarm."""
GENERAL_ADDRESS = 0xF8
READ_INPUT_REGISTERS = 0x04


class Pzem(Slaves):
    """The sensor, alone on its line: it also answers the general address."""

    def __init__(self, folder: Path, *, address: int = 1, registers: Sequence[int] = THESIS) -> None:
        self._addresses = (address, GENERAL_ADDRESS)
        super().__init__(folder, {})
        self.registers = registers

    @property
    def registers(self) -> tuple[int, ...]:
        """What stands in its registers now."""
        return self._registers

    @registers.setter
    def registers(self, words: Sequence[int]) -> None:
        self._registers = tuple(words)
        self.units = dict.fromkeys(self._addresses, image(READ_INPUT_REGISTERS, dict(enumerate(words))))
