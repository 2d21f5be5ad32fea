"""``meter61850 commands``: the ledger of relay commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, meter_names
from admin.output import show
from admin.stores import open_store
from bridge.store.tables import BlockChange, Command, moment

SPARE = ("command_id", "meter_id", "origin")
"""Columns that a narrow terminal does without."""

app = new_app(rich_markup_mode=None)


@app.command()
def commands(
    meter: Annotated[
        str | None,
        typer.Argument(
            metavar="METER",
            help="Only this one's: meter_id, SMGW001M17, or name.",
            show_default=False,
            autocompletion=meter_names,
        ),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="Only the last N.")] = 20,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Print the ledger, newest first: each command with issuer, meter, position, time and outcome.

    Changes of blocks are in it too: `set`, or `refused`.

    \b
    meter61850 commands
    meter61850 commands "House 1" --last 5 --json
    """
    with open_store(database) as store:
        meter_id = store.meter(meter).meter.meter_id if meter else None
        names = {state.meter.meter_id: state.meter.name for state in store.meters(retired=True)}
        rows = [_row(command, names) for command in store.commands(meter_id, last=last)]
        rows += [_block_row(change, names) for change in store.blocks(meter_id, last=last)]
    rows = sorted(rows, key=lambda row: row["received_at"], reverse=True)[:last]
    show(rows, as_json=as_json, empty="no command was given yet", spare=SPARE)


def _row(command: Command, names: dict[str, str]) -> dict[str, Any]:
    return {
        "received_at": moment(command.received_at),
        "meter": names.get(command.meter_id, ""),
        "meter_id": command.meter_id,
        "position": command.position or None,
        "origin": f"{command.origin_category} {command.origin_identifier}".strip(),
        "outcome": command.outcome or "open",
        "reason": command.reason,
        "command_id": command.command_id,
    }


def _block_row(change: BlockChange, names: dict[str, str]) -> dict[str, Any]:
    told = [
        word for word, blocked in (("opening", change.block_open), ("closing", change.block_close)) if blocked
    ]
    return {
        "received_at": moment(change.received_at),
        "meter": names.get(change.meter_id, ""),
        "meter_id": change.meter_id,
        "position": f"block {' and '.join(told) or 'nothing'}",
        "origin": f"{change.origin_category} {change.origin_identifier}".strip(),
        "outcome": "refused" if change.reason else "set",
        "reason": change.reason,
        "command_id": None,
    }
