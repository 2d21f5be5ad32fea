"""One command for each of many meters: at a limited rate, each with its own record.

A neighbourhood that is switched at once draws its inrush current at once, so commands are sent one after the
other. Each is made and checked when it is sent: a fan-out of an hour must not use the state of its beginning.

>>> fan_out = FanOut(client, settings, Position.OPEN, meters)        # doctest: +SKIP
>>> await fan_out.run(rate=2.0, stop=asyncio.Event())                # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiomqtt

from admin.exits import ExitCode
from admin.switching.directory import FEW
from admin.switching.orders import our_command, publish_command, tell_refusal
from broker.contract.commands import ANSWER_SECONDS, TIMED_OUT, against_switching, became, in_vain, parsed
from broker.contract.errors import ContractError
from broker.contract.known import Known
from broker.contract.relay import Command, Position
from broker.contract.result import Outcome, Result
from broker.contract.specs import STATE_KINDS
from broker.mqtt.settings import MqttSettings

NOT_SENT, UNANSWERED, UNMOVED = "not sent", "unanswered", TIMED_OUT
"""Outcomes beside those of the meters; the last one: the meter answered done, and its relay did not move."""
Permit = Callable[[Known, Command], Awaitable[str]]
"""Asked when all is judged, right before a command is sent: why it is not to be, or empty."""


async def _permitted(_meter: Known, _command: Command) -> str:
    return ""


@dataclass
class Order:
    """What becomes of one meter's command."""

    meter: Known
    command: Command | None = None
    sent_at: float | None = None
    """Monotonic seconds."""
    took: float | None = None
    outcome: str = NOT_SENT
    reason: str = ""

    @property
    def waits(self) -> bool:
        """Whether it was sent and the meter can still answer, or move."""
        return self.outcome in (UNANSWERED, UNMOVED)

    def row(self, position: Position) -> dict[str, Any]:
        """For the table and for programs."""
        return {
            "meter": self.meter.name,
            "meter_id": self.meter.meter_id,
            "position": position,
            "outcome": self.outcome,
            "reason": self.reason,
            "seconds": None if self.took is None else round(self.took, 3),
            "command_id": self.command.command_id if self.command else None,
        }


class FanOut:
    """Sends and listens; ``orders`` have the outcome of each.

    ``make``: makes the command for a meter; the user's own if it is not given.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        settings: MqttSettings,
        position: Position,
        meters: Sequence[Known],
        *,
        make: Callable[[Known], Command] | None = None,
        permit: Permit = _permitted,
    ) -> None:
        self.orders = [Order(meter) for meter in meters]
        self._client = client
        self._settings = settings
        self._position = position
        self._make = make or (lambda _: our_command(position))
        self._permit = permit
        self._by_meter = {order.meter.meter_id: order for order in self.orders}
        self._changed = asyncio.Event()

    async def run(self, *, rate: float, stop: asyncio.Event, sent: Callable[[], None]) -> None:
        """Send ``rate`` commands a second until all are out or ``stop``; then wait for the answers."""
        topics, kinds = self._settings.topics, ("result", *STATE_KINDS)
        filters = [topics.meter(meter, kind) for meter in self._by_meter for kind in kinds]
        if len(self._by_meter) > FEW:
            filters = [topics.filter(kind) for kind in kinds]
        await self._client.subscribe([(topic, 1) for topic in filters])
        listening = asyncio.create_task(self._listen(), name="answers")
        try:
            await self._send_all(rate, stop, sent)
            await self._await_answers(listening)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _send_all(self, rate: float, stop: asyncio.Event, sent: Callable[[], None]) -> None:
        due = time.monotonic()
        for order in self.orders:
            # what is refused costs no inrush, and no time
            if against_switching(order.meter, self._position) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await stop.wait()
                due = max(due, time.monotonic()) + 1 / rate
            if stop.is_set():
                return
            await self._send(order)
            sent()

    async def _send(self, order: Order) -> None:
        order.command = command = self._make(order.meter)
        meter_id = order.meter.meter_id
        if objection := against_switching(order.meter, self._position):
            order.outcome, order.reason = Outcome.REFUSED, objection.reason
            await tell_refusal(self._client, self._settings, meter_id, command, objection.reason)
            return
        if why := await self._permit(order.meter, command):
            order.reason = why
            return
        order.outcome, order.sent_at = UNANSWERED, time.monotonic()
        await publish_command(self._client, self._settings, meter_id, command)

    async def _await_answers(self, listening: asyncio.Task[None]) -> None:
        """Until every meter has answered, or cannot any more, or the broker has gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while any(order.waits for order in self.orders) and not listening.done():
                    self._changed.clear()
                    changed = asyncio.create_task(self._changed.wait())
                    try:
                        await asyncio.wait({changed, listening}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        changed.cancel()
        if listening.done() and (error := listening.exception()):
            raise error

    async def _listen(self) -> None:
        async for message in self._client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            with suppress(ContractError):  # a stranger's topic
                topic = self._settings.topics.parse(message.topic.value)
                if order := self._by_meter.get(topic.name):
                    self._take(order, topic.kind, payload, live=not message.retain)
                    self._changed.set()

    def _take(self, order: Order, kind: str, payload: bytes, *, live: bool) -> None:
        if kind != "result":
            order.meter.take_if_valid(kind, payload, live=live)
            if order.outcome == UNMOVED and order.meter.position is self._position:
                self._end(order, Outcome.DONE)
            return
        result = parsed(Result, payload)
        if order.outcome != UNANSWERED or result is None or order.command is None:
            return  # a broker may deliver a command twice: the second answer is a refusal
        if result.command_id != order.command.command_id:
            return
        told = became(result, shows=order.meter.position, wanted=self._position)
        if told is None:
            order.outcome, order.reason = UNMOVED, in_vain(answered=True)
        else:
            self._end(order, told, result.reason)

    def _end(self, order: Order, outcome: str, reason: str = "") -> None:
        order.outcome, order.reason = outcome, reason
        order.took = time.monotonic() - order.sent_at if order.sent_at is not None else None

    @property
    def exit_code(self) -> ExitCode:
        """Exit code: no answer is worse than a refusal; for unsent commands the cause of the end decides."""
        outcomes = {order.outcome for order in self.orders}
        if any(order.waits for order in self.orders):
            return ExitCode.NO_ANSWER
        return ExitCode.OK if outcomes <= {Outcome.DONE, NOT_SENT} else ExitCode.REFUSED
