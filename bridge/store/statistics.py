"""Count, minimum, maximum and mean of the quantities of a roll-up.

What a plain meter measures has columns of its own (`bridge.store.tables.statistics`). What a meter measures
beyond that stands in one column, ``more``: a JSON object, quantity → count, min, max, mean. Four columns more
for each of the other quantities would double every row, and the time to write it, for values that are absent.

>>> told = of_columns({"power": (1.0, None, 3.0), "power_l1": (5.0, 7.0, 9.0)})
>>> told["power_count"], told["power_mean"], told["voltage_count"], told["more"]
(2, 2.0, 0, '{"power_l1":[3,5.0,9.0,7.0]}')
>>> together([told["more"], '{"power_l1":[1,3.0,3.0,3.0]}', None])
'{"power_l1":[4,3.0,9.0,6.0]}'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, select

from bridge.store.export import Table
from bridge.store.tables import ROLLUP, STATISTICS
from broker.contract.quantities import HOUSEHOLD

HEAD = ("start", "readings", "energy_used", "energy_doubtful")
"""The first fields of a table of roll-ups."""
_NOTHING: tuple[Any, ...] = (0, None, None, None)
_COLUMNS = {name: tuple(f"{name}_{what}" for what in STATISTICS) for name in HOUSEHOLD}


def of_columns(columns: Mapping[str, Sequence[float | None]]) -> dict[str, Any]:
    """The columns of a roll-up for these values by quantity; None is absent."""
    known = {name: found for name, values in columns.items() if (found := _of(values))}
    result = dict[str, Any]()
    for name, titles in _COLUMNS.items():
        result |= zip(titles, known.pop(name, _NOTHING), strict=True)
    return {**result, "more": _json(known)}


def _of(told: Sequence[float | None]) -> tuple[Any, ...] | None:
    """Count, min, max, mean; None without a value."""
    values = [value for value in told if value is not None] if None in told else told
    return (len(values), min(values), max(values), sum(values) / len(values)) if values else None  # type: ignore[type-var,arg-type]


def together(several: Iterable[str | None]) -> str | None:
    """``more`` of a day from that of its hours."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for told in filter(None, several):
        for name, one in orjson.loads(told).items():
            found.setdefault(name, []).append(one)
    return _json({name: _sum(hours) for name, hours in found.items()})


def _sum(hours: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    counts, lowest, highest, means = zip(*hours, strict=True)
    count = sum(counts)
    weighted = sum(one * mean for one, mean in zip(counts, means, strict=True))
    return count, min(lowest), max(highest), weighted / count


def _json(found: Mapping[str, tuple[Any, ...]]) -> str | None:
    return orjson.dumps(found).decode() if found else None


def expanded(more: str | None, names: Sequence[str]) -> tuple[Any, ...]:
    """What ``more`` says of these quantities, four values of each.

    >>> expanded('{"power_l1":[3,5.0,9.0,7.0]}', ("power_l1", "power_l2"))
    (3, 5.0, 9.0, 7.0, 0, None, None, None)
    """
    told = orjson.loads(more) if more else {}
    return tuple(value for name in names for value in told.get(name, _NOTHING))


def selected(names: Sequence[str], which: ColumnElement[bool], *, last: int | None) -> Select[Any]:
    """The roll-ups that meet ``which``, or the ``last`` ones of them, oldest first; see `table`."""
    own = (ROLLUP.c[title] for name in names if name in _COLUMNS for title in _COLUMNS[name])
    wanted = select(*(ROLLUP.c[name] for name in HEAD), *own, ROLLUP.c.more).where(which)
    if last is None:
        return wanted.order_by(ROLLUP.c.start)
    newest = wanted.order_by(ROLLUP.c.start.desc()).limit(last).subquery()
    return select(newest).order_by(newest.c.start)


def table(names: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> Table:
    """What was `selected`, with the four fields of each of ``names``."""
    more = [name for name in names if name not in _COLUMNS]
    ordered = [*(name for name in names if name in _COLUMNS), *more]
    fields = (*HEAD, *(f"{name}_{what}" for name in ordered for what in STATISTICS))
    return Table(fields, ((*row[:-1], *expanded(row[-1], more)) for row in rows))
