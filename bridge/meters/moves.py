"""Whether a relay has shown the position that its meter says is reached: only then a command is done.

The rule is that of all who issue commands (`broker.contract.commands.became`). A `done` is in the ledger at
once; where
the relay is known to be elsewhere, and does not show the position in the time that an issuer waits, the entry
ends as timed out. It is done after all when the relay shows it later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from bridge.mqtt.notice import Notice
from bridge.store.tables import Command as Row
from bridge.store.tables import Meter, at_ms
from broker.contract.commands import ANSWER_SECONDS, NOT_MOVED
from broker.contract.relay import Relay
from broker.contract.result import Outcome, Result

SHOWN = 0
"""Value of ``moves_by``: the relay has shown it."""
_WAIT_MS = round(ANSWER_SECONDS * 1000)
_CHUNK = 500


Shown = Mapping[str, list[Notice]]
"""meter_id → what its relay has told."""


def shown_by(relays: Sequence[Notice]) -> Shown:
    """By meter."""
    shown: dict[str, list[Notice]] = {}
    for relay in relays:
        shown.setdefault(relay.meter_id, []).append(relay)
    return shown


def command_ids(relays: Sequence[Notice]) -> set[str]:
    """The commands that brought relays where they are."""
    told = (relay.message for relay in relays)
    return {one.command_id for one in told if isinstance(one, Relay) and one.command_id}


def waiting(session: Session, relays: Sequence[Notice]) -> list[Row]:
    """Entries that wait for their relay, of meters whose relay has just told something."""
    meter_ids, found = sorted({relay.meter_id for relay in relays}), list[Row]()
    for start in range(0, len(meter_ids), _CHUNK):
        some = col(Row.meter_id).in_(meter_ids[start : start + _CHUNK])
        found += session.exec(select(Row).where(some, col(Row.moves_by) > SHOWN))
    return found


def note(row: Row, shown: Shown, *, fresh: bool) -> Notice | None:
    """What has shown the position that was wanted, for this command or while it is waited for; if any has.

    ``fresh``: its result has come just now. Of an older one nothing is left to know.
    """
    waits, open_ = row.moves_by is not None and row.moves_by > SHOWN, row.outcome == ""
    if not (waits or open_ or fresh or row.reason == NOT_MOVED):
        return None
    for relay in shown.get(row.meter_id, ()):
        told = relay.message
        ours = isinstance(told, Relay) and (waits or told.command_id == row.command_id)
        if ours and isinstance(told, Relay) and told.position == row.position:
            if row.reason == NOT_MOVED:
                row.outcome, row.reason = Outcome.DONE, f"told as {row.outcome} before: {NOT_MOVED}"
            row.moves_by = SHOWN
            return relay
    return None


def expect(session: Session, done: Mapping[str, tuple[Row, Result]], *, now: int) -> None:
    """These entries are done by their meters' word: wait for those whose relay is elsewhere."""
    meter_ids = sorted({row.meter_id for row, _ in done.values()})
    relays: dict[str, str] = {}
    for start in range(0, len(meter_ids), _CHUNK):
        some = col(Meter.meter_id).in_(meter_ids[start : start + _CHUNK])
        relays |= dict(session.exec(select(Meter.meter_id, Meter.relay).where(some)).all())
    for row, result in done.values():
        old = now - at_ms(result.ts) > _WAIT_MS  # told again: the relay may have moved on since
        relay = relays.get(row.meter_id, "")
        if row.outcome == Outcome.DONE and row.moves_by is None and not old:
            row.moves_by = now + _WAIT_MS if relay and row.position and relay != row.position else SHOWN
