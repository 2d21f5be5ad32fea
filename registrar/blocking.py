"""Blocks a meter within seconds, and unblocks it; its relay and its outbox stay as they are.

Three measures: the broker's access list denies it everything at once, the revocation list prevents a new
connection, and a connection with its client id ends the present one. The registrar then publishes the meter's
offline status, because the broker no longer delivers its last will.

>>> block(deployment, meter_id, reason="stolen", who="anna")  # doctest: +SKIP
>>> await finish(deployment)  # `registrar.finishing`  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiomqtt
from pydantic import ValidationError

from bridge.store.audit import Kind
from broker.contract.commands import parsed
from broker.contract.enrolment import Access
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.messages import FUTURE_TOLERANCE, utc_now
from broker.contract.roles import Role
from broker.contract.status import Status
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from registrar.deployment import Deployment
from registrar.identities import Identity, NotRegisteredError
from registrar.retained_outbox import connected
from registrar.transaction import Change

QUIET_SECONDS = 1.5
"""The meter has not come back for so long: the broker has read its files (its guardian looks each 0.2 s)."""
PATIENCE_SECONDS = 15.0


def block(
    deployment: Deployment, meter_id: str, *, reason: str, who: str = "registrar", for_good: bool = False
) -> None:
    """In the identity store and in the broker's files; ``for_good``: it must enrol anew to come back.

    `registrar.finishing` ends its connection.

    NotRegisteredError if there is no such meter.
    """
    if not reason.strip():
        raise ConfigurationError("--reason: give the reason; the operators of this meter need it")
    _meter(deployment, meter_id)
    with deployment.identity_store.change() as change:
        if for_good:
            change.revoke(meter_id)
            change.set_token(meter_id, "")
        change.block(meter_id, reason.strip()[:255])
        change.end_connection(meter_id)
        change.note(Kind.METER_BLOCKED, who=who, meter_id=meter_id, reason=reason.strip(), for_good=for_good)
        _send(change, Topics(deployment.prefix).meter(meter_id, "access"), allowed=False, reason=reason)
    deployment.publish()


def unblock(deployment: Deployment, meter_id: str, *, who: str = "registrar") -> bool:
    """Let it in again; whether it has a credential to come with. NotRegisteredError: no such meter."""
    _meter(deployment, meter_id)
    with deployment.identity_store.change() as change:
        change.unblock(meter_id)
        change.note(Kind.METER_UNBLOCKED, who=who, meter_id=meter_id)
        _send(change, Topics(deployment.prefix).meter(meter_id, "access"), allowed=True)
        lives = change.lives(meter_id)
        if lives:
            change.keep_connection(meter_id)
    deployment.publish()
    return lives


def _send(change: Change, topic: str, *, allowed: bool, reason: str = "") -> None:
    """The decision of now; also after our clock was set back it is later than the one before it."""
    now, known = utc_now(), parsed(Access, change.kept(topic))
    if known is not None and known.ts <= now + FUTURE_TOLERANCE:  # a later time orders nothing
        now = max(now, known.ts + timedelta(milliseconds=1))
    change.send(topic, Access(allowed=allowed, reason=reason.strip()[:255], ts=now).payload())


async def cut_off(mqtt: MqttSettings, meter_id: str, *, for_good: bool = True) -> None:
    """End the meter's connection, until it stays away; then publish that it is offline.

    Not ``for_good``: once, since it may come back with what it has now. UnavailableError when it still does
    after 15 s: the broker does not read its files again.
    """
    if not for_good:
        async with connected(mqtt, identifier=meter_id):
            return
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while not await _held(mqtt, meter_id):
        if loop.time() > end:
            raise UnavailableError(
                f"meter {meter_id} connects again: the broker has not read its files again "
                "(meter61850 broker run does this; any other Mosquitto needs a SIGHUP)"
            )
    await _say_offline(mqtt, meter_id)


async def _held(mqtt: MqttSettings, meter_id: str) -> bool:
    """Take the meter's session over; True if it stays ours."""
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
    """The same session's status, offline; None if it is offline already, or unknown."""
    try:
        status = Status.model_validate_json(payload)
    except ValidationError:
        return None
    return status.model_copy(update={"online": False, "ts": utc_now()}) if status.online else None


def _meter(deployment: Deployment, meter_id: str) -> Identity:
    identity = deployment.identity_store.identity(meter_id)
    if identity is None or identity.role is not Role.METER:
        raise NotRegisteredError(f"no meter {meter_id} is enrolled: meter61850 credentials list shows all")
    return identity
