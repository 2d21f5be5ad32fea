"""Meters, each with the latest of its readings.

>>> with_latest(engine, true())  # doctest: +SKIP
[(Meter(key=1, ...), StoredReading(epoch=1, seq=7, ...)), (Meter(key=2, ...), None)]
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Engine, and_, select, tuple_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from bridge.store.pack_format import StoredReading, readings_of
from bridge.store.present import columns, fields, has_more_than
from bridge.store.tables import Meter, Reading
from broker.contract.quantities import HOUSEHOLD, QUANTITIES


def with_latest(engine: Engine, condition: ColumnElement[bool]) -> list[tuple[Meter, StoredReading | None]]:
    """The meters that meet ``condition``, in the order in which they were first heard.

    What a plain meter measures is read first, and all quantities only if one of the readings has others.
    """
    with Session(engine) as session:
        for names in (HOUSEHOLD, tuple(QUANTITIES)):
            wanted = select(Meter, has_more_than(names), *columns(names)).select_from(Meter)
            wanted = wanted.outerjoin(Reading, _is_latest()).where(condition).order_by(col(Meter.key))
            found = session.execute(wanted).all()
            if not any(row[1] for row in found):
                break
    if not found:
        return []
    values = zip(*(row[2:] for row in found), strict=True)
    readings = readings_of(dict(zip(fields(names), values, strict=True)))
    return [
        (row[0], reading if reading.epoch is not None else None)
        for row, reading in zip(found, readings, strict=True)
    ]


def _is_latest() -> ColumnElement[bool]:
    newer = aliased(Reading)
    latest = (
        select(col(newer.epoch), col(newer.seq))
        .where(col(newer.meter) == col(Meter.key))
        .order_by(col(newer.ts).desc(), col(newer.epoch).desc(), col(newer.seq).desc())
        .limit(1)
        .correlate(Meter)
        .scalar_subquery()
    )
    return and_(col(Reading.meter) == col(Meter.key), tuple_(col(Reading.epoch), col(Reading.seq)) == latest)
