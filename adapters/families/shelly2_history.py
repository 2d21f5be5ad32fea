"""Shelly Gen2 and later: the minutes that a meter has stored, after an outage of its connection.

``EMData.GetData`` and ``EM1Data.GetData`` answer with energies of each minute, not with counters. A counter
at the end of a minute follows from the counter after the outage, less what was counted since. It is given
only if the minutes add up to what the counters before and after the outage say. The averages are given in any
case.

>>> gap = Gap("em1", 0, "a0", 60, 240, {"energy_import": Decimal(10)}, {"energy_import": Decimal(16)})
>>> filling = Filling(gap)
>>> block = {"ts": 60, "period": 60, "values": [[1], [2], [3]]}
>>> filling.take({"keys": ["total_act_energy"], "data": [block]})
>>> [values.measured for values in filling.steps()]
[{'energy_import': 11.0}, {'energy_import': 13.0}]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from adapters.families.shelly2_status import LETTERS
from adapters.family import Finding, Step
from adapters.measured import Gathered, UnreadableError, excerpt, number, total

MINUTE = 60
OUTAGE = 150.0
"""Seconds without counters, which come each minute, that are an outage."""
AT_ONCE = 10
"""Historical values at once, so that a long outage does not displace live values."""
_MOST_PAGES = 1000
_ROUNDING = Decimal("0.02")
"""Wh by which the energy of a minute may be rounded."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
METHODS = {"em": "EMData.GetData", "em1": "EM1Data.GetData"}

_COUNTED = {"total_act_energy": "energy_import", "total_act_ret_energy": "energy_export"}
_AVERAGES = {"avg_voltage": "voltage", "avg_current": "current"}


def _columns(names: dict[str, str], kind: str) -> dict[str, str]:
    if kind == "em1":
        return names
    return {
        f"{letter}_{n}": f"{name}{phase}" for letter, phase in LETTERS.items() for n, name in names.items()
    }


def minute(seconds: float) -> int:
    """The beginning of the minute."""
    return int(seconds) // MINUTE * MINUTE


@dataclass(frozen=True)
class Gap:
    """An outage: which minutes are missing, and the counters around it."""

    kind: str
    number: int
    key: str
    start: int
    """Beginning of the first minute, in seconds since 1970."""
    end: int
    """End of the last one."""
    before: dict[str, Decimal]
    after: dict[str, Decimal]


@dataclass
class Filling:
    """The answers for one gap, as they come."""

    gap: Gap
    cursor: int = -1
    """From where the next request asks."""
    done: bool = False
    _minutes: dict[int, dict[str, object]] = field(default_factory=dict)
    _pages: int = 0

    def __post_init__(self) -> None:
        self.cursor = self.gap.start

    @property
    def request(self) -> tuple[str, dict[str, int]]:
        """Method and parameters of the next request."""
        return METHODS[self.gap.kind], {"id": self.gap.number, "ts": self.cursor, "end_ts": self.gap.end - 1}

    def take(self, result: dict[str, Any]) -> None:
        """An answer; UnreadableError if it is none."""
        keys, data = result.get("keys"), result.get("data")
        if not isinstance(keys, list) or not isinstance(data, list):
            raise UnreadableError("stored minutes cannot be read", excerpt(keys))
        for block in data:
            self._block(keys, block if isinstance(block, dict) else {})
        self._pages += 1
        following = number(result.get("next_record_ts"))
        if following is None or not self.cursor < following < self.gap.end or self._pages >= _MOST_PAGES:
            self.done = True
        else:
            self.cursor = int(following)

    def _block(self, keys: list[Any], block: dict[str, Any]) -> None:
        told, values = block.get("period"), block.get("values")
        start, period = number(block.get("ts")), 60 if told == "60" else number(told)
        if start is None or period != MINUTE or not isinstance(values, list):
            raise UnreadableError("stored minutes cannot be read", f"period {excerpt(told)}")
        for at, row in enumerate(values):
            began = int(start) + at * MINUTE
            if isinstance(row, list) and self.gap.start <= began < self.gap.end:
                self._minutes[began] = {k: v for k, v in zip(keys, row, strict=False) if isinstance(k, str)}

    def steps(self) -> Iterator[Step]:
        """Values of the missing minutes, oldest first, and what was left out."""
        counters, fit = self._counters()
        left_out = sorted(self.gap.after.keys() & set(_columns(_COUNTED, self.gap.kind).values()) - fit)
        if left_out:
            detail = f"{self.gap.key}: {', '.join(left_out)} of {len(self._minutes)} minutes"
            yield Finding("stored minutes do not add up", detail)
        averages = _columns(_AVERAGES, self.gap.kind) | {"n_avg_current": "current_n"}
        for began in sorted(self._minutes):
            ended = began + MINUTE
            if ended == self.gap.end:
                continue  # the live value after the outage tells it
            gathered, row = Gathered(), self._minutes[began]
            fitting = {name: value for name, value in counters[began].items() if name in fit}
            for name, value in _with_totals(fitting).items():
                gathered.put(name, value)
            for told, name in averages.items():
                gathered.put(name, row.get(told))
            at = _EPOCH + timedelta(seconds=ended)
            yield from gathered.steps(self.gap.key, at=at, historical=True, where="stored minute")

    def _counters(self) -> tuple[dict[int, dict[str, Decimal]], set[str]]:
        """The counters at the end of each minute, and those that fit to the counter before the outage."""
        columns = _columns(_COUNTED, self.gap.kind)
        running = {name: self.gap.after[name] for name in columns.values() if name in self.gap.after}
        found: dict[int, dict[str, Decimal]] = {}
        for began in sorted(self._minutes, reverse=True):
            found[began] = dict(running)
            for told, name in columns.items():
                counted = number(self._minutes[began].get(told))
                if name in running and counted is not None:
                    running[name] -= counted
                else:
                    running.pop(name, None)
        off, before = _ROUNDING * len(self._minutes) + 1, self.gap.before
        fit = {name for name, value in running.items() if name in before and abs(value - before[name]) <= off}
        return found, fit


