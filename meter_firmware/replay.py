"""Sends unconfirmed readings again on ``history``, oldest first, a batch at a time.

Stop and wait: the next batch goes out when ``stored`` has named the last one, so a backlog drains as
fast as the database commits; or when that was waited for in vain, ever longer, so that a bridge that is
away finds some batches in the broker's queue, not one for every half minute. Live readings have their
own task and never wait for this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from meter_firmware.outbox import Kept, Outbox

BATCH = 200
"""Readings in one message: about 40 kB."""
LONGEST_WAIT = 600.0
"""Seconds at most that a batch waits in vain."""


class Replay:
    """What is older than ``resend_after`` seconds, or than this connection, is due."""

    def __init__(self, outbox: Outbox, *, instance: str, resend_after: float) -> None:
        self._outbox = outbox
        self._instance = instance
        self._resend_after = resend_after
        self._progress = asyncio.Event()
        self._wait = resend_after

    def progressed(self) -> None:
        """Some reading was confirmed, or has a new name."""
        self._progress.set()

    async def run(self, send: Callable[[bytes], Awaitable[None]], *, upto: int) -> None:
        """Replay for ever: readings up to seq ``upto`` at once, later all that stay unconfirmed."""
        due = upto
        while True:
            await self._pass(send, due)
            due = self._outbox.last_seq
            await asyncio.sleep(self._resend_after)

    async def _pass(self, send: Callable[[bytes], Awaitable[None]], due: int) -> None:
        after, renamed = 0, self._outbox.renamed
        while self._outbox.count and (batch := await self._next(after, due)):
            self._progress.clear()
            await send(history(batch, instance=self._instance))
            answered = await self._answered(batch, renamed)
            self._wait = self._resend_after if answered else min(2 * self._wait, LONGEST_WAIT)
            before, renamed = renamed, self._outbox.renamed
            if before == renamed:  # else what is left of it goes out at once, with new names
                after = batch[-1].seq  # what was not confirmed comes in the next pass: it holds up no other

    async def _next(self, after: int, upto: int) -> list[Kept]:
        return await asyncio.to_thread(self._outbox.to_send, after=after, upto=upto, limit=BATCH)

    async def _answered(self, batch: Sequence[Kept], renamed: int) -> bool:
        """Whether the batch was dealt with: renamed, all of it confirmed, or some and no more for a while.

        Others are confirmed meanwhile, the live ones, which says nothing of this batch.
        """
        now = asyncio.get_running_loop().time
        left, ends = len(batch), now() + self._wait
        while held := await asyncio.to_thread(self._outbox.held, batch[0].seq, batch[-1].seq):
            if renamed != self._outbox.renamed:
                return True
            if held < left:
                left, ends = held, now() + self._wait
            try:
                async with asyncio.timeout_at(ends):
                    await self._progress.wait()
            except TimeoutError:
                return left < len(batch)
            self._progress.clear()
        return True


def history(batch: Sequence[Kept], *, instance: str) -> bytes:
    """A `broker.contract.reading.History` of readings that are JSON already."""
    return b'{"readings":[' + b",".join(kept.sent_by(instance) for kept in batch) + b"]}"
