"""Memory cards that are copied, put back and doubled at random: each reading that was taken is stored once.

Real cards (outboxes) against the bridge's real sorting and writing, and between them a wire on which every
message may be lost, come late, come twice, or come to another meter of the same identity. All of them read in
the same milliseconds, so that nothing but the readings themselves tells them apart.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import pytest

from bridge.ingest.classify import Sorter
from bridge.store.tables import moment
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.reading import Stored
from broker.contract.topics import Topics
from broker.mqtt.packets import Publish
from meter_firmware.outbox import Outbox
from meter_firmware.replay import history
from meter_firmware.storage import Storage
from tests.support.stores import NOW, Kept, keeping, meter_id

pytest_plugins = ("tests.support.databases",)

TOPICS = Topics("sm/v1")
METER = meter_id(1)
ALL = 2**53 - 1
MOST = 4
"""Meters of one identity at the same time."""


@dataclass
class Meter:
    """One that runs on the card at ``path``."""

    path: Path
    instance: str
    storage: Storage
    outbox: Outbox

    @classmethod
    def start(cls, path: Path, instance: str, now: int) -> Meter:
        """The program starts."""
        storage = Storage(path)
        storage.open()
        outbox = Outbox(storage, capacity=100_000)
        outbox.open(now=moment(now))
        return cls(path, instance, storage, outbox)

    def held(self) -> set[float]:
        """The voltages, which tell readings apart."""
        some = self.outbox.batch(after=0, upto=ALL, limit=100_000)
        return {json.loads(kept.payload)["voltage"] for kept in some}

    def hear(self, topic: bytes, payload: bytes, now: int) -> None:
        """As `meter_firmware.session` does."""
        if topic.endswith(b"/stored"):
            stored = Stored.model_validate_json(payload)
            if stored.is_for(self.instance):
                self.outbox.confirm(stored)
            return
        notice = MeterNotice.model_validate_json(payload)
        assert notice.code == NoticeCode.EPOCH_CONFLICT
        if notice.is_for(self.instance):
            bounds = {"first": notice.first or 0, "last": notice.seq or 0}
            self.outbox.rename(notice.epoch or 0, **bounds, now=moment(now))


@dataclass
class Town:
    """Meters of one identity, one bridge, and what is on its way."""

    folder: Path
    kept: Kept
    random: Random
    now: int = NOW
    meters: list[Meter] = field(default_factory=list)
    backups: list[Path] = field(default_factory=list)
    sent: list[Publish] = field(default_factory=list)
    answers: list[tuple[bytes, bytes]] = field(default_factory=list)
    taken: set[float] = field(default_factory=set)
    confirmed: set[float] = field(default_factory=set)
    _number: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self._sorter = Sorter(TOPICS, keys=self.kept.writer.keys)
        self._run(self.folder / "0")

    def _run(self, path: Path) -> None:
        self.meters.append(Meter.start(path, f"run{next(self._number)}", self.now))

    def _some(self) -> Meter:
        return self.random.choice(self.meters)

    def _stopped(self) -> Path:
        """The card of a meter that does not run any more."""
        meter = self._some()
        self.meters.remove(meter)
        meter.storage.close()
        return meter.path

    def take(self) -> None:
        """A meter reads its sensor, or each does in the same millisecond."""
        for meter in self.meters if self.random.random() < 0.5 else [self._some()]:
            volt = float(next(self._number))
            meter.outbox.add({"voltage": volt}, ts=moment(self.now // 60_000 * 60_000))
            self.taken.add(volt)

    def send(self) -> None:
        """Some of what a meter holds, as live readings or as a history."""
        meter = self._some()
        after = self.random.randrange(meter.outbox.last_seq + 1)
        some = meter.outbox.to_send(after=after, upto=ALL, limit=self.random.randint(1, 20))
        if some and self.random.random() < 0.5:
            self._publish("history", history(some, instance=meter.instance))
        elif some:
            self._publish("reading", some[0].sent_by(meter.instance))

    def _publish(self, kind: str, payload: bytes) -> None:
        self.sent.append(Publish(TOPICS.meter(METER, kind).encode(), payload, b"", 0))

    def commit(self) -> None:
        """The bridge takes some messages in one batch."""
        self.now += self.random.choice((1, 20_000))
        some = self.random.sample(self.sent, self.random.randint(0, len(self.sent)))
        if self.random.random() < 0.8:
            self.sent = [one for one in self.sent if one not in some]
        work = self._sorter.sort(some, now=self.now)
        self.kept.writer.commit(work)
        self.answers += self._sorter.answers(work, blocks=True)

    def hear(self) -> None:
        """Some answers arrive, at some of the meters."""
        for topic, payload in self.random.sample(self.answers, self.random.randint(0, len(self.answers))):
            for meter in self.random.sample(self.meters, self.random.randint(1, len(self.meters))):
                self._hears(meter, topic, payload)
        if self.random.random() < 0.5:
            self.answers.clear()

    def _hears(self, meter: Meter, topic: bytes, payload: bytes) -> None:
        before = meter.held()
        meter.hear(topic, payload, self.now)
        self.confirmed |= before - meter.held()

    def restart(self) -> None:
        """The program of a meter is killed and started again."""
        self._run(self._stopped())

    def back_up(self) -> None:
        """A copy of a card is kept."""
        path = self._stopped()
        self.backups.append(Path(shutil.copy(path, self._new())))
        self._run(path)

    def put_back(self) -> None:
        """An older card takes the place of a meter's."""
        if self.backups:
            self._stopped()
            self._run(Path(shutil.copy(self.random.choice(self.backups), self._new())))

    def double(self) -> None:
        """A second meter runs on a copy of the card of one."""
        if len(self.meters) < MOST:
            path = self._stopped()
            copy = Path(shutil.copy(path, self._new()))
            self._run(path)
            self._run(copy)

    def end_one(self) -> None:
        """A meter is switched off for good."""
        if len(self.meters) > 1:
            self._stopped()

    def _new(self) -> Path:
        return self.folder / str(next(self._number))

    def settle(self) -> None:
        """From here on nothing is lost: until every outbox is empty."""
        self.answers.clear()
        for _ in range(50):
            for meter in self.meters:
                if some := meter.outbox.to_send(after=0, upto=ALL, limit=1000):
                    self._publish("history", history(some, instance=meter.instance))
            if not self.sent:
                return
            work = self._sorter.sort(self.sent, now=self.now)
            self.kept.writer.commit(work)
            self.sent = []
            self.now += 60_000
            for topic, payload in self._sorter.answers(work, blocks=True):
                for meter in self.meters:
                    self._hears(meter, topic, payload)
        raise AssertionError(f"left: {[meter.held() for meter in self.meters]}")

    def stored(self) -> Counter[float]:
        """How often each reading is in the database."""
        return Counter(row.voltage or 0.0 for row in self.kept.readings())


@contextmanager
def town(folder: Path, url: str, seed: int) -> Iterator[Town]:
    folder.mkdir()
    with keeping(url) as kept:
        made = Town(folder, kept, Random(seed))
        try:
            yield made
        finally:
            for meter in made.meters:
                meter.storage.close()


STEPS: list[tuple[int, Callable[[Town], None]]] = [
    (30, Town.take), (30, Town.send), (20, Town.commit), (20, Town.hear), (3, Town.restart),
    (2, Town.back_up), (2, Town.put_back), (3, Town.double), (2, Town.end_one),
]  # fmt: skip
"""How often, of 112, each happens."""


@pytest.mark.parametrize("seed", range(12))
def test_each_reading_is_stored_once(database_url: str, tmp_path: Path, seed: int) -> None:
    with town(tmp_path / "cards", database_url, seed) as running:
        weights, steps = zip(*STEPS, strict=True)
        for step in running.random.choices(steps, weights, k=400):
            step(running)
        running.settle()
        stored = running.stored()
        assert [volt for volt, often in stored.items() if often > 1] == [], "stored twice"
        assert stored.keys() <= running.taken
        assert running.confirmed - stored.keys() == set(), "confirmed, but not stored"
        assert len(running.confirmed) > len(running.taken) / 4
