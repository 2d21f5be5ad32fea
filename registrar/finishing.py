"""Completes a change of the identity store: the broker's files, and the connections that must end.

A change of rights is one transaction: the new state, the event for the audit, and a row in ``unfinished``.
All later steps are repeatable: the command itself does them, the registrar within a second, or the next
command if both were killed. The row is deleted when Mosquitto is known to enforce the change: the new access
list then lets the registrar receive its own message on the topic of that generation.

>>> await finish(deployment)  # doctest: +SKIP
True
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiomqtt

from broker import durable
from broker.contract.errors import UnavailableError
from registrar import blocking, renewal, rotation
from registrar.acl import edition_topic
from registrar.deployment import Deployment
from registrar.identity_store import Unfinished
from registrar.retained_outbox import connected, deliver, settings
from registrar.transaction import Ending

LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 15.0
"""For the broker to read its files again (its guardian looks each 0.2 s), and for others that finish."""


def prepare(deployment: Deployment) -> None:
    """The part that needs no broker: certificates in their folders, and what the broker reads."""
    with deployment.alone():
        rotation.resume(deployment)
        renewal.revoke_superseded(deployment)
        deployment.unpack()
        if not deployment.is_published:
            deployment.publish()


async def finish(deployment: Deployment) -> bool:
    """Complete the open changes; False without a broker: then no client is connected and the rest stays.

    UnavailableError if the broker does not read its files again, or lets a blocked client connect again.
    """
    async with _alone(deployment):
        await asyncio.to_thread(prepare, deployment)
        try:
            async with connected(settings(deployment)) as client:
                await deliver(deployment.identity_store, client)
                while await asyncio.to_thread(deployment.identity_store.unfinished):
                    await _finish(deployment, client)
        except aiomqtt.MqttError:
            return False
    return True


async def _finish(deployment: Deployment, client: aiomqtt.Client) -> None:
    generation = await _enforced(deployment, client)
    left = await asyncio.to_thread(deployment.identity_store.unfinished)
    known = [one for one in left if one.generation <= generation]
    outcomes = await asyncio.gather(
        *(_cut_off(deployment, one) for one in known if one.ending), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    await asyncio.to_thread(_finished, deployment, known)
    await asyncio.to_thread(prepare, deployment)  # who was removed is no longer in the files


async def _enforced(deployment: Deployment, client: aiomqtt.Client) -> int:
    """Wait until Mosquitto enforces what is published; its generation. UnavailableError if it does not."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while loop.time() < end:
        edition = await asyncio.to_thread(lambda: deployment.edition)
        topic = edition_topic(edition)
        await client.subscribe(topic, qos=0)
        await client.publish(topic, edition.encode(), qos=0)
        if await _heard(client, topic):
            return int(edition.partition("-")[0])
        await asyncio.to_thread(prepare, deployment)
    raise UnavailableError(
        "the broker has not read its files again: the change is pending "
        "(meter61850 broker run reads them; any other Mosquitto needs a SIGHUP)"
    )


async def _heard(client: aiomqtt.Client, topic: str) -> bool:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            async for message in client.messages:
                if message.topic.value == topic:
                    return True
    except TimeoutError:
        pass
    return False


async def _cut_off(deployment: Deployment, one: Unfinished) -> None:
    """A meter that was enrolled anew meanwhile comes back with its new credential, and may."""
    with_rights = await asyncio.to_thread(_may_come_back, deployment, one.name)
    await blocking.cut_off(settings(deployment), one.name, for_good=not with_rights)


def _may_come_back(deployment: Deployment, name: str) -> bool:
    with deployment.identity_store.change() as change:
        identity = change.identity(name)
        return identity is not None and not identity.blocked and change.lives(name)


def _finished(deployment: Deployment, known: Sequence[Unfinished]) -> None:
    with deployment.identity_store.change() as change:
        for one in known:
            if change.finished(one.name, one.generation) and one.ending == Ending.REMOVE:
                change.remove(one.name)


@asynccontextmanager
async def _alone(deployment: Deployment) -> AsyncIterator[None]:
    """One process at a time: two that end a connection by taking it over would end each other's."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 2 * PATIENCE_SECONDS
    durable.create(deployment.folder / "finish.lock")
    with (deployment.folder / "finish.lock").open("rb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if loop.time() > end:
                    raise UnavailableError(
                        "another process has been completing a change for 30 s: this change is pending"
                    ) from None
                await asyncio.sleep(LOOK_SECONDS)
        yield
