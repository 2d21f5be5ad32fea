"""The outbox: nothing leaves unconfirmed, nothing is named twice, a full one drops its oldest."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.contract.reading import Reading, Stored
from meter_firmware.outbox import Kept, Outbox
from meter_firmware.storage import Storage, StorageError

CAPACITY = 5
EVERYTHING = 2**53 - 1


@contextmanager
def opened(path: Path, capacity: int = CAPACITY) -> Iterator[Outbox]:
    with Storage(path) as storage:
        outbox = Outbox(storage, capacity=capacity)
        outbox.open(now=utc_now())
        yield outbox


def seqs(outbox: Outbox) -> list[int]:
    return [kept.seq for kept in outbox.batch(after=0, upto=EVERYTHING, limit=1000)]


def fill(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        outbox.add({}, ts=utc_now())


def test_a_reading_is_kept_as_the_json_that_is_published(tmp_path: Path) -> None:
    ts = utc_now()
    with opened(tmp_path / "meter.sqlite") as outbox:
        kept = outbox.add({"voltage": 231.0, "alarm": False}, ts=ts)
        assert outbox.batch(after=0, upto=1, limit=1) == [kept]
        reading = Reading.model_validate_json(kept.payload)
        assert reading == Reading(epoch=outbox.epoch, seq=1, ts=ts, voltage=231.0, alarm=False)
        assert "power" not in json.loads(kept.payload)


def test_only_the_confirmed_range_of_this_epoch_leaves(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 5)
        assert outbox.confirm(Stored(epoch=outbox.epoch + 1, first=1, seq=5)) == 0
        assert outbox.confirm(Stored(epoch=outbox.epoch, first=2, seq=3)) == 2
        assert outbox.confirm(Stored(epoch=outbox.epoch, first=2, seq=3)) == 0
        assert seqs(outbox) == [1, 4, 5]
        assert outbox.held(1, 5) == 3
        assert outbox.held(2, 3) == 0


def test_what_is_published_while_a_confirmation_is_taken_is_noted(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:

        class First(int):
            """The number 1; each comparison with it publishes a reading meanwhile."""

            def __le__(self, other: int) -> bool:
                outbox.note_sent([Kept(outbox.last_seq + len(outbox._sent), b"")])
                return int(self) <= other

        fill(outbox, 3)
        outbox.note_sent(outbox.batch(after=0, upto=3, limit=10))
        assert outbox.confirm(Stored.model_construct(epoch=outbox.epoch, first=First(1), seq=2)) == 2
        assert outbox._sent > {3}


def test_batches_are_oldest_first_and_bounded(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 5)
        assert [kept.seq for kept in outbox.batch(after=1, upto=4, limit=2)] == [2, 3]


def test_an_emptied_outbox_does_not_begin_again_at_one(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 3)
        epoch = outbox.epoch
        outbox.confirm(Stored(epoch=epoch, first=1, seq=3))
    with opened(tmp_path / "meter.sqlite") as outbox:
        assert outbox.epoch == epoch
        assert outbox.add({}, ts=utc_now()).seq == 4


def test_a_write_that_fails_takes_no_number(tmp_path: Path) -> None:
    with Storage(tmp_path / "meter.sqlite") as storage:
        outbox = Outbox(storage, capacity=10_000)
        outbox.open(now=utc_now())
        fill(outbox, 1)
        (pages,) = storage.all("PRAGMA page_count")[0]
        storage.all(f"PRAGMA max_page_count={pages}")  # a disk that is nearly full
        with pytest.raises(StorageError, match="full"):
            fill(outbox, 1000)
        kept_when_full = outbox.last_seq
        storage.all("PRAGMA max_page_count=1000000")
        assert outbox.add({}, ts=utc_now()).seq == kept_when_full + 1
        assert seqs(outbox) == list(range(1, kept_when_full + 2))
        assert outbox.count == kept_when_full + 1


def test_a_second_process_cannot_be_the_same_meter(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite"), pytest.raises(ConfigurationError, match="in use"):
        Storage(tmp_path / "meter.sqlite").open()


def test_a_damaged_file_is_told_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "meter.sqlite"
    path.write_bytes(b"this was a database" * 500)
    with pytest.raises(ConfigurationError, match=r"meter\.sqlite is damaged .*move it away"):
        Storage(path).open()


def test_a_file_that_was_emptied_is_not_taken_as_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "meter.sqlite"
    with opened(path):
        pass
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"meter\.sqlite is empty: move it away"):
        Storage(path).open()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="data_dir"):
        Storage(tmp_path / "file" / "meter.sqlite").open()


class OutboxMachine(RuleBasedStateMachine):
    """Any order of adding, confirming and restarting, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "meter.sqlite"
        self.waiting: list[int] = []
        self.taken = 0
        self.dropped = 0
        self._open()
        self.epoch = self.outbox.epoch

    def _open(self) -> None:
        self.storage = Storage(self.path)
        self.storage.open()
        self.outbox = Outbox(self.storage, capacity=CAPACITY)
        self.outbox.open(now=utc_now())

    @rule()
    def add(self) -> None:
        self.taken += 1
        assert self.outbox.add({}, ts=utc_now()).seq == self.taken
        self.waiting.append(self.taken)
        if len(self.waiting) > CAPACITY:
            self.waiting.pop(0)
            self.dropped += 1

    @precondition(lambda self: self.taken > 0)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(1, self.taken + 2))
        last = data.draw(st.integers(1, self.taken + 2))
        gone = [seq for seq in self.waiting if first <= seq <= last]
        assert self.outbox.confirm(Stored(epoch=self.epoch, first=first, seq=last)) == len(gone)
        self.waiting = [seq for seq in self.waiting if seq not in gone]

    @rule()
    def restart(self) -> None:
        self.storage.close()
        self._open()

    @invariant()
    def agrees(self) -> None:
        assert seqs(self.outbox) == self.waiting
        assert self.outbox.count == len(self.waiting)
        assert (self.outbox.dropped, self.outbox.last_seq) == (self.dropped, self.taken)
        assert self.outbox.epoch == self.epoch

    def teardown(self) -> None:
        self.storage.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=25, stateful_step_count=25)
