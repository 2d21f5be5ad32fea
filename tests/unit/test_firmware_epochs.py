"""A restored or copied memory card: what is unconfirmed gets new names, all at once, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.contract.messages import utc_now
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.reading import Stored
from meter_firmware.faults import Faults
from meter_firmware.outbox import Outbox
from meter_firmware.readings import Readings
from meter_firmware.sampler import Rhythm, Sampler
from meter_firmware.storage import ONE_METER, Storage

ALL = 2**53 - 1


@contextmanager
def opened(path: Path) -> Iterator[Outbox]:
    with Storage(path) as storage:
        outbox = Outbox(storage, capacity=100_000)
        outbox.open(now=utc_now())
        yield outbox


def kept(outbox: Outbox) -> list[dict[str, Any]]:
    return [json.loads(one.payload) for one in outbox.batch(after=0, upto=ALL, limit=100_000)]


def fill(outbox: Outbox, *volts: float) -> None:
    for volt in volts:
        outbox.add({"voltage": volt}, ts=utc_now())


def names(outbox: Outbox) -> list[tuple[int, int, float]]:
    return [(one["epoch"], one["seq"], one["voltage"]) for one in kept(outbox)]


def test_those_in_conflict_get_names_of_a_new_epoch_and_so_do_all_that_come(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2, 3, 4)
        outbox.note_sent(outbox.batch(after=0, upto=4, limit=4))
        old = outbox.epoch
        assert outbox.rename(old, first=2, last=3, now=utc_now()) == 2
        new = outbox.epoch
        assert new > old + 1
        fill(outbox, 5)
        expected = [(old, 1, 1), (old + 1, 2, 2), (old + 1, 3, 3), (old, 4, 4), (new, 5, 5)]
        assert names(outbox) == expected
    with opened(tmp_path / "meter.sqlite") as outbox:
        assert (outbox.epoch, outbox.last_seq, outbox.count) == (new, 5, 5)
        assert names(outbox) == expected


def test_each_confirmation_is_of_its_own_epoch(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2, 3)
        outbox.note_sent(outbox.batch(after=0, upto=3, limit=3))
        old = outbox.epoch
        outbox.rename(old, first=2, last=2, now=utc_now())
        assert outbox.confirm(Stored(epoch=old, first=1, seq=ALL)) == 2
        assert names(outbox) == [(old + 1, 2, 2)]
        assert outbox.confirm(Stored(epoch=old + 1, first=1, seq=ALL)) == 1
        assert outbox.count == 0


def test_a_notice_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2)
        old = outbox.epoch
        outbox.rename(old, first=1, last=2, now=utc_now())
        before = (outbox.epoch, outbox.last_seq, names(outbox))
        assert outbox.rename(old, first=1, last=2, now=utc_now()) is None
        assert outbox.rename(old - 1, first=1, last=ALL, now=utc_now()) is None
        assert (outbox.epoch, outbox.last_seq, names(outbox)) == before


def test_a_conflict_of_readings_that_are_gone_still_ends_the_epoch(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        old = outbox.epoch
        assert outbox.rename(old, first=7, last=7, now=utc_now()) == 0
        assert outbox.epoch > old


def test_a_later_conflict_of_the_old_epoch_leaves_the_new_one_alone(tmp_path: Path) -> None:
    """Else its readings would not be in the order of time."""
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2)
        outbox.note_sent(outbox.batch(after=0, upto=2, limit=2))
        old = outbox.epoch
        outbox.rename(old, first=1, last=1, now=utc_now())
        new = outbox.epoch
        fill(outbox, 3)
        assert outbox.rename(old, first=2, last=2, now=utc_now()) == 1
        assert outbox.epoch == new
        fill(outbox, 4)
        assert names(outbox) == [(old + 1, 1, 1), (old + 1, 2, 2), (new, 3, 3), (new, 4, 4)]


def test_a_backlog_that_was_not_sent_goes_into_one_epoch_in_the_order_of_time(tmp_path: Path) -> None:
    """Each change of epoch costs the energy between two readings; what was sent may be stored already."""
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2, 3, 4, 5, 6)
        outbox.note_sent(outbox.batch(after=0, upto=3, limit=10))
        old = outbox.epoch
        assert outbox.rename(old, first=2, last=2, now=utc_now()) == 4
        fill(outbox, 7)
        assert [volt for epoch, _, volt in names(outbox) if epoch == outbox.epoch] == [4, 5, 6, 7]
        assert [volt for epoch, _, volt in names(outbox) if epoch == old] == [1, 3]


def test_what_was_sent_is_of_its_epoch(tmp_path: Path) -> None:
    """A confirmation of the old epoch says nothing of the new one's, though their ``seq`` are between."""
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2)
        old = outbox.epoch
        outbox.rename(old, first=1, last=1, now=utc_now())
        new = outbox.epoch
        fill(outbox, 3)
        outbox.note_sent(outbox.batch(after=2, upto=3, limit=1))
        outbox.confirm(Stored(epoch=old, first=1, seq=9))
        outbox.rename(new, first=2, last=2, now=utc_now())
        assert names(outbox) == [(old + 1, 1, 1), (new + 1, 2, 2), (new, 3, 3)]


