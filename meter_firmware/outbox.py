"""Readings that the database has not confirmed yet.

A reading is written here, durably, before it is published, and leaves when ``stored`` names it: an
acknowledgement of the broker is not enough, for a broker that is killed forgets. ``epoch`` is the
outbox's birth in ms since 1970 and ``seq`` counts up in it, so (meter_id, epoch, seq) names a
reading for ever. A full outbox drops its oldest and counts them.

While the time is not known, readings are *held*: beside each stands when it was taken by the clock that runs
since the machine was started. :meth:`Outbox.release` puts their times right, before the first of them is
published; what was published once is never changed.

A memory card that was restored from a backup, or copied into a second meter, gives names that other
readings have. The bridge says which, and :meth:`Outbox.rename` gives these readings the same ``seq`` in the
next epoch. All copies of a card do the same, and only when another reading is known to be stored under the
name that they leave: so a reading that two cards have is stored once, whoever sends it, however often.

>>> with tempfile.TemporaryDirectory() as folder, Storage(Path(folder) / "meter.sqlite") as storage:
...     outbox = Outbox(storage, capacity=10)
...     outbox.open(now=utc_now())
...     outbox.add({"voltage": 230.0}, ts=utc_now()).seq
1
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from broker.contract.messages import utc_now
from broker.contract.reading import Reading, Stored, encoded
from broker.kernel import boot_id, uptime_ms
from meter_firmware.storage import Storage


@dataclass(frozen=True)
class Kept:
    """A reading as it is kept: ``payload`` is its JSON."""

    seq: int
    payload: bytes

    def sent_by(self, instance: str) -> bytes:
        """What is published: the bridge's answer will name ``instance``."""
        return b'%s,"instance":"%s"}' % (self.payload[:-1], instance.encode())


