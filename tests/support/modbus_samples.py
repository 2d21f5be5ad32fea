"""The samples of Modbus registers: what stands in a device, and what its driver must tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "samples" / "modbus_registers.json"
KINDS = {
    "Eastron SDM630": "sdm630",
    "Chint DTSU666 (plain)": "dtsu666",
    "Carlo Gavazzi EM24 RS-485": "cg_em24",
    "Carlo Gavazzi EM111": "cg_em111",
    "ABB B23/A43": "abb_b2x",
    "Schneider iEM3155": "iem3000",
    "PZEM-016": "pzem004t",
    "PZEM-017": "pzem017",
}
WIDE = 'JSY-MK-194 (14 "registers" of 4 bytes from 0x0048)'
SUNSPEC = "SunSpec 203 (block at 40069 after SunS + common)"


@dataclass(frozen=True)
class Sample:
    """Registers of a device by address, and some of the quantities that they give."""

    name: str
    kind: str
    function: int
    words: dict[int, int]
    expected: dict[str, float]

    @property
    def size(self) -> int:
        """Bytes of a register."""
        return 4 if self.name == WIDE else 2


def _samples(told: dict[str, Any]) -> Iterator[Sample]:
    for name, entry in told.items():
        words: dict[int, int] = {}
        for first, parts in entry["registers"].items():
            values = [int("".join(parts), 16)] if name == WIDE else [int(part, 16) for part in parts]
            words |= dict(enumerate(values, int(first, 16)))
        expect = entry["expect"]
        if name == WIDE:
            shared = {"frequency": expect["frequency"]}
            for channel in (1, 2):
                expected = _canonical(expect[f"ch{channel}"]) | shared
                yield Sample(name, f"jsy_mk_194_{channel}", entry["function"], words, expected)
        elif name in KINDS:
            yield Sample(name, KINDS[name], entry["function"], words, _canonical(expect))


def _canonical(expect: dict[str, float]) -> dict[str, float]:
    return {name.removesuffix("_wh"): value for name, value in expect.items()}


ENTRIES: dict[str, Any] = json.loads(FILE.read_text())
SAMPLES = tuple(_samples(ENTRIES))
