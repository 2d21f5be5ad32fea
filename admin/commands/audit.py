"""``meter61850 audit``: the append-only record of all actions; every change of it is detected."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.exits import BrokenError
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import json_text, note, progress, show, show_one
from admin.stores import open_store
from admin.times import From, Until, calendar_of, span
from bridge.store import audit_head
from bridge.store.audit import NOTHING, Head, Kind, detail_of
from bridge.store.audit_verify import TamperedError
from bridge.store.meter_names import meter_or_identity
from bridge.store.queries import Store
from bridge.store.tables import moment
from broker.contract.errors import ConfigurationError

TAIL = 50
SPARE = ("origin", "outcome", "who")
"""Columns that a narrow terminal does without."""
AT_ONCE = 1000
"""Rows of one table: more come as further tables, so that nothing has to be held."""

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The append-only, hash-chained record of all actions.",
)


Event = Annotated[
    Kind | None,
    typer.Option(metavar="EVENT", show_default=False, help=f"Only events of this kind: {', '.join(Kind)}."),
]


@app.command("show")
def show_(
    from_: From = None,
    until: Until = None,
    event: Event = None,
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
        typer.Option(min=1, show_default=False, help=f"Only the last N; default: {TAIL} without --from."),
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
    begin, end = span(from_, until, None, calendar=calendar_of())
    last = TAIL if tail is None and begin is None else tail
    with open_store(database) as store:
        about = meter_or_identity(subject, lambda name: store.meter(name).meter) if subject else None
        found = store.audit(since=begin, until=end, event=event, who=who, subject=about, last=last)
        names = {} if as_json else {one.meter_id: one.name for one in store.registry(retired=True)}
        _print((_row(row) for row in found), names, as_json=as_json)


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
    meter61850 audit verify --head "$(cat head.txt)"
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


def _row(row: Any) -> dict[str, Any]:
    fields = row._asdict()
    return {
        "no": fields["no"],
        "ts": moment(fields["ts"]),
        **{name: fields[name] for name in ("event", "who", "origin", "meter_id", "identity", "outcome")},
        "detail": detail_of(fields["detail"]),
        "hash": fields["hash"],
    }


def _print(rows: Iterator[dict[str, Any]], names: Mapping[str, str], *, as_json: bool) -> None:
    """A JSON array, or tables with the meters' ``names``, as the rows come."""
    if as_json:
        _print_array(rows)
        return
    told = (_for_people(row, names) for row in rows)
    show(list(islice(told, AT_ONCE)), as_json=False, empty="nothing of that is in the audit", spare=SPARE)
    while more := list(islice(told, AT_ONCE)):
        show(more, as_json=False, spare=SPARE)


def _print_array(rows: Iterable[dict[str, Any]]) -> None:
    before = "["
    for row in rows:
        sys.stdout.write(f"{before}{json_text(row)}")
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def _for_people(row: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    told = ", ".join(f"{name} {value}" for name, value in row["detail"].items())
    subject = " ".join(filter(None, (names.get(row["meter_id"], row["meter_id"]), row["identity"])))
    shown = {name: row[name] for name in ("no", "ts", "event", "who", "origin")}
    return {**shown, "subject": subject, "outcome": row["outcome"], "detail": told}
