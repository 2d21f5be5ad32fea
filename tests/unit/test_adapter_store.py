"""One file for all meters: each is alone in it, nothing is told that is not kept, no name comes twice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adapters.store import FILE_NAME, Store
from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.contract.reading import Reading, Stored
from broker.contract.relay import Position
from broker.contract.result import Outcome, Result
from meter_firmware.outbox import Outbox
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.storage import Storage, StorageError

ALL = 2**53 - 1
METERS = ("a", "b", "c")
CAPACITY = 5
meters = st.sampled_from(METERS)
seqs = st.integers(1, 12)


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    store = Store(folder / FILE_NAME)
    store.open()
    try:
        yield store
    finally:
        store.close()


def outbox_of(storage: Storage, capacity: int = 1000) -> Outbox:
    storage.open()
    outbox = Outbox(storage, capacity=capacity)
    outbox.open(now=utc_now())
    return outbox


def names(outbox: Outbox) -> list[tuple[int, int]]:
    kept = [Reading.model_validate_json(one.payload) for one in outbox.batch(after=0, upto=ALL, limit=10_000)]
    return [(reading.epoch, reading.seq) for reading in kept]


class Twins(RuleBasedStateMachine):
    """The same is done to meters in one file, and to such as have a file each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.luck = patch("meter_firmware.outbox.secrets.randbelow", return_value=7)
        self.luck.start()
        self.now = utc_now()
        self.open()

    def open(self) -> None:
        self.store = Store(self.path / FILE_NAME)
        self.store.open()
        self.pairs: dict[str, list[tuple[Storage, Outbox, SwitchLog]]] = {}
        for meter in METERS:
            self.begin(meter)

    def begin(self, meter: str) -> None:
        pair = list[tuple[Storage, Outbox, SwitchLog]]()
        for storage in (self.store.part(meter), Storage(self.path / f"{meter}.sqlite")):
            storage.open()
            outbox, log = Outbox(storage, capacity=CAPACITY), SwitchLog(storage)
            outbox.open(now=self.now)
            log.open(now=self.now)
            pair.append((storage, outbox, log))
        self.pairs[meter] = pair

    def end(self, meter: str) -> None:
        for storage, _, _ in self.pairs.pop(meter):
            storage.close()

    @rule(meter=meters, held=st.booleans())
    def add(self, meter: str, held: bool) -> None:
        for _, outbox, _ in self.pairs[meter]:
            outbox.add({"voltage": 230.0}, ts=self.now, held=held)

    @rule(meter=meters, first=seqs, last=seqs)
    def confirm(self, meter: str, first: int, last: int) -> None:
        both = [
            outbox.confirm(Stored(epoch=outbox.epoch, first=min(first, last), seq=last))
            for _, outbox, _ in self.pairs[meter]
        ]
        assert both[0] == both[1]

    @rule(meter=meters, first=seqs, last=seqs)
    def rename(self, meter: str, first: int, last: int) -> None:
        both = [
            outbox.rename(outbox.epoch, first=first, last=last, now=self.now)
            for _, outbox, _ in self.pairs[meter]
        ]
        assert both[0] == both[1]

    @rule(meter=meters, first=seqs)
    def send(self, meter: str, first: int) -> None:
        for _, outbox, _ in self.pairs[meter]:
            outbox.to_send(after=first, upto=first + 2, limit=2)

    @rule(meter=meters, synchronized=st.booleans())
    def release(self, meter: str, synchronized: bool) -> None:
        both = [outbox.release(synchronized=synchronized) for _, outbox, _ in self.pairs[meter]]
        assert both[0] == both[1]

    @rule(meter=meters, command=st.sampled_from(["c1", "c2"]), done=st.booleans())
    def command(self, meter: str, command: str, done: bool) -> None:
        for _, _, log in self.pairs[meter]:
            if log.knows(command):
                log.recorded(command, outcome="done")
            elif log.record(command, now=self.now) and done:
                moved = log.relay.model_copy(update={"position": Position.OPEN, "operations": 1})
                result = Result(command_id=command, outcome=Outcome.DONE, ts=self.now)
                log.finish(result, relay=moved)
                log.answered(result)

    @rule(meter=meters)
    def dismissed_and_accepted_again(self, meter: str) -> None:
        self.end(meter)
        self.begin(meter)

    @rule()
    def restart(self) -> None:
        for meter in METERS:
            self.end(meter)
        self.store.close()
        self.open()

    @invariant()
    def are_alike(self) -> None:
        for (_, ours, our_log), (_, theirs, their_log) in self.pairs.values():
            assert names(ours) == names(theirs)
            assert (ours.epoch, ours.last_seq) == (theirs.epoch, theirs.last_seq)
            assert (ours.count, ours.dropped) == (theirs.count, theirs.dropped)
            assert our_log.relay == their_log.relay
            assert our_log.owed(now=self.now) == their_log.owed(now=self.now)
            assert our_log.unrecorded(skip=0, limit=9) == their_log.unrecorded(skip=0, limit=9)

    def teardown(self) -> None:
        for meter in list(self.pairs):
            self.end(meter)
        self.store.close()
        self.luck.stop()
        self.folder.cleanup()


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


