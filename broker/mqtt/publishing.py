"""Publish, and hear whether the broker let it through.

With MQTT 5 a broker says in the PUBACK that a publisher is not authorized (reason code 0x87, OASIS MQTT 5.0
clause 3.4.2.1); aiomqtt waits for the PUBACK and does not look at it. With 3.1.1 a broker cannot say so.

>>> await publish(client, "sm/v1/…/command", payload)  # doctest: +SKIP
NotAuthorizedError: the broker does not let us publish on sm/v1/…/command: Not authorized
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.contract.errors import NotAuthorizedError
from broker.mqtt.settings import MqttSettings

_refusals: WeakKeyDictionary[aiomqtt.Client, list[str]] = WeakKeyDictionary()
"""Reasons that the broker gave for what each client published."""


async def publish(
    client: aiomqtt.Client,
    topic: str,
    payload: bytes,
    *,
    retain: bool = False,
    properties: Properties | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - aiomqtt's own
) -> None:
    """At QoS 1, until the PUBACK; one at a time for each client.

    Raises:
        NotAuthorizedError: the broker refuses it.
        MqttError: the connection is lost, or no PUBACK came within ``timeout`` seconds.
    """
    refused = _refusals[client] if client in _refusals else _listen(client)
    before = len(refused)
    await client.publish(topic, payload, qos=1, retain=retain, properties=properties, timeout=timeout)
    if len(refused) > before:
        raise NotAuthorizedError(f"the broker does not let us publish on {topic}: {refused[-1]}")


def expiring(settings: MqttSettings, seconds: float) -> Properties | None:
    """MQTT 5's message expiry, at least 1 s; 3.1.1 has none, and the meter looks at ``expires_at`` anyway."""
    if settings.version != 5:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = max(1, round(seconds))
    return properties


def _listen(client: aiomqtt.Client) -> list[str]:
    """Look at the PUBACKs of ``client`` from now on."""
    refused = _refusals.setdefault(client, [])
    paho = client._client  # aiomqtt offers no hook
    inner = paho.on_publish

    def heard(*told: Any) -> None:
        reason = told[3]
        if reason.is_failure:
            refused.append(str(reason))
        if inner is not None:
            inner(*told)

    paho.on_publish = heard
    return refused
