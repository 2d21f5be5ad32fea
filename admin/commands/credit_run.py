"""``meter61850 credit run``: the service that warns, cuts and restores (`admin.switching.prepaid`)."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from admin.commands.credit_options import CreditPath, TariffsPath, prices_of
from admin.deployments import DIR, IDENTITY
from admin.options import DATABASE, Database, Json, Mqtt, MqttVersion, Prefix, mqtt_settings
from admin.output import show
from admin.switching.prepaid import Service
from bridge.credit.cutting import Decision
from bridge.credit.settings import CreditSettings
from bridge.store.database import connect, opened
from broker.contract.errors import ConfigurationError
from broker.signals import stop_on_signals

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
    or doubtful intervals of that time; at most so many a minute as the file says. It restores only what it
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
    settings = CreditSettings(credit=credit, tariffs=tariffs)
    with opened(database) as engine:
        reader = connect(database, reader=True)
        try:
            service = Service(engine, reader, mqtt_settings(mqtt, prefix, mqtt_version), settings)
            if dry_run:
                show([_row(one) for one in asyncio.run(service.would_do())], as_json=as_json, empty=_EMPTY)
            else:
                asyncio.run(_serve(service, every))
        finally:
            reader.dispose()


_EMPTY = "no account is exhausted or cut"


async def _serve(service: Service, seconds: float) -> None:
    await service.serve(seconds=seconds, stop=stop_on_signals())


def _row(decision: Decision) -> dict[str, object]:
    return {
        "meter_id": decision.meter_id,
        "what": str(decision.act),
        "reason": decision.reason,
        "now": decision.do,
        "not now because": decision.held,
    }
