"""The independent record: what each meter was about to keep, and what its outbox said that it kept.

``python -m tests.faults.witness FOLDER meter simulate …`` is ``meter61850 meter simulate …`` with three
functions wrapped. One line of JSON for each event goes to ``FOLDER/<meter_id>.jsonl`` (appended by one
write(2), so that ``kill -9`` loses none):

* ``want``: the outbox is given this reading (written *before* it is), under this epoch and seq
* ``took``: the outbox returned: from here on the reading must never be lost
* ``freed``: the outbox forgot a range

Each line tells how many readings are ``left`` in the outbox.

While ``FOLDER/quiet`` exists the sensors stand still; each then makes a file ``<meter_id>.quiet``.
``FOLDER/clock`` holds the seconds by which the process's clock is wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import broker.messages

QUIET_POLL = 0.05


class Witness:
    """Writes the books of the meters of one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._books: dict[str, int] = {}
        self._utc_now = broker.messages.utc_now

    def install(self) -> None:
        """Wrap clock, outbox and sensor; to be called before anything of the firmware is imported."""
        assert not any(name.startswith("meter_firmware") for name in sys.modules), "too late for the clock"
        broker.messages.utc_now = self.now
        from meter_firmware.outbox import Outbox  # noqa: PLC0415 - after the clock
        from meter_firmware.simulated import SimulatedHardware  # noqa: PLC0415 - after the clock

        self._watch_outbox(Outbox)
        self._watch_sensor(SimulatedHardware)

    def now(self) -> datetime:
        """The time that the meters believe in."""
        return self._utc_now() + timedelta(seconds=self._offset())

    def _offset(self) -> float:
        try:
            return float((self._folder / "clock").read_text())
        except FileNotFoundError:
            return 0.0

    def _watch_outbox(self, outbox_class: Any) -> None:
        add, confirm = outbox_class.add, outbox_class.confirm

        def watched_add(
            outbox: Any, quantities: Mapping[str, float | bool], *, ts: datetime, held: bool
        ) -> Any:
            event = {"seq": outbox.last_seq + 1, "ts": round(ts.timestamp() * 1000), "ahead": self._offset()}
            self._write(outbox, "want", event | {"values": dict(quantities)})
            kept = add(outbox, quantities, ts=ts, held=held)
            self._write(outbox, "took", {"seq": kept.seq})
            return kept

        def watched_confirm(outbox: Any, stored: Any) -> Any:
            gone = confirm(outbox, stored)
            if gone:
                self._write(outbox, "freed", {"first": stored.first, "seq": stored.seq})
            return gone

        outbox_class.add, outbox_class.confirm = watched_add, watched_confirm

    def _watch_sensor(self, sensor_class: Any) -> None:
        read = sensor_class.read

        async def watched_read(sensor: Any) -> Any:
            told = False
            while (self._folder / "quiet").exists():
                if not told:
                    (self._folder / f"{sensor._path.parent.name}.quiet").touch()
                told = True
                await asyncio.sleep(QUIET_POLL)
            return await read(sensor)

        sensor_class.read = watched_read

    def _write(self, outbox: Any, event: str, values: Mapping[str, object]) -> None:
        meter_id = outbox._storage._path.parent.name
        with self._lock:  # the last line's count is the latest count
            line = {"event": event, "epoch": outbox.epoch, "left": outbox.count, **values}
            self._line(meter_id, line)

    def _line(self, meter_id: str, values: Mapping[str, object]) -> None:
        if meter_id not in self._books:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._books[meter_id] = os.open(self._folder / f"{meter_id}.jsonl", flags, 0o644)
        os.write(self._books[meter_id], json.dumps(values).encode() + b"\n")


def main() -> None:
    """Be the CLI, watched."""
    folder = Path(sys.argv.pop(1))
    Witness(folder).install()
    from admin.main import main as cli  # noqa: PLC0415 - after the clock

    cli()


if __name__ == "__main__":
    main()
