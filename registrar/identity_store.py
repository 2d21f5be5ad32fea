"""The identity store: identities with their roles and certificates, and which are blocked.

One SQLite file of mode 0600 in the deployment's folder. The broker's access list, its passwords and the
certificates' revocation list are rendered from this file only (`registrar.deployment`).

>>> store = IdentityStore(Path("register.sqlite"))  # doctest: +SKIP
>>> with store.change() as change:  # doctest: +SKIP
...     change.add(Identity("anna", Role.OPERATOR))
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker import durable
from broker.contract.errors import ConfigurationError
from broker.contract.roles import Role
from registrar.identities import Certificate, Identity, Parcel, certificate_of, identity_of
from registrar.schema import SCHEMA
from registrar.transaction import Change

BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class Unfinished:
    """Somebody whose rights were changed, and Mosquitto is not known to have it."""

    name: str
    generation: int
    ending: str
    """An `Ending`, or empty."""


class IdentityStore:
    """The file; ConfigurationError if it is missing, empty or damaged. ``new``: make it, in mode 0600."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self.path = path
        if new:
            durable.create(path)
        else:
            _check(path)
        try:
            with self.connection() as connection:
                connection.executescript(SCHEMA)
        except sqlite3.OperationalError:  # others hold it, or the disk is full
            raise
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{path} is damaged ({error}): {RESTORE}") from error

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction, alone with the file: everything in it or nothing."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Change(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def identities(self, role: Role | None = None) -> list[Identity]:
        """All, or those of ``role``, by name."""
        where, values = ("WHERE role = ?", (role,)) if role else ("", ())
        with self.connection() as connection:
            rows = connection.execute(f"SELECT * FROM identity {where} ORDER BY name", values)
            return [identity_of(row) for row in rows]

    def identity(self, name: str) -> Identity | None:
        """One of them, or None."""
        with self.connection() as connection:
            row = connection.execute("SELECT * FROM identity WHERE name = ?", (name,)).fetchone()
            return identity_of(row) if row else None

    def certificates(self, name: str | None = None) -> list[Certificate]:
        """All that were issued, or those of one identity; the newest end last."""
        where, values = ("WHERE name = ?", (name,)) if name else ("", ())
        with self.connection() as connection:
            rows = connection.execute(f"SELECT * FROM certificate {where} ORDER BY not_after", values)
            return [certificate_of(row) for row in rows]

    def generation(self) -> int:
        """Counts the changes of what the broker is to read."""
        with self.connection() as connection:
            row = connection.execute("SELECT value FROM counter WHERE name = 'generation'").fetchone()
            return int(row[0]) if row else 0

    def unfinished(self) -> list[Unfinished]:
        """Whose change Mosquitto is not known to have, the oldest first."""
        with self.connection() as connection:
            rows = connection.execute("SELECT name, generation, ending FROM unfinished ORDER BY generation")
            return [Unfinished(*row) for row in rows]

    def marks(self) -> dict[str, int]:
        """Started tasks (`Change.mark`)."""
        with self.connection() as connection:
            return dict(connection.execute("SELECT name, value FROM mark").fetchall())

    def parcels(self) -> list[Parcel]:
        """Certificates that are not in their folders yet."""
        with self.connection() as connection:
            rows = connection.execute("SELECT folder, name, host, certificate FROM parcel ORDER BY rowid")
            return [Parcel(*row) for row in rows]

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """For one look at it; changes go through :meth:`change`."""
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            connection.row_factory = sqlite3.Row
            yield connection


RESTORE = "restore register.sqlite from a copy; without it no meter can be enrolled or blocked"


def _check(path: Path) -> None:
    """ConfigurationError for a file that cannot be the store; an empty one would shut everybody out."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}: {RESTORE}") from error
    if size == 0:
        raise ConfigurationError(f"{path} is empty: {RESTORE}")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM identity").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            found = 0
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{path} is damaged ({error}): {RESTORE}") from error
    if not found:
        raise ConfigurationError(f"{path} holds no identity: {RESTORE}")
