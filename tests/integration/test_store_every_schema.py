"""An upgrade from each schema that there ever was, with rows in every table, to what the store tells today.

The rows are what :data:`ROWS` says, as far as the schema has the columns: a new table or column needs a value
there. Steps of the schema that had other numbers on the main branch are in :data:`FORMER`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, inspect, text

from bridge.ingest.rows import reading_of
from bridge.store import audit, check, database, supply_format
from bridge.store.pack_format import encode
from bridge.store.profile_format import Day
from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import DAY_MS, metadata
from broker.contract.quantities import HOUSEHOLD, QUANTITIES
from tests.support.stores import DAY0, Kept, keeping, meter_id, series

pytest_plugins = ("tests.support.databases",)

SCRIPTS = ScriptDirectory.from_config(database._config())
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
FORMER: dict[str, tuple[str, tuple[str, ...], str]] = {
    "blocks as 0004 (2026-11-24)": ("0003", ("0005",), "0004"),
    "doubtful energy as 0020 (2026-11-29)": ("0007", ("0009",), "0020"),
    "relays without 0008 (2026-11-29)": ("0007", ("0009", "0010"), "0010"),
}
"""Schema → which one it was made from, the steps that it had as well, and its number then."""

OLD = [reading_of(row) for row in series(1, 300, start=DAY0)]
RECENT = [reading_of(row) for row in series(1, 100, start=DAY0 + DAY_MS, first=301)]
"""Readings; the first ones are in a pack where there are packs."""
PAYLOAD = b"no JSON"
PROFILE = Day(DAY0, 15)
PROFILE.put(80, {"energy_import": 21_300, "energy_import_mark": 0, "readings": 90})
"""An interval of an hour without readings, which therefore stays as it is."""


def meter(key: int, **others: Any) -> dict[str, Any]:
    """A row of the registry."""
    texts = ("owner", "address", "ip", "vendor", "model", "firmware")
    return {
        **{name: f"{name} {key}" for name in texts},
        "key": key, "meter_id": meter_id(key), "name": f"House {key}", "address_code": "8000",
        "serial": f"S{key}", "quantities": "power,energy", "interval": 10.0, "clock_synchronized": True,
        "ied": "SMGW001", "number": key, "first_seen": DAY0, "last_seen": DAY0 + key, "born_at": DAY0,
        "retired_at": None, "changes": 1, "online": True, "session": "s1", "session_at": DAY0,
        "session_before": "s0", "standing": "open", "outbox": 3, "dropped": 4, "relay": "open",
        "has_relay": True, "relay_operations": 7, "relay_local": False, "relay_at": DAY0,
        "relay_session": "s1", "blocked": "", "access_at": None, "read_at": None,
        **others,
    }  # fmt: skip


def _reading(reading: Any) -> dict[str, Any]:
    return {"meter": 1, **reading._asdict()}


def _rollup(span: int, start: int) -> dict[str, Any]:
    statistics = {"count": 300, "min": 1.0, "max": 3.0, "mean": 2.0}
    quantities = {f"{name}_{what}": value for name in HOUSEHOLD for what, value in statistics.items()}
    head = {"span": span, "meter": 1, "start": start, "readings": 300, "energy_used": 299.0}
    return {**head, "energy_doubtful": 1, "more": '{"power_l1":[300,1.0,3.0,2.0]}', **quantities}


def rows() -> dict[str, list[dict[str, Any]]]:
    """Table → rows with every column of today."""
    ledger = {
        "key": 1, "command_id": "c-1", "meter_id": meter_id(1), "position": "open", "issued_at": DAY0,
        "expires_at": DAY0 + 5000, "origin_category": "remote-control", "origin_identifier": "op",
        "retained": False, "repeats": 2, "received_at": DAY0, "outcome": "done", "late_outcome": "",
        "moves_by": None, "reason": "r", "result_ts": DAY0,
    }  # fmt: skip
    block = {
        "key": 1, "meter_id": meter_id(1), "ts": DAY0, "block_open": True, "block_close": False,
        "open_ts": DAY0, "close_ts": None, "origin_category": "remote-control", "origin_identifier": "op",
        "received_at": DAY0, "reason": "",
    }  # fmt: skip
    letter = {
        "key": 1, "topic": "sm/v1/x/birth", "payload": PAYLOAD, "size": len(PAYLOAD), "count": 5,
        "sha256": hashlib.sha256(PAYLOAD).hexdigest(), "cause": "no JSON", "first_seen": DAY0,
        "last_seen": DAY0, "confirmed": False,
    }  # fmt: skip
    alarm = {
        "key": 1, "meter": 1, "kind": "twin", "subject": "", "detail": "d", "count": 2, "cleared_at": None,
        "acknowledged_at": None, "acknowledged_by": "", "notified_at": None, "notified_over_at": None,
    }  # fmt: skip
    return {
        "meter": [meter(1), meter(2, retired_at=DAY0, online=False, standing="ended", changes=2)],
        "reading": [_reading(reading) for reading in (*OLD, *RECENT)],
        "reading_pack": [
            {"meter": 1, "epoch": 1, "seq": 300, "first_seq": 1, "first_ts": OLD[0].ts,
             "last_ts": OLD[-1].ts, "data": encode(OLD)}
        ],
        "rollup": [_rollup(HOUR, DAY0), _rollup(DAY, DAY0)],
        "due": [{"work": "hour", "start": DAY0 + DAY_MS, "meter": 1}],
        "command": [ledger],
        "block_change": [block],
        "dead_letter": [letter],
        "scl_revision": [
            {"revision": 3, "sha256": "0" * 64, "meters": 1, "ieds": 1, "ts": DAY0, "what": "first",
             "why": "births", "settings": "{}", "topology": ""}
        ],
        "alarm": [alarm | {"since": DAY0, "last_seen": DAY0, "until": 2 * DAY0}],
        "load_profile": [{"meter": 1, "start": DAY0, "minutes": 15, "data": PROFILE.encoded()}],
        "supply_quality": [{"meter": 1, "start": DAY0, "data": supply_format.Day(DAY0).encoded()}],
        "profile_correction": [
            {"key": 1, "meter": 1, "start": DAY0, "version": 2, "ts": DAY0, "why": "late readings",
             "before": '{"readings":1}'}
        ],
        "credit_account": [
            {"meter": 1, "opened_at": DAY0, "closed_at": None, "prepaid": True, "lifeline": False,
             "balance": -21, "charged_until": DAY0, "booked_until": DAY0 + 900_000, "exhausted_since": None,
             "warned_at": None, "cut_at": None, "restored_at": None}
        ],
        "credit_entry": [
            {"key": key, "transaction_key": "use:1", "account": account, "meter": 1, "amount": amount,
             "energy": 0, "kind": "use", "at": DAY0, "value_at": DAY0, "reference": "", "reason": "",
             "who": ""}
            for key, account, amount in ((1, "meter", -21), (2, "energy:T1", 21))
        ],
        "credit_interval": [
            {"meter": 1, "start": DAY0, "version": 1, "status": 1, "tariff": 1, "energy": 60, "amount": 21}
        ],
        "credit_action": [
            {"key": 1, "meter": 1, "kind": "cut", "at": DAY0, "command_id": "c-1", "for_since": DAY0,
             "operations": 3, "outcome": "done", "reason": "exhausted"}
        ],
        "profile_sum": [
            {"meter": 1, "start": DAY0, "energy_import": 21_300, "energy_export": None, "versions": 1}
            | dict.fromkeys(("reactive_import", "reactive_export"))
        ],
        "spare": [{"number": 3, "ied": "SMGW001", "quantities": "power", "has_relay": True, "use": "free"}],
    }  # fmt: skip


MADE_BY_MIGRATIONS = {"setting"}
WRITTEN_BY_THE_AUDIT = {"audit"}


def upgrade(connection: Connection, revision: str) -> None:
    """Up to ``revision``."""
    config = database._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def make_former(connection: Connection, name: str) -> None:
    """A schema that had another number on the main branch."""
    base, steps, number = FORMER[name]
    upgrade(connection, base)
    with Operations.context(MigrationContext.configure(connection)):
        for step in steps:
            SCRIPTS.get_revision(step).module.upgrade()
    connection.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": number})


def insert(connection: Connection) -> set[str]:
    """Rows into every table that the schema has, in the columns that it has; names of the tables."""
    found = MetaData()
    found.reflect(connection)
    names = {*found.tables} - {"alembic_version"} - MADE_BY_MIGRATIONS
    for name in sorted(names - WRITTEN_BY_THE_AUDIT):
        table, told = found.tables[name], rows()[name]
        if name == "reading" and "reading_pack" in names:
            told = told[len(OLD) :]
        assert {*table.columns.keys()} <= {*told[0], *QUANTITIES}, f"{name}: a column without a value"
        connection.execute(table.insert(), [{c.name: row.get(c.name) for c in table.columns} for row in told])
    if "audit" in names:
        event = audit.Event(audit.Kind.METER_RETIRED, who="op", meter_id=meter_id(2), detail={"why": "x"})
        audit.append(connection, [event, event], now=DAY0)
    return names


SCHEMAS: Sequence[str] = (*REVISIONS, *FORMER)


@pytest.fixture(params=SCHEMAS)
def old(request: pytest.FixtureRequest, database_url: str) -> Iterator[tuple[Engine, set[str]]]:
    engine = database.connect(database_url)
    with engine.begin() as connection:
        if request.param in FORMER:
            make_former(connection, request.param)
        else:
            upgrade(connection, request.param)
        names = insert(connection)
    yield engine, names
    engine.dispose()


def test_everything_is_told_after_the_upgrade(old: tuple[Engine, set[str]], database_url: str) -> None:
    engine, names = old
    before = {name: columns(engine, name) for name in names}
    with keeping(database_url) as kept:
        check_registry(kept, before["meter"])
        check_readings(kept)
        check_ledgers(kept, names)
        assert check.check(engine).findings == []
        kept.upkeep()
        check_readings(kept)
        assert [day["readings"] for day in kept.rollups(DAY)] == [300, 100]
        check_profile(kept, names)
        assert check.check(engine).findings == []


def columns(engine: Engine, table: str) -> set[str]:
    """Names."""
    return {column["name"] for column in inspect(engine).get_columns(table)}


def check_registry(kept: Kept, before: set[str]) -> None:
    """What was known of a meter is what is told; the rest has its default."""
    told = {state.meter.key: state.meter for state in kept.store.meters(retired=True)}
    for row in rows()["meter"]:
        found = told[row["key"]]
        for name in before - {"standing", "session_before", "session_at", "relay_session"}:
            assert getattr(found, name) == row[name], name
        assert (found.number, found.changes) == (row["number"], row["changes"]), "from before they were noted"
        assert (found.standing, found.has_relay) == (row["standing"], True)
    assert kept.meter(2).retired_at == DAY0


def check_readings(kept: Kept) -> None:
    """Each is there once, with the same values, and stored no second time."""
    assert kept.readings() == [*OLD, *RECENT]
    assert kept.put(*series(1, 300, start=DAY0)) == 0
    table = kept.store.rollups(kept.meter(), HOUR)
    assert all(len(row) == len(table.fields) for row in table.rows)


def check_profile(kept: Kept, names: set[str]) -> None:
    """What was there stays, and the hour that was due has its intervals."""
    table = kept.store.profiles.table(kept.meter(), start=DAY0, end=DAY0 + 2 * DAY_MS)
    assert table.fields[:3] == ("start", "end", "energy_import")
    found = {row[0]: row for row in table.rows}
    if "load_profile" in names:
        assert found[DAY0 + 80 * 900_000][2] == 21.3
    readings = [found[DAY0 + DAY_MS + 900_000 * place][-2] for place in range(4)]
    assert sum(readings) == len(RECENT)


def check_ledgers(kept: Kept, names: set[str]) -> None:
    """Commands, blocks, dead letters, revisions, alarms, spares, the audit."""
    (ledger,) = kept.store.commands()
    assert (ledger.command_id, ledger.outcome, ledger.repeats) == ("c-1", "done", 2)
    (letter,) = kept.store.dead_letters()
    assert (letter.payload, letter.count, letter.confirmed) == (PAYLOAD, 5, False)
    (revision,) = kept.store.revisions()
    assert (revision.revision, revision.what) == (3, "first")
    assert [block.block_open for block in kept.store.blocks()] == [True] * ("block_change" in names)
    assert [alarm.kind for alarm in kept.store.alarms()] == ["twin"] * ("alarm" in names)
    assert [row.who for row in kept.store.verified_audit([])] == ["op"] * 2 * ("audit" in names)
    assert kept.store.namer()(kept.meter()) != ""


def test_every_table_of_today_has_rows() -> None:
    assert {*rows()} | MADE_BY_MIGRATIONS | WRITTEN_BY_THE_AUDIT == {*metadata.tables}
    assert len(REVISIONS) >= 15
