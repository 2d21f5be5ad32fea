"""Obeys relay commands: id saved → pin driven → state and result saved; then the link publishes.

One command is obeyed after the other. None waits for the sensor: a telegram may be long in coming.

>>> switch = Switch(SwitchLog(Storage(Path("meter.sqlite"))), SimulatedPin())
>>> switch.relay.position
<Position.CLOSED: 'closed'>
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from broker.contract.block import Block
from broker.contract.relay import Command, Position, Relay
from broker.contract.result import Outcome, Result
from meter_firmware import clock
from meter_firmware.relay import rules
from meter_firmware.relay.age import BridgeTime
from meter_firmware.relay.pin import Pin, RelayError
from meter_firmware.relay.rules import Circumstances
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.storage import StorageError

_log = logging.getLogger(__name__)
MAX_TOLD = 100
"""Results at a new connection; the others follow."""
Answer = Callable[..., Result]
"""Makes the result of outcome and reason (and cause), dated when it is made."""


class Switch:
    """The relay with its saved state; ``local`` when only a hand at the meter may switch.

    ``spared``: there are contacts that may not switch as often as anybody likes. Without a relay (``exists``)
    every command is refused, and has its record.
    """

    def __init__(
        self,
        log: SwitchLog,
        pin: Pin,
        *,
        local: bool = False,
        spared: bool = True,
        exists: bool = True,
    ) -> None:
        self._log = log
        self._pin = pin
        self._lock = asyncio.Lock()
        self._local = local
        self.exists = exists
        self.known = True
        """We know where the relay is; False until a device that somebody else made has told it."""
        self.moved: asyncio.Event | None = None
        """Set when the relay has moved without a command; None: it never does."""
        self.bridge_time = BridgeTime()
        self.bridge_confirms = False
        """The bridge is one that says when it has a result."""
        self._has_blocks = False
        """On this connection the bridge has confirmed that the broker retains every block."""
        self._operated = deque[float](maxlen=rules.OPERATIONS if spared else 0)
        """When the relay was driven last, by the clock that nobody sets."""

    @property
    def relay(self) -> Relay:
        """The relay as it is."""
        return self._log.relay.model_copy(update={"local": self._local})

    @property
    def block(self) -> Block | None:
        """Which operations are blocked; None when nothing was ever blocked or released."""
        return self._log.block

    def open(self, *, now: datetime) -> None:
        """Load the saved state and bring the relay into it; RelayError if the pin does not obey."""
        self._log.open(now=now)
        if self.exists:
            self._pin.drive(self._log.relay.position)

    async def obey(self, payload: bytes, *, retained: bool, arrived_after: float | None = None) -> Result:
        """What became of the command; UnreadableCommandError if there is nobody to answer.

        ``arrived_after``: monotonic seconds, it has come to this machine later; default: now.
        ClockError if we do not know the time.
        """
        now = clock.now()
        after = monotonic() if arrived_after is None else arrived_after
        try:
            command = rules.read(payload)
        except rules.UnreadableCommandError as error:
            if error.command_id is None:
                raise
            return Result(command_id=error.command_id, outcome=Outcome.REFUSED, reason=str(error), ts=now)
        # Shielded: who loses the connection meanwhile finds the outcome in the next report.
        return await asyncio.shield(self._alone(command, retained=retained, after=after))

    async def take_block(self, block: Block) -> None:
        """Enforce what is newer in ``block`` from now on; StorageError if the disk refuses to keep it."""
        await asyncio.shield(self._kept(block))  # as above

    def connected(self) -> None:
        """A new connection: the broker may have lost a block that was set while we were away."""
        self._has_blocks = False

    async def bridge_says(self, blocks: bool | None) -> None:
        """Whether the broker retains every block; None: an older bridge. StorageError if the disk refuses."""
        self._has_blocks = self._has_blocks or blocks is True
        vouches = blocks is not None
        if vouches != self._log.bridge_vouches:
            await asyncio.to_thread(self._log.keep_vouches, vouches)

    async def _kept(self, block: Block) -> None:
        async with self._lock:  # a command that is being obeyed is obeyed to its end
            block = block.merged(self._log.block)
            if block != self._log.kept_block:  # also what the disk has refused before
                await asyncio.to_thread(self._log.keep_block, block)
                _log.info("blocked by %s: %s", block.origin.identifier, block.words)

    async def report(self) -> tuple[Relay, list[Result]]:
        """The relay, and the results to tell at a new connection, oldest first; ClockError as above."""
        async with self._lock:
            return self.relay, await asyncio.to_thread(self._owed)

    def _owed(self) -> list[Result]:
        """What the bridge has not confirmed, if it is one that does; and what issuers may still wait for."""
        recent = self._log.owed(now=clock.now())
        if not self.bridge_confirms:
            return recent
        known = {result.command_id for result in recent}
        older = self._log.unrecorded(skip=0, limit=MAX_TOLD)
        return [*(result for result in older if result.command_id not in known), *recent]

    async def unrecorded(self, *, skip: int, limit: int) -> list[Result]:
        """Results that the bridge has not confirmed, oldest first; StorageError if the disk refuses."""
        return await asyncio.to_thread(self._log.unrecorded, skip=skip, limit=limit)

    async def answered(self, result: Result) -> None:
        """The broker has taken ``result``; StorageError if the disk refuses."""
        await asyncio.to_thread(self._log.answered, result)

    async def recorded(self, command_id: str, *, outcome: str) -> None:
        """The result with this outcome is in the ledger; StorageError if the disk refuses."""
        await asyncio.to_thread(self._log.recorded, command_id, outcome=outcome)

    async def _alone(self, command: Command, *, retained: bool, after: float) -> Result:
        async with self._lock:
            return await asyncio.to_thread(self._handle, command, retained=retained, after=after)

    def _handle(self, command: Command, *, retained: bool, after: float) -> Result:
        answer = self._answering(command)
        try:
            judged = self._judged(command, answer, retained=retained, after=after)
            result = judged or self._act(command, answer)
        except StorageError as error:
            result = answer(outcome=Outcome.FAILED, reason=f"the meter's disk refuses: {error}")
        self._tell(result)
        return result

    @staticmethod
    def _answering(command: Command) -> Answer:
        """What makes this command's result."""
        names = ("command_id", "position", "origin", "issued_at", "expires_at")
        of_command = {name: getattr(command, name) for name in names}
        return lambda **said: Result.model_validate(of_command | {"ts": clock.now(), **said})

    @staticmethod
    def _tell(result: Result) -> None:
        _log.info("%s to %s: %s %s", result.command_id, result.position, result.outcome, result.reason)

    def _judged(self, command: Command, answer: Answer, *, retained: bool, after: float) -> Result | None:
        """The refusal, or None when the command is to be obeyed and its id is on the disk."""
        repeated = self._log.knows(command.command_id)
        # Refused ones too: who was told "refused" must not see the relay move at a second delivery.
        recorded = not (retained or repeated) and self._log.record(command.command_id, now=clock.now())
        if recorded:
            self._log.describe(answer(outcome=Outcome.FAILED, reason="interrupted"))
        given = Circumstances(
            now=clock.now(),  # the disk may have taken longer than the command is valid
            bridge_time=self.bridge_time.latest(now=monotonic()),
            waited=monotonic() - after,
            relay=self.relay if self.exists else None,
            position_known=self.known,
            block=self.block,
            block_unknown=self._log.bridge_vouches and not self._has_blocks,
            retained=retained,
            repeated=repeated,
            hasty=self._hasty(),
            overloaded=not (retained or repeated or recorded),
        )
        verdict = rules.refusal(command, given)
        if verdict is None:
            return None
        result = answer(outcome=verdict.outcome, reason=verdict.reason, cause=verdict.cause)
        if recorded:
            self._log.finish(result)
        return result

    def _hasty(self) -> bool:
        """Whether the relay was driven as often as it may within the last period."""
        full = 0 < len(self._operated) == self._operated.maxlen
        return full and monotonic() - self._operated[0] < rules.PERIOD

    def _act(self, command: Command, answer: Answer) -> Result:
        before = self._log.relay
        result = answer(outcome=Outcome.DONE)
        after = Relay(
            position=command.position,
            operations=before.operations + 1,
            ts=result.ts,
            command_id=command.command_id,
        )
        self._operated.append(monotonic())
        try:
            self._pin.drive(command.position)
            self._log.finish(result, relay=after)
        except RelayError as error:
            self._put_back(before.position)
            result = answer(outcome=Outcome.FAILED, reason=f"the relay was not driven: {error}")
            self._log.finish(result)
        except StorageError:
            self._put_back(before.position)
            raise
        return result

    def _put_back(self, position: Position) -> None:
        """Back to the saved position, which a restart would bring back anyway."""
        try:
            self._pin.drive(position)
        except RelayError as error:
            _log.error("the relay may not be in its saved position, %s: %s", position, error)
