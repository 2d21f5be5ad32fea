"""``meter61850 alarms``: what needs a human, who takes care of it, and whether notifications arrive."""

from __future__ import annotations

import asyncio
from time import monotonic, sleep
from typing import Annotated, Any

import typer

from admin import mqtt
from admin.exits import NotFoundError
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Mqtt, Prefix, mqtt_settings, user_name
from admin.output import note, show
from admin.stores import open_store
from bridge.alarms.targets import Notification, NotSentError
from bridge.settings import BridgeSettings
from bridge.store.alarms import AlarmRecord
from bridge.store.queries import Store
from bridge.store.tables import moment
from broker.contract.alarms import Acknowledgement
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.messages import utc_now
from broker.mqtt.identity import common_name
from broker.mqtt.publishing import publish
from broker.mqtt.settings import MqttSettings

CONFIRMED_SECONDS = 10.0
"""So long we wait for the bridge to note an acknowledgement."""
_LOOK_SECONDS = 0.1

app = new_app(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def alarms(
    ctx: typer.Context,
    last: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="The newest N, also those that are over.")
    ] = None,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """List the alarms in force, those without an acknowledgement first.

    docs/alarms.md has every kind: when it is raised and cleared, and what to do.

    \b
    meter61850 alarms
    meter61850 alarms --last 50
    meter61850 alarms --json | jq -r '.[] | select(.acknowledged_at == null) | .id'
    meter61850 alarms ack 17
    meter61850 alarms test
    """
    if ctx.invoked_subcommand is None:
        with open_store(database) as store:
            rows = [_row(alarm, whole=as_json) for alarm in store.alarms(last=last)]
        show(rows, as_json=as_json, empty="no alarm", spare=("acknowledged_by", "detail", "cleared_at"))


@app.command()
def ack(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="As listed.")],
    by: Annotated[
        str | None, typer.Option(help="Who takes care of it; default: the user.", show_default=False)
    ] = None,
    database: Database = DATABASE,
    mqtt_: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Acknowledge alarms: who did and when is noted, and they are not sent any more.

    An acknowledged alarm stays in force until its cause is gone. Of several acknowledgements the first one
    counts.

    \b
    meter61850 alarms ack 17 18
    meter61850 alarms ack 17 --by "Anna, on the way"
    """
    with open_store(database) as store:
        known = {alarm.key: alarm for alarm in store.alarms()}
        if missing := [key for key in ids if key not in known]:
            raise NotFoundError(
                f"no alarm {missing[0]} is in force: `meter61850 alarms` lists those that are"
            )
        chosen = [known[key] for key in dict.fromkeys(ids)]
        asyncio.run(_acknowledge(chosen, by or user_name(), mqtt_settings(mqtt_, prefix)))
        _wait(store, {alarm.key for alarm in chosen})
    note(f"{len(chosen)} acknowledged")


async def _acknowledge(alarms: list[AlarmRecord], by: str, settings: MqttSettings) -> None:
    settings = await mqtt.speaking(settings)
    name = mqtt.NAME if settings.cert is None else common_name(settings.cert)
    async with mqtt.connected(settings) as client:
        for alarm in alarms:
            message = Acknowledgement(id=alarm.key, by=by, ts=utc_now())
            await publish(client, settings.topics.acknowledged(name, alarm.meter_id), message.payload())


def _wait(store: Store, keys: set[int]) -> None:
    """Until the bridge has noted all of them; UnavailableError when it does not."""
    ends = monotonic() + CONFIRMED_SECONDS
    while left := keys & {one.key for one in store.alarms() if one.acknowledged_at is None}:
        if monotonic() > ends:
            raise UnavailableError(
                f"the bridge has not noted {len(left)} of them: does it run (meter61850 doctor), and may "
                "this identity acknowledge (role issuer or admin)?"
            )
        sleep(_LOOK_SECONDS)


@app.command("test")
def test_() -> None:
    """Send a test message to every URL of METER61850_NOTIFY.

    \b
    METER61850_NOTIFY='smtp://mail.example/?from=m@example.org&to=anna@example.org' meter61850 alarms test
    """
    targets = BridgeSettings().targets
    if not targets:
        raise ConfigurationError("METER61850_NOTIFY is empty: docs/settings.md shows the URLs")
    message = Notification("meter61850: test", "Notifications of meter61850 arrive here.")
    failed = []
    for target in targets:
        try:
            target.send(message)
        except NotSentError as error:
            failed.append(str(error))
        else:
            note(f"{target.words}: sent")
    if failed:
        raise UnavailableError("; ".join(failed))


def _row(alarm: AlarmRecord, *, whole: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": alarm.key,
        "severity": str(alarm.severity),
        "where": alarm.place,
        "kind": alarm.kind,
        "since": moment(alarm.since),
        "cleared_at": _time(alarm.cleared_at),
        "detail": alarm.detail,
        "acknowledged_by": alarm.acknowledged_by,
    }
    if whole:
        row |= {name: getattr(alarm, name) for name in ("meter_id", "subject", "count", "cure")}
        row["acknowledged_at"] = _time(alarm.acknowledged_at)
    return row


def _time(ms: int | None) -> Any:
    return None if ms is None else moment(ms)
