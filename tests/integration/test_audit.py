"""The audit on real SQLite and PostgreSQL: append-only, one chain for all, and no mutation goes unseen."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from bridge.store import database
from bridge.store.audit import FIRST, HASHED, NOTHING, Event, Head, Kind, append, digest, head, record
from bridge.store.audit_verify import TamperedError, verified
from bridge.store.tables import Audit
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

ROWS = 6


def event(number: int, **others: Any) -> Event:
    detail = {"number": number, "what": "ä\0\ud800"}
    return Event(
        Kind.RIGHTS_CHANGED, who="anna", origin="cli desk4", identity=f"op-{number}", detail=detail, **others
    )


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = migrated(database_url)
    yield made
    made.dispose()


@pytest.fixture
def filled(engine: Engine) -> Engine:
    for number in range(ROWS):
        record(engine, event(number))
    return engine


def verify(connection: Connection, *heads: Head) -> int:
    """How many rows are good; TamperedError if one is not."""
    return sum(1 for _ in verified(connection, heads))


def unguarded(connection: Connection) -> None:
    """As the database's owner: without the triggers, until the transaction is rolled back."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
    else:
        for name in ("audit_no_update", "audit_no_delete", "audit_follows"):
            connection.execute(text(f"DROP TRIGGER {name}"))


def found(engine: Engine, tamper: Callable[[Connection], object], *heads: Head) -> tuple[int, str]:
    """The first bad row after ``tamper``, which is undone, and what is wrong with it."""
    with engine.connect() as connection:
        unguarded(connection)
        tamper(connection)
        with pytest.raises(TamperedError) as error:
            verify(connection, *heads)
        connection.rollback()
    return error.value.no, error.value.what


def test_a_chain_is_whole_and_goes_through_its_heads(engine: Engine) -> None:
    heads = [record(engine, event(1), event(2)), record(engine), record(engine, event(3))]
    assert [end.no for end in heads] == [2, 2, 3]
    with engine.connect() as connection:
        assert verify(connection, NOTHING, *heads) == 3
        assert head(connection) == heads[-1]
        rows = connection.execute(select(Audit.__table__).order_by(col(Audit.no))).all()  # type: ignore[attr-defined]
    assert [row.no for row in rows] == [1, 2, 3]
    assert [row.previous for row in rows] == [FIRST, rows[0].hash, rows[1].hash]
    assert json.loads(rows[0].detail) == {"number": 1, "what": "ä\0\ud800"}
    assert (rows[0].who, rows[0].origin, rows[0].identity) == ("anna", "cli desk4", "op-1")


def test_texts_of_every_kind_are_kept_as_both_databases_can(engine: Engine) -> None:
    record(engine, Event(Kind.ENROLMENT_ASKED, who="a\0b\ud800", identity="x" * 300))
    with engine.connect() as connection:
        (row,) = verified(connection)
    assert (row.who, row.identity) == ("a\ufffdb?", "x" * 255)


def test_what_is_hashed_never_changes() -> None:
    """Computed by hand: who changes the form makes every chain that exists look broken."""
    row = dict.fromkeys(HASHED, "") | {"no": 1, "ts": 2, "event": "rights-changed", "detail": "{}"}
    assert digest(row) == "86c865a96cb707d4dffc986169baeb400ec2812c8b5410cae40d69da3c6eedcc"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody' WHERE no = 2",
        "DELETE FROM audit WHERE no = 2",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT 99, ts, event, who, origin, meter_id, identity, outcome, detail, previous,"
        " hash FROM audit WHERE no = 2",
        "INSERT INTO audit SELECT 7, ts, event, who, origin, meter_id, identity, outcome, detail, previous,"
        " hash FROM audit WHERE no = 2",
    ],
)
def test_the_database_itself_takes_nothing_but_the_next_row(filled: Engine, statement: str) -> None:
    with pytest.raises(IntegrityError, match="audit"), filled.begin() as connection:
        connection.execute(text(statement))
    with filled.connect() as connection:
        assert verify(connection) == ROWS


