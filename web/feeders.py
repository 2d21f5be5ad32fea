"""The feeder of a meter, the meters of a feeder, and the diagram of all, from the published SCD.

>>> feeders.of(17), feeders.numbers("Mill/LV/T1_F1")  # doctest: +SKIP
('Mill/LV/T1_F1', {17, 18})
"""

from __future__ import annotations

import logging
import threading

from scl_builder.read.single_line import SingleLine, Tap, read_single_line
from web.live.state import Live
from web.serving.problem import ProblemError

log = logging.getLogger(__name__)


class Feeders:
    """Read again when another SCD is published: up to a second in a town of 10,000, so it blocks."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._seen: bytes | None = None
        self._line: SingleLine | None = SingleLine()
        self._known: dict[str, frozenset[int]] = {}

    def line(self) -> SingleLine | None:
        """The single-line diagram, empty without an SCD; None if that is no XML."""
        return self._read()[0]

    def _all(self) -> dict[str, frozenset[int]]:
        return self._read()[1]

    def _read(self) -> tuple[SingleLine | None, dict[str, frozenset[int]]]:
        with self._lock:
            if self._seen is not (seen := self._live.scd):
                self._line, self._seen = _line(seen), seen
                self._known = _numbers(self._line or SingleLine())
            return self._line, self._known

    def of(self, number: int | None) -> str | None:
        """Path of the feeder of the meter with this number; None where no topology names one."""
        return next((feeder for feeder, numbers in self._all().items() if number in numbers), None)

    def numbers(self, feeder: str) -> frozenset[int]:
        """Of the meters that are on a feeder now; 404 without one."""
        if (found := self._all().get(feeder)) is None:
            raise ProblemError(404, f"no feeder {feeder[:80]!r}: GET /api/v1/meters/ID names that of a meter")
        return found


def _line(scd: bytes | None) -> SingleLine | None:
    try:
        return SingleLine() if scd is None else read_single_line(scd)
    except ValueError as error:
        log.warning("the published SCD cannot be read, so no feeder is known: %s", error)
        return None


def _numbers(line: SingleLine) -> dict[str, frozenset[int]]:
    return {feeder.path: frozenset(map(_number, feeder.taps)) for feeder in line.feeders if feeder.taps}


def _number(tap: Tap) -> int:
    """Of M17 (`bridge.store.ld_names.inst_of`); 0, which no meter has, of what is none of ours."""
    return int(tap.inst[1:]) if tap.inst[:1] == "M" and tap.inst[1:].isdecimal() else 0
