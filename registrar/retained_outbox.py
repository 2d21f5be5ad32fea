"""Outbox of retained messages from the identity store to the broker: kept until the broker has them.

Commands and the registrar's service both deliver; the next one delivers what one could not. If a message was
replaced meanwhile, the newer one is delivered after it. At each connect of the service all kept messages are
delivered once more, because the broker may have lost them.

>>> await deliver(store, client)  # doctest: +SKIP
2
"""

from __future__ import annotations

import aiomqtt

from broker.contract.enrolment import Access
from broker.contract.messages import utc_now
from broker.contract.roles import Role
from broker.contract.topics import Topics
from broker.mqtt.client import new_client
from broker.mqtt.settings import MqttSettings
from registrar.deployment import Deployment
from registrar.identity_store import IdentityStore

ANSWER_SECONDS = 5.0
_SOME = 500


def settings(deployment: Deployment) -> MqttSettings:
    """The registrar's own connection."""
    return MqttSettings(identity=deployment.identity_folder("registrar"))


def connected(
    mqtt: MqttSettings, *, identifier: str | None = None, will: aiomqtt.Will | None = None
) -> aiomqtt.Client:
    """A client of the broker; MqttError when there is none, or when it goes away."""
    return new_client(mqtt, identifier=identifier, timeout=ANSWER_SECONDS, will=will)


async def deliver(store: IdentityStore, client: aiomqtt.Client) -> int:
    """Publish what waits; how many letters. MqttError when the broker goes away."""
    done = 0
    while letters := _some(store):
        for topic, payload in letters:
            await client.publish(topic, payload, qos=1, retain=True)
            with store.change() as change:
                change.connection.execute(
                    "DELETE FROM letter WHERE topic = ? AND payload = ?", (topic, payload)
                )
                change.connection.execute(  # another one has delivered what is newer, before ours
                    "INSERT OR IGNORE INTO letter (topic, payload)"
                    " SELECT topic, payload FROM kept WHERE topic = ? AND payload != ?",
                    (topic, payload),
                )
        done += len(letters)
    return done


def deliver_again(deployment: Deployment) -> None:
    """Have all that is kept delivered once more, and that a meter is blocked, which older registers do not
    keep."""
    topics = Topics(deployment.prefix)
    with deployment.identity_store.change() as change:
        for meter in deployment.identity_store.identities(Role.METER):
            topic = topics.meter(meter.name, "access")
            if meter.blocked and change.kept(topic) is None:
                change.send(topic, Access(allowed=False, reason=meter.blocked, ts=utc_now()).payload())
        change.connection.execute(
            "INSERT OR IGNORE INTO letter (topic, payload) SELECT topic, payload FROM kept"
        )


async def deliver_now(deployment: Deployment) -> bool:
    """From a command: deliver what waits; False if the broker is not there, and the service will."""
    mqtt = settings(deployment)
    try:
        async with connected(mqtt) as client:
            await deliver(deployment.identity_store, client)
    except aiomqtt.MqttError:
        return False
    return True


def _some(store: IdentityStore) -> list[tuple[str, bytes]]:
    with store.connection() as connection:
        rows = connection.execute("SELECT topic, payload FROM letter ORDER BY rowid LIMIT ?", (_SOME,))
        return [(str(row["topic"]), bytes(row["payload"])) for row in rows]
