"""aiomqtt's queue of messages, without queueing: each message is processed when it arrives.

aiomqtt 2.5 uses one task for each message, about as expensive as our processing. Its queue also grows without
limit while no task reads it, as at the start: tens of thousands of retained messages arrive before the last
subscription is answered, 240 MB at 10,000 meters.

>>> client = aiomqtt.Client("127.0.0.1", queue_type=MessageQueue.made_for(take))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from typing import cast

import aiomqtt

from broker.mqtt.receiver import Take


class MessageQueue(asyncio.Queue[aiomqtt.Message]):
    """Hands each message to ``take``; always empty."""

    def __init__(self, take: Take, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._hand_over = take

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Called by aiomqtt for each message, in the event loop."""
        payload = item.payload if isinstance(item.payload, bytes) else b""
        self._hand_over(item.topic.value, payload, retained=item.retain)

    @classmethod
    def made_for(cls, take: Take) -> type[asyncio.Queue[aiomqtt.Message]]:
        """What aiomqtt's ``queue_type`` expects."""

        def make(maxsize: int = 0) -> MessageQueue:
            return cls(take, maxsize)

        return cast("type[asyncio.Queue[aiomqtt.Message]]", make)
