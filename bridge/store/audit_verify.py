"""Whether the audit is as it was written: the first row that is not, and what is wrong with it.

The chain by itself shows a changed, missing, added or swapped row. It cannot show that its end was cut off,
nor that all of it was written anew by somebody who owns the database: that shows only against a head
that was remembered elsewhere (`bridge.store.audit_head`, or on paper).

>>> with database.snapshot(engine) as connection:  # doctest: +SKIP
...     for row in verified(connection, [Head.parse("17:5f0c…")]): pass
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import OperationalError
from sqlmodel import col

from bridge.store.audit import NOTHING, Head, digest
from bridge.store.tables import Audit
from broker.contract.errors import Meter61850Error, reason

_COLUMNS = [getattr(Audit, name) for name in Audit.model_fields]


class TamperedError(Meter61850Error):
    """The audit is not as it was written; ``no`` is the first row that is not."""

    def __init__(self, no: int, what: str) -> None:
        super().__init__(f"the audit is broken at row {no}: {what}")
        self.no = no
        self.what = what


def verified(
    connection: Connection, heads: Iterable[Head] = (), *, newest: int | None = None
) -> Iterator[Row[Any]]:
    """Every row, oldest first, once it is found good; TamperedError at the first that is not.

    ``heads`` are ends that were remembered: the chain must go through each of them that is in what is looked
    at, which is all, or the ``newest`` so many rows.
    """
    end = _before(connection, newest)
    remembered = sorted(head for head in set(heads) if head.no > end.no)
    for row in _all(connection, end):
        _compare(row, end)
        end = Head(row.no, row.hash)
        _pass(end, remembered)
        yield row
    if remembered:
        missing = remembered[-1].no - end.no
        raise TamperedError(
            end.no + 1,
            f"it ends before row {remembered[-1].no}, which was remembered: the last {missing} rows were cut"
            " off, or an older backup was restored",
        )


def _before(connection: Connection, newest: int | None) -> Head:
    """What the ``newest`` rows follow."""
    if newest is None:
        return NOTHING
    older = select(col(Audit.no), col(Audit.hash)).order_by(col(Audit.no).desc()).offset(newest).limit(1)
    row = connection.execute(older).first()
    return Head(*row) if row else NOTHING


def _all(connection: Connection, end: Head) -> Iterator[Row[Any]]:
    """The rows after ``end``; TamperedError for one that SQLite cannot even read as text."""
    wanted = select(*_COLUMNS).order_by(col(Audit.no))
    if end != NOTHING:
        wanted = wanted.where(col(Audit.no) > end.no)
    rows = connection.execute(wanted, execution_options={"yield_per": 1000})
    no = end.no
    try:
        for row in rows:
            no = row.no
            yield row
    except OperationalError as error:
        if connection.dialect.name != "sqlite":
            raise
        raise TamperedError(no + 1, f"after row {no} one cannot be read: {reason(error)}") from error


def _compare(row: Row[Any], end: Head) -> None:
    """TamperedError unless ``row`` is the one that was written after ``end``."""
    due = end.no + 1
    if row.no != due:
        raise TamperedError(due, f"it is missing, row {row.no} comes instead")
    if row.hash != digest(row._asdict()):
        raise TamperedError(due, "it was changed: its hash is not that of its content")
    if row.previous != end.hash:
        raise TamperedError(due, f"it does not follow row {end.no} as that is now")


def _pass(end: Head, remembered: list[Head]) -> None:
    """Strike the heads that the chain has reached; TamperedError where it was another row."""
    while remembered and remembered[0].no <= end.no:
        if remembered.pop(0) != end:
            raise TamperedError(end.no, "it is not the one that was remembered: the audit was written anew")
