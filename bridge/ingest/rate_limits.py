"""How much of the bridge one meter, or one issuer of commands, may take: token buckets.

The defaults are far above what an honest meter does: at the shortest interval it takes 20 readings a second,
and after an outage it sends what its outbox holds in batches, each when the last one is stored. What
exceeds a limit is acknowledged to the broker, so that it stands in nobody's way, but is neither stored nor
confirmed: a reading stays in its meter's outbox and comes again, so an honest meter loses none, also
if its limit was set too low.

>>> allowance = Allowance(Rate(per_second=2, burst=3), now=0)
>>> [allowance.take(1, now=0) for _ in range(4)], allowance.take(1, now=500)
([True, True, True, False], True)
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.contract.block import Block
from broker.contract.messages import Message
from broker.contract.relay import Command
from broker.contract.result import Outcome, Refusal, Result

_MAX_KNOWN = 100_000
"""Meters and issuers remembered; a bound for invented ones. Then all begin anew."""

MESSAGES = "too many messages of one meter"
READINGS = "too many readings of one meter"
COMMANDS = "too many commands, results or blocks of one meter"
ISSUER = "too many commands or blocks of one issuer"
REFUSALS = "too many refusals told by one person"
NEW_METERS = "too many new meters in one minute: they wait"


@dataclass(frozen=True)
class Rate:
    """``per_second`` for ever, and ``burst`` at once after a rest."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Limits:
    """The defaults; `bridge.settings` explains them."""

    messages: Rate = Rate(25, 100_000)
    readings: Rate = Rate(25, 1_000_000)
    commands: Rate = Rate(2, 1_000)
    issuer: Rate = Rate(20, 20_000)
    new_meters: Rate = Rate(1000 / 60, 20_000)


UNLIMITED = Rate(0, 2**62)
"""For what services publish."""


class Allowance:
    """A token bucket that counts down, and looks at the clock (ms) only when it is empty.

    Any time of t s lets through at most two bursts and ``per_second`` · t.
    """

    __slots__ = ("_rate", "_since", "left")

    def __init__(self, rate: Rate, *, now: int) -> None:
        self.left: float = rate.burst
        self._rate = rate
        self._since = now

    def take(self, count: int, *, now: int) -> bool:
        """Whether ``count`` more may pass; if not, nothing is taken."""
        self.left -= count
        return self.left >= 0 or self.refill(count, now=now)

    def refill(self, count: int, *, now: int) -> bool:
        """The rest of :meth:`take`, for who has already counted down by ``count``."""
        gained = max(0, now - self._since) / 1000 * self._rate.per_second
        self._since = now
        self.left = min(self._rate.burst, self.left + count + gained)
        if self.left < min(count, self._rate.burst):  # a full bucket lets one of any size through
            return False
        self.left -= count
        return True


@dataclass(frozen=True)
class MeterAllowances:
    """What one meter has left."""

    messages: Allowance
    readings: Allowance
    commands: Allowance
    done: Allowance
    """Results of commands that were obeyed: no flood of others may hide that a relay has moved."""


class Allowances:
    """Who has how much left; one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._meters: dict[str, MeterAllowances] = {}
        self._issuers: dict[str, Allowance] = {}

    def meter(self, meter_id: str, *, now: int) -> MeterAllowances:
        """The meter's; all that is on no topic of the contract counts as one meter, the empty one."""
        found = self._meters.get(meter_id)
        if found is None:
            if len(self._meters) >= _MAX_KNOWN:
                self._meters.clear()
            limits = self._limits
            rates = (limits.messages, limits.readings, limits.commands, limits.commands)
            found = self._meters[meter_id] = MeterAllowances(*(Allowance(rate, now=now) for rate in rates))
        return found

    def excess(self, message: Message, meter_id: str, *, now: int) -> str:
        """Why ``message`` does not go into the ledger; empty when it does."""
        if isinstance(message, Result) and message.outcome is Outcome.DONE:
            return "" if self.meter(meter_id, now=now).done.take(1, now=now) else COMMANDS
        issuer = _issuer(message)
        if issuer and not self._issuer(issuer, now=now).take(1, now=now):
            return ISSUER
        told_by_meter = not isinstance(message, Refusal)
        if told_by_meter and not self.meter(meter_id, now=now).commands.take(1, now=now):
            return COMMANDS
        return ""

    def _issuer(self, name: str, *, now: int) -> Allowance:
        found = self._issuers.get(name)
        if found is None:
            if len(self._issuers) >= _MAX_KNOWN:
                self._issuers.clear()
            found = self._issuers[name] = Allowance(self._limits.issuer, now=now)
        return found


def _issuer(message: Message) -> str:
    """Who wants it, by origin; empty when the meter itself says it."""
    if isinstance(message, Refusal):
        message = message.command or message.block or message
    if not isinstance(message, Command | Block):
        return ""
    return f"{message.origin.category} {message.origin.identifier}"