def _with_totals(counters: dict[str, Decimal]) -> dict[str, Decimal]:
    """The counters of the phases and, where all three are there, their sum."""
    sums = {
        name: whole
        for name in _COUNTED.values()
        if all(f"{name}{phase}" in counters for phase in LETTERS.values())
        and (whole := total(counters[f"{name}{phase}"] for phase in LETTERS.values())) is not None
    }
    return counters | sums


class Counters:
    """The counters of one meter as they come each minute; finds outages."""

    def __init__(self) -> None:
        self._last: tuple[float, dict[str, Decimal]] | None = None

    def told(
        self, at: float, registers: dict[str, Decimal], *, of: tuple[str, int, str], most_hours: float
    ) -> Gap | None:
        """Counters with the device's time, in seconds since 1970; the gap before them, if there is one.

        ``of`` is kind, number and key of the meter. Of a longer outage only the last hours are asked for.
        """
        last, self._last = self._last, (at, registers)
        if last is None or at - last[0] <= OUTAGE or most_hours <= 0:
            return None
        start = max(minute(last[0]), minute(at - most_hours * 3600))
        kind, place, key = of
        return Gap(kind, place, key, start, minute(at), last[1], registers)


class Backfill:
    """Fills the gaps of all meters: one at a time, and its values a few at a time."""

    def __init__(self, *, limit: int) -> None:
        self._gaps: deque[tuple[str, Gap]] = deque(maxlen=limit)
        self._ready: deque[Step] = deque()
        self._filling: tuple[str, Filling] | None = None

    def __len__(self) -> int:
        return len(self._gaps)

    def add(self, prefix: str, gap: Gap) -> None:
        """A gap of the device with this prefix."""
        self._gaps.append((prefix, gap))

    def take(self, result: dict[str, Any]) -> tuple[str, Filling] | None:
        """An answer; returns what to ask for next, if the gap needs more."""
        if self._filling is None:
            return None
        try:
            self._filling[1].take(result)
        except UnreadableError:
            self._filling = None
            raise
        if not self._filling[1].done:
            return self._filling
        self._ready.extend(self._filling[1].steps())
        self._filling = None
        return None

    def fail(self) -> None:
        """There is no answer."""
        self._filling = None

    def ready(self) -> list[Step]:
        """The next values, oldest first."""
        return [self._ready.popleft() for _ in range(min(AT_ONCE, len(self._ready)))]

    def start(self) -> tuple[str, Filling] | None:
        """The gap to ask for now: prefix and filling; None while another one is being filled."""
        if self._filling is not None or self._ready or not self._gaps:
            return None
        prefix, gap = self._gaps.popleft()
        self._filling = (prefix, Filling(gap))
        return self._filling