def test_each_database_has_ways_of_its_own_that_are_shut(filled: Engine) -> None:
    statement = (
        "TRUNCATE audit"
        if filled.dialect.name == "postgresql"
        else "INSERT OR REPLACE INTO audit SELECT no, ts, event, 'nobody', origin, meter_id, identity,"
        " outcome, detail, previous, hash FROM audit WHERE no = 2"
    )
    with pytest.raises(IntegrityError, match="audit"), filled.begin() as connection:
        connection.execute(text(statement))


# fmt: off
ALL = ", ".join(("no", "ts", "event", "who", "origin", "meter_id", "identity", "outcome", "detail",
                 "previous", "hash"))
TAMPERED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "changed": (("UPDATE audit SET who = 'nobody' WHERE no = 3",), 3, "was changed"),
    "deleted": (("DELETE FROM audit WHERE no = 3",), 3, "missing, row 4 comes instead"),
    "first deleted": (("DELETE FROM audit WHERE no = 1",), 1, "missing, row 2"),
    "deleted and renumbered": (("DELETE FROM audit WHERE no = 3",
                                "UPDATE audit SET no = no - 1 WHERE no = 4"), 3, "was changed"),
    "inserted": (("UPDATE audit SET no = no + 100 WHERE no > 3",
                  f"INSERT INTO audit SELECT 4, {ALL.removeprefix('no, ')} FROM audit WHERE no = 3",
                  "UPDATE audit SET no = no - 99 WHERE no > 100"), 4, "was changed"),
    "swapped": (("UPDATE audit SET no = 100 WHERE no = 3", "UPDATE audit SET no = 3 WHERE no = 4",
                 "UPDATE audit SET no = 4 WHERE no = 100"), 3, "was changed"),
    "hash": (("UPDATE audit SET hash = previous WHERE no = 6",), 6, "was changed"),
}
# fmt: on


@pytest.mark.parametrize(("statements", "no", "what"), TAMPERED.values(), ids=TAMPERED.keys())
def test_tampering_is_found_at_the_first_bad_row(
    filled: Engine, statements: tuple[str, ...], no: int, what: str
) -> None:
    bad = found(filled, lambda connection: [connection.execute(text(sql)) for sql in statements])
    assert bad[0] == no
    assert what in bad[1]


def test_a_row_whose_hash_was_made_anew_breaks_the_next(filled: Engine) -> None:
    def forge(connection: Connection) -> None:
        connection.execute(text("UPDATE audit SET who = 'nobody' WHERE no = 3"))
        rehash(connection, 3)

    assert found(filled, forge) == (4, "it does not follow row 3 as that is now")


def rehash(connection: Connection, no: int) -> str:
    """Give the row the hash of what it now holds."""
    row = connection.execute(text("SELECT * FROM audit WHERE no = :no"), {"no": no}).mappings().one()
    made = digest(dict(row))
    connection.execute(text("UPDATE audit SET hash = :hash WHERE no = :no"), {"hash": made, "no": no})
    return made


def test_a_cut_end_is_found_only_by_a_head(filled: Engine) -> None:
    def cut(connection: Connection) -> None:
        connection.execute(text("DELETE FROM audit WHERE no > 4"))

    with filled.connect() as connection:
        end = head(connection)
        unguarded(connection)
        cut(connection)
        assert verify(connection) == 4, "the chain alone cannot know"
        connection.rollback()
    no, what = found(filled, cut, end)
    assert no == 5
    assert "the last 2 rows were cut off" in what


