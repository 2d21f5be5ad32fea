"""Readings that the database has not confirmed yet.

A reading is written here, durably, before it is published, and leaves when ``stored`` names it: an
acknowledgement of the broker is not enough, for a broker that is killed forgets. ``epoch`` is the
outbox's birth in ms since 1970 and ``seq`` counts up in it, so (meter_id, epoch, seq) names a
reading for ever. A full outbox drops its oldest and counts them.

While the time is not known, readings are *held*: beside each stands when it was taken by the clock that runs
since the machine was started. :meth:`Outbox.release` puts their times right, before the first of them is
published; what was published once is never changed.

A memory card that was restored from a backup, or copied into a second meter, gives names that are taken. The
bridge says which, and :meth:`Outbox.rename` gives these readings, and all that come, names of a new epoch;
``seq`` goes on counting, so it orders all that is here.

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
from collections.abc import Iterable, Mapping, Sequence
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
        """Forget what is stored; how many that were (0 for a repeated confirmation).

        None of them, if the first or the last of ours was taken at another time: those of a twin are stored
        then, or those of a memory card that is gone.
        """
        # NORMAL: a confirmation that a power cut undoes costs one resend, not worth a sync each.
        with self._changing, self._storage.writing("NORMAL") as connection:
            if not self._is_ours(connection, stored):
                return 0
            gone = connection.execute(
                "DELETE FROM outbox WHERE seq BETWEEN ? AND ? AND epoch = ?",
                (stored.first, stored.seq, stored.epoch),
            ).rowcount
            self.count -= gone
            self._sent = {seq for seq in self._sent if not stored.first <= seq <= stored.seq}
        return gone

    @staticmethod
    def _is_ours(connection: sqlite3.Connection, stored: Stored) -> bool:
        if stored.taken is None:
            return True
        times = dict(zip((stored.first, stored.seq), stored.taken, strict=True))
        ends = connection.execute(
            "SELECT seq, payload FROM outbox WHERE epoch = ? AND seq IN (?, ?)",
            (stored.epoch, stored.first, stored.seq),
        )
        return all(_ms(Reading.model_validate_json(payload).ts) == times[seq] for seq, payload in ends)

    def rename(
        self, epoch: int, *, first: int, last: int, now: datetime, taken: Sequence[datetime] | None = None
    ) -> int | None:
        """Give the unconfirmed readings ``first`` … ``last`` of ``epoch`` names of a new epoch, at once.

        Those that follow and were not sent yet get such names too, so that one epoch has them in the order
        of time; what was sent may be stored already, and would be there twice. It is the epoch of all
        readings to come, if ``epoch`` was. Of ``first`` … ``last`` those are left as they are that were not
        ``taken`` when their turn in it says: a twin took these. How many were renamed; None when this is not
        about us: ``epoch`` is over and nothing of it is here, or all of them are the twin's.
        """
        with self._changing:
            with self._storage.writing() as connection:
                rows, ours = self._disputed(connection, epoch, first, last, taken)
                if (taken and not ours) or (not rows and epoch != self.epoch):
                    return None
                new = self._new_epoch(connection, now)
                for seq, (old, payload) in enumerate(rows, start=self.last_seq + 1):
                    connection.execute(
                        "UPDATE outbox SET seq = ?, epoch = ?, payload = ? WHERE seq = ?",
                        (seq, new, _renamed(payload, new, seq), old),
                    )
                    connection.execute("UPDATE held SET seq = ? WHERE seq = ?", (seq, old))
                state = (new if epoch == self.epoch else self.epoch, self.last_seq + len(rows))
                connection.execute("UPDATE outbox_state SET epoch = ?, seq = ?", state)
            self.epoch, self.last_seq = state
            return len(rows)

    def _disputed(
        self,
        connection: sqlite3.Connection,
        epoch: int,
        first: int,
        last: int,
        taken: Sequence[datetime] | None,
    ) -> tuple[list[tuple[int, bytes]], bool]:
        """What gets a new name, oldest first; and whether any of it is in dispute."""
        found = connection.execute(
            "SELECT seq, payload FROM outbox WHERE epoch = ? AND seq >= ? ORDER BY seq", (epoch, first)
        ).fetchall()
        times = None if taken is None else dict(enumerate(taken, start=first))
        ours = [row for row in found if row[0] <= last and (times is None or _was_taken(row, times))]
        return [*ours, *(row for row in found if row[0] > last and not self._was_sent(row[0]))], bool(ours)

    def _was_sent(self, seq: int) -> bool:
        return seq <= self._sent_before or seq in self._sent

    def _new_epoch(self, connection: sqlite3.Connection, now: datetime) -> int:
        """One that nothing here has; two copies of one card that begin it at the same moment differ."""
        ((highest,),) = connection.execute("SELECT max(epoch) FROM outbox").fetchall()
        begun = int(now.timestamp() * 1000) + secrets.randbelow(1000)
        return max(begun, self.epoch + 1, (highest or 0) + 1)

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


def _ms(ts: datetime) -> int:
    return round(ts.timestamp() * 1000)


def _was_taken(row: tuple[int, bytes], times: Mapping[int, datetime]) -> bool:
    """Whether this reading (seq, payload) is the one that was taken at the time of its seq."""
    return Reading.model_validate_json(row[1]).ts == times.get(row[0])


def _renamed(payload: bytes, epoch: int, seq: int) -> bytes:
    reading = Reading.model_validate_json(payload)
    return reading.model_copy(update={"epoch": epoch, "seq": seq}).payload()
