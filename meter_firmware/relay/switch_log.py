"""What the relay did and which commands it has seen, kept through power cuts.

A command_id is written before the relay moves; the relay's new state and the command's result are
written together afterwards. A command without a result after a restart was interrupted: the pin is
set to the state that was saved, so it did not take effect, and it is answered as failed. What is
blocked is kept here, too.

>>> with tempfile.TemporaryDirectory() as folder, Storage(Path(folder) / "meter.sqlite") as storage:
...     log = SwitchLog(storage)
...     log.open(now=utc_now())
...     log.relay.position
<Position.CLOSED: 'closed'>
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from pydantic import ValidationError

from broker.contract.block import Block
from broker.contract.errors import ConfigurationError
from broker.contract.messages import EARLIEST
from broker.contract.relay import Position, Relay
from broker.contract.result import Outcome, Result
from broker.validation import first_complaint
from meter_firmware.storage import Storage

REMEMBERED = timedelta(days=1)
"""A command is valid for a minute at most; its id is kept far longer than that."""
FORGOTTEN = timedelta(minutes=10)
"""What a killed broker may have forgotten, at most: it writes its state every five minutes."""
MAX_FORGOTTEN = 20
"""So many results of that time are told again, the newest: a connection that comes and goes floods nobody."""
MAX_REMEMBERED = 10_000
"""Commands in a day; more are refused, so that ids need not be forgotten early. As many older ones stay."""
KEPT = timedelta(days=30)
"""For so long a result waits for the bridge to have it."""
_BEGUN, _RECORDED = -1, 2
"""Values of ``answered``, beside 0 (not told) and 1 (the broker has it): not ended yet; in the ledger."""


class SwitchLog:
    """The relay's saved state and the ids of the last day's commands. Methods may block on the disk."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.relay = Relay(position=Position.CLOSED, operations=0, ts=EARLIEST)
        self.block: Block | None = None
        """What is enforced."""
        self.kept_block: Block | None = None
        """What is on the disk."""
        self.bridge_vouches = False
        """The bridge is one that says whether the broker retains every block."""
        self.is_new = False
        """No position of the relay was saved before."""

    def open(self, *, now: datetime, interrupted: str | None = None) -> None:
        """Load the relay's state (closed at first) and answer what was interrupted, with this reason."""
        self.block = self.kept_block = self._saved_block()
        self.bridge_vouches = self._storage.all("SELECT vouches FROM bridge WHERE {mine}") == [(1,)]
        saved = self._saved_relay()
        self.is_new = saved is None
        self.relay = saved or Relay(position=Position.CLOSED, operations=0, ts=now)
        with self._storage.writing("NORMAL") as connection:  # undone, it is made again
            connection.execute(
                "INSERT OR IGNORE INTO relay (id, payload) VALUES (1, ?)", (self.relay.payload(),)
            )
        for command_id, said in self._storage.all(
            "SELECT command_id, result FROM command WHERE {mine} AND (result IS NULL OR answered = ?)",
            (_BEGUN,),
        ):
            restarted = f"interrupted by a restart of the meter: relay is {self.relay.position}"
            reason = interrupted or restarted
            result = Result(command_id=command_id, outcome=Outcome.FAILED, reason=reason, ts=now)
            known = Result.model_validate_json(said) if said else result
            self.finish(known.model_copy(update={"reason": reason, "ts": now}))

    def _saved_relay(self) -> Relay | None:
        for (payload,) in self._storage.all("SELECT payload FROM relay WHERE {mine}"):
            try:
                return Relay.model_validate_json(payload)
            except ValidationError as error:
                raise ConfigurationError(
                    "the saved relay state is damaged: move meter.sqlite away to start closed"
                    f" ({first_complaint(error)})"
                ) from error
        return None

    def _saved_block(self) -> Block | None:
        for (payload,) in self._storage.all("SELECT payload FROM block WHERE {mine}"):
            try:
                return Block.model_validate_json(payload).merged(None)
            except ValidationError as error:  # taking it for nothing would allow what was forbidden
                raise ConfigurationError(
                    "the saved block of the relay is damaged: move meter.sqlite away to start without one"
                    f" ({first_complaint(error)})"
                ) from error
        return None

    def keep_block(self, block: Block) -> None:
        """Save and enforce it; StorageError if the disk refuses, and then only what it blocks is enforced."""
        self.block = block.guarded(self.block)
        with self._storage.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO block (id, payload) VALUES (1, ?)", (block.payload(),))
        self.block = self.kept_block = block

    def keep_vouches(self, vouches: bool) -> None:
        """Save whether the bridge is such a one."""
        if vouches != self.bridge_vouches:
            with self._storage.writing() as connection:
                connection.execute("INSERT OR REPLACE INTO bridge (id, vouches) VALUES (1, ?)", (vouches,))
            self.bridge_vouches = vouches

    def knows(self, command_id: str) -> bool:
        """Whether a command with this id was recorded before."""
        return bool(self._storage.all("SELECT 1 FROM command WHERE {mine} AND command_id = ?", (command_id,)))

    def record(self, command_id: str, *, now: datetime) -> bool:
        """Remember the id, on the disk, before acting on it; False when the day's limit is reached."""
        now_ms, keep_ms = _ms(now), int(REMEMBERED.total_seconds() * 1000)
        with self._storage.writing() as connection:
            self._forget_old(connection, now_ms, keep_ms)
            (count,) = connection.execute(
                "SELECT count(*) FROM command WHERE {mine} AND seen_ms BETWEEN ? AND ?",
                (now_ms - keep_ms, now_ms + keep_ms),
            ).fetchone()
            if count >= MAX_REMEMBERED:
                return False
            connection.execute(
                "INSERT INTO command (command_id, seen_ms, answered) VALUES (?, ?, ?)",
                (command_id, now_ms, _BEGUN),
            )
        return True

    def describe(self, interrupted: Result) -> None:
        """Note the result that a recorded command has if we are cut short now; a power cut may undo that."""
        with self._storage.writing("NORMAL") as connection:
            connection.execute(
                "UPDATE command SET result = ? WHERE {mine} AND command_id = ? AND answered = ?",
                (interrupted.payload(), interrupted.command_id, _BEGUN),
            )

    @staticmethod
    def _forget_old(connection: sqlite3.Connection, now_ms: int, keep_ms: int) -> None:
        """Ids older than a day whose results are in the ledger, or that have waited for it long enough.

        Also what a wrong clock dated more than a day ahead: it would never grow old.
        """
        outside, day = "seen_ms NOT BETWEEN ? AND ?", (now_ms - keep_ms, now_ms + keep_ms)
        connection.execute(
            f"DELETE FROM command WHERE {{mine}} AND {outside} AND (answered IN (?, ?) OR seen_ms < ?)",
            (*day, _BEGUN, _RECORDED, now_ms - int(KEPT.total_seconds() * 1000)),
        )
        connection.execute(
            "DELETE FROM command WHERE {mine} AND command_id IN"
            f" (SELECT command_id FROM command WHERE {{mine}} AND {outside}"
            " ORDER BY seen_ms DESC LIMIT -1 OFFSET ?)",
            (*day, MAX_REMEMBERED),
        )

    def finish(self, result: Result, *, relay: Relay | None = None) -> None:
        """Save a recorded command's result and, if it moved the relay, the new state, in one transaction."""
        with self._storage.writing() as connection:
            connection.execute(
                "UPDATE command SET result = ?, answered = 0 WHERE {mine} AND command_id = ?",
                (result.payload(), result.command_id),
            )
            if relay is not None:
                connection.execute("UPDATE relay SET payload = ? WHERE {mine}", (relay.payload(),))
        self.relay = relay or self.relay

    def keep_relay(self, relay: Relay) -> None:
        """Save where the relay is now, though no command has moved it; StorageError if the disk refuses."""
        with self._storage.writing() as connection:
            connection.execute("UPDATE relay SET payload = ? WHERE {mine}", (relay.payload(),))
        self.relay = relay

    def owed(self, *, now: datetime) -> list[Result]:
        """Results to tell at a new connection, oldest first.

        Those that the broker has not taken yet, and the last of those that it has: a broker that was killed
        forgets what it took since it last wrote its state.
        """
        rows = self._storage.all(
            "SELECT result FROM command WHERE {mine} AND result IS NOT NULL AND"
            " (answered = 0 OR (answered > 0 AND command_id IN"
            " (SELECT command_id FROM command WHERE {mine} AND seen_ms > ? ORDER BY seen_ms DESC LIMIT ?)))"
            " ORDER BY seen_ms",
            (_ms(now - FORGOTTEN), MAX_FORGOTTEN),
        )
        return [Result.model_validate_json(payload) for (payload,) in rows]

    def unrecorded(self, *, skip: int, limit: int) -> list[Result]:
        """Results that the bridge has not confirmed, oldest first, without the ``skip`` oldest."""
        rows = self._storage.all(
            "SELECT result FROM command WHERE {mine} AND result IS NOT NULL AND answered IN (0, 1)"
            " ORDER BY seen_ms LIMIT ? OFFSET ?",
            (limit, skip),
        )
        return [Result.model_validate_json(payload) for (payload,) in rows]

    def recorded(self, command_id: str, *, outcome: str) -> None:
        """The bridge has this result; another outcome is that of a repetition of the command."""
        for (payload,) in self._storage.all(
            "SELECT result FROM command WHERE {mine} AND command_id = ?", (command_id,)
        ):
            if payload is not None and Result.model_validate_json(payload).outcome == outcome:
                with self._storage.writing("NORMAL") as connection:
                    connection.execute(
                        "UPDATE command SET answered = ? WHERE {mine} AND command_id = ? AND answered >= 0",
                        (_RECORDED, command_id),
                    )

    def answered(self, result: Result) -> None:
        """The broker has taken this very result (not that of a repetition)."""
        with self._storage.writing("NORMAL") as connection:
            connection.execute(
                "UPDATE command SET answered = 1"
                " WHERE {mine} AND command_id = ? AND result = ? AND answered = 0",
                (result.command_id, result.payload()),
            )


def _ms(ts: datetime) -> int:
    return int(ts.timestamp() * 1000)
