"""``meter61850 credit run``: looks at the accounts again and again, and warns, cuts and restores.

What is done is decided in `bridge.credit.cutting`, and noted by `bridge.credit.orders` before it is sent.
Commands go the way of all that the CLI sends to many meters (`admin.switching.fan_out`). A round learns
everything anew, from the database and from what the broker retains: a service that was killed has forgotten
nothing.

>>> await Service(engine, reader, mqtt).serve(seconds=10.0, stop=stop_on_signals())  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice

import aiomqtt
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from admin import mqtt
from admin.switching import directory
from admin.switching.fan_out import FanOut
from bridge.credit import orders
from bridge.credit.alone import Alone
from bridge.credit.candidates import Look, look
from bridge.credit.credit_file import CreditFile, is_friendly
from bridge.credit.cutting import LOOK, NOT_CARRIED_OUT, Account, Act, Decision, Order, Rules, decide, settled
from bridge.credit.settings import CreditSettings
from bridge.store.tariffs import load
from broker.contract.commands import against_switching, new_command
from broker.contract.errors import ConfigurationError, Meter61850Error, reason
from broker.contract.known import Known
from broker.contract.messages import MAX_LINE, utc_now
from broker.contract.relay import Command, Origin, OriginCategory
from broker.contract.result import Outcome
from broker.mqtt.settings import MqttSettings

log = logging.getLogger(__name__)

RATE = 1.0
"""Commands a second: a street that has power again at once draws its inrush current at once."""
CUTS = 20
"""After so many cuts everything is looked at anew."""
SOON = 1.0
"""Seconds until the next round when this one has done something."""
ENDED = (Outcome.DONE, Outcome.REFUSED, Outcome.EXPIRED, Outcome.FAILED)
"""Outcomes that a meter gives; any other stays unknown until the meter's state tells."""
WAITS = "another `credit run` is at work: this one waits until it has ended"
STOPPED = "this service ends"


