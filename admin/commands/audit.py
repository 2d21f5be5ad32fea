"""``meter61850 audit``: the append-only record of all actions; every change of it is detected."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.exits import BrokenError, NotFoundError
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, since
from admin.output import json_text, note, progress, show, show_one
from admin.stores import open_store
from bridge.store import audit_head
from bridge.store.audit import NOTHING, Head, Kind
from bridge.store.audit_verify import TamperedError
from bridge.store.queries import Store, UnknownMeterError
from bridge.store.tables import moment
from broker.contract.errors import ConfigurationError

TAIL = 50
AT_ONCE = 1000
"""Rows of one table: more come as further tables, so that nothing has to be held."""

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The append-only, hash-chained record of all actions.",
)
Time = typer.Option(metavar="TIME", show_default=False, help="15m, 24h, 7d ago, or 2026-11-23T12:00 (UTC).")


@app.command("show")
def show_(
    from_: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", show_default=False, help="15m, 24h, 7d, or a time (UTC)."),
    ] = None,
    until: Annotated[str | None, Time] = None,
    event: Annotated[Kind | None, typer.Option(show_default=False, help="Only events of this kind.")] = None,
    who: Annotated[
        str | None, typer.Option(show_default=False, help="Only rows whose author contains this.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="METER|IDENTITY", show_default=False, help="Only rows about this meter or identity."
        ),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option(min=1, show_default=False, help=f"Only the last N; default: {TAIL} without --since."),
    ] = None,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Print the audit, oldest first: commands, blocks, enrolments, rights, credentials, retirements.

    \b
    meter61850 audit show
    meter61850 audit show --since 30d --event command-ended --who operator
    meter61850 audit show --subject "House 1" --tail 5 --json
    """
    begin, end = (since(text) if text else None for text in (from_, until))
    last = TAIL if tail is None and begin is None else tail
    with open_store(database) as store:
        about = _subject(store, subject) if subject else None
        found = store.audit(since=begin, until=end, event=event, who=who, subject=about, last=last)
        _print((_row(row) for row in found), as_json=as_json)


@app.command()
def verify(
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="NO:HASH",
            show_default=False,
            help="A head that you wrote down; repeatable.",
        ),
    ] = None,
    head_file: Annotated[
        Path | None,
        typer.Option(
            envvar="METER61850_AUDIT_HEAD_FILE",
            show_default=False,
            help="The bridge's file of the last head; default: beside a SQLite database.",
        ),
    ] = None,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Check every row of the audit; on a change exit 7 and name the first bad row.

    The chain shows each changed, missing, added or swapped row. If its end was cut off, or all of it was
    written anew, only a comparison with a head that is kept elsewhere shows this: the bridge's file, or a
    line that this command printed earlier.

    \b
    meter61850 audit verify
    meter61850 audit verify --head 17:5f0c3b…
    """
    if head_file is not None and not head_file.is_file():
        raise ConfigurationError(
            f"--head-file {head_file}: there is none; the bridge's audit_head_file is meant"
        )
    file = head_file or audit_head.beside(database)
    kept = audit_head.remembered(file) if file else NOTHING
    remembered = [*map(Head.parse, heads or ()), *([kept] if kept != NOTHING else [])]
    with open_store(database) as store:
        end = _verify(store, remembered)
    show_one({"rows": end.no, "head": str(end), "compared_with": len(remembered)}, as_json=as_json)
    if not remembered and not as_json:
        note("no head was remembered to compare with: keep this one, and say it with --head next time")


def _verify(store: Store, remembered: list[Head]) -> Head:
    """Where the audit ends; BrokenError when it is not whole."""
    end = NOTHING
    try:
        total = store.audit_head().no
        for row in progress(store.verified_audit(remembered), what="verifying", total=total):
            end = Head(row.no, row.hash)
    except TamperedError as error:
        raise BrokenError(str(error)) from error
    return end


def _subject(store: Store, name: str) -> str:
    """The meter_id of the meter that is called so; any other name is an identity."""
    try:
        return store.meter(name).meter.meter_id
    except UnknownMeterError as error:
        if str(error).startswith("no meter"):
            return name
        raise NotFoundError(str(error)) from error


def _row(row: Any) -> dict[str, Any]:
    fields = row._asdict()
    return {
        "no": fields["no"],
        "ts": moment(fields["ts"]),
        **{name: fields[name] for name in ("event", "who", "origin", "meter_id", "identity", "outcome")},
        "detail": _detail(fields["detail"]),
        "hash": fields["hash"],
    }


def _detail(text: str) -> dict[str, Any]:
    """The object; a manipulated value is shown as it is."""
    try:
        detail = json.loads(text)
    except ValueError:
        detail = None
    return detail if isinstance(detail, dict) else {"not as it was written": text}


def _print(rows: Iterator[dict[str, Any]], *, as_json: bool) -> None:
    """A JSON array, or tables, as the rows come."""
    if as_json:
        _print_array(rows)
        return
    first = list(islice(rows, AT_ONCE))
    show([_for_people(row) for row in first], as_json=False, empty="nothing of that is in the audit")
    while more := [_for_people(row) for row in islice(rows, AT_ONCE)]:
        show(more, as_json=False)


def _print_array(rows: Iterable[dict[str, Any]]) -> None:
    before = "["
    for row in rows:
        sys.stdout.write(f"{before}{json_text(row)}")
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    told = ", ".join(f"{name} {value}" for name, value in row["detail"].items())
    subject = " ".join(filter(None, (row["meter_id"], row["identity"])))
    shown = {name: row[name] for name in ("no", "ts", "event", "who", "origin")}
    return {**shown, "subject": subject, "outcome": row["outcome"], "detail": told}
