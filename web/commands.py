"""Relay commands of our users: checked, sent once, and followed until the relay shows the new position.

Rights, checks, expiry and ledger are those of the CLI (``broker.contract.commands``). An idempotency key
determines the command_id (RFC 9562 UUID of version 5 over account and key). A repeated request therefore
finds the same command in the ledger, also after a restart, and is never sent again.

>>> commands.order(meter_id, Position.OPEN, account="anna", address="", key=None)  # doctest: +SKIP
Entry(state='sent', ...)
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.exc import SQLAlchemyError

from bridge.store.tables import Command as Row
from bridge.store.tables import moment
from broker.contract.commands import (
    ANSWER_SECONDS,
    TIMED_OUT,
    VALIDITY,
    Circumstances,
    against_switching,
    became,
    in_vain,
    new_command,
)
from broker.contract.errors import ContractError, NotAuthorizedError, UnavailableError
from broker.contract.messages import Message, format_ts, utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Outcome, Refusal, Result
from broker.contract.topics import Topics
from web.live.hub import Hub
from web.live.state import Live
from web.sending import NAME, Sender

_NAMESPACE = uuid.UUID("6d657465-7236-5138-a530-776562636d64")
Ledger = Callable[[str], Row | None]
"""The ledger's row of a command_id; it blocks, and raises UnavailableError or SQLAlchemyError without
the store."""
REMEMBERED = 10_000
"""Commands that are followed here; older ones are in the ledger alone."""
SENT, ANSWERED, NO_ANSWER = "sent", "answered", TIMED_OUT
"""States beside the contract's outcomes; answered: the meter has answered done, its relay not moved."""
STATES = (SENT, ANSWERED, *Outcome, NO_ANSWER)
"""All that we know; a newer meter may answer with an outcome of its own."""
LOST = "the broker disconnected: it may have arrived or not"


class ConflictError(ContractError):
    """The idempotency key was used for another command."""


@dataclass
class Entry:
    """A command and what became of it; None is what the ledger does not know."""

    command_id: str
    meter_id: str
    position: Position | None
    issued_at: datetime | None
    expires_at: datetime | None
    origin: str | None
    state: str = SENT
    reason: str = ""
    ends: float = 0.0
    """Monotonic seconds: without an answer then, there will be none."""
    answered: bool = False
    """By its meter: so it was sent."""

    @property
    def unmoved(self) -> bool:
        """Whether it has ended since the relay did not move in time."""
        return self.state == NO_ANSWER and self.answered

    @property
    def final(self) -> bool:
        """Whether nothing more is expected."""
        return self.state not in (SENT, ANSWERED)

    def document(self) -> dict[str, Any]:
        """For programs; times as in the contract."""
        return {
            "command_id": self.command_id,
            "meter_id": self.meter_id,
            "position": self.position,
            "state": self.state,
            "reason": self.reason,
            "final": self.final,
            "issued_at": format_ts(self.issued_at) if self.issued_at else None,
            "expires_at": format_ts(self.expires_at) if self.expires_at else None,
            "origin": self.origin,
        }


def command_id(account: str, key: str) -> str:
    """The command_id that an account's idempotency key makes."""
    return str(uuid.uuid5(_NAMESPACE, f"{account}\n{key}"))


def entry_of(row: Row) -> Entry:
    """A command from the ledger."""
    return Entry(
        row.command_id,
        row.meter_id,
        position=Position(row.position) if row.position else None,
        issued_at=moment(row.issued_at) if row.issued_at else None,
        expires_at=moment(row.expires_at) if row.expires_at else None,
        origin=f"{row.origin_category} {row.origin_identifier}".strip() or None,
        state=row.outcome or SENT,
        reason=row.reason,
        answered=row.result_ts is not None,
    )


def _new(meter_id: str, command: Command) -> Entry:
    return Entry(
        command.command_id,
        meter_id,
        position=command.position,
        issued_at=command.issued_at,
        expires_at=command.expires_at,
        origin=f"{command.origin.category} {command.origin.identifier}",
    )


