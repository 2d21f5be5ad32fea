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
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.contract.messages import utc_now
from broker.contract.reading import Reading, Stored
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
        self._changing = threading.Lock()
        self.epoch = 0
        self.last_seq = 0
        self.dropped = 0
        """Readings lost to a full outbox since it was made."""
        self.count = 0
        """Readings that wait for ``stored``."""
        self._sent: set[int] = set()
        """Of them, those that were published since we run;"""
        self._sent_before = 0
        """and up to here they may have been before."""
        self.renamed = 0
        """How often names were changed since we run."""

    def open(self, *, now: datetime) -> None:
        """Load where we were; a new outbox begins an epoch at ``now``. StorageError if unreadable."""
        with self._storage.writing() as connection:
            epoch = int(now.timestamp() * 1000)
            connection.execute(
                "INSERT OR IGNORE INTO outbox_state (id, epoch, seq, dropped) VALUES (1, ?, 0, 0)", (epoch,)
            )
            connection.execute(
                "UPDATE outbox SET epoch = (SELECT epoch FROM outbox_state) WHERE epoch IS NULL"
            )
        ((self.epoch, self.last_seq, self.dropped),) = self._storage.all(
            "SELECT epoch, seq, dropped FROM outbox_state"
        )
        self._sent_before = self.last_seq
        ((self.count,),) = self._storage.all("SELECT count(*) FROM outbox")

    def add(self, quantities: Mapping[str, float | bool], *, ts: datetime, held: bool = False) -> Kept:
        """Keep one more reading, for good; StorageError (and nothing counted) if the disk refuses.

        One that is ``held`` is not to be published before it is released.
        """
        with self._changing:
            seq = self.last_seq + 1
            reading = Reading.model_validate({**quantities, "epoch": self.epoch, "seq": seq, "ts": ts})
            kept = Kept(seq, reading.payload())
            surplus = max(0, self.count + 1 - self._capacity)
            with self._storage.writing() as connection:
                connection.execute(
                    "INSERT INTO outbox (seq, epoch, payload) VALUES (?, ?, ?)",
                    (seq, self.epoch, kept.payload),
                )
                if held:
                    connection.execute(
                        "INSERT INTO held (seq, boot, uptime_ms) VALUES (?, ?, ?)",
                        (seq, boot_id(), uptime_ms()),
                    )
                connection.execute("UPDATE outbox_state SET seq = ?, dropped = dropped + ?", (seq, surplus))
                connection.execute(
                    "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT ?)",
                    (surplus,),
                )
            self.last_seq = seq
            self.dropped += surplus
            self.count += 1 - surplus
            return kept

    def release(self, *, synchronized: bool) -> int:
        """Let the held readings go, with their right times if the clock is ``synchronized`` now.

        How many times were put right. Those of an earlier start of the machine keep theirs, and their mark.
        """
        with self._changing, self._storage.writing() as connection:
            started = utc_now() - timedelta(milliseconds=uptime_ms())
            rows = connection.execute(
                "SELECT outbox.seq, payload, uptime_ms FROM held JOIN outbox USING (seq) WHERE boot = ?",
                (boot_id() if synchronized else "",),
            ).fetchall()
            for seq, payload, taken_ms in rows if synchronized else ():
                right = {"ts": started + timedelta(milliseconds=taken_ms), "clock_synchronized": None}
                reading = Reading.model_validate_json(payload).model_copy(update=right)
                connection.execute("UPDATE outbox SET payload = ? WHERE seq = ?", (reading.payload(), seq))
            connection.execute("DELETE FROM held")
        return len(rows) if synchronized else 0

    def confirm(self, stored: Stored) -> int:
        """Forget what is stored; how many that were (0 for a repeated confirmation)."""
        # NORMAL: a confirmation that a power cut undoes costs one resend, not worth a sync each.
        with self._changing, self._storage.writing("NORMAL") as connection:
            gone = connection.execute(
                "DELETE FROM outbox WHERE seq BETWEEN ? AND ? AND epoch = ?",
                (stored.first, stored.seq, stored.epoch),
            ).rowcount
            self.count -= gone
            # A copy first, and in place: another thread may note meanwhile that it publishes.
            self._sent -= {seq for seq in tuple(self._sent) if stored.first <= seq <= stored.seq}
        return gone

    def rename(self, epoch: int, *, first: int, last: int, now: datetime) -> int | None:
        """Other readings have the names ``first`` … ``last`` of ``epoch``: ours get those of the next epoch.

        When ``epoch`` is ours, a new one begins. Those that follow and were not sent yet are of it, too, so
        that one epoch has them in the order of time; what was sent may be stored already. How many were
        renamed; None when this is not about us: ``epoch`` is over and nothing of it is here.
        """
        with self._changing:
            with self._storage.writing() as connection:
                rows = connection.execute(
                    "SELECT seq, payload FROM outbox WHERE epoch = ? AND seq >= ? ORDER BY seq",
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
                connection.execute("UPDATE outbox_state SET epoch = ?", (new,))
            self.epoch = new
            self.renamed += 1
            return len(disputed) + len(following)

    def _was_sent(self, seq: int) -> bool:
        return seq <= self._sent_before or seq in self._sent

    def _new_epoch(self, connection: sqlite3.Connection, now: datetime) -> int:
        """One that nothing here has; two copies of one card that begin it at the same moment differ."""
        ((highest,),) = connection.execute("SELECT max(epoch) FROM outbox").fetchall()
        return max(int(now.timestamp() * 1000), self.epoch, highest or 0) + 1 + secrets.randbelow(1000)

    def batch(self, *, after: int, upto: int, limit: int) -> list[Kept]:
        """At most ``limit`` unconfirmed readings with ``after`` < seq ≤ ``upto``, oldest first."""
        rows = self._storage.all(
            "SELECT seq, payload FROM outbox WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
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
        ((held,),) = self._storage.all("SELECT count(*) FROM outbox WHERE seq BETWEEN ? AND ?", (first, last))
        return int(held)


def _move(connection: sqlite3.Connection, rows: Iterable[tuple[int, bytes]], epoch: int) -> None:
    """Give these readings (seq, payload) their names in ``epoch``."""
    for seq, payload in rows:
        renamed = Reading.model_validate_json(payload).model_copy(update={"epoch": epoch})
        connection.execute(
            "UPDATE outbox SET epoch = ?, payload = ? WHERE seq = ?", (epoch, renamed.payload(), seq)
        )
