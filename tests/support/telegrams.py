"""Telegrams of the samples, what they say, and meters on pseudo-terminals that send or answer as a test says.

>>> SML[:4].hex()
'1b1b1b1b'
"""

from __future__ import annotations

import os
import re
import select
import threading
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from meter_firmware.sensors.sensor import SensorError
from tests.support.project import ROOT

SAMPLES = ROOT / "tests" / "samples"
P1 = (SAMPLES / "dsmr_v5_three_phase.txt").read_bytes()
FLUVIUS = (SAMPLES / "dsmr_fluvius_demand.txt").read_bytes()
SML = bytes.fromhex((SAMPLES / "sml_three_phase.hex").read_text())
READOUT = (SAMPLES / "iec62056_21_readout.bin").read_bytes()
IDENTIFICATION, BLOCK = READOUT.split(b"\x02")[0], READOUT[READOUT.index(b"\x02") :]
MBUS = bytes.fromhex((SAMPLES / "mbus_three_phase.hex").read_text())

EXPECTED = {
    "power": -512.0,
    "voltage_l1": 231.0, "voltage_l2": 229.4, "voltage_l3": 230.1,
    "current_l1": 1.74, "current_l2": 0.14, "current_l3": 4.11,
    "power_l1": 401.0, "power_l2": 32.0, "power_l3": -945.0,
    "energy_import": 4_216_825.0, "energy_export": 1_013_454.0,
}  # fmt: skip
"""The instant that all samples tell, each as finely as it can (DEVICES.md, 2.6)."""


PATIENCE = (0.6, 3.0, 15.0, 60.0)
"""s that a reader may wait: the first is enough, unless the machine is busy."""


async def fails(read: Callable[[float], Awaitable[object]], error: str) -> None:
    """Reading fails with this ``error`` (a pattern), at the latest when it is patient."""
    for seconds in PATIENCE:
        try:
            await read(seconds)
        except SensorError as found:
            if re.search(error, str(found)):
                return
            last = found
        else:
            raise AssertionError("it did not fail")
    raise last


class Port:
    """A pseudo-terminal; ``answer`` makes of each piece that the reader sends what the meter sends."""

    def __init__(self, folder: Path, answer: Callable[[bytes], bytes] = lambda _: b"") -> None:
        self.name = str(folder / "ttyMETER")
        self.heard = b""
        self._answer = answer
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        os.symlink(os.ttyname(self._slave), self.name)
        self._over_read, self._over_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="meter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._thread.is_alive():
            self.unplug()

    def send(self, data: bytes) -> None:
        """Have the meter send this."""
        os.write(self._master, data)

    def unplug(self) -> None:
        """Take the port away."""
        os.write(self._over_write, b"x")
        self._thread.join()
        os.unlink(self.name)
        for descriptor in (self._master, self._slave, self._over_read, self._over_write):
            os.close(descriptor)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._over_read], [], [])
            if self._over_read in ready:
                return
            piece = os.read(self._master, 256)
            self.heard += piece
            if reply := self._answer(piece):
                os.write(self._master, reply)
