"""What is blocked, as the ledger has it: told again to a broker that has something older, or nothing.

A block holds from the moment that it is in the ledger. A broker that is killed forgets up to five minutes,
the MMS bridge keeps blocks in memory, and a meter that is offline has not heard yet: so the bridge publishes
what it knows, at each connection once the broker's retained messages are here, and whenever somebody clears
or spoils the topic. Of several bridges the one that leads does it. Each says in `stored` and `notice` whether
that is done (``complete``): until a meter has heard so, it obeys no command.

>>> blocks = Blocks(engine, topics, publish=link.publish, …)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from bridge.meters.block_ledger import recorded
from broker.contract.block import Block
from broker.contract.topics import Topics

log = logging.getLogger(__name__)

Heard = tuple[str, Block | None]
"""meter_id, and what a message on its topic said: None for one that is empty or cannot be read."""


class Blocks:
    """Any thread may call. ``publish`` (topic, payload) retains; ``leads`` tells whether we are to speak.

    ``confirmed``: the broker has confirmed all blocks that were published. ``taken`` counts the messages that
    have come from the broker. When those that had come with the subscriptions have been through the database,
    all that was retained has been heard.
    """

    def __init__(
        self,
        engine: Engine,
        topics: Topics,
        *,
        publish: Callable[[str, bytes], None],
        confirmed: Callable[[], bool],
        leads: Callable[[], bool],
        taken: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._topics = topics
        self._publish = publish
        self._confirmed = confirmed
        self._leads = leads
        self._taken = taken
        self._stored = 0
        self._lock = threading.Lock()
        self._known: dict[str, Block] = {}
        self._heard: dict[str, Block | None] = {}
        """What the broker has, over this connection."""
        self._loaded = False
        self._enough: int | None = None
        """So many messages have come when all that was retained is among them."""
        self._settled = self._complete = False

    @property
    def through(self) -> int:
        """How many messages have been through the database."""
        with self._lock:
            return self._stored

    @property
    def complete(self) -> bool:
        """Whether the broker, on this connection, has confirmed or told us all that the ledger has."""
        with self._lock:
            if not self._complete:
                lacks = any(self._heard.get(meter_id) != known for meter_id, known in self._known.items())
                self._complete = self._loaded and self._heard_all and not lacks and self._confirmed()
            return self._complete

    def begin(self) -> None:
        """A new connection: nothing was heard over it yet, and another bridge may have recorded meanwhile."""
        with self._lock:
            self._heard.clear()
            self._enough = None
            self._loaded = self._settled = self._complete = False

    def ready(self) -> None:
        """The subscriptions stand, and what is retained has come."""
        with self._lock:
            self._enough = self._taken()
            self._settle()

    def take_over(self) -> None:
        """This bridge leads from now on: what others have written counts, too."""
        with self._lock:
            self._loaded = self._settled = False

    def take(self, changes: Iterable[Heard], heard: Iterable[Heard]) -> None:
        """``changes`` are in the ledger now; ``heard`` is what the broker has told, in order."""
        with self._lock:
            self._complete = False
            for meter_id, block in (*changes, *heard):
                if block is not None:
                    self._known[meter_id] = block.merged(self._known.get(meter_id))
            for meter_id, block in heard:
                self._heard[meter_id] = None if block is None or block.undated else block.merged(None)
                if self._settled:
                    self._repeat(meter_id)

    def passed(self, messages: int) -> None:
        """So many messages have been through the database."""
        with self._lock:
            self._stored += messages
            self._settle()
            wanted = self._heard_all and not self._loaded
        if wanted:
            with suppress(DBAPIError):  # the next batch tries it again
                self.look()

    def look(self) -> None:
        """Know what the ledger has; DBAPIError without the database."""
        with self._lock:
            if self._loaded:
                return
            with Session(self._engine) as session:
                for meter_id, block in recorded(session).items():
                    heard = self._known.get(meter_id)  # has what the ledger does not keep, such as `via`
                    self._known[meter_id] = block if heard is None else heard.merged(block)
            self._loaded = True
            self._settle()

    def _settle(self) -> None:
        """Once all that is retained was heard, tell the broker what it lacks."""
        if self._settled or not (self._loaded and self._heard_all and self._leads()):
            return
        self._settled = True
        for meter_id in self._known:
            self._repeat(meter_id)

    @property
    def _heard_all(self) -> bool:
        return self._enough is not None and self._stored >= self._enough

    def _repeat(self, meter_id: str) -> None:
        """Tell what we know where the broker has less."""
        known = self._known.get(meter_id)
        if known is None or self._heard.get(meter_id) == known or not self._leads():
            return
        log.info(
            "the broker had lost what is blocked at %s, it is published again: %s", meter_id, known.words
        )
        self._heard[meter_id] = known
        self._publish(self._topics.meter(meter_id, "block"), known.payload())