class Commands:
    """Sends and follows; all in the event loop's thread."""

    def __init__(self, topics: Topics, live: Live, sender: Sender, hub: Hub, *, ledger: Ledger) -> None:
        self._topics = topics
        self._live = live
        self._sender = sender
        self._hub = hub
        self._ledger = ledger
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._open: dict[str, Entry] = {}
        """Those of them that are not final."""
        live.on_result, live.on_relay = self.take_result, self.take_relay

    def get(self, command_id: str) -> Entry | None:
        """The command of that id, if it is remembered here."""
        return self._entries.get(command_id)

    async def order(
        self,
        meter_id: str,
        position: Position,
        *,
        account: str,
        address: str,
        key: str | None,
        expires_at: datetime | None = None,
    ) -> Entry:
        """Judge and send a command; refused ones are in the ledger, too. ConflictError for a used key.

        ``address``: the client's, for the audit. ``expires_at``: the client's limit, where it is the earlier.
        """
        asked_id = command_id(account, key) if key else ""
        if asked_id and (known := await self._given_before(asked_id)):
            if known.meter_id != meter_id or known.position not in (None, position):
                raise ConflictError("this Idempotency-Key was used for another command: choose a new one")
            return known
        origin = Origin(
            category=OriginCategory.REMOTE_CONTROL, identifier=f"web {account}"[:64], via=f"web {address}"
        )
        command = new_command(position, origin, command_id=asked_id)
        if expires_at is not None:
            command = command.model_copy(update={"expires_at": min(command.expires_at, expires_at)})
        entry = _new(meter_id, command)
        given = Circumstances(
            late=command.expires_at <= command.issued_at,
            broker_up=self._live.fleet.broker_up,
            running=any(True for _ in self._of(meter_id)),
        )
        objection = against_switching(self._live.known(meter_id), position, given)
        self._remember(entry)
        if objection:
            self._refuse(entry, command, objection.reason)
        else:
            await self._send(entry, command)
        return entry

    async def _given_before(self, command_id: str) -> Entry | None:
        """The command of that id, as we or the ledger remember it.

        Without the ledger it may be sent again: the meter refuses a command_id that it has had.
        """
        if command_id not in self._entries:
            with suppress(UnavailableError, SQLAlchemyError):
                row = await asyncio.to_thread(self._ledger, command_id)
                if row is not None and command_id not in self._entries:
                    return entry_of(row)
        return self._entries.get(command_id)

    def _of(self, meter_id: str) -> Iterator[Entry]:
        """The commands of a meter that are under way."""
        return (entry for entry in self._open.values() if entry.meter_id == meter_id)

    def _remember(self, entry: Entry) -> None:
        entry.ends = time.monotonic() + ANSWER_SECONDS
        self._entries[entry.command_id] = self._open[entry.command_id] = entry
        if len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)

    async def _send(self, entry: Entry, command: Command) -> None:
        self._tell(entry)
        topic = self._topics.meter(entry.meter_id, "command")
        try:
            await self._sender.publish(topic, command.payload(), expiry=VALIDITY)
        except NotAuthorizedError as error:
            self._refuse(entry, command, str(error))
        except (UnavailableError, asyncio.CancelledError):
            if not entry.answered:
                self._refuse(entry, command, LOST)

    def _refuse(self, entry: Entry, command: Command, reason: str) -> None:
        """Refused by us, with a record in the ledger; the meter's own answer counts more."""
        refusal = Refusal(meter_id=entry.meter_id, command=command, reason=reason, ts=utc_now())
        self._sender.tell_later(self._topics.refused(NAME), refusal.payload())
        self._end(entry, Outcome.REFUSED, reason)

    # --- the meter's messages -----------------------------------------------------------------------

    def take_result(self, meter_id: str, message: Message) -> None:
        """The first answer of the meter stands; a broker may deliver a command twice."""
        assert isinstance(message, Result)
        entry = self._entries.get(message.command_id)
        if entry is None or entry.answered or entry.meter_id != meter_id:
            return
        entry.answered = True
        told = self._became(entry, message)
        if told is not None:
            self._end(entry, told, message.reason)
        else:
            entry.state = ANSWERED
            self._open[message.command_id] = entry  # it may have been LOST before
            self._tell(entry)

    def take_relay(self, meter_id: str, message: Message) -> None:
        """The relay has moved."""
        assert isinstance(message, Relay)
        late = self._entries.get(message.command_id or "")
        after_all = [late] if late is not None and late.meter_id == meter_id and late.unmoved else []
        for entry in [*self._of(meter_id), *after_all]:
            if (entry.state == ANSWERED or entry.unmoved) and entry.position is message.position:
                self._end(entry, Outcome.DONE)

    def sweep(self) -> None:
        """End commands without an answer in time."""
        now = time.monotonic()
        for entry in [entry for entry in self._open.values() if now > entry.ends]:
            self._end(entry, NO_ANSWER, in_vain(answered=entry.answered))

    def _became(self, entry: Entry, result: Result) -> str | None:
        assert entry.position is not None, "it is a command of ours"
        return became(result, shows=self._live.known(entry.meter_id).position, wanted=entry.position)

    def _end(self, entry: Entry, state: str, reason: str = "") -> None:
        entry.state, entry.reason = str(state), reason
        self._open.pop(entry.command_id, None)
        self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        birth = self._live.known(entry.meter_id).birth
        self._hub.tell(
            "command",
            orjson.dumps(entry.document()),
            meter_id=entry.meter_id,
            address_code=birth.address_code if birth else "",
        )