class Outbox:
    """The bounded queue of unconfirmed readings; ``capacity`` in readings. Methods may block on the disk."""

    def __init__(self, storage: Storage, *, capacity: int) -> None:
        self._storage = storage
        self._capacity = capacity
        self._changing = storage.lock
        self.epoch = 0
        self.last_seq = 0
        self.dropped = 0
        """Readings lost to a full outbox since it was made."""
        self.count = 0
        """Readings that wait for ``stored``."""
        self._sent: set[int] = set()
        """Of this epoch's among them, those that were published since we run;"""
        self._sent_before = 0
        """and up to here they may have been before."""
        self.renamed = 0
        """How often names were changed since we run."""

    def open(self, *, now: datetime) -> None:
        """Load where we were; a new outbox begins an epoch at ``now``. StorageError if unreadable."""
        # NORMAL: an epoch that a power cut undoes has no readings; the first takes it along to the disk.
        with self._storage.writing("NORMAL") as connection:
            epoch = int(now.timestamp() * 1000)
            connection.execute(
                "INSERT OR IGNORE INTO outbox_state (id, epoch, seq, dropped) VALUES (1, ?, 0, 0)", (epoch,)
            )
            connection.execute(
                "UPDATE outbox SET epoch = (SELECT epoch FROM outbox_state WHERE {mine})"
                " WHERE {mine} AND epoch IS NULL"
            )
        ((self.epoch, self.last_seq, self.dropped),) = self._storage.all(
            "SELECT epoch, seq, dropped FROM outbox_state WHERE {mine}"
        )
        self._sent_before = self.last_seq
        ((self.count,),) = self._storage.all("SELECT count(*) FROM outbox WHERE {mine}")

    def add(self, quantities: Mapping[str, float | bool], *, ts: datetime, held: bool = False) -> Kept:
        """Keep one more reading, for good; StorageError (and nothing counted) if the disk refuses.

        One that is ``held`` is not to be published before it is released.
        """
        add = partial(self._add, quantities=quantities, ts=ts, held=held)
        return self._storage.write(add, self._added)

    async def added(
        self, quantities: Mapping[str, float | bool], *, ts: datetime, held: bool = False
    ) -> Kept:
        """`add` without blocking; the reading is on the disk when this returns."""
        add = partial(self._add, quantities=quantities, ts=ts, held=held)
        return await self._storage.together(add, self._added)

    def _add(
        self,
        connection: sqlite3.Connection,
        *,
        quantities: Mapping[str, float | bool],
        ts: datetime,
        held: bool,
    ) -> Kept:
        seq, surplus = self.last_seq + 1, self._surplus
        kept = Kept(seq, encoded(quantities, epoch=self.epoch, seq=seq, ts=ts))
        connection.execute(
            # REPLACE: a disk that said no may have kept it all the same.
            "INSERT OR REPLACE INTO outbox (seq, epoch, payload) VALUES (?, ?, ?)",
            (seq, self.epoch, kept.payload),
        )
        if held:
            connection.execute(
                "INSERT OR REPLACE INTO held (seq, boot, uptime_ms) VALUES (?, ?, ?)",
                (seq, boot_id(), uptime_ms()),
            )
        connection.execute(
            "UPDATE outbox_state SET seq = ?, dropped = dropped + ? WHERE {mine}", (seq, surplus)
        )
        if surplus:
            connection.execute(
                "DELETE FROM outbox WHERE {mine} AND seq IN"
                " (SELECT seq FROM outbox WHERE {mine} ORDER BY seq LIMIT ?)",
                (surplus,),
            )
        return kept

    def _added(self, kept: Kept) -> None:
        surplus = self._surplus
        self.last_seq = kept.seq
        self.dropped += surplus
        self.count += 1 - surplus

    @property
    def _surplus(self) -> int:
        """How many readings the next one displaces."""
        return max(0, self.count + 1 - self._capacity)

    def release(self, *, synchronized: bool) -> int:
        """Let the held readings go, with their right times if the clock is ``synchronized`` now.

        How many times were put right. Those of an earlier start of the machine keep theirs, and their mark.
        """
        with self._changing, self._storage.writing() as connection:
            started = utc_now() - timedelta(milliseconds=uptime_ms())
            rows = connection.execute(
                "SELECT seq, payload, uptime_ms"
                " FROM (SELECT seq, uptime_ms FROM held WHERE {mine} AND boot = ?)"
                " JOIN (SELECT seq, payload FROM outbox WHERE {mine}) USING (seq)",
                (boot_id() if synchronized else "",),
            ).fetchall()
            for seq, payload, taken_ms in rows if synchronized else ():
                right = {"ts": started + timedelta(milliseconds=taken_ms), "clock_synchronized": None}
                reading = Reading.model_validate_json(payload).model_copy(update=right)
                connection.execute(
                    "UPDATE outbox SET payload = ? WHERE {mine} AND seq = ?", (reading.payload(), seq)
                )
            connection.execute("DELETE FROM held WHERE {mine}")
        return len(rows) if synchronized else 0

    def confirm(self, stored: Stored) -> int:
        """Forget what is stored; how many that were (0 for a repeated confirmation)."""
        # NORMAL: a confirmation that a power cut undoes costs one resend, not worth a sync each.
        return self._storage.write(*self._confirming(stored), durability="NORMAL")

    async def confirmed(self, stored: Stored) -> int:
        """`confirm` without blocking."""
        return await self._storage.together(*self._confirming(stored), durability="NORMAL")

    def _confirming(
        self, stored: Stored
    ) -> tuple[Callable[[sqlite3.Connection], int], Callable[[int], None]]:
        return partial(self._confirm, stored=stored), partial(self._confirmed, stored)

    @staticmethod
    def _confirm(connection: sqlite3.Connection, *, stored: Stored) -> int:
        return connection.execute(
            "DELETE FROM outbox WHERE {mine} AND seq BETWEEN ? AND ? AND epoch = ?",
            (stored.first, stored.seq, stored.epoch),
        ).rowcount

    def _confirmed(self, stored: Stored, gone: int) -> None:
        self.count -= gone
        if stored.epoch != self.epoch:
            return
        sent = tuple(self._sent)  # another thread may add to it
        self._sent.difference_update(seq for seq in sent if stored.first <= seq <= stored.seq)

    def rename(self, epoch: int, *, first: int, last: int, now: datetime) -> int | None:
        """Other readings have the names ``first`` … ``last`` of ``epoch``: ours get those of the next epoch.

        When ``epoch`` is ours, a new one begins. Those that follow and were not sent yet are of it, too, so
        that one epoch has them in the order of time; what was sent may be stored already. How many were
        renamed; None when this is not about us: ``epoch`` is over and nothing of it is here.
        """
        with self._changing:
            with self._storage.writing() as connection:
                rows = connection.execute(
                    "SELECT seq, payload FROM outbox WHERE {mine} AND epoch = ? AND seq >= ? ORDER BY seq",
                    (epoch, first),
                ).fetchall()
                disputed = [row for row in rows if row[0] <= last]
                if not disputed and epoch != self.epoch:
                    return None
                new, following = self.epoch, list[tuple[int, bytes]]()
                if epoch == self.epoch:
                    new = self._new_epoch(connection, now)
                    following = [row for row in rows if row[0] > last and not self._was_sent(row[0])]
                _move(connection, disputed, epoch + 1)
                _move(connection, following, new)
                connection.execute("UPDATE outbox_state SET epoch = ? WHERE {mine}", (new,))
            if new != self.epoch:
                self.epoch = new
                self._sent.clear()
            self.renamed += 1
            return len(disputed) + len(following)

    def _was_sent(self, seq: int) -> bool:
        return seq <= self._sent_before or seq in self._sent

    def _new_epoch(self, connection: sqlite3.Connection, now: datetime) -> int:
        """One that nothing here has; two copies of one card that begin it at the same moment differ."""
        ((highest,),) = connection.execute("SELECT max(epoch) FROM outbox WHERE {mine}").fetchall()
        return max(int(now.timestamp() * 1000), self.epoch, highest or 0) + 1 + secrets.randbelow(1000)

    def batch(self, *, after: int, upto: int, limit: int) -> list[Kept]:
        """At most ``limit`` unconfirmed readings with ``after`` < seq ≤ ``upto``, oldest first."""
        rows = self._storage.all(
            "SELECT seq, payload FROM outbox WHERE {mine} AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (after, upto, limit),
        )
        return [Kept(seq, payload) for seq, payload in rows]

    def to_send(self, *, after: int, upto: int, limit: int) -> list[Kept]:
        """The same, for who publishes them now: from here on they may be stored."""
        with self._changing:
            some = self.batch(after=after, upto=upto, limit=limit)
            self.note_sent(some)
            return some

    def note_sent(self, some: Iterable[Kept]) -> None:
        """These are published now."""
        self._sent.update(kept.seq for kept in some)

    def held(self, first: int, last: int) -> int:
        """How many readings of ``first`` … ``last`` are still unconfirmed."""
        ((held,),) = self._storage.all(
            "SELECT count(*) FROM outbox WHERE {mine} AND seq BETWEEN ? AND ?", (first, last)
        )
        return int(held)


def _move(connection: sqlite3.Connection, rows: Iterable[tuple[int, bytes]], epoch: int) -> None:
    """Give these readings (seq, payload) their names in ``epoch``."""
    for seq, payload in rows:
        renamed = Reading.model_validate_json(payload).model_copy(update={"epoch": epoch})
        connection.execute(
            "UPDATE outbox SET epoch = ?, payload = ? WHERE {mine} AND seq = ?",
            (epoch, renamed.payload(), seq),
        )
