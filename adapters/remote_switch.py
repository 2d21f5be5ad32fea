"""The relay of somebody else's device: the firmware's rules, and the device's own word for what has happened.

A command is judged and saved as at a meter of ours. Then the device is asked, and only its confirmation makes
the command done. At a start nothing is driven: the device is asked where its relay is. Somebody may switch it
by hand at any time; that is told as a position without a command, and blocks cannot prevent it.

>>> switch = RemoteSwitch(SwitchLog(storage), device, exists=True)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Protocol

from adapters.confirmation import LIMIT, Request, Verdict
from adapters.family import Refused, Switched
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Position, Relay
from broker.contract.result import Outcome, Result
from meter_firmware import clock
from meter_firmware.relay.pin import SimulatedPin
from meter_firmware.relay.switch import Answer, Switch
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.storage import StorageError

_log = logging.getLogger(__name__)

INTERRUPTED = "the adapter was stopped before the device had confirmed: it may have switched"
ASK_AFTER = 0.4
"""Share of the time after which the device is asked, for its answer may be lost."""
WAITING_MOVES = 100
"""Moves that wait for the disk."""


class Device(Protocol):
    """The device, as far as it can be switched."""

    def switch(self, position: Position, *, token: str) -> str:
        """Send the request; why it cannot be sent, or an empty text."""

    def ask(self) -> None:
        """Ask where its relay is."""


class RemoteSwitch(Switch):
    """A relay that its own device drives."""

    def __init__(self, log: SwitchLog, device: Device, *, exists: bool) -> None:
        super().__init__(log, SimulatedPin(), exists=exists)
        self._device = device
        self._request: Request | None = None
        self._answered = asyncio.Event()
        self._moves = deque[tuple[Position, datetime]](maxlen=WAITING_MOVES)
        self._has_moved = asyncio.Event()
        self.moved = asyncio.Event()
        self.known = False

    def open(self, *, now: datetime) -> None:
        """Load the saved state; nothing is driven."""
        self._log.open(now=now, interrupted=INTERRUPTED)

    def switched(self, event: Switched) -> None:
        """The device tells where its relay is; a wish (``confirmed`` false) is no position."""
        if not self.exists or not event.confirmed:
            return
        if self._request is not None and self._request.outcome is None:
            self._request.switched(event)
            if self._request.outcome is not None:
                self._moves.clear()  # they are older than the answer
                self._answered.set()
                return
        self._moves.append((event.position, utc_now()))
        self._has_moved.set()

    def refused(self, event: Refused) -> None:
        """The device has refused a request."""
        if self._request is not None:
            self._request.refused(event)
            self._answered.set()

    async def record_moves(self) -> None:
        """Save and tell, for ever, what the device does without a command."""
        while True:
            await self._has_moved.wait()
            async with self._lock:
                try:
                    await self._record()
                except StorageError as error:
                    _log.warning("a move of the relay could not be saved: %s", error)
                    await asyncio.sleep(1.0)

    async def _record(self) -> None:
        """Save the moves so far; the lock is ours."""
        self._has_moved.clear()
        while self._moves:
            position, ts = self._moves[0]
            relay, news = self._after(position, ts), not self.known
            if relay != self._log.relay:
                news = True
                try:
                    await asyncio.to_thread(self._log.keep_relay, relay)
                except StorageError:
                    self._has_moved.set()
                    raise
            self._moves.popleft()
            self._is_known()
            if news and self.moved is not None:
                self.moved.set()

    def _is_known(self) -> None:
        self.known, self._log.is_new = True, False

    def _after(self, position: Position, ts: datetime, command_id: str | None = None) -> Relay:
        """The relay when it has come into ``position``; unchanged if it was there already."""
        before = self._log.relay
        if position is before.position and command_id is None:
            return before
        first = self._log.is_new and not self.known  # nothing was ever known of it: that is no operation
        count = before.operations if first and command_id is None else before.operations + 1
        return Relay(position=position, operations=count, ts=ts, command_id=command_id)

    async def _alone(self, command: Command, *, retained: bool, after: float) -> Result:
        answer = self._answering(command)
        async with self._lock:
            try:
                await self._record()
                judge = partial(self._judged, command, answer, retained=retained, after=after)
                result = await asyncio.to_thread(judge) or await self._asked(command, answer)
            except StorageError as error:
                result = answer(outcome=Outcome.FAILED, reason=f"the adapter's disk refuses: {error}")
        self._tell(result)
        return result

    async def _asked(self, command: Command, answer: Answer) -> Result:
        """Ask the device, await its word and save it; StorageError as above."""
        self._operated.append(monotonic())
        verdict = await self._word(command)
        if not verdict.done:
            result = answer(outcome=Outcome.FAILED, reason=verdict.reason)
            await asyncio.to_thread(self._log.finish, result)
            self._device.ask()
            return result
        result = answer(outcome=Outcome.DONE)
        relay = self._after(command.position, result.ts, command.command_id)
        try:
            await asyncio.to_thread(self._log.finish, result, relay=relay)
        except StorageError:  # it has moved all the same
            self._moves.appendleft((command.position, result.ts))
            self._has_moved.set()
            raise
        self._is_known()
        return result

    async def _word(self, command: Command) -> Verdict:
        """The device's answer, or that there was none in time."""
        left = (command.expires_at - clock.now()).total_seconds()
        if left <= 0:  # the disk may have taken longer than the command is valid
            return Verdict("it expired before the device was asked")
        seconds = min(LIMIT, left)
        request = self._request = Request(command.position, token=command.command_id)
        self._answered.clear()
        try:
            if refusal := self._device.switch(command.position, token=request.token):
                return request.outcome or Verdict(refusal[:255])
            await self._await_answer(request, ASK_AFTER * seconds)
            if request.outcome is None:
                self._device.ask()  # its answer may be lost
                await self._await_answer(request, (1 - ASK_AFTER) * seconds)
            return request.unanswered(seconds)
        finally:
            self._request = None

    async def _await_answer(self, request: Request, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while request.outcome is None:
                    self._answered.clear()
                    await self._answered.wait()
