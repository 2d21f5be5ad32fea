"""The table from which running totals of registers come without reading all load profiles."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class ProfileSum(SQLModel, table=True):
    """What the intervals of a meter and UTC day come to; written with them (`bridge.store.profiles`).

    Energy in thousandths of a Wh; NULL: nothing is known of it.
    """

    __tablename__ = "profile_sum"

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    start: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Of the day, ms since 1970 UTC."""
    energy_import: int | None = Field(default=None, sa_type=BigInteger)
    energy_export: int | None = Field(default=None, sa_type=BigInteger)
    reactive_import: int | None = Field(default=None, sa_type=BigInteger)
    reactive_export: int | None = Field(default=None, sa_type=BigInteger)
    versions: int
    """The versions of all intervals, added up: it grows with each change."""
