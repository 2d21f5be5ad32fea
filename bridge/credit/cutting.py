"""When a house is warned, cut and restored for its credit, and why not. Pure.

A house loses power through this, so each rule is a reason *not* to cut, and what is not known is one of
them. The order is always: exhausted, warned, then cut when the warning time has passed. A restore undoes our
own cut only. Every order is stored before it is sent (`bridge.credit.orders`), so that one exhaustion is one
cut, whatever dies in between.

>>> held = Decision("3f2504e0-4f89-41d3-9a0c-0305e82c3301", Act.CUT, "exhausted", held="a lifeline account")
>>> held.do
False
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain

from bridge.credit.standing import Standing, State
from broker.contract.commands import NOT_MOVED, Circumstances, against_switching
from broker.contract.known import Known
from broker.contract.messages import format_ts
from broker.contract.relay import Position, Relay
from broker.contract.result import Outcome

SILENCE = timedelta(hours=2)
"""Without a booked interval for so long it is not known what the house has used: it is not cut."""
CLOCK = timedelta(minutes=5)
"""A time that is further ahead of ours is the sign of a wrong clock."""
SETTLES = timedelta(seconds=60)
"""After so long a command has expired, and a relay that has not moved since will not move by it."""
AGAIN = timedelta(minutes=10)
"""Between two orders for one meter, after one that was certainly not carried out."""
ATTEMPTS = 3
"""Cuts for one exhaustion that were certainly not carried out; then a person looks."""
MINUTE = timedelta(minutes=1)
NOT_CARRIED_OUT = (Outcome.REFUSED, Outcome.EXPIRED, NOT_MOVED)
"""Outcomes that say that the relay has not moved, and will not by this command."""
LOOK = "the meter's state was not looked at"


class Act(StrEnum):
    """What we do to an account's meter."""

    WARN = "warn"
    CUT = "cut"
    RESTORE = "restore"
    FORGET = "forget"
    """The relay was closed by others after our cut: it is over, and nothing is sent."""

    @property
    def position(self) -> Position | None:
        """Where the relay is to be; None: it stays."""
        return {Act.CUT: Position.OPEN, Act.RESTORE: Position.CLOSED}.get(self)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the operator has set."""

    warning: timedelta
    """At least so long between the warning and the cut."""
    cuts_a_minute: int
    restore_at: int
    """At this balance and above it, power comes back."""
    friendly: Callable[[datetime], bool]
    """Whether no house is cut at this time."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order of ours for a meter, as it is in the store."""

    command_id: str
    meter_id: str
    act: Act
    for_since: datetime
    """The exhaustion that it is for: `Standing.exhausted_since`."""
    at: datetime
    """When it was recorded, before it was sent."""
    attempt: int = 1
    operations: int | None = None
    """Of the relay then."""
    outcome: str = ""
    """Empty: not known."""
    reason: str = ""


@dataclass(frozen=True)
class Account:
    """All that a decision needs of one account."""

    standing: Standing
    meter: Known | None = None
    """None: not looked at; a Known without a birth is a meter that the broker does not know."""
    orders: tuple[Order, ...] = ()
    """Ours for this meter, the oldest first."""
    balanced: bool = True
    """Its entries in the ledger are zero together, and its balance is the sum of its own."""
    running: bool = False
    """A command of others to this meter is under way."""


@dataclass(frozen=True)
class Decision:
    """What is to be done to a meter, or what would be and is not."""

    meter_id: str
    act: Act
    reason: str
    held: str = ""
    """Why it is not done now; empty: do it."""

    @property
    def do(self) -> bool:
        """Whether it is to be done now."""
        return not self.held


