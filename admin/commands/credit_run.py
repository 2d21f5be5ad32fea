"""``meter61850 credit run``: the service that warns, cuts and restores (`admin.switching.prepaid`)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer
from sqlalchemy import Engine

from admin.commands.credit_options import CreditPath, Reason, TariffsPath, by, prices_of
from admin.deployments import DIR, IDENTITY
from admin.exits import NotFoundError
from admin.options import DATABASE, Database, Json, Meter, Mqtt, MqttVersion, Prefix, mqtt_settings
from admin.output import note, show
from admin.stores import open_store
from admin.switching.prepaid import Service
from bridge.credit import orders
from bridge.credit.cutting import Decision
from bridge.credit.settings import CreditSettings
from bridge.store.audit import Event, Kind
from bridge.store.database import connect, opened
from broker.contract.commands import NOT_MOVED
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.messages import utc_now
from broker.contract.result import Outcome
from broker.mqtt.settings import MqttSettings
from broker.signals import stop_on_signals

log = logging.getLogger(__name__)

Seconds = Annotated[
    float, typer.Option("--every", min=0.1, max=3600, help="Seconds between two looks at the accounts.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Look once, show what would be done and what not and why, and end.")
]


def run(
    every: Seconds = 10.0,
    dry_run: DryRun = False,
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
) -> None:
    """Warn, cut and restore prepaid accounts, until Ctrl-C or SIGTERM: houses lose power through this.

    It opens the relay of a meter whose prepaid credit and emergency credit are used up, after a warning and
    outside of the friendly hours of the credit file (METER61850_CREDIT), and closes it again when there is
    credit. It never cuts a lifeline account, a meter that is silent, offline or blocked, nor one with missing
    or doubtful intervals of that time; at most as many a minute as the file allows. It restores only what it
    has cut itself. Look first with --dry-run. docs/credit.md has all rules.

    With a deployment it needs an identity of its own, which may only publish commands. A second one beside it
    waits until the first has ended.

    \b
    meter61850 identity add credit --role credit
    meter61850 credit run --dry-run --json
    meter61850 credit run
    """
    if os.environ.get(DIR) and not os.environ.get(IDENTITY):
        raise ConfigurationError(
            "the deployment has no such identity: meter61850 identity add credit --role credit"
        )
    prices_of(credit, tariffs)
    told = mqtt_settings(mqtt, prefix, mqtt_version)
    settings = CreditSettings(credit=credit, tariffs=tariffs)
    if not dry_run:
        asyncio.run(_serve(database, told, settings, every))
        return
    with _opened(database) as (engine, reader):
        found = asyncio.run(Service(engine, reader, told, settings).would_do())
    show([_row(one) for one in found], as_json=as_json, empty=_EMPTY)


@contextmanager
def _opened(database: str) -> Iterator[tuple[Engine, Engine]]:
    """To write, and to read without a lock."""
    with opened(database) as engine:
        reader = connect(database, reader=True)
        try:
            yield engine, reader
        finally:
            reader.dispose()


async def _serve(database: str, mqtt: MqttSettings, credit: CreditSettings, seconds: float) -> None:
    """Until a signal; the bridge may be about to make the database."""
    stop = stop_on_signals()
    while not stop.is_set():
        try:
            with _opened(database) as (engine, reader):
                await Service(engine, reader, mqtt, credit).serve(seconds=seconds, stop=stop)
        except (UnavailableError, ConfigurationError) as error:
            log.warning("waiting for the database: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, 2.0)):
                    await stop.wait()


def settle(
    meter: Meter,
    carried_out: Annotated[
        bool, typer.Option("--done/--not-done", help="Whether the relay has moved by it.", show_default=False)
    ],
    reason: Reason,
    database: Database = DATABASE,
) -> None:
    """Record the outcome of a cut or restore that is not known, after a look at the meter.

    `meter61850 credit run --dry-run` shows which wait for it: the service was killed, and the meter has not
    reported what it did. Exit 3 if there is none.

    \b
    meter61850 credit settle "House 1" --not-done --reason "the fitter saw the lamp"
    """
    with open_store(database) as store:
        meter_id = store.meter(meter).meter.meter_id
    outcome = Outcome.DONE if carried_out else NOT_MOVED
    with opened(database) as engine:
        with engine.connect() as connection:
            several = orders.orders_of(connection, [meter_id]).get(meter_id, ())
        unsettled = [order for order in several if not order.outcome]
        if not unsettled:
            raise NotFoundError(f"{meter}: what became of its orders is known")
        for order in unsettled:
            detail = {"what": "settle", "command_id": order.command_id, "reason": reason}
            event = Event(
                Kind.CREDIT,
                who=by().who,
                origin=by().origin,
                meter_id=meter_id,
                outcome=outcome,
                detail=detail,
            )
            orders.end(engine, order.command_id, outcome, now=utc_now(), by=event)
            note(f"{meter}: the {order.act} of {order.at:%Y-%m-%d %H:%M}: {outcome}")


_EMPTY = "no account is exhausted or cut"


def _row(decision: Decision) -> dict[str, object]:
    return {
        "meter_id": decision.meter_id,
        "what": str(decision.act),
        "reason": decision.reason,
        "now": decision.do,
        "not now because": decision.held,
    }
