"""aiomqtt's queue of messages without the queue: each message is taken when it arrives.

Waiting for one message after the other costs a task each (aiomqtt 2.5), about as much as what we do with a
reading; and a queue grows without bound while nobody waits, as at the start, when tens of thousands of
retained messages come before the last subscription is answered: 240 MB at 10,000 meters.

>>> client = aiomqtt.Client("127.0.0.1", queue_type=Mailbox.made_for(take))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import aiomqtt

Take = Callable[[aiomqtt.Message], None]


class Mailbox(asyncio.Queue[aiomqtt.Message]):
    """Hands each message to ``take``; always empty. What ``take`` raises is ``failed``."""

    def __init__(self, take: Take, failed: asyncio.Future[None], maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._hand_over = take
        self._failed = failed

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Called by aiomqtt for each message, in the event loop."""
        try:
            self._hand_over(item)
        except Exception as error:  # noqa: BLE001 - paho would log it and go on; whoever awaits `failed` raises it
            if not self._failed.done():
                self._failed.set_exception(error)

    @classmethod
    def made_for(cls, take: Take, failed: asyncio.Future[None]) -> type[asyncio.Queue[aiomqtt.Message]]:
        """What aiomqtt's ``queue_type`` expects."""

        def make(maxsize: int = 0) -> Mailbox:
            return cls(take, failed, maxsize)

        return cast("type[asyncio.Queue[aiomqtt.Message]]", make)
