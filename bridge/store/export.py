"""Readings and roll-ups to CSV and Parquet, row by row: memory does not grow with the number of rows.

CSV is RFC 4180 with a header, times as in the contract, an absent quantity as an empty field. Parquet
needs pyarrow (extra ``[parquet]``): times are timestamp[ms, UTC], quantities double, absent is null. In both
``other`` is a JSON object as text. A text that a spreadsheet would take for a formula (a meter chooses its
name) has an apostrophe before it in CSV.

>>> import sys
>>> write_csv(Table(("ts", "power"), iter([(1795392000000, 21.3)])), sys.stdout)
ts,power
2026-11-23T00:00:00.000Z,21.3
1
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from bridge.store.tables import moment
from broker.contract.errors import Meter61850Error, UnavailableError
from broker.contract.messages import format_ts

_AT_ONCE = 10_000
"""Rows in a row group of Parquet: what is in memory at a time."""

TIMES = frozenset(
    {"ts", "start", "end", "demand_at", "since", "energy_import_raw_at", "energy_export_raw_at"}
    | {"reactive_import_raw_at", "reactive_export_raw_at"}
)
_TEXTS = frozenset(
    {"meter_id", "name", "address_code", "date", "period", "marks", "other"}
    | {"feeder", "unbalance_by", "reason", "meter_names", "rule", "otherwise"}
)
_TEXT = "_mark", "_judgement"
"""How the names of other texts end."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets compute."""
_FLAGS = frozenset({"alarm", "clock_synchronized", "complete"})
_WHOLE = frozenset(
    {"epoch", "seq", "readings", "energy_doubtful", "version"}
    | {"measured", "interpolated", "estimated", "missing"}
    | {"customers", "outages", "momentary", "doubtful", "sags", "swells", "interruptions"}
)


@dataclass(frozen=True)
class Table:
    """Rows of any length; the fields of :data:`TIMES` are in ms since 1970 UTC."""

    fields: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]

    def documents(self) -> Iterator[dict[str, Any]]:
        """The rows with the names of their fields; once, as the rows."""
        return (dict(zip(self.fields, row, strict=True)) for row in self.rows)


class ExportError(Meter61850Error, OSError):
    """The file could not be written."""


def write_csv(table: Table, out: TextIO) -> int:
    """Write ``table`` to ``out``; the number of rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.fields)
    odd = [
        (place, _WRITTEN[kind])
        for place, field in enumerate(table.fields)
        for kind in (TIMES, _TEXTS, _FLAGS)
        if field in kind or (kind is _TEXTS and field.endswith(_TEXT))
    ]
    count = 0
    for count, row in enumerate(table.rows, start=1):  # noqa: B007 - the last count is the result
        values = list(row)
        for place, written in odd:
            if values[place] is not None:
                values[place] = written(values[place])
        writer.writerow(values)
    return count


def _time(ms: int) -> str:
    return format_ts(moment(ms))


def _text(text: str) -> str:
    """No formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _flag(value: bool) -> str:
    """JSON's words."""
    return "true" if value else "false"


_WRITTEN: dict[frozenset[str], Callable[[Any], str]] = {TIMES: _time, _TEXTS: _text, _FLAGS: _flag}
"""How CSV has the values of these fields; numbers are as they are."""


def write_parquet(table: Table, file: Path) -> int:
    """Write ``table`` to ``file``, in place of one that is there; the number of rows."""
    _pyarrow()  # UnavailableError is an OSError, too
    unfinished = file.with_name(f"{file.name}.part")
    try:
        with unfinished.open("wb") as out:
            count = stream_parquet(table, out)
        unfinished.rename(file)
    except OSError as error:
        raise ExportError(f"cannot write {file}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def stream_parquet(table: Table, out: BinaryIO) -> int:
    """Write ``table`` to ``out``, which stays open; the number of rows."""
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(field, _type(arrow, field)) for field in table.fields])
    count = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while rows := list(islice(table.rows, _AT_ONCE)):
            columns = zip(*rows, strict=True)
            arrays = [
                arrow.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise UnavailableError("Parquet needs pyarrow: pip install 'meter61850[parquet]'") from error


def _type(arrow: Any, field: str) -> Any:
    if field in TIMES:
        return arrow.timestamp("ms", tz="UTC")
    if field in _WHOLE or field.endswith("_count"):
        return arrow.int64()
    if field in _TEXTS or field.endswith(_TEXT):
        return arrow.string()
    return arrow.bool_() if field in _FLAGS else arrow.float64()
