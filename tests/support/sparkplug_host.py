"""A Sparkplug host on a real broker: our family behind a paho client, for tests of what edge nodes say.

>>> with listening(broker.port) as host:  # doctest: +SKIP
...     until(lambda: host.values())
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.families.sparkplug import SparkplugFamily, SparkplugOptions
from adapters.family import Available, Outgoing, Step, Values

WAIT = 60.0


@dataclass
class LiveHost:
    """What the family made of the messages, in their order."""

    client: paho.Client
    family: SparkplugFamily
    steps: list[Step] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)

    def values(self) -> list[Values]:
        """All Values so far."""
        return [step for step in list(self.steps) if isinstance(step, Values)]

    def online(self) -> list[bool]:
        """Births and deaths so far."""
        return [step.online for step in list(self.steps) if isinstance(step, Available)]

    def act(self, steps: Sequence[Step]) -> None:
        """Keep the steps, and publish what is to be published."""
        self.steps += steps
        for step in steps:
            if isinstance(step, Outgoing):
                self.client.publish(step.topic, step.payload, qos=step.qos, retain=step.retain)


@contextmanager
def listening(port: int, *, name: str = "scada") -> Iterator[LiveHost]:
    """A host whose STATE is online, until it leaves."""
    family = SparkplugFamily(SparkplugOptions(host=name, rebirth_seconds=1.0))
    client = paho.Client(CallbackAPIVersion.VERSION2)
    host = LiveHost(client, family)

    def connected(*_: Any) -> None:
        client.subscribe([(topic, 1) for topic in family.subscriptions()])

    def subscribed(*_: Any) -> None:
        host.act(family.connected(time.monotonic()))

    def arrived(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        host.topics.append(message.topic)
        now = time.monotonic()
        host.act(family.take(message.topic, message.payload, retained=bool(message.retain), now=now))

    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, arrived
    will = family.will()
    client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield host
    finally:
        client.publish(will.topic, will.payload, qos=1, retain=True).wait_for_publish(WAIT)
        client.disconnect()
        client.loop_stop()
