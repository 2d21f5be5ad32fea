"""A meter's past in the store, as a bridge leaves it: hours that are summed up, readings of a day.

>>> past = Past(url, METER)                              # doctest: +SKIP
>>> past.hours({begin: 500.0}, power=(400.0, 600.0))     # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlmodel import col

from bridge.store import database
from bridge.store.rollup import HOUR
from bridge.store.statistics import of_columns
from bridge.store.tables import ROLLUP, Meter, Reading

EPOCH = 99
"""No meter of a test has it."""


@dataclass(frozen=True)
class Past:
    """Writes beside the bridge, which does nothing of that time."""

    url: str
    meter_id: str

    def hours(self, used: Mapping[int, float], **values: tuple[float, ...]) -> None:
        """Wh of each hour by its begin (ms), and the values that every one of these hours has."""
        summed = {"readings": 360, "energy_doubtful": 0, **of_columns(values)}
        self._write(
            ROLLUP,
            [{"span": HOUR, "start": start, "energy_used": wh, **summed} for start, wh in used.items()],
        )

    def readings(self, times: Iterable[int], **values: float) -> None:
        """Readings at these times (ms)."""
        rows: list[dict[str, object]] = [{"epoch": EPOCH, "seq": at, "ts": at, **values} for at in times]
        self._write(Reading.__table__, rows)  # type: ignore[attr-defined]

    def _write(self, table: object, rows: list[dict[str, object]]) -> None:
        engine = database.connect(self.url)
        with engine.begin() as connection:
            key = connection.scalar(select(col(Meter.key)).where(col(Meter.meter_id) == self.meter_id))
            connection.execute(insert(table), [{"meter": key, **row} for row in rows])  # type: ignore[arg-type]
        engine.dispose()
