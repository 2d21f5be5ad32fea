"""The write side of the store: one batch, one transaction.

>>> writer = Writer(engine, max_meters_per_ied=50)  # doctest: +SKIP
>>> writer.commit(sorter.sort(messages, now=now)).new  # doctest: +SKIP
2000
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Engine, update
from sqlmodel import Session, col

from bridge.ingest import ledger, places, rate_limits, registry
from bridge.ingest.bulk_insert import Inserted, insert_due_hours, insert_readings
from bridge.ingest.dead_letters import DeadLetters
from bridge.ingest.disputes import Disputes, disputes
from bridge.ingest.ledger import Hearing
from bridge.ingest.new_meters import Newcomers
from bridge.ingest.places import Places
from bridge.ingest.rate_limits import Limits, Rate
from bridge.ingest.rows import Row
from bridge.ingest.work import Work
from bridge.meters.block_ledger import Entered
from bridge.mqtt.notice import Dead, Withdrawal
from bridge.store import alarms, audit, database
from bridge.store.alarms import Raised
from bridge.store.dead_letters import MORE
from bridge.store.tables import HOUR_MS, NOTED_MS, Meter
from broker.contract.block import Block
from broker.contract.relay import Relay
from broker.mqtt.packets import Publish

_CHUNK = 500
"""Keys in one IN list."""


@dataclass(frozen=True)
class Committed:
    """What a commit brought."""

    new: int
    """Readings that were not in the database before."""
    dead: tuple[Dead, ...]
    scl_changed: bool
    """A birth or withdrawal changed what the SCD shows."""
    conflicts: int
    """Readings whose names others have."""
    blocks: tuple[tuple[str, Block], ...] = ()
    """Changes of blocks (meter_id, block) that are in the ledger now."""


class Writer:
    """Writes work into the database; ``keys`` (meter_id → key) knows the meters committed so far."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_meters_per_ied: int,
        fill_by_address_code: bool = False,
        spare: int = 0,
        dead_letters: DeadLetters | None = None,
        new_meters: Rate | None = None,
        hearing: Hearing | None = None,
    ) -> None:
        self._engine = engine
        self._places = Places(max_meters_per_ied, by_address_code=fill_by_address_code, spare=spare)
        self._dead_letters = dead_letters or DeadLetters(per_cause=1000)
        self._newcomers = Newcomers(new_meters or Limits().new_meters)
        self._hearing = hearing
        self._seen: dict[int, int] = {}
        self._due_in = 0
        self._due: set[tuple[int, int]] = set()
        """Hours noted as due, of the hour ``_due_in`` and later: upkeep lets them be until they are over."""
        self.keys: dict[str, int] = {}

    def commit(self, work: Work) -> Committed:
        """Write all of ``work`` in one transaction, or nothing and raise the database's error.

        After the commit, ``work`` confirms only what is kept, and has the notices for the meters.
        """
        with self._engine.begin() as connection:
            database.share(connection)
            keys, dead, entered, scl_changed, drops = self._notices(connection, work)
            rows = _keyed(work.rows, self.keys | keys) if keys else work.rows
            inserted = insert_readings(connection, rows) if rows else Inserted(0)
            found = self._disputes(work, rows, inserted.conflicts, keys)
            due = self._note_due(connection, rows, work.now)
            seen = self._touch(connection, {int(row[0]) for row in rows}, work.now)
            dead = [*work.dead, *dead, *found.dead]
            aside = work.limited + work.spoiled
            lost = self._dead_letters.write(connection, dead, work.now, limited=aside)
            raised = [*work.alarms, *drops]
            self._raise_alarms(connection, work.now, raised, found, self.keys | keys if raised else {})
            entered.events += self._acknowledge(connection, work)
            if entered.events:  # last: who holds the chain waits for nobody
                audit.append(connection, entered.events, now=work.now)
        self.keys |= keys  # not before the commit: a rollback would leave keys that name nothing
        self._seen |= seen
        self._due |= due
        if found.sent or lost:
            work.withhold(found.sent | lost)
        work.notices += [*entered.answers, *registry.refusals(dead, now=work.now), *found.notices]
        return Committed(
            inserted.new, tuple(dead), scl_changed, len(inserted.conflicts), tuple(entered.blocks)
        )

    def _disputes(self, work: Work, rows: list[Row], conflicts: list[Row], keys: dict[str, int]) -> Disputes:
        """What follows from those of the rows of ``work`` whose names others have."""
        if not conflicts:
            return Disputes()
        some = set(conflicts)
        sent = {one for one in zip(rows, work.senders, strict=True) if one[0] in some}
        return disputes(work, sent, {key: meter_id for meter_id, key in (self.keys | keys).items()})

    @staticmethod
    def _raise_alarms(
        connection: Connection, now: int, raised: list[Raised], found: Disputes, keys: dict[str, int]
    ) -> None:
        known = [(keys[alarm.meter_id], alarm) for alarm in raised if alarm.meter_id in keys]
        alarms.note(connection, [*known, *found.alarms], now=now)

    @staticmethod
    def _acknowledge(connection: Connection, work: Work) -> Iterator[audit.Event]:
        """Note who acknowledged an alarm first; what goes into the audit."""
        for one in work.acknowledged:
            if alarms.acknowledge(connection, one.key, one.meter_id, one.by, now=work.now):
                kind, detail = audit.Kind.ALARM_ACKNOWLEDGED, {"alarm": one.key}
                yield audit.Event(kind, one.by, one.origin, one.meter_id, detail=detail)

    def waiting(self, *, now: int) -> list[Publish]:
        """Births that waited and may be tried now, as they came: to be stored like any message."""
        return [birth.source for birth in self._newcomers.due(now=now)]

    def _notices(
        self, connection: Connection, work: Work
    ) -> tuple[dict[str, int], list[Dead], Entered, bool, list[Raised]]:
        """Registry and ledger: keys of all meters met, what was refused, the audit, if the SCD changes, and
        alarms."""
        strangers = {row[0] for row in work.rows if isinstance(row[0], str)}
        known = registry.keys_of(connection, strangers) if strangers else {}
        strangers -= known.keys()
        if not (strangers or work.events or work.entries):
            return known, [], Entered(), False, []
        places.lock(connection)
        with Session(bind=connection, autoflush=False) as session:
            rows = self._admitted(session, strangers, work)
            before = {meter_id: registry.face(row) for meter_id, row in rows.items()}
            retired = {meter_id for meter_id, row in rows.items() if row.retired_at is not None}
            dropped = {meter_id: row.dropped for meter_id, row in rows.items() if row.key}
            dead = registry.apply(work.events, rows, now=work.now)
            drops = list(registry.drops(rows.values(), dropped))
            places.assign(session, rows.values(), self._places)
            session.flush()
            relays = [event for event in work.events if isinstance(event.message, Relay)]
            entered = ledger.apply(session, work.entries, now=work.now, hearing=self._hearing, relays=relays)
            session.flush()
            changed = any(registry.face(row) != before[meter_id] for meter_id, row in rows.items())
            keys = {meter_id: row.key for meter_id, row in rows.items() if row.key}
            entered.events[:0] = registry.comings_and_goings(rows.values(), retired)
            return known | keys, dead + entered.dead, entered, changed, drops

    def _admitted(self, session: Session, strangers: set[str], work: Work) -> dict[str, Meter]:
        """The rows of all meters met, new ones within their limit; readings of the others are left out."""
        admitted = partial(self._newcomers.admitted, now=work.now)
        rows = registry.rows_for(session, strangers, work.events, now=work.now, admitted=admitted)
        heard = {event.meter_id for event in work.events if not isinstance(event.message, Withdrawal)}
        if left_out := (strangers | heard) - rows.keys():
            work.leave_out(left_out, MORE.encode(), rate_limits.NEW_METERS)
            self._newcomers.wait(event for event in work.events if event.meter_id in left_out)
        return rows

    def _note_due(self, connection: Connection, rows: list[Row], now: int) -> set[tuple[int, int]]:
        """Note the hours of these readings for upkeep; those that need not be noted again after this."""
        this_hour = now - now % HOUR_MS
        if this_hour != self._due_in:
            self._due_in, self._due = this_hour, set()
        due = {(row[3] - row[3] % HOUR_MS, int(row[0])) for row in rows} - self._due
        if due:
            insert_due_hours(connection, sorted(due))
        return {hour for hour in due if hour[0] >= this_hour}

    def _touch(self, connection: Connection, keys: set[int], now: int) -> dict[int, int]:
        """Note that these meters were heard, about once a minute each; their new last_seen.

        Also after a clock that was ahead has been set back.
        """
        stale = sorted(key for key in keys if abs(now - self._seen.get(key, 0)) > NOTED_MS)
        for start in range(0, len(stale), _CHUNK):
            some = col(Meter.key).in_(stale[start : start + _CHUNK])
            connection.execute(update(Meter).where(some).values(last_seen=now, read_at=now))
        return dict.fromkeys(stale, now)


def _keyed(rows: list[Row], keys: dict[str, int]) -> list[Row]:
    """``rows`` with a key in place of each meter_id."""
    return [(keys[row[0]], *row[1:]) if isinstance(row[0], str) else row for row in rows]
