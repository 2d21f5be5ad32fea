"""The work of one commit: rows, notices for registry and ledger, dead letters, and the answers after it.

>>> work = Work(now=1_795_435_200_000)
>>> work.confirm(b"sm/v1/3f25/stored", 1, 7, "-")
>>> work.confirm(b"sm/v1/3f25/stored", 1, 8, "-")
>>> len(list(work.stored(blocks=True)))
1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from bridge.ingest.rows import Row
from bridge.mqtt.notice import Dead, Early, Notice, Sent
from bridge.store.alarms import Raised
from bridge.store.tables import sayable
from broker.contract.block import Block
from broker.contract.messages import format_ts
from broker.contract.notice import MeterNotice
from broker.contract.status import ServiceStatus


@dataclass(frozen=True)
class Acknowledged:
    """Somebody has acknowledged an alarm of a meter, or without a meter_id of the server."""

    key: int
    meter_id: str
    by: str
    origin: str


@dataclass
class Work:
    """All that one commit has to do, and what may be said after it."""

    now: int
    """ms since 1970."""
    rows: list[Row] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    """The instance that sent each row."""
    events: list[Notice] = field(default_factory=list)
    """For the registry: births, statuses, relays, withdrawals, and who may connect."""
    entries: list[Notice] = field(default_factory=list)
    """For the ledger: commands, results, refusals, blocks."""
    dead: list[Dead] = field(default_factory=list)
    limited: Counter[Dead] = field(default_factory=Counter)
    """What exceeded a limit, or seems to be of the future: topic and cause. It is neither stored nor
    confirmed."""
    spoiled: Counter[Dead] = field(default_factory=Counter)
    """Quantities that were bad, by topic and cause: their readings are stored without them."""
    early: list[Early] = field(default_factory=list)
    """Births, statuses, relays and rights of the future."""
    alarms: list[Raised] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    retained_alarms: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Topic and payload: what the broker has of alarms in force."""
    services: list[tuple[str, ServiceStatus]] = field(default_factory=list)
    """What other programs tell of themselves."""
    notices: list[tuple[str, MeterNotice]] = field(default_factory=list)
    """What is said to single meters (meter_id, notice), after the commit. A notice may be lost on its way:
    what led to it comes again."""
    blocks: list[tuple[str, Block | None]] = field(default_factory=list)
    """What was said on the topics of blocks (meter_id, block); None is empty, or cannot be read."""
    _ranges: dict[bytes, list[tuple[int, int, int, str]]] = field(default_factory=dict)

    def add(self, topic: bytes, row: Row, sender: str) -> None:
        """Store ``row``, and confirm it on ``topic``."""
        self.rows.append(row)
        self.senders.append(sender)
        self.confirm(topic, row[1], row[2], sender)

    def confirm(self, topic: bytes, epoch: int, seq: int, sender: str) -> None:
        """Say on ``topic`` that this reading is safe; neighbours of one sender become one range."""
        ranges = self._ranges.get(topic)
        if ranges is None:
            self._ranges[topic] = [(epoch, seq, seq, sender)]
            return
        last_epoch, first, last, last_sender = ranges[-1]
        if epoch == last_epoch and first <= seq <= last + 1 and sender == last_sender:
            ranges[-1] = (epoch, first, max(last, seq), sender)
        else:
            ranges.append((epoch, seq, seq, sender))

    def limit(self, topic: bytes, cause: str) -> None:
        """A message on ``topic`` is left out for ``cause``."""
        self.limited[Dead(topic, b"", cause)] += 1

    def leave_out(self, meter_ids: Collection[str], topic: bytes, cause: str) -> None:
        """No reading of these meters, which have no key, is stored or confirmed; ``topic`` names them."""
        left = [at for at, row in enumerate(self.rows) if row[0] not in meter_ids]
        self.rows, self.senders = [self.rows[at] for at in left], [self.senders[at] for at in left]
        for stored in [name for name in self._ranges if name.decode().split("/")[-2] in meter_ids]:
            del self._ranges[stored]
        self.limited[Dead(topic, b"", cause)] += len(meter_ids)

    def withhold(self, some: Collection[Sent]) -> None:
        """These readings are not confirmed after all."""
        for topic in {sent[0] for sent in some} & self._ranges.keys():
            for epoch, first, last, sender in self._ranges.pop(topic):
                for seq in range(first, last + 1):
                    if (topic, epoch, seq, sender) not in some:
                        self.confirm(topic, epoch, seq, sender)

    def stored_topic(self, meter_id: str) -> bytes:
        """Where the readings of this meter are confirmed."""
        own = (topic for topic in self._ranges if topic.decode().split("/")[-2] == meter_id)
        return next(own, f"{meter_id}/stored".encode())

    def stored(self, *, blocks: bool) -> Iterator[tuple[bytes, bytes]]:
        """The `stored` messages, as (topic, payload): a `broker.contract.reading.Stored` each."""
        ts, held = format_ts(sayable(self.now)).encode(), b"true" if blocks else b"false"
        for topic, ranges in self._ranges.items():
            for epoch, first, last, sender in ranges:
                told = b'"epoch":%d,"first":%d,"seq":%d' % (epoch, first, last)
                yield (
                    topic,
                    b'{%s,"ts":"%s","instance":"%s","blocks":%s}' % (told, ts, sender.encode(), held),
                )
