"""Dead letters that are kept (`bridge.ingest.dead_letters` writes them): found, purged, or sent once more.

>>> purge(engine, keys=[17, 18])  # doctest: +SKIP
2
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Engine, delete, func
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from bridge.store.tables import DeadLetter

MORE = "(more)"
"""Topic of the row that counts what was not kept."""


def newest(engine: Engine, *, last: int, cause: str | None = None) -> list[DeadLetter]:
    """The dead letters that were seen last, the latest first; ``cause``: only those with this cause."""
    latest = (col(DeadLetter.last_seen).desc(), col(DeadLetter.key).desc())
    some = select(DeadLetter).order_by(*latest).limit(last)
    with Session(engine) as session:
        return list(session.exec(some if cause is None else some.where(col(DeadLetter.cause) == cause)))


def causes(engine: Engine, *, since: int = 0, most: int | None = None) -> list[tuple[str, int]]:
    """Cause → how many of them, the most frequent ones, of those last seen after ``since`` (ms)."""
    times = func.sum(col(DeadLetter.count))
    wanted = core_select(col(DeadLetter.cause), times).where(col(DeadLetter.last_seen) >= since)
    with engine.connect() as connection:
        by_cause = (
            wanted.group_by(col(DeadLetter.cause)).order_by(times.desc(), col(DeadLetter.cause)).limit(most)
        )
        rows = connection.execute(by_cause).all()
    return [(str(cause), int(count)) for cause, count in rows]


def may_be_repeated(letter: DeadLetter) -> bool:
    """Whether it may be published again: only a complete message about readings, never a command."""
    whole = 0 < letter.size == len(letter.payload) and letter.topic != MORE
    return whole and letter.topic.endswith(("/reading", "/history"))


def found(engine: Engine, keys: Iterable[int]) -> list[DeadLetter]:
    """The dead letters with these keys, by key."""
    with Session(engine) as session:
        some = select(DeadLetter).where(col(DeadLetter.key).in_(list(keys)))
        return list(session.exec(some.order_by(col(DeadLetter.key))))


def purge(engine: Engine, *, keys: Iterable[int] | None = None, before: int | None = None) -> int:
    """Delete those with ``keys``, or those last seen before ``before`` (ms), or all; how many those were."""
    statement = delete(DeadLetter)
    if keys is not None:
        statement = statement.where(col(DeadLetter.key).in_(list(keys)))
    if before is not None:
        statement = statement.where(col(DeadLetter.last_seen) < before)
    with engine.begin() as connection:
        return connection.execute(statement).rowcount


def purge_repeated(engine: Engine, counts: Mapping[int, int]) -> int:
    """Delete those that were sent again, key → count before that; how many those were.

    One that was counted once more meanwhile stays: the bridge has found it bad again.
    """
    with engine.begin() as connection:
        return sum(
            connection.execute(
                delete(DeadLetter).where(col(DeadLetter.key) == key, col(DeadLetter.count) == count)
            ).rowcount
            for key, count in counts.items()
        )