async def busy(outboxes: Sequence[Outbox], told: list[tuple[int, int, int]], rounds: int) -> None:
    """Each keeps readings and tells their names; every third is confirmed at once."""

    async def one(number: int, outbox: Outbox) -> None:
        for _ in range(rounds):
            kept = await outbox.added({"voltage": 230.0}, ts=utc_now())
            told.append((number, outbox.epoch, kept.seq))
            if kept.seq % 3 == 0:
                await outbox.confirmed(Stored(epoch=outbox.epoch, first=kept.seq, seq=kept.seq))

    await asyncio.gather(*(one(number, outbox) for number, outbox in enumerate(outboxes)))


def test_readings_of_many_meters_are_one_transaction(tmp_path: Path) -> None:
    statements, told = list[str](), list[tuple[int, int, int]]()
    with opened(tmp_path) as store:
        outboxes = [outbox_of(store.part(f"m{number}")) for number in range(50)]
        assert store._connection is not None
        store._connection.set_trace_callback(statements.append)
        asyncio.run(busy(outboxes, told, 4))
        assert len(told) == len(set(told)) == 200
        assert [(outbox.count, outbox.last_seq) for outbox in outboxes] == [(3, 4)] * 50
        assert sum(statement.startswith("COMMIT") for statement in statements) < 60


def test_a_process_that_ends_at_any_statement_has_kept_what_was_told(tmp_path: Path) -> None:
    """The files are copied at every statement, as a kill would leave them, and looked into afterwards."""
    copies, told = list[tuple[Path, list[tuple[int, int, int]]]](), list[tuple[int, int, int]]()

    def copy(_statement: str) -> None:
        folder = tmp_path / f"copy-{len(copies)}"
        folder.mkdir()
        copies.append((folder, list(told)))  # told before the copy: is in it
        for file in tmp_path.glob(f"{FILE_NAME}*"):
            shutil.copy(file, folder)

    with opened(tmp_path) as store:
        outboxes = [outbox_of(store.part(f"m{number}")) for number in range(3)]
        assert store._connection is not None
        store._connection.set_trace_callback(copy)
        asyncio.run(busy(outboxes, told, 6))
        store._connection.set_trace_callback(None)
    assert len(copies) > 60
    for folder, before in copies:
        check(folder, before)


def check(folder: Path, told: Sequence[tuple[int, int, int]]) -> None:
    """What was told is kept or was confirmed, and the next name is new."""
    with opened(folder) as store:
        for number in range(3):
            outbox = outbox_of(store.part(f"m{number}"))
            mine = {(epoch, seq) for meter, epoch, seq in told if meter == number}
            assert {name for name in mine if name[1] % 3} <= set(names(outbox))
            assert outbox.count == len(names(outbox))
            kept = outbox.add({}, ts=utc_now())
            assert (outbox.epoch, kept.seq) not in mine


def test_a_full_disk_takes_no_number_and_harms_no_meter(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outboxes = [outbox_of(store.part(f"m{number}")) for number in range(8)]
        connection = store._connection
        assert connection is not None
        ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count={pages}")

        async def fill() -> list[object]:
            jobs = [outbox.added({"voltage": 1.0}, ts=utc_now()) for outbox in outboxes for _ in range(40)]
            return list(await asyncio.gather(*jobs, return_exceptions=True))

        ended = asyncio.run(fill())
        refused = [one for one in ended if isinstance(one, StorageError)]
        assert refused
        assert sum(outbox.count for outbox in outboxes) == len(ended) - len(refused)
        connection.execute("PRAGMA max_page_count=100000")
        for outbox in outboxes:
            last = outbox.last_seq
            assert [seq for _, seq in names(outbox)] == list(range(1, last + 1))
            assert outbox.add({}, ts=utc_now()).seq == last + 1


def test_one_error_leaves_the_others_of_its_transaction(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outboxes = [outbox_of(store.part(meter)) for meter in METERS]

        async def three() -> list[object]:
            times = [utc_now(), datetime(1970, 1, 1, tzinfo=UTC), utc_now()]
            jobs = [outbox.added({"voltage": 1.0}, ts=ts) for outbox, ts in zip(outboxes, times, strict=True)]
            return list(await asyncio.gather(*jobs, return_exceptions=True))

        first, second, third = asyncio.run(three())
        assert isinstance(second, ValueError)
        assert [outbox.last_seq for outbox in outboxes] == [1, 0, 1]
        assert not isinstance(first, Exception)
        assert not isinstance(third, Exception)


def test_what_waits_is_kept_when_who_waits_is_stopped(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        part = store.part("a")
        outbox = outbox_of(part)

        async def stopped() -> None:
            adding = asyncio.create_task(outbox.added({"voltage": 1.0}, ts=utc_now()))
            await asyncio.sleep(0)
            adding.cancel()
            part.settle()
            part.close()

        asyncio.run(stopped())
        with pytest.raises(StorageError, match="closed"):
            outbox.add({}, ts=utc_now())
        assert len(names(outbox_of(part))) == 1


def test_a_meter_is_open_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outbox_of(store.part("a"))
        with pytest.raises(ConfigurationError, match="in use"):
            store.part("a").open()
        with pytest.raises(ConfigurationError, match="in use by another process"):
            Store(tmp_path / FILE_NAME).open()
