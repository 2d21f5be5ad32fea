"""``meter61850 subscribe``: messages as they come, for an operator's eyes or a program's."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import aiomqtt
import typer

from admin import mqtt as broker
from admin.lazy import new_app
from admin.options import Json, Mqtt, Prefix, mqtt_settings
from admin.output import json_text, line
from broker.contract.messages import format_ts
from broker.mqtt.settings import MqttSettings

app = new_app(rich_markup_mode=None)
MAX_SHOWN = 2000
"""Characters of one payload in a line for people; an SCD has millions."""


@app.command()
def subscribe(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC",
            help="Topics below the prefix, with + and #; default: the readings of all meters.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="End after N messages.")
    ] = None,
    as_json: Json = False,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Show messages as they come, until Ctrl-C. The broker sends only what the identity may read.

    \b
    meter61850 subscribe
    meter61850 subscribe '+/relay' '+/status' --json
    METER61850_MQTT_IDENTITY=data/identities/anna meter61850 subscribe --count 5
    """
    settings = mqtt_settings(mqtt, prefix)
    asyncio.run(_show(topics or ["+/reading"], settings, count=count, as_json=as_json))


async def _show(topics: list[str], settings: MqttSettings, *, count: int | None, as_json: bool) -> None:
    shown = 0
    async with broker.connected(await broker.speaking(settings)) as client:
        await client.subscribe([(f"{settings.prefix}/{topic}", 1) for topic in topics])
        async for message in client.messages:
            line(_line(message, as_json=as_json))
            shown += 1
            if shown == count:
                return


def _line(message: aiomqtt.Message, *, as_json: bool) -> str:
    payload = message.payload if isinstance(message.payload, bytes) else b""
    text = payload.decode(errors="replace")
    received = format_ts(datetime.now(UTC))
    if not as_json:
        kept = " (retained)" if message.retain else ""
        return f"{received} {message.topic.value}{kept} {text[:MAX_SHOWN]}"
    told = {"received": received, "topic": message.topic.value, "retained": bool(message.retain)}
    return json_text(told | {"payload": _value(text)})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
