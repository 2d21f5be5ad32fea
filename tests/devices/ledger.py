"""What devices told against what is stored: once each, nothing beside it, losses only around a kill.

A reading of the store must be a message of its own device, at the device's time where it tells one, else
shortly after it was published; no message is in two readings. The adapter may leave values out, of which it
does not know yet what they mean: such readings are counted. A message that the devices' broker had, and
that is not stored, is lost: that is allowed from a moment before the adapter or that broker was killed until
the first message of the same device with the same quantity that came through afterwards: where each quantity
has a topic of its own, the adapter may have subscribed to a part of them when the device tells all.

>>> Ledger().balanced
True
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.devices.told import DIGITS, Told, Values

BEHIND_SECONDS = 5.0
"""What came so shortly before a kill may not have been on the disk yet. On a machine that has not enough
processor time for the town an adapter is further behind: `run` is told how far."""
AFTER_SECONDS = 300.0
"""So long after the start again a device may wait to be heard."""
LATE_SECONDS = 60.0
"""From a message without a time to its arrival, at most."""
SHOWN = 8


@dataclass(frozen=True)
class Away:
    """When the adapter or the devices' broker was killed, and when it was started again; in seconds."""

    killed: float
    started: float


@dataclass(frozen=True)
class Row:
    """A reading of the store, under the name that its meter gave it."""

    meter_id: str
    epoch: int
    seq: int
    ts: int
    values: Mapping[str, float]


@dataclass
class Ledger:
    """The figures, and every fault with what shows it."""

    told: int = 0
    stored: int = 0
    """Messages that are in the store."""
    lost: int = 0
    """While the adapter or the devices' broker was away."""
    unsure: int = 0
    """Not acknowledged by the devices' broker, and not stored."""
    readings: int = 0
    partly: int = 0
    """Readings that do not have all values of their message."""
    uncompared: int = 0
    """Readings with values alone that `told` does not read: a frequency that came by itself."""
    silent: int = 0
    """Readings without values: the adapter says that a device is silent."""
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Nothing is wrong."""
        return not self.faults

    def tell(self, fault: str, shown: Iterable[object]) -> None:
        """Note what shows a fault, if anything does."""
        if rows := [str(one) for one in shown]:
            self.faults.setdefault(fault, []).extend(rows)

    def __str__(self) -> str:
        lines = [
            f"told {self.told}, stored {self.stored}, lost while away {self.lost}",
            f"not acknowledged by the devices' broker and not stored {self.unsure}",
            f"{self.readings} readings: {self.partly} with a part of the values, {self.silent} of silence,"
            f" {self.uncompared} not compared",
        ]
        for fault, shown in self.faults.items():
            lines += [f"{fault}: {len(shown)}", *(f"  {one}" for one in shown[:SHOWN])]
        return "\n".join(lines)


def audit(
    told: Iterable[Told], rows: Iterable[Row], away: Sequence[Away], *, behind: float = BEHIND_SECONDS
) -> Ledger:
    """Compare, device by device; an adapter that is killed was at most ``behind`` seconds behind."""
    away = [replace(gone, killed=gone.killed - behind) for gone in away]
    ledger, by_meter, stored = Ledger(), defaultdict[str, list[Told]](list), defaultdict[str, list[Row]](list)
    for one in told:
        by_meter[one.meter_id].append(one)
    for row in rows:
        stored[row.meter_id].append(row)
    for meter_id in by_meter.keys() | stored.keys():
        mine = sorted(stored[meter_id], key=lambda row: (row.ts, row.seq))
        _audit_meter(ledger, by_meter[meter_id], mine, away)
    return ledger


def _audit_meter(ledger: Ledger, told: list[Told], rows: list[Row], away: Sequence[Away]) -> None:
    account = _Account(told)
    ledger.readings += len(rows)
    for row in rows:
        open_ = account.compared(row)
        if not row.values:
            ledger.silent += 1
        elif not open_ and told:
            ledger.uncompared += 1
        elif not account.take(row, open_):
            again = account.is_used(row, open_)
            ledger.tell("stored twice" if again else "stored, but not told by this device", [row])
    come = [one for one in told if id(one) in account.used]
    kept = [one for one in come if one.at is not None]  # a second copy of the same message is none
    missing = [
        one
        for one in told
        if id(one) not in account.used
        and not any((one.at, one.values) == (other.at, other.values) for other in kept)
    ]
    lost = [one for one in missing if one.acknowledged]
    ledger.partly += account.partly
    ledger.told += len(told)
    ledger.stored += len(told) - len(missing)
    ledger.unsure += len(missing) - len(lost)
    unexplained = [one for one in lost if not _may_be_lost(one, come, away)]
    ledger.lost += len(lost) - len(unexplained)
    ledger.tell("lost without a kill", unexplained)


def _may_be_lost(one: Told, come: Sequence[Told], away: Sequence[Away]) -> bool:
    """Nothing like it has come through since the start again, and not for too long."""
    like = [other.t for other in come if other.values.keys() & one.values.keys()]
    return any(
        gone.killed <= one.t <= gone.started + AFTER_SECONDS
        and not any(gone.started < t < one.t for t in like)
        for gone in away
    )


class _Account:
    """What one device told, and what of it was found."""

    def __init__(self, told: list[Told]) -> None:
        self.used: set[int] = set()
        self.partly = 0
        self._names = {name for one in told for name in one.values}
        self._dated = defaultdict[int, list[Told]](list)
        self._undated = sorted((one for one in told if one.at is None), key=lambda one: -one.t)
        for one in told:
            if one.at is not None:
                self._dated[one.at].append(one)

    def compared(self, row: Row) -> Values:
        """The values that messages of this device have, too."""
        return {name: round(value, DIGITS) for name, value in row.values.items() if name in self._names}

    def take(self, row: Row, values: Values) -> bool:
        """Find the message, or the messages of one value each; False if they are not there."""
        found = self._found(row, values, again=False)
        self.used |= {id(one) for one in found}
        self.partly += any(one.at is not None and one.values != values for one in found)
        return bool(found)

    def is_used(self, row: Row, values: Values) -> bool:
        """Whether another reading has the messages of this one."""
        return bool(self._found(row, values, again=True))

    def _found(self, row: Row, values: Values, *, again: bool) -> list[Told]:
        for one in self._dated.get(row.ts, ()):
            if (again or id(one) not in self.used) and values and values.items() <= one.values.items():
                return [one]
        left, found = dict(values), list[Told]()
        for one in self._undated:
            late = row.ts / 1000 - one.t
            fits = -0.1 <= late <= LATE_SECONDS and one.values.items() <= left.items()
            if fits and (again or id(one) not in self.used):
                found.append(one)
                left = {name: value for name, value in left.items() if name not in one.values}
        return found if not left else []