def decide(
    accounts: Iterable[Account],
    *,
    now: datetime,
    rules: Rules,
    recent_cuts: Sequence[datetime],
) -> list[Decision]:
    """What is to be done now, and what is held and why: restores first, then the longest exhausted.

    ``recent_cuts``: when we recorded our latest cuts.
    """
    budget = rules.cuts_a_minute - sum(at > now - MINUTE for at in recent_cuts)
    found: list[Decision] = []
    cuts: list[Decision] = []
    for account in sorted(accounts, key=_urgency):
        decision = _restore(account, now, rules) or _exhausted(account, now, rules)
        if decision is not None:
            (cuts if decision.act is Act.CUT else found).append(decision)
    for cut in cuts:
        over = cut.do and budget <= 0
        found.append(replace(cut, held=f"the limit is {rules.cuts_a_minute} cuts a minute") if over else cut)
        budget -= found[-1].do
    return found


def _urgency(account: Account) -> tuple[bool, float, str]:
    standing = account.standing
    since = standing.exhausted_since.timestamp() if standing.exhausted_since else float("inf")
    return standing.cut_at is None, since, standing.meter_id


def _exhausted(account: Account, now: datetime, rules: Rules) -> Decision | None:
    """The warning or the cut of an account that is exhausted; None for another."""
    standing = account.standing
    since = standing.exhausted_since
    if standing.state is not State.EXHAUSTED or standing.cut_at is not None or since is None:
        return None
    warned = standing.warned_at if standing.warned_at and standing.warned_at >= since else None
    reason = f"the credit is exhausted since {format_ts(since)}"
    doubts = _doubts(standing, now, balanced=account.balanced)
    if warned is None:
        return Decision(standing.meter_id, Act.WARN, reason, held=next(doubts, ""))
    held = next(chain(doubts, _too_early(warned, now, rules), _ordered(account, since, now)), "")
    reason = f"{reason}, warned at {format_ts(warned)}"
    return Decision(standing.meter_id, Act.CUT, reason, held or _against(account, Position.OPEN))


def _doubts(standing: Standing, now: datetime, *, balanced: bool) -> Iterator[str]:
    """Why this account is not to be cut, nor warned of a cut, whatever the time is."""
    since, booked, waits = standing.exhausted_since, standing.booked_until, standing.waiting_newest
    assert since is not None
    if not standing.prepaid:
        yield "the account is postpaid"
    if standing.lifeline:
        yield "a lifeline account is never cut"
    if not balanced:
        yield "the ledger is not in balance: a person must look"
    if since > now + CLOCK or (booked is not None and booked > now + CLOCK):
        yield "its times are ahead of our clock: a clock is wrong"
    if booked is None:
        yield "nothing was ever booked for it"
    elif booked < now - SILENCE:
        yield f"no interval was booked since {format_ts(booked)}: silence never cuts"
    if standing.waiting and (waits is None or waits >= since - SILENCE):
        yield "a missing or doubtful interval of this time waits for a person"


def _too_early(warned: datetime, now: datetime, rules: Rules) -> Iterator[str]:
    if now < warned + rules.warning:
        yield f"the warning of {format_ts(warned)} has not lasted for {_words(rules.warning)} yet"
    if rules.friendly(now):
        yield "these are friendly hours"


def _ordered(account: Account, since: datetime, now: datetime) -> Iterator[str]:
    """What our earlier orders say against another cut."""
    yield from _under_way(account)
    cuts = [one for one in account.orders if one.act is Act.CUT and one.for_since == since]
    for order in cuts:
        if order.outcome and order.outcome not in NOT_CARRIED_OUT:
            yield f"its cut of {format_ts(order.at)} was {order.outcome}: a person decides about another"
    if len(cuts) >= ATTEMPTS:
        yield f"{len(cuts)} cuts were not carried out: a person must look"
    if cuts and now < cuts[-1].at + AGAIN:
        yield f"the cut of {format_ts(cuts[-1].at)} was not carried out: again after {_words(AGAIN)}"


def _under_way(account: Account) -> Iterator[str]:
    for order in account.orders:
        if not order.outcome and order.act.position:
            what = f"what became of the {order.act} of {format_ts(order.at)} is not known"
            yield f"{what}: it waits for the meter, or for a person"