def test_a_chain_written_anew_is_found_only_by_a_head(filled: Engine) -> None:
    def anew(connection: Connection) -> None:
        connection.execute(text("UPDATE audit SET who = 'nobody' WHERE no = 3"))
        previous = rehash(connection, 3)
        for no in range(4, ROWS + 1):
            connection.execute(
                text("UPDATE audit SET previous = :previous WHERE no = :no"), {"previous": previous, "no": no}
            )
            previous = rehash(connection, no)

    with filled.connect() as connection:
        end = head(connection)
        unguarded(connection)
        anew(connection)
        assert verify(connection) == ROWS, "the chain alone cannot know"
        connection.rollback()
    assert found(filled, anew, end) == (
        ROWS,
        "it is not the one that was remembered: the audit was written anew",
    )


def values_of(column: str) -> st.SearchStrategy[object]:
    """Anything that the column can hold on both databases."""
    if column in ("no", "ts"):
        return st.integers(-(2**63), 2**63 - 1)
    size = getattr(Audit.__table__.c, column).type.length  # type: ignore[attr-defined]
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, max_size=size or 300)


MUTATIONS = st.sampled_from(list(Audit.model_fields)).flatmap(
    lambda column: st.tuples(st.just(column), values_of(column))
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(no=st.integers(1, ROWS), mutation=MUTATIONS)
def test_no_single_mutation_goes_unseen(filled: Engine, no: int, mutation: tuple[str, object]) -> None:
    column, value = mutation
    with filled.connect() as connection:
        before = connection.execute(
            text(f"SELECT {column} FROM audit WHERE no = :no"), {"no": no}
        ).scalar_one()
        assume(value != before and not (column == "no" and 1 <= int(str(value)) <= ROWS))
        unguarded(connection)
        connection.execute(
            text(f"UPDATE audit SET {column} = :value WHERE no = :no"), {"value": value, "no": no}
        )
        with pytest.raises(TamperedError):
            verify(connection)
        connection.rollback()


def test_what_sqlite_cannot_read_as_text_is_tampering_too(sqlite_url: str) -> None:
    made = migrated(sqlite_url)
    record(made, event(1), event(2), event(3))
    broken = "UPDATE audit SET who = CAST(x'ff' AS TEXT) WHERE no = 2"
    assert "cannot be read" in found(made, lambda connection: connection.execute(text(broken)))[1]
    blob = "UPDATE audit SET who = x'00' WHERE no = 2"
    assert found(made, lambda connection: connection.execute(text(blob)))[0] == 2
    made.dispose()


def _append_many(url: str, number: int, count: int) -> None:
    engine = database.connect(url)
    for again in range(count):
        record(engine, event(number, outcome=str(again)), event(number, outcome=str(again)))
    engine.dispose()


def test_processes_append_at_the_same_time(engine: Engine, database_url: str) -> None:
    count = 20
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_append_many, args=(database_url, number, count)) for number in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with engine.connect() as connection:
        assert verify(connection) == 3 * 2 * count
        for number in range(3):
            mine = connection.scalars(
                select(col(Audit.outcome))
                .where(col(Audit.identity) == f"op-{number}")
                .order_by(col(Audit.no))
            ).all()
            assert list(mine) == [str(again // 2) for again in range(2 * count)]


def test_an_event_of_a_transaction_that_is_undone_leaves_nothing(filled: Engine) -> None:
    with filled.connect() as connection:
        assert append(connection, [event(9)], now=1).no == ROWS + 1
        connection.rollback()
    assert record(filled, event(10)).no == ROWS + 1
    with filled.connect() as connection:
        assert verify(connection) == ROWS + 1


def test_the_newest_rows_alone(filled: Engine) -> None:
    with filled.connect() as connection:
        end = head(connection)
        assert [row.no for row in verified(connection, [end, Head(1, FIRST)], newest=2)] == [5, 6]
        assert sum(1 for _ in verified(connection, newest=100)) == ROWS
        unguarded(connection)
        connection.execute(text("UPDATE audit SET who = 'nobody' WHERE no IN (2, 5)"))
        with pytest.raises(TamperedError, match="row 5"):
            list(verified(connection, newest=2))
        connection.rollback()
