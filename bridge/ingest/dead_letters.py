"""Dead letters: what could not be taken as good is kept aside, and a flood of it stays bounded.

The same topic, payload and cause is one row that counts. Of one cause at most ``per_cause`` rows are
kept whole, of all causes :data:`CAUSES` times as many, of one meter ``per_meter``, and of all together
``max_bytes`` of payload; what comes beyond that only counts, in one row for each cause whose topic is
`bridge.store.dead_letters.MORE`. That bounds the disk, and leaves room for the others beside one meter that
is broken. What exceeded a limit of `bridge.ingest.rate_limits` is here too, without its payload.

A reading that its meter forgets because it is kept here is in no other place. Such ones are bounded by their
bytes alone, of one meter by an eighth of ``max_bytes``, which is an outbox of 30 days; those beyond stay with
their meter, which is not told that they are safe.

>>> DeadLetters(per_cause=1000).write(connection, dead, now)  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import Connection, func, or_
from sqlalchemy import select as core_select
from sqlmodel import col, select

from bridge.ingest.parse import MAX_PAYLOAD
from bridge.mqtt.notice import Dead, Sent
from bridge.store.dead_letters import MORE
from bridge.store.tables import DeadLetter
from bridge.store.upsert import insert_into

CAUSES = 20
"""Causes that may fill their share; more share what is left."""
_RECOUNT_MS = 60_000
_SHARES = 8
"""One meter's readings take this part of all bytes at most."""
_KEY = ["topic", "sha256", "cause"]


class DeadLetters:
    """The write side; one thread."""

    def __init__(self, *, per_cause: int, per_meter: int = 200, max_bytes: int = 256 * 1024 * 1024) -> None:
        self._per_cause = per_cause
        self._per_meter = per_meter
        self._max_bytes = max_bytes
        self._causes: Counter[str] = Counter()
        self._meters: Counter[bytes] = Counter()
        self._readings: Counter[bytes] = Counter()
        """Bytes of the readings of each meter that are in no other place."""
        self._bytes = 0
        self._counted_at = 0

    def write(
        self,
        connection: Connection,
        dead: Sequence[Dead],
        now: int,
        *,
        limited: Mapping[Dead, int] = MappingProxyType({}),
    ) -> set[Sent]:
        """Keep ``dead`` and ``limited`` (with how often; in ms ``now``) inside the caller's transaction.

        The readings that are not kept, and must not be confirmed.
        """
        if not (dead or limited):
            return set()
        if abs(now - self._counted_at) > _RECOUNT_MS:  # also after a clock was set back
            self._recount(connection, now)
        counts, lost = Counter[Dead](), set[Sent]()
        for letter, count in (Counter(dead) + Counter(limited)).items():
            if self._has_room(letter) or _is_there(connection, letter):
                counts[letter] += count
            else:
                counts[Dead(MORE.encode(), b"", letter.cause)] += count
                lost |= {letter.reading} if letter.reading else set()
        _insert(connection, counts, now)
        return lost

    def _recount(self, connection: Connection, now: int) -> None:
        """What is in the table: somebody may have purged it, another bridge may have written."""
        what = [col(column) for column in (DeadLetter.topic, DeadLetter.cause, DeadLetter.confirmed)]
        size_of_all = func.sum(func.length(DeadLetter.payload))
        grouped = core_select(*what, func.count(), size_of_all).group_by(*what)
        self._causes, self._meters, self._readings, self._bytes = Counter(), Counter(), Counter(), 0
        for topic, cause, confirmed, rows, size in map(tuple, connection.execute(grouped)):
            meter = _meter(topic.encode())
            if confirmed:
                self._readings[meter] += int(size or 0)
            else:
                self._causes[cause] += rows
                self._meters[meter] += rows
            self._bytes += int(size or 0)
        self._counted_at = now

    def _has_room(self, letter: Dead) -> bool:
        """Whether there is room for ``letter``, which then takes it: of its cause, its meter, and in all."""
        cause, meter, size = letter.cause[:255], _meter(letter.topic), len(letter.payload[:MAX_PAYLOAD])
        if self._bytes + size > self._max_bytes:
            return False
        if letter.reading:
            if self._readings[meter] + size > self._max_bytes // _SHARES:
                return False
            self._readings[meter] += size
        else:
            if (
                self._causes[cause] >= self._per_cause
                or self._causes.total() >= CAUSES * self._per_cause
                or self._meters[meter] >= self._per_meter
            ):
                return False
            self._causes[cause] += 1
            self._meters[meter] += 1
        self._bytes += size
        return True


def _is_there(connection: Connection, letter: Dead) -> bool:
    """Whether it was kept before; then it only counts up."""
    row = _row(letter, 1, 0)
    same = (getattr(DeadLetter, name) == row[name] for name in _KEY)
    return connection.scalar(select(col(DeadLetter.key)).where(*same)) is not None


def _insert(connection: Connection, counts: Mapping[Dead, int], now: int) -> None:
    statement = insert_into(connection.dialect.name, DeadLetter)
    excluded = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=_KEY,
            set_={
                "count": col(DeadLetter.count) + excluded["count"],
                "last_seen": excluded.last_seen,
                "confirmed": or_(col(DeadLetter.confirmed), excluded.confirmed),
            },
        ),
        [_row(letter, count, now) for letter, count in sorted(counts.items(), key=_order)],
    )


def _meter(topic: bytes) -> bytes:
    """The bound for one meter is counted by this: the topic without its last word."""
    return topic[:255].rpartition(b"/")[0]


def _order(counted: tuple[Dead, int]) -> tuple[bytes, str, bytes]:
    """Two bridges that write the same rows take their locks in the same order."""
    letter = counted[0]
    return letter.topic, letter.cause, letter.payload


def _row(letter: Dead, count: int, now: int) -> dict[str, object]:
    return {
        "topic": letter.topic.decode(errors="replace").replace("\0", "\ufffd")[:255],
        "payload": letter.payload[:MAX_PAYLOAD],
        "size": len(letter.payload),
        "sha256": hashlib.sha256(letter.payload).hexdigest(),
        "cause": letter.cause[:255],
        "count": count,
        "first_seen": now,
        "last_seen": now,
        "confirmed": letter.reading is not None,
    }