def _restore(account: Account, now: datetime, rules: Rules) -> Decision | None:
    """The end of our own cut; None where there is none, or no reason to end it."""
    standing = account.standing
    if standing.cut_at is None:
        return None
    if not standing.prepaid or standing.lifeline:
        reason = "the account is not to be cut any more"
    elif standing.balance >= rules.restore_at:
        reason = f"there is credit again; it was cut at {format_ts(standing.cut_at)}"
    else:
        return None
    under_way = next(_under_way(account), "")
    if not under_way and _closed_by_others(account):
        return Decision(standing.meter_id, Act.FORGET, "the relay was closed by others after our cut")
    held = under_way or next(_not_ours(account, now), "") or _against(account, Position.CLOSED)
    return Decision(standing.meter_id, Act.RESTORE, reason, held)


def _closed_by_others(account: Account) -> bool:
    """Whether the house has power after our cut though we did not restore it."""
    meter, orders = account.meter, account.orders
    ours = {one.command_id for one in orders if one.act is Act.RESTORE}
    return (
        meter is not None
        and meter.online
        and meter.relay is not None
        and meter.relay.position is Position.CLOSED
        and meter.relay.command_id not in ours
    )


def _not_ours(account: Account, now: datetime) -> Iterator[str]:
    """Why this cut is not ours to end, or not now."""
    done = [one for one in account.orders if one.act is not Act.WARN and one.outcome == Outcome.DONE]
    tried = [one for one in account.orders if one.act is Act.RESTORE and one.outcome != Outcome.DONE]
    if not done or done[-1].act is not Act.CUT:
        yield "we know of no cut of ours to undo"
    elif account.meter is not None and account.meter.relay is not None:
        relay = account.meter.relay
        if relay.position is not Position.OPEN or not _moved_by(relay, done[-1]):
            yield "others have switched since our cut: a person decides"
    if tried and now < tried[-1].at + AGAIN:
        yield f"the restore of {format_ts(tried[-1].at)} was not carried out: again after {_words(AGAIN)}"


def _moved_by(relay: Relay, cut: Order) -> bool:
    """By its word, or as the only operation since: what comes late, or is told again, has no command_id."""
    if relay.command_id is None and cut.operations is not None:
        return relay.operations == cut.operations + 1
    return relay.command_id == cut.command_id


def _against(account: Account, position: Position) -> str:
    """What the meter's state says against it, in the words of all commands; empty: nothing."""
    if account.meter is None:
        return LOOK
    objection = against_switching(account.meter, position, Circumstances(running=account.running))
    return objection.reason if objection else ""


def settled(order: Order, meter: Known | None, in_ledger: str, now: datetime) -> str:
    """The outcome of an order that has none, or `DONE` after all; empty: as before.

    ``in_ledger``: the meter's answer in the ledger of commands; a timeout there is none. The proof that a
    command was not carried out is the meter's own: it is online, and its relay has made no operation since.
    No clock of a meter counts here.
    """
    relay, wanted = meter.relay if meter is not None else None, order.act.position
    if relay is not None and relay.command_id == order.command_id and relay.position is wanted:
        return Outcome.DONE  # also when it was thought to be not carried out
    if order.outcome:
        return ""
    if in_ledger in (Outcome.DONE, Outcome.REFUSED, Outcome.EXPIRED, Outcome.FAILED):
        return in_ledger
    if meter is None or relay is None or not meter.online or now < order.at + SETTLES:
        return ""
    if relay.position is wanted:  # by others: of a restore it is all that was wanted
        return Outcome.DONE if order.act is Act.RESTORE else ""
    return NOT_MOVED if relay.operations == order.operations else ""


def _words(length: timedelta) -> str:
    minutes = length // MINUTE
    return f"{minutes // 60} h" if minutes and minutes % 60 == 0 else f"{minutes} min"
