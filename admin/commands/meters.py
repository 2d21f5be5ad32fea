"""``meter61850 meters``: the registry of meters in the database, and taking a meter out of service."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from admin import mqtt
from admin.commands.meters_access import block, unblock
from admin.commands.meters_replace import replace
from admin.exits import NotFoundError, RefusedError
from admin.lazy import new_app
from admin.options import (
    DATA_DIR,
    DATABASE,
    Database,
    DeploymentDir,
    Json,
    Meter,
    Mqtt,
    Prefix,
    mqtt_settings,
)
from admin.output import note, show, show_one
from admin.pending import pending_in
from admin.stores import open_store
from admin.switching import directory
from bridge.store.measured import measured
from bridge.store.pack_format import StoredReading
from bridge.store.queries import MeterState
from bridge.store.tables import Meter as Row
from bridge.store.tables import moment
from broker.contract.messages import utc_now
from broker.contract.names import by_name
from broker.contract.quantities import INSTEAD, QUANTITIES
from broker.contract.specs import RETAINED_OF_METER
from broker.mqtt.publishing import publish
from broker.mqtt.settings import MqttSettings

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="All meters in the registry.")

SPARE = (
    "meter_id",
    "pending",
    "blocked",
    "retired",
    "ied",
    "online",
    "scl_name",
    "relay",
    "read_at",
    "voltage",
    "current",
)
"""Columns of `list` that a narrow terminal does without."""


@app.command("list")
def list_(
    retired: Annotated[bool, typer.Option("--retired", help="Include retired meters.")] = False,
    as_json: Json = False,
    database: Database = DATABASE,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """List the meters with their latest reading.

    Pending: the meter was blocked, unblocked or revoked, and the broker has not confirmed this yet.

    \b
    meter61850 meters list
    meter61850 meters list --json | jq '.[] | select(.online == false).name'
    """
    with open_store(database) as store:
        domain = store.namer()
        rows = [
            _row(state, domain(state.meter))
            for state in sorted(
                store.meters(retired=retired),
                key=lambda state: by_name(state.meter.name, state.meter.meter_id),
            )
        ]
    waiting = pending_in(folder)
    rows = [row | {"pending": row["meter_id"] in waiting} for row in rows]
    show(rows, as_json=as_json, empty="no meter was heard of yet", spare=SPARE)


@app.command("show")
def show_(meter: Meter, as_json: Json = False, database: Database = DATABASE) -> None:
    """Show all that is known of one meter.

    \b
    meter61850 meters show "House 1"
    """
    with open_store(database) as store:
        state, domain = store.meter(meter), store.namer()
    show_one(_everything(state, domain(state.meter)), as_json=as_json)


@app.command()
def retire(
    meter: Meter,
    force: Annotated[bool, typer.Option("--force", help="Retire it although it is online.")] = False,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Take a meter out of service: the SCD no longer has it, its readings stay in the database.

    A meter that is online is not retired without --force, because it would continue to publish. After
    its next birth it is back in the same IED.

    \b
    meter61850 meters retire "House 1"
    """
    asyncio.run(_retire(meter, mqtt_settings(mqtt, prefix), force=force))
    note(f"{meter} is retired")


app.command()(replace)
app.command()(block)
app.command()(unblock)


async def _retire(meter: str, settings: MqttSettings, *, force: bool) -> None:
    """Withdraw what is retained of the meter; RefusedError while it is online."""
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter)
        if known.birth is None:
            raise NotFoundError(f"no meter {meter}: `meter61850 meters list` shows all")
        if known.online and not force:
            raise RefusedError(f"{meter} is online: stop it first, or say --force")
        for kind in RETAINED_OF_METER:
            await publish(client, settings.topics.meter(known.meter_id, kind), b"", retain=True)


def _row(state: MeterState, domain: str) -> dict[str, Any]:
    meter, latest = state.meter, state.latest
    return {
        "name": meter.name,
        "meter_id": meter.meter_id,
        "ied": meter.ied,
        "scl_name": domain,
        "online": meter.online,
        "state": state.state(now=utc_now()),
        "relay": meter.relay or None,
        "voltage": _shown(latest, "voltage"),
        "current": _shown(latest, "current"),
        "power": latest and latest.power,
        "energy": _shown(latest, "energy"),
        "read_at": _moment(latest.ts if latest else None),
        "retired": meter.retired_at is not None,
        "blocked": meter.blocked or None,
    }


def _shown(latest: StoredReading | None, name: str) -> float | None:
    """The quantity ``name`` of a reading; where it has none, what stands for it (`INSTEAD`)."""
    value: float | None = getattr(latest, name, None)
    return value if value is not None else getattr(latest, INSTEAD[name], None)


def _everything(state: MeterState, domain: str) -> dict[str, Any]:
    fields = {name: getattr(state.meter, name) for name in Row.model_fields if name not in _INTERNAL}
    times = {name: _moment(fields.pop(name)) for name in _TIMES}
    reading = state.latest._asdict() if state.latest else {}
    reading.pop("ts", None)
    has = {*measured(state.meter)} | {name for name, value in reading.items() if value is not None}
    reading = {name: value for name, value in reading.items() if name in has or name not in QUANTITIES}
    return {
        **fields,
        "state": state.state(now=utc_now()),
        "scl_name": domain,
        **times,
        **reading,
        "read_at": _moment(state.latest.ts if state.latest else None),
    }


_INTERNAL = ("key", "session", "session_at", "session_before", "standing", "relay_session")
"""What decides whether a message is older (`broker.contract.known`)."""
_TIMES = ("first_seen", "last_seen", "born_at", "retired_at", "relay_at", "access_at")


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms).astimezone(UTC)
