"""``meter61850 dead-letters``: messages that could not be taken as good, why, and what to do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from admin import mqtt
from admin.exits import NotFoundError
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Mqtt, Prefix, mqtt_settings
from admin.output import note, progress, show, show_one
from admin.stores import open_store
from admin.times import point
from bridge.store import database as databases
from bridge.store import dead_letters as graves
from bridge.store.tables import DeadLetter, at_ms, moment
from broker.contract.errors import ConfigurationError
from broker.mqtt.publishing import publish
from broker.mqtt.settings import MqttSettings

SPARE = ("first_seen", "payload", "size", "count")
"""Columns that a narrow terminal does without."""
SHOWN = 60
"""Bytes of a payload in the table; --json and `show` give all that is kept."""

app = new_app(rich_markup_mode=None)

Keys = Annotated[list[int] | None, typer.Argument(metavar="KEY", help="Keys, as listed.")]
All = Annotated[bool, typer.Option("--all", help="Every one.")]


@app.callback(invoke_without_command=True)
def dead_letters(
    ctx: typer.Context,
    last: Annotated[int, typer.Option(min=1, help="Only the last N.")] = 20,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """List the dead letters with their causes, the latest first.

    The same message with the same cause is one row with a count. Messages beyond the limit of one cause are
    counted in a row with the topic (more).

    \b
    meter61850 dead-letters
    meter61850 dead-letters --json | jq -r '.[0].payload'
    meter61850 dead-letters show 17
    meter61850 dead-letters retry --all
    meter61850 dead-letters purge --older 30d
    """
    if ctx.invoked_subcommand is None:
        with open_store(database) as store:
            rows = [_row(letter, whole=as_json) for letter in store.dead_letters(last=last)]
            names = {one.meter_id: one.name for one in store.registry(retired=True)}
        rows = rows if as_json else [row | {"topic": _for_people(row["topic"], names)} for row in rows]
        show(rows, as_json=as_json, empty="no dead letter", spare=SPARE)


@app.command("show")
def show_(
    key: Annotated[int, typer.Argument(help="As listed.")],
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Show one dead letter with its kept payload (the first 64 KiB).

    \b
    meter61850 dead-letters show 17
    """
    (letter,) = _chosen([key], everything=False, database=database)
    show_one(_row(letter, whole=True), as_json=as_json)


@app.command()
def retry(
    keys: Keys = None,
    everything: All = False,
    database: Database = DATABASE,
    mqtt_: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Publish dead letters again on their topics, after their cause is removed.

    A message that is now good is stored; a bad one becomes a dead letter again. Only complete messages about
    readings are sent: a command is never repeated.

    \b
    meter61850 dead-letters retry 17 18
    meter61850 dead-letters retry --all
    """
    letters = _chosen(keys, everything=everything, database=database)
    fit = [letter for letter in letters if graves.may_be_repeated(letter)]
    asyncio.run(_publish(fit, mqtt_settings(mqtt_, prefix)))
    with databases.opened(database) as engine:
        graves.purge_repeated(engine, {letter.key: letter.count for letter in fit if letter.key is not None})
    left = len(letters) - len(fit)
    note(f"{len(fit)} sent again" + (f", {left} left alone (cut off, or not about readings)" if left else ""))


@app.command()
def purge(
    keys: Keys = None,
    everything: All = False,
    older: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Those last seen before: 30d, 12h, a date, or a local time."),
    ] = None,
    database: Database = DATABASE,
) -> None:
    """Delete dead letters for good.

    \b
    meter61850 dead-letters purge 17
    meter61850 dead-letters purge --older 30d
    """
    if older is not None:
        count = _purge(database, before=at_ms(point(older, option="--older")))
    else:
        chosen = _chosen(keys, everything=everything, database=database)
        count = _purge(database, keys=[letter.key for letter in chosen if letter.key is not None])
    note(f"{count} deleted")


def _chosen(keys: list[int] | None, *, everything: bool, database: str) -> list[DeadLetter]:
    """The named ones; NotFoundError for a key that is not there, ConfigurationError when none is named."""
    if not keys and not everything:
        raise ConfigurationError("which ones? name their keys (`meter61850 dead-letters`), or say --all")
    with open_store(database) as store:
        letters = store.dead_letters(last=1_000_000)
    if everything:
        return letters
    found = {letter.key: letter for letter in letters}
    if missing := [key for key in keys or () if key not in found]:
        raise NotFoundError(f"no dead letter {missing[0]}: `meter61850 dead-letters` lists them")
    return [found[key] for key in keys or ()]


async def _publish(letters: list[DeadLetter], settings: MqttSettings) -> None:
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        for letter in progress(letters, what="sending again", total=len(letters)):
            await publish(client, letter.topic, letter.payload)


def _purge(url: str, *, keys: list[int] | None = None, before: int | None = None) -> int:
    with databases.opened(url) as engine:
        return graves.purge(engine, keys=keys, before=before)


def _for_people(topic: str, names: Mapping[str, str]) -> str:
    """``House 1/reading`` for the topic of a meter whose name is known."""
    words = topic.rsplit("/", 2)
    return f"{names[words[1]]}/{words[2]}" if len(words) > 2 and words[1] in names else topic


def _row(letter: DeadLetter, *, whole: bool) -> dict[str, Any]:
    payload = letter.payload if whole else letter.payload[:SHOWN]
    return {
        "key": letter.key,
        "last_seen": moment(letter.last_seen),
        "first_seen": moment(letter.first_seen),
        "count": letter.count,
        "topic": letter.topic,
        "cause": letter.cause,
        "size": letter.size,
        "payload": payload.decode(errors="replace"),
    }
