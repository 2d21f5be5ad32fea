"""Bulk inserts go past SQLAlchemy: what goes wrong there must still be told apart, or readings are lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from bridge.ingest.bulk_insert import insert_readings
from bridge.ingest.rows import Row
from bridge.store import database
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

GOOD: Row = (1, 1, 1, 1000, 230.1, None, None, True, ("voltage",))


FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION SQLSTATE '53100'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON reading EXECUTE FUNCTION full_disk()
"""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = migrated(postgres_url)
    yield made
    made.dispose()


def insert_while_the_server_goes(engine: Engine) -> None:
    with engine.begin() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        insert_readings(connection, [GOOD])


def test_a_server_that_ends_the_session_is_a_database_in_trouble(engine: Engine) -> None:
    with pytest.raises(OperationalError) as told:
        insert_while_the_server_goes(engine)
    assert not database.is_about_data(told.value)
    with engine.begin() as connection:
        assert insert_readings(connection, [GOOD]).new == 1


def test_a_disk_that_is_full_is_a_database_in_trouble(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text(FULL_DISK))
        with pytest.raises(OperationalError) as told:
            insert_readings(connection, [GOOD])
    assert not database.is_about_data(told.value)


def test_a_row_that_the_table_refuses_is_about_data(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(IntegrityError) as told:
        insert_readings(connection, [(None, *GOOD[1:])])
    assert database.is_about_data(told.value)