async def test_while_names_change_no_reading_goes_out_live(tmp_path: Path) -> None:
    """It would be stored under both: the one that it leaves, and the one that it gets."""
    with Storage(tmp_path / "meter.sqlite") as storage:
        outbox = Outbox(storage, capacity=10)
        outbox.open(now=utc_now())
        fill(outbox, 1, 2)
        faults = Faults("meter", logger=logging.getLogger(__name__))
        readings = Readings(outbox, faults=faults, synchronized=lambda: True)
        newest = readings.latest = outbox.batch(after=1, upto=2, limit=1)[0]
        conflict = NoticeCode.EPOCH_CONFLICT
        notice = MeterNotice(code=conflict, epoch=outbox.epoch, first=1, seq=1, ts=utc_now())
        with storage.lock:
            renaming = asyncio.create_task(readings.rename(notice))
            await asyncio.sleep(0)
            assert readings.latest is None
        assert await renaming == 2
        readings.latest = newest
        assert await readings.rename(notice) is None
        assert readings.latest is newest, "that was not about us"


async def test_names_change_while_a_sensor_is_waited_for(tmp_path: Path) -> None:
    """Else nothing is heard meanwhile: no confirmation, no command."""
    asked = asyncio.Event()

    class Slow:
        measures = ("voltage",)

        async def read(self) -> dict[str, float | bool]:
            asked.set()
            await asyncio.sleep(3600)
            return {}

        def close(self) -> None:
            """Nothing to close."""

    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1)
        sampler = Sampler(
            Slow(),
            outbox,
            rhythm=Rhythm(0.01),
            faults=Faults("meter", logger=logging.getLogger(__name__)),
            synchronized=lambda: True,
        )
        conflict = NoticeCode.EPOCH_CONFLICT
        notice = MeterNotice(code=conflict, epoch=outbox.epoch, first=1, seq=1, ts=utc_now())
        reading = asyncio.create_task(sampler.run())
        await asyncio.wait_for(asked.wait(), 60)
        assert await asyncio.wait_for(sampler.rename(notice), 60) == 1
        await asyncio.wait_for(sampler.release(), 60)
        reading.cancel()


