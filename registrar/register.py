"""The register of identities: who there is, in which role, with which certificates, and who is blocked.

One SQLite file of mode 0600 in the deployment's folder. The broker's access list, its passwords and the
certificates' revocation list are rendered from it and from nothing else (`registrar.deployment`).

>>> register = Register(Path("register.sqlite"))  # doctest: +SKIP
>>> with register.change() as change:  # doctest: +SKIP
...     change.add(Identity("anna", Role.OPERATOR))
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from broker import durable
from registrar.change import Change
from registrar.identities import Certificate, Identity, Role, certificate_of, identity_of
from registrar.schema import SCHEMA

BUSY_SECONDS = 5.0


class Register:
    """The file; made when it is missing, in mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        durable.create(path)
        with self.connection() as connection:
            connection.executescript(SCHEMA)

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

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """For one look at it; changes go through :meth:`change`."""
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            connection.row_factory = sqlite3.Row
            yield connection