class Service:
    """Of one database and one broker."""

    def __init__(
        self, engine: Engine, reader: Engine, settings: MqttSettings, credit: CreditSettings | None = None
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._mqtt = settings
        self._credit = credit or CreditSettings()
        self._alone = Alone(engine)
        self._said: dict[str, str] = {}
        """meter_id → why it was held last, so that each reason is logged once."""

    async def serve(self, *, seconds: float, stop: asyncio.Event) -> None:
        """A round every so many ``seconds`` until ``stop``; when something is wrong, nothing is switched."""
        try:
            while not stop.is_set():
                wait = seconds
                try:
                    wait = SOON if await self.round(stop) else seconds
                except (Meter61850Error, DBAPIError, aiomqtt.MqttError, OSError) as error:
                    log.warning("nothing is cut or restored: %s", reason(error))
                except Exception:  # a house that is paid for must not wait for a restart
                    log.exception("nothing is cut or restored")
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await stop.wait()
        finally:
            self._alone.close()

    async def round(self, stop: asyncio.Event) -> bool:
        """One look at all accounts, and what follows from it; whether something was done."""
        if not await asyncio.to_thread(self._alone.have):
            self._say({"": WAITS})
            return False
        self._said.pop("", None)
        rules, seen = await self._look()
        found = _decided(seen, rules)
        self._say({one.meter_id: one.held for one in found if one.held not in ("", LOOK)})
        warned = [await self._warn(one, seen) for one in found if one.do]
        if needed := _needed(seen, found):
            settings = await mqtt.speaking(self._mqtt)
            async with mqtt.connected(settings) as client:
                return await self._with_meters(client, settings, needed, stop) or any(warned)
        return any(warned)

    async def would_do(self) -> list[Decision]:
        """What a round would do now, and what it holds and why; nothing is changed."""
        rules, seen = await self._look()
        found = _decided(seen, rules)
        if needed := _needed(seen, found):
            settings = await mqtt.speaking(self._mqtt)
            async with mqtt.connected(settings) as client:
                known = await directory.these(client, settings.topics, needed)
            rules, seen = await self._look(needed)
            found = _decided(_with(seen, known), rules)
        return found

    async def _look(self, sum_up: Collection[str] = ()) -> tuple[Rules, Look]:
        """What the files say, read anew, and what the database says; ConfigurationError without prices."""
        prices = self._credit.prices()
        if prices is None:
            raise ConfigurationError("there is no credit: METER61850_CREDIT names its file (docs/credit.md)")
        tariffs = load(self._credit.tariffs) if self._credit.tariffs else None
        hours, file = prices.credit.friendly(tariffs), prices.credit
        seen = await asyncio.to_thread(look, self._reader, file.limits, now=utc_now(), sum_up=sum_up)
        return _rules(file, lambda at: is_friendly(hours, at)), seen

    async def _with_meters(
        self, client: aiomqtt.Client, settings: MqttSettings, needed: set[str], stop: asyncio.Event
    ) -> bool:
        """The part of a round that needs the meters' state: settle, restore, else cut."""
        known = await directory.these(client, settings.topics, needed)
        _, seen = await self._look()
        await asyncio.to_thread(self._settle, seen, known)
        rules, seen = await self._look(needed)
        seen = _with(seen, known)
        found = _decided(seen, rules)
        self._say({one.meter_id: one.held for one in found if one.held})
        over = [_ordered(one, seen.accounts[one.meter_id]) for one in found if one.act is Act.FORGET]
        done = [not await self._note(order, rules) for order in over]
        for act in (Act.RESTORE, Act.CUT):
            chosen = _chosen(found, act)
            if chosen:  # of what is seen now a long row of restores leaves nothing that cuts may rest on
                return await _Batch(self, client, settings, act, chosen, seen, rules).run(stop) or any(done)
        return any(done)

    def _settle(self, seen: Look, known: Mapping[str, Known]) -> None:
        """Note what became of orders whose outcome is not known."""
        for meter_id in seen.unsettled:
            for order in seen.accounts[meter_id].orders:
                told = seen.in_ledger.get(order.command_id, "")
                possible = not order.outcome or order.outcome in NOT_CARRIED_OUT
                outcome = settled(order, known.get(meter_id), told, utc_now()) if possible else ""
                if outcome:
                    log.info("%s: the %s of %s: %s", meter_id, order.act, order.at, outcome)
                    orders.end(self._engine, order.command_id, outcome, now=utc_now())

    async def _warn(self, decision: Decision, seen: Look) -> bool:
        return decision.act is Act.WARN and not await self._note(
            _ordered(decision, seen.accounts[decision.meter_id]), None
        )

    async def _note(self, order: Order, rules: Rules | None) -> str:
        """Into the store; why not, or empty."""
        return await asyncio.to_thread(self.note, order, rules)

    def note(self, order: Order, rules: Rules | None) -> str:
        """The last look before an order: is it still ours to give? Why not, or empty: it is in the store."""
        if not self._alone.have():
            return WAITS
        if rules is not None and order.act is Act.CUT and rules.friendly(utc_now()):
            return "these are friendly hours"
        limit = rules.cuts_a_minute if rules is not None else 0
        why = orders.record(self._engine, replace(order, at=utc_now()), cuts_a_minute=limit)
        log.info("%s: %s: %s", order.meter_id, order.act, why or order.reason)
        return why

    def ended(self, command_id: str, outcome: str) -> None:
        """Into the store, what became of an order."""
        orders.end(self._engine, command_id, outcome, now=utc_now())

    def _say(self, held: dict[str, str]) -> None:
        """Log what is held, once for each reason."""
        for meter_id, why in held.items():
            if self._said.get(meter_id) != why:
                log.info("%s", f"{meter_id}: not now: {why}" if meter_id else why)
        self._said |= held


class _Batch:
    """Commands of one kind, each noted right before it is sent."""

    def __init__(
        self,
        service: Service,
        client: aiomqtt.Client,
        settings: MqttSettings,
        act: Act,
        chosen: Mapping[str, Decision],
        seen: Look,
        rules: Rules,
    ) -> None:
        self._service = service
        self._rules = rules
        self._stop = asyncio.Event()
        self._orders = {one: _ordered(chosen[one], seen.accounts[one]) for one in chosen}
        self._noted: set[str] = set()
        """command_ids."""
        position = act.position
        assert position is not None, act
        meters = [meter for one in chosen if (meter := seen.accounts[one].meter) is not None]
        self._fan_out = FanOut(client, settings, position, meters, make=self._command, permit=self._permit)

    async def run(self, stop: asyncio.Event) -> bool:
        """Send them, wait for the answers, and note the outcomes, whatever happens; whether one was sent."""
        self._stop = stop
        try:
            await self._fan_out.run(rate=RATE, stop=stop, sent=lambda: None)
        finally:
            await asyncio.shield(asyncio.to_thread(self._note_outcomes))
        return bool(self._noted)

    def _command(self, meter: Known) -> Command:
        order = self._orders[meter.meter_id]
        position = order.act.position
        assert position is not None, order
        if against_switching(meter, position):  # it is told as refused, and its order was not given
            order = replace(order, command_id="")
        via = f"credit {socket.gethostname()}: {order.reason}"[:MAX_LINE]
        origin = Origin(category=OriginCategory.AUTOMATIC_REMOTE, identifier=orders.NAME, via=via)
        return new_command(position, origin, command_id=order.command_id)

    async def _permit(self, meter: Known, command: Command) -> str:
        if self._stop.is_set():
            return STOPPED
        order = self._orders[meter.meter_id]
        relay = meter.relay
        order = replace(order, operations=relay.operations if relay is not None else None)
        why = await asyncio.to_thread(self._service.note, order, self._rules)
        if not why:
            self._noted.add(command.command_id)
        return why

    def _note_outcomes(self) -> None:
        for order in self._fan_out.orders:
            command = order.command
            if command is not None and command.command_id in self._noted and order.outcome in ENDED:
                log.info("%s: %s: %s %s", order.meter.meter_id, command.position, order.outcome, order.reason)
                self._service.ended(command.command_id, order.outcome)


def _rules(file: CreditFile, friendly: Callable[[datetime], bool]) -> Rules:
    return Rules(
        warning=file.file.warning,
        cuts_a_minute=file.file.cuts_per_minute,
        restore_at=max(file.restore, 1 - file.limits.emergency),  # else it is exhausted still
        friendly=friendly,
    )


def _decided(seen: Look, rules: Rules) -> list[Decision]:
    return decide(seen.accounts.values(), now=utc_now(), rules=rules, recent_cuts=seen.recent_cuts)


def _chosen(found: Iterable[Decision], act: Act) -> dict[str, Decision]:
    """What is sent now, by meter: of cuts only the first, for they may not rest on an old look."""
    several = (one for one in found if one.do and one.act is act)
    return {one.meter_id: one for one in islice(several, CUTS if act is Act.CUT else None)}


def _needed(seen: Look, found: Iterable[Decision]) -> set[str]:
    """The meters whose state decides."""
    return {one.meter_id for one in found if one.held == LOOK} | seen.unsettled


def _with(seen: Look, known: Mapping[str, Known]) -> Look:
    accounts = {one: replace(account, meter=known.get(one)) for one, account in seen.accounts.items()}
    return replace(seen, accounts=accounts)


def _ordered(decision: Decision, account: Account) -> Order:
    return orders.new_order(decision, account.standing, account.orders, account.meter, utc_now())