def test_a_reading_that_two_cards_have_gets_one_name_on_both(tmp_path: Path) -> None:
    """Whichever notices each of them hears, and in which order: else it would be stored twice."""
    first, second = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    with opened(first) as outbox:
        fill(outbox, 1, 2, 3)
        old = outbox.epoch
    shutil.copy(first, second)
    with opened(first) as outbox:
        fill(outbox, 4)
        outbox.rename(old, first=1, last=3, now=utc_now())
        outbox.rename(old + 1, first=2, last=2, now=utc_now())
        one = names(outbox)
    with opened(second) as outbox:
        fill(outbox, 5)
        for seq in (3, 2, 1):
            outbox.rename(old, first=seq, last=seq, now=utc_now())
            outbox.rename(old, first=seq, last=seq, now=utc_now())
        outbox.rename(old + 1, first=2, last=2, now=utc_now())
        other = names(outbox)
    assert one[:3] == other[:3] == [(old + 1, 1, 1), (old + 2, 2, 2), (old + 1, 3, 3)]
    assert one[3] != other[3]


def test_what_may_have_been_sent_before_we_were_started_is_not_renamed_unless_named(tmp_path: Path) -> None:
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1, 2)
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 3)
        old = outbox.epoch
        assert outbox.rename(old, first=1, last=1, now=utc_now()) == 2
        assert names(outbox) == [(old + 1, 1, 1), (old, 2, 2), (outbox.epoch, 3, 3)]


def test_two_copies_that_begin_an_epoch_at_the_same_moment_differ(tmp_path: Path) -> None:
    """Also when their clocks are behind the epoch that they leave."""
    with opened(tmp_path / "meter.sqlite") as outbox:
        fill(outbox, 1)
        old = outbox.epoch
    for now in (utc_now(), utc_now() - timedelta(days=1)):
        epochs = set[int]()
        for number in range(20):
            path = tmp_path / f"{number}.sqlite"
            shutil.copy(tmp_path / "meter.sqlite", path)
            with opened(path) as outbox:
                outbox.rename(old, first=1, last=ALL, now=now)
                epochs.add(outbox.epoch)
        assert len(epochs) > 15


def test_a_file_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "meter.sqlite"
    with closing(sqlite3.connect(path)) as before:
        before.executescript(ONE_METER.schema.replace(" epoch INTEGER,", "", 1))
        before.execute("INSERT INTO outbox_state (id, epoch, seq, dropped) VALUES (1, 77, 2, 0)")
        payload = b'{"epoch":77,"seq":2,"ts":"2026-11-23T12:00:00.000Z","voltage":2.0}'
        before.execute("INSERT INTO outbox (seq, payload) VALUES (2, ?)", (payload,))
        before.commit()
    with opened(path) as outbox:
        assert names(outbox) == [(77, 2, 2)]
        fill(outbox, 3)
        assert outbox.confirm(Stored(epoch=77, first=2, seq=2)) == 1
        assert outbox.rename(77, first=1, last=ALL, now=utc_now()) == 1


_RENAME = """
import sys
from itertools import count
from pathlib import Path
from broker.contract.messages import utc_now
from meter_firmware.outbox import Outbox
from meter_firmware.storage import Storage
with Storage(Path(sys.argv[1])) as storage:
    outbox = Outbox(storage, capacity=100_000)
    outbox.open(now=utc_now())
    print("ready", flush=True)
    for epoch in count(outbox.epoch):
        outbox.rename(epoch, first=1, last=2**53 - 1, now=utc_now())
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_between_nothing_is_lost_and_nothing_has_two_names(tmp_path: Path, seed: int) -> None:
    path, volts = tmp_path / "meter.sqlite", [float(number) for number in range(300)]
    with opened(path) as outbox:
        fill(outbox, *volts)
    with subprocess.Popen([sys.executable, "-c", _RENAME, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(random.Random(seed).uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
    with opened(path) as outbox:
        found = names(outbox)
        assert [volt for _, _, volt in found] == volts
        assert len({epoch for epoch, _, _ in found}) == 1, "all together"
        assert found[-1][1] == outbox.last_seq == len(volts)
        fill(outbox, 300)
        assert names(outbox)[-1] == (outbox.epoch, outbox.last_seq, 300)
