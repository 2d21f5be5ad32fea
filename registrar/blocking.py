"""Shutting a meter out within seconds, and letting it in again; its relay and its outbox stay as they are.

Three things together: the broker's access list denies it everything at once, the revocation list keeps it
from connecting again, and who connects with its client id ends the connection that it has. What it says of
its state is then for us to say: the broker lets its last will through no more.

>>> block(deployment, meter_id, reason="stolen")  # doctest: +SKIP
>>> await cut_off(mqtt, meter_id)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio

import aiomqtt
from pydantic import ValidationError

from broker.admission import Access
from broker.errors import ConfigurationError, UnavailableError
from broker.messages import Status, utc_now
from broker.settings import MqttSettings
from broker.topics import Topics
from registrar.deployment import Deployment
from registrar.identities import Identity, NotRegisteredError, Role
from registrar.post import connected, deliver_now, settings

QUIET_SECONDS = 1.5
"""The meter has not come back for so long: the broker has read its files (its guardian looks each 0.2 s)."""
PATIENCE_SECONDS = 15.0


def block(deployment: Deployment, meter_id: str, *, reason: str, for_good: bool = False) -> None:
    """In the register and in the broker's files; ``for_good``: it must enrol anew to come back.

    NotRegisteredError if there is no such meter.
    """
    if not reason.strip():
        raise ConfigurationError("--reason: say why; whoever looks after this meter must know")
    _meter(deployment, meter_id)
    with deployment.register.change() as change:
        if for_good:
            change.revoke(meter_id)
            change.set_token(meter_id, "")
        change.block(meter_id, reason.strip()[:255])
        access = Access(allowed=False, reason=reason.strip()[:255], ts=utc_now())
        change.send(Topics(deployment.prefix).meter(meter_id, "access"), access.payload())
    deployment.publish()


def unblock(deployment: Deployment, meter_id: str) -> bool:
    """Let it in again; whether it has a credential to come with. NotRegisteredError: no such meter."""
    _meter(deployment, meter_id)
    with deployment.register.change() as change:
        change.unblock(meter_id)
        access = Access(allowed=True, ts=utc_now())
        change.send(Topics(deployment.prefix).meter(meter_id, "access"), access.payload())
        lives = change.lives(meter_id)
    deployment.publish()
    return lives


async def cut_off_now(deployment: Deployment, meter_id: str) -> bool:
    """From a command: tell everybody, then :func:`cut_off`; False without a broker, where nobody is then."""
    told = await deliver_now(deployment)
    if told:
        await cut_off(settings(deployment), meter_id)
    return told


async def cut_off(mqtt: MqttSettings, meter_id: str) -> None:
    """End the meter's connection, until it does not come back; then say that it is offline.

    UnavailableError when it still does after 15 s: the broker does not read its files again.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while not await _held(mqtt, meter_id):
        if loop.time() > end:
            raise UnavailableError(
                f"meter {meter_id} comes back: the broker has not read its files again "
                "(meter61850 broker run does; another Mosquitto needs a SIGHUP)"
            )
    await _say_offline(mqtt, meter_id)


async def _held(mqtt: MqttSettings, meter_id: str) -> bool:
    """Take the meter's session over; whether nobody takes it from us."""
    try:
        async with connected(mqtt, identifier=meter_id) as client:
            async with asyncio.timeout(QUIET_SECONDS):
                async for _ in client.messages:
                    pass
    except TimeoutError:
        return True
    except aiomqtt.MqttError:
        return False
    return False


async def _say_offline(mqtt: MqttSettings, meter_id: str) -> None:
    topic = mqtt.topics.meter(meter_id, "status")
    async with connected(mqtt) as client:
        await client.subscribe(topic, qos=0)
        await client.subscribe(mqtt.topics.service_status("registrar"), qos=0)  # answered: all was sent
        for _ in range(len(client.messages)):
            message = await anext(client.messages)
            if message.topic.value == topic and isinstance(message.payload, bytes) and message.payload:
                told = _offline(message.payload)
                if told is not None:
                    await client.publish(topic, told.payload(), qos=1, retain=True)


def _offline(payload: bytes) -> Status | None:
    """The same session's status, offline; None if it says so already, or says nothing."""
    try:
        status = Status.model_validate_json(payload)
    except ValidationError:
        return None
    return status.model_copy(update={"online": False, "ts": utc_now()}) if status.online else None


def _meter(deployment: Deployment, meter_id: str) -> Identity:
    identity = deployment.register.identity(meter_id)
    if identity is None or identity.role is not Role.METER:
        raise NotRegisteredError(f"no meter {meter_id} is enrolled: meter61850 credentials list shows all")
    return identity
