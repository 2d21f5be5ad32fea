"""Replay: batches of 200, oldest first, the next one when the last one is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from broker.contract.messages import utc_now
from broker.contract.reading import History, Stored
from meter_firmware.outbox import Outbox
from meter_firmware.replay import BATCH, Replay, history
from meter_firmware.storage import Storage

DEADLINE = 60.0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Storage(tmp_path / "meter.sqlite") as storage:
        box = Outbox(storage, capacity=10_000)
        box.open(now=utc_now())
        yield box


class Bridge:
    """Receives batches; confirms as told."""

    def __init__(self, outbox: Outbox, confirm: Callable[[int, int], tuple[int, int] | None]) -> None:
        self.batches: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self.replay = Replay(outbox, instance="a1", resend_after=0.05)
        self._outbox = outbox
        self._confirm = confirm

    async def send(self, payload: bytes) -> None:
        seqs = [reading.seq for reading in History.model_validate_json(payload).readings]
        assert seqs == sorted(seqs)
        self.batches.put_nowait((seqs[0], seqs[-1]))
        span = self._confirm(seqs[0], seqs[-1])
        if span is not None:
            self._outbox.confirm(Stored(epoch=self._outbox.epoch, first=span[0], seq=span[1]))
            self.replay.progressed()

    async def next(self) -> tuple[int, int]:
        return await asyncio.wait_for(self.batches.get(), DEADLINE)


@asynccontextmanager
async def running(job: Awaitable[None]) -> Any:
    task = asyncio.ensure_future(job)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def fill(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        outbox.add({"voltage": 230.0}, ts=utc_now())


def test_history_is_what_the_contract_says(outbox: Outbox) -> None:
    fill(outbox, 3)
    batch = outbox.batch(after=0, upto=3, limit=3)
    readings = History.model_validate_json(history(batch, instance="a1")).readings
    assert [(reading.seq, reading.instance) for reading in readings] == [(1, "a1"), (2, "a1"), (3, "a1")]


async def test_a_backlog_goes_out_in_batches_oldest_first(outbox: Outbox) -> None:
    fill(outbox, 2 * BATCH + 50)
    bridge = Bridge(outbox, lambda first, last: (first, last))
    async with running(bridge.replay.run(bridge.send, upto=outbox.last_seq)):
        assert [await bridge.next() for _ in range(3)] == [
            (1, BATCH),
            (BATCH + 1, 2 * BATCH),
            (2 * BATCH + 1, 2 * BATCH + 50),
        ]
    assert outbox.count == 0


async def test_nobody_confirms_so_each_batch_waits_longer_for_its_turn(outbox: Outbox) -> None:
    fill(outbox, BATCH + 1)
    bridge = Bridge(outbox, lambda first, last: None)
    loop, sent = asyncio.get_running_loop(), list[float]()
    async with running(bridge.replay.run(bridge.send, upto=outbox.last_seq)):
        for batch in [(1, BATCH), (BATCH + 1, BATCH + 1)] * 2:
            assert await bridge.next() == batch
            sent.append(loop.time())
    assert sent[3] - sent[0] >= (1 + 2 + 4) * 0.05


async def test_a_batch_that_nobody_takes_holds_up_no_other(outbox: Outbox) -> None:
    """Such as readings from the future, for a bridge that does not know whose clock is wrong."""
    fill(outbox, BATCH + 2)
    bridge = Bridge(outbox, lambda first, last: (first, last) if first > 1 else None)
    async with running(bridge.replay.run(bridge.send, upto=outbox.last_seq)):
        assert [await bridge.next() for _ in range(3)] == [(1, BATCH), (BATCH + 1, BATCH + 2), (1, BATCH)]


async def test_a_reading_that_is_never_confirmed_does_not_hold_up_the_others(outbox: Outbox) -> None:
    fill(outbox, BATCH + 2)
    bridge = Bridge(outbox, lambda first, last: (max(first, 2), last))
    async with running(bridge.replay.run(bridge.send, upto=outbox.last_seq)):
        assert await bridge.next() == (1, BATCH)
        assert await bridge.next() == (BATCH + 1, BATCH + 2)
        assert await bridge.next() == (1, 1)


async def test_live_readings_that_are_confirmed_do_not_hold_up_a_batch_that_was_lost(outbox: Outbox) -> None:
    fill(outbox, 2)
    batches: asyncio.Queue[None] = asyncio.Queue()
    replay = Replay(outbox, instance="a1", resend_after=0.2)

    async def send(_: bytes) -> None:
        batches.put_nowait(None)

    async def live() -> None:
        while True:
            seq = (await asyncio.to_thread(outbox.add, {"voltage": 230.0}, ts=utc_now())).seq
            await asyncio.to_thread(outbox.confirm, Stored(epoch=outbox.epoch, first=seq, seq=seq))
            replay.progressed()
            await asyncio.sleep(0.02)

    async with running(replay.run(send, upto=2)), running(live()):
        for _ in range(3):
            await asyncio.wait_for(batches.get(), DEADLINE)


async def test_a_reading_is_live_first_and_history_only_when_it_stays_unconfirmed(outbox: Outbox) -> None:
    fill(outbox, 3)
    bridge = Bridge(outbox, lambda first, last: (first, last))
    async with running(bridge.replay.run(bridge.send, upto=2)):
        assert await bridge.next() == (1, 2)
        assert await bridge.next() == (3, 3)


async def test_what_was_renamed_goes_out_again_at_once(outbox: Outbox) -> None:
    """Under its new name; the next batch waits for it, as for any other."""
    fill(outbox, BATCH + 1)
    epoch, names = outbox.epoch, list[tuple[int, int, int]]()
    sent = asyncio.Event()

    async def send(payload: bytes) -> None:
        readings = History.model_validate_json(payload).readings
        names.append((readings[0].epoch, readings[0].seq, readings[-1].seq))
        if readings[0].epoch < epoch + 2 and readings[0].seq == 1:
            outbox.rename(readings[0].epoch, first=1, last=BATCH, now=utc_now())
        else:
            told = [Stored(epoch=one.epoch, first=one.seq, seq=one.seq) for one in readings]
            for stored in told:
                outbox.confirm(stored)
        replay.progressed()
        if len(names) == 4:
            sent.set()

    replay = Replay(outbox, instance="a1", resend_after=DEADLINE * 10)
    async with running(replay.run(send, upto=outbox.last_seq)):
        await asyncio.wait_for(sent.wait(), DEADLINE)
    assert names[:3] == [(epoch, 1, BATCH), (epoch + 1, 1, BATCH), (epoch + 2, 1, BATCH)]
    assert names[3][1:] == (BATCH + 1, BATCH + 1)
