"""The schema on real SQLite and real PostgreSQL: migrated, refused when newer, absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from bridge.store import database
from bridge.store.queries import Store
from bridge.store.tables import metadata
from broker.contract.errors import ConfigurationError, UnavailableError

pytest_plugins = ("tests.support.databases",)


def test_the_migrated_schema_is_that_of_the_tables(database_url: str) -> None:
    engine = database.connect(database_url)
    database.migrate(engine)
    database.migrate(engine)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str) -> None:
    engine = database.connect(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE scl_revision (x INTEGER)"))  # the last one that it creates
    with pytest.raises(Exception, match="already exists"):
        database.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE scl_revision"))
    database.migrate(engine)
    engine.dispose()


def test_a_newer_database_is_refused(database_url: str) -> None:
    engine = database.connect(database_url)
    database.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer meter61850"):
        database.migrate(engine)
    with pytest.raises(ConfigurationError, match="9999"):
        Store.open(database_url)


def test_an_empty_database_is_told_from_none(database_url: str, tmp_path: Path) -> None:
    database.connect(database_url).connect().close()
    with pytest.raises(ConfigurationError, match="empty"):
        Store.open(database_url)
    with pytest.raises(UnavailableError, match="no database"):
        Store.open(f"sqlite:///{tmp_path / 'none.sqlite'}")
    assert not (tmp_path / "none.sqlite").exists()


def test_a_file_without_an_octet_is_not_taken_as_a_new_database(tmp_path: Path) -> None:
    """It has lost what was in it; a new one has a page before anybody else sees it."""
    file = tmp_path / "store.sqlite"
    database.connect(f"sqlite:///{file}").connect().close()
    assert file.stat().st_size > 0
    assert file.stat().st_mode & 0o777 == 0o600
    os.truncate(file, 0)
    log = file.with_name("store.sqlite-wal")
    log.write_bytes(b"what is not in the file yet")
    for use in (
        lambda: database.migrate(database.connect(f"sqlite:///{file}")),
        lambda: Store.open(f"sqlite:///{file}"),
    ):
        with pytest.raises(ConfigurationError, match=r"store\.sqlite is empty: restore it from a backup"):
            use()
    assert log.exists()


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        Store.open("postgresql://postgres@127.0.0.1:1/none")
