"""``meter61850 meters replace``: a meter's sensor was replaced, and has another serial number."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from admin import mqtt
from admin.options import (
    DATA_DIR,
    DATABASE,
    Database,
    DeploymentDir,
    Meter,
    Mqtt,
    Prefix,
    mqtt_settings,
    user_name,
)
from admin.output import note
from admin.stores import open_store
from admin.switching import directory
from bridge.meters import replacement
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.mqtt.publishing import publish
from broker.mqtt.settings import MqttSettings
from registrar import devices
from registrar.deployment import Deployment

LONGEST = 255


def replace(
    meter: Meter,
    serial: Annotated[str, typer.Option(help="Serial number of the new sensor, as its births say it.")],
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    database: Database = DATABASE,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Accept a meter's new sensor: same meter_id, same place, another serial number.

    Before this, the bridge refuses its births, because another device could use the meter_id
    (`meter61850 dead-letters`); name and interval stay as they were. The audit records the replacement. The
    meter's last birth is accepted at once. The number that the meter already has is refused.

    \b
    meter61850 meters replace "House 1" --serial PZEM-000018
    """
    serial = serial.strip()
    if not 0 < len(serial) <= LONGEST:
        raise ConfigurationError(f"--serial {serial[:64]!r}: 1 to {LONGEST} characters")
    with open_store(database) as store:
        known = store.meter(meter).meter
    meter_id, deployment = known.meter_id, Deployment(folder)
    bound = devices.serial_of(deployment.identity_store, meter_id) if deployment.exists else None
    if known.serial == serial and bound in (None, serial):
        raise ConfigurationError(f"{meter_id} has the serial number {serial!r} already: nothing to replace")
    if deployment.exists:
        devices.replace(deployment.identity_store, meter_id, serial)
    before = replacement.replace(database, meter_id, serial=serial, who=user_name())
    note(f"{meter_id} is {serial} from now on; it was {before or 'nothing'}")
    try:
        asyncio.run(_born_again(meter_id, serial, mqtt_settings(mqtt, prefix)))
    except UnavailableError as error:
        note(f"its next birth will be taken; not at once: {error}")


async def _born_again(meter_id: str, serial: str, settings: MqttSettings) -> None:
    """Publish the meter's retained birth once more, if it is the new sensor's: it was refused before."""
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter_id)
        if known.birth is not None and known.birth.hardware.serial == serial:
            await publish(
                client, settings.topics.meter(meter_id, "birth"), known.birth.payload(), retain=True
            )
