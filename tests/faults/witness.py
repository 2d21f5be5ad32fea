"""The independent record: what each meter was about to keep, and what its outbox said that it kept.

``python -m tests.faults.witness FOLDER meter simulate …`` is ``meter61850 meter simulate …`` with some
functions wrapped. One line of JSON for each event goes to ``FOLDER/<meter_id>.jsonl`` (appended by one
write(2), so that ``kill -9`` loses none):

* ``want``: the outbox is given this reading (written *before* it is), under this epoch and seq
* ``took``: it is on the disk: from here on the reading must never be lost
* ``freed``: the outbox forgot a range
* ``opened``: a process has opened it at this seq
* ``held``: a reading that it holds then, and after names were changed; one line for each

The site adds ``copied``, ``restored`` and ``twin`` (`cards`). Each line tells how many readings are ``left``
in the outbox.

While ``FOLDER/quiet`` exists the sensors stand still; each then makes a file ``<meter_id>.quiet``.
``FOLDER/clock`` holds the seconds by which the process's clock is wrong. It ticks every 50 ms: twins often
read in the same millisecond. With a file ``FOLDER/twin`` the sensors show 1 V more in every other second.
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

import broker.contract.messages
from tests.faults.cards import COLUMNS
from tests.faults.wrong_clock import WrongClock

QUIET_POLL = 0.05
TICK_MS = 50


class Witness:
    """Writes the books of the meters of one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._books: dict[str, int] = {}
        self._clock = WrongClock(folder)

    def install(self) -> None:
        """Wrap clock, outbox and sensor; to be called before anything of the firmware is imported."""
        self._clock.install()
        broker.contract.messages.utc_now = self.now
        from meter_firmware.outbox import Outbox  # noqa: PLC0415 - after the clock
        from meter_firmware.sensors.simulated import SimulatedHardware  # noqa: PLC0415 - after the clock

        self._watch_outbox(Outbox)
        self._watch_names(Outbox)
        self._watch_sensor(SimulatedHardware)

    def now(self) -> datetime:
        """The time that the meters believe in."""
        now = self._clock.now()
        return now - timedelta(microseconds=now.microsecond % (1000 * TICK_MS))

    def _watch_outbox(self, outbox_class: Any) -> None:
        add, added, confirmed = outbox_class._add, outbox_class._added, outbox_class._confirmed

        def watched_add(
            outbox: Any,
            connection: Any,
            *,
            quantities: Mapping[str, float | bool],
            ts: datetime,
            held: bool,
        ) -> Any:
            event = {
                "seq": outbox.last_seq + 1,
                "ts": round(ts.timestamp() * 1000),
                "ahead": self._clock.offset(),
            }
            self._write(outbox, "want", event | {"values": dict(quantities)})
            return add(outbox, connection, quantities=quantities, ts=ts, held=held)

        def watched_added(outbox: Any, kept: Any) -> None:
            added(outbox, kept)
            self._write(outbox, "took", {"seq": kept.seq})

        def watched_confirmed(outbox: Any, stored: Any, gone: int) -> None:
            confirmed(outbox, stored, gone)
            if gone:
                told = {"epoch": stored.epoch, "first": stored.first, "seq": stored.seq}
                self._write(outbox, "freed", told)

        outbox_class._add, outbox_class._added = watched_add, watched_added
        outbox_class._confirmed = watched_confirmed

    def _watch_names(self, outbox_class: Any) -> None:
        open_, rename = outbox_class.open, outbox_class.rename

        def watched_open(outbox: Any, **options: Any) -> None:
            open_(outbox, **options)
            self._write(outbox, "opened", {"seq": outbox.last_seq})
            self._tell_held(outbox)

        def watched_rename(outbox: Any, epoch: int, **options: Any) -> Any:
            renamed = rename(outbox, epoch, **options)
            if renamed:
                self._tell_held(outbox)
            return renamed

        outbox_class.open, outbox_class.rename = watched_open, watched_rename

    def _tell_held(self, outbox: Any) -> None:
        from broker.contract.reading import Reading  # noqa: PLC0415 - after the clock

        for (payload,) in outbox._storage.all("SELECT payload FROM outbox ORDER BY seq"):
            reading = Reading.model_validate_json(payload)
            name = {"epoch": reading.epoch, "seq": reading.seq, "ts": round(reading.ts.timestamp() * 1000)}
            values = {column: getattr(reading, column) for column in COLUMNS}
            self._write(outbox, "held", name | {"values": values})

    def _watch_sensor(self, sensor_class: Any) -> None:
        read = sensor_class.read

        async def watched_read(sensor: Any) -> Any:
            told = False
            while (self._folder / "quiet").exists():
                if not told:
                    (self._folder / f"{sensor._path.parent.name}.quiet").touch()
                told = True
                await asyncio.sleep(QUIET_POLL)
            measured = await read(sensor)
            return self._another(measured) if (self._folder / "twin").exists() else measured

        sensor_class.read = watched_read

    def _another(self, measured: Any) -> Any:
        """What the twin of the sensor shows at this moment; sometimes it is the same."""
        return measured | {"voltage": measured["voltage"] + self.now().second % 2}

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
