"""``meter61850 dead-letters``: messages that could not be taken as good, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import show
from admin.stores import open_store
from bridge.tables import DeadLetter, moment

SHOWN = 60
"""Bytes of a payload in the table; --json gives all that is kept."""

app = new_app(rich_markup_mode=None)


@app.command("dead-letters")
def dead_letters(
    last: Annotated[int, typer.Option(min=1, help="Only the last so many.")] = 20,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Print the messages that were kept aside, with the cause of each, the latest first.

    The same message with the same cause is one row that counts.

    \b
    meter61850 dead-letters
    meter61850 dead-letters --json | jq -r '.[0].payload'
    """
    with open_store(database) as store:
        rows = [_row(letter, whole=as_json) for letter in store.dead_letters(last=last)]
    show(rows, as_json=as_json, empty="no dead letter")


def _row(letter: DeadLetter, *, whole: bool) -> dict[str, Any]:
    payload = letter.payload if whole else letter.payload[:SHOWN]
    return {
        "last_seen": moment(letter.last_seen),
        "first_seen": moment(letter.first_seen),
        "count": letter.count,
        "topic": letter.topic,
        "cause": letter.cause,
        "size": letter.size,
        "payload": payload.decode(errors="replace"),
    }
