"""A wall clock that is wrong by as many seconds as the file ``FOLDER/clock`` says.

``python -m tests.faults.wrong_clock FOLDER bridge run …`` is ``meter61850 bridge run …`` with such a clock.
The clock that nobody sets (monotonic) stays right, as on a machine whose time is set.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import broker.contract.messages

_utc_now, _time_ns = broker.contract.messages.utc_now, time.time_ns


@dataclass(frozen=True)
class WrongClock:
    """The clock of one process."""

    folder: Path

    def offset(self) -> float:
        """Seconds by which it is ahead."""
        try:
            return float((self.folder / "clock").read_text())
        except FileNotFoundError:
            return 0.0

    def now(self) -> datetime:
        """The time that the process believes in."""
        return _utc_now() + timedelta(seconds=self.offset())

    def time_ns(self) -> int:
        """The same, as `time.time_ns`."""
        return _time_ns() + round(self.offset() * 1e9)

    def install(self) -> None:
        """For all that is imported from now on."""
        early = [name for name in sys.modules if name.startswith(("bridge.", "meter_firmware."))]
        assert not early, f"too late for the clock: {early}"
        broker.contract.messages.utc_now, time.time_ns = self.now, self.time_ns


def main() -> None:
    """Be the CLI, with a wrong clock."""
    WrongClock(Path(sys.argv.pop(1))).install()
    from admin.main import main as cli  # noqa: PLC0415 - after the clock

    cli()


if __name__ == "__main__":
    main()
