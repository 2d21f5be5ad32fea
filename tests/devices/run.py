"""One run: start the town, kill by the plan, let it settle, and compare what was told with the store.

>>> verdict = run(folder, Layout(devices=12), seed=7, seconds=60)  # doctest: +SKIP
>>> verdict.passed
True
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.devices.ledger import BEHIND_SECONDS, Ledger, Row, audit
from tests.devices.plan import Kill, kills
from tests.devices.told import read_book
from tests.devices.town import WIRED, Layout, Town, Usage, last_of_all, left, left_of_all, town
from tests.faults.cards import COLUMNS, Name
from tests.faults.cards import Row as BookRow
from tests.faults.ledger import read_book as read_witness
from tests.faults.ledger import read_outbox
from tests.faults.site import tail
from tests.faults.stored import Stored, read_stored, told_upto

START_SECONDS = 900.0
SETTLE_SECONDS = 900.0
POLL_SECONDS = 0.25
MOST_LEFT = 2
"""Readings that a meter may be about to send when it is stopped."""


class NotSettledError(AssertionError):
    """What was waited for did not happen in time."""


@dataclass
class Verdict:
    """What came of a run."""

    killed: Sequence[Kill]
    ledger: Ledger
    wired: int
    """Readings of wired meters that are stored as they were taken."""
    usage: Usage
    """Of the adapter."""
    settled_after: float

    @property
    def passed(self) -> bool:
        """Nothing is wrong."""
        return self.ledger.balanced


def run(
    folder: Path,
    layout: Layout,
    *,
    seed: int,
    seconds: float,
    gap: float = 15.0,
    behind: float = BEHIND_SECONDS,
    say: Callable[[str], None],
) -> Verdict:
    """Do it all; ``say`` is told where it is."""
    plan, before, settled = kills(seed, seconds=seconds, gap=gap), Ledger(), 0.0
    with town(folder, layout) as made:
        try:
            say(f"starting {layout.counts}")
            started = _until(made, "first readings", lambda: _unheard(made, {}), START_SECONDS)
            say(f"every device is in the store after {started:.0f} s")
            _rage(made, plan, seconds, say)
            settled = _settle(made, say)
        except NotSettledError as error:
            before.tell("not settled", [error])
        made.look()
        for name, program in made.programs.items():
            if program.running and (code := program.stop()):
                before.tell("did not end cleanly", [f"{name}: exit code {code}\n{tail(program.log)}"])
        stored = read_stored(made.url)
        told = [one for kind in layout.counts if kind not in WIRED for one in read_book(made.book(kind))]
        wired = {meter_id for ids in made.wired.values() for meter_id in ids}
        rows = [_row(name, row) for name, row in stored.rows if name.meter_id not in wired]
        waiting = left_of_all(made.adapter_store)
        held = {(row.meter_id, row.epoch, row.seq) for row in rows}
        more = [row for row in waiting if (row.meter_id, row.epoch, row.seq) not in held]
        ledger = audit(told, [*rows, *more], made.away, behind=behind)
        for fault, shown in before.faults.items():
            ledger.tell(fault, shown)
        _audit_names(ledger, made, rows, waiting)
        count = _audit_wired(ledger, made, stored)
        ledger.tell("dead letter", (f"{topic}: {cause}" for topic, _, cause in stored.dead))
        return Verdict(plan, ledger, count, made.usage, settled)


def _row(name: Name, row: BookRow) -> Row:
    told = zip(COLUMNS, row.values, strict=True)
    return Row(*name, row.ts, {column: float(value) for column, value in told if value is not None})


def _rage(made: Town, plan: Sequence[Kill], seconds: float, say: Callable[[str], None]) -> None:
    """Kill and start again by the plan; returns when all are back."""
    began = time.monotonic()
    deeds = [(kill.at, made.kill, kill.target) for kill in plan]
    deeds += [(kill.at + kill.away, made.start, kill.target) for kill in plan]
    for at, do, target in sorted(deeds, key=lambda deed: deed[0]):
        _watch(made, began + at)
        say(f"{at:6.1f} s  {do.__name__} {target}")
        do(target)
    _watch(made, began + seconds)


def _watch(made: Town, until: float) -> None:
    while (rest := until - time.monotonic()) > 0:
        if failure := made.failure():
            raise NotSettledError(failure)
        time.sleep(min(rest, POLL_SECONDS))


def _until(made: Town, what: str, missing: Callable[[], str], seconds: float) -> float:
    """Wait until nothing is ``missing``; the seconds that it took."""
    began = time.monotonic()
    while lacking := missing():
        if failure := made.failure():
            raise NotSettledError(failure)
        if time.monotonic() > began + seconds:
            raise NotSettledError(f"{what}: after {seconds:.0f} s still {lacking}")
        time.sleep(POLL_SECONDS + (time.monotonic() - began) / 20)
    return time.monotonic() - began


def _settle(made: Town, say: Callable[[str], None]) -> float:
    """Every meter gets new readings through; then the devices stop, and the outboxes run empty."""
    mark = told_upto(made.url)
    took = _until(made, "flowing again", lambda: _unheard(made, mark), SETTLE_SECONDS)
    say(f"every device is heard again after {took:.0f} s")
    for kind in made.layout.counts:
        if kind not in WIRED:
            made.programs[kind].stop()
    took += _until(made, "storing all", _stable(made), SETTLE_SECONDS)
    for kind in WIRED:
        made.programs[kind].stop()
    return took


def _unheard(made: Town, mark: dict[str, int]) -> str:
    """How many meters have no values in the store beyond ``mark``; that one is silent may be stored, too."""
    if not (made.folder / "store.sqlite").exists():
        return "no store"
    try:
        now = told_upto(made.url)
    except Exception as error:  # noqa: BLE001 - its tables are not there yet
        return repr(error)
    heard = sum(seq > mark.get(meter_id, 0) for meter_id, seq in now.items())
    wanted = made.adapted + sum(map(len, made.wired.values()))
    return f"{wanted - heard} of {wanted} meters silent" if heard < wanted else ""


def _stable(made: Town) -> Callable[[], str]:
    """Nothing new of the adapter, with values, came for two times what a meter waits to send again."""
    seen, since, calm = dict[str, int](), time.monotonic(), 2 * made.layout.resend_after + 1
    wired = {meter_id for ids in made.wired.values() for meter_id in ids}

    def missing() -> str:
        nonlocal seen, since
        now = {meter_id: seq for meter_id, seq in told_upto(made.url).items() if meter_id not in wired}
        if now != seen:
            seen, since = now, time.monotonic()
        return "readings that come" if time.monotonic() < since + calm else ""

    return missing


def _audit_names(ledger: Ledger, made: Town, rows: Sequence[Row], waiting: Sequence[Row]) -> None:
    """All that an outbox of the adapter took is stored, or came at the very end and waits: no hole."""
    there = {(row.meter_id, row.epoch, row.seq) for row in rows}
    waits = {(row.meter_id, row.epoch, row.seq) for row in waiting}
    if len(there) != len(rows):
        ledger.tell("name stored twice", [f"{len(rows) - len(there)} rows"])
    states = last_of_all(made.adapter_store)
    if len(states) < made.adapted:
        ledger.tell("meter without an outbox", [f"{made.adapted - len(states)} of {made.adapted}"])
    for meter_id, (epoch, seq) in states.items():
        names = {(meter_id, epoch, number) for number in range(1, seq + 1)}
        ledger.tell("taken, but not stored", sorted(names - there - waits))
    stuck = Counter(row.meter_id for row in waiting)
    ledger.tell("never sent", (f"{one}: {count}" for one, count in stuck.items() if count > MOST_LEFT))


def _audit_wired(ledger: Ledger, made: Town, stored: Stored) -> int:
    """What a wired meter took is stored unaltered, or waits in it; nothing else is there."""
    rows, count = dict(stored.rows), 0
    for kind, ids in made.wired.items():
        for meter_id in ids:
            book = read_witness(made.book(kind) / f"{meter_id}.jsonl")
            taken = book.taken(read_outbox(made.outbox(meter_id)))
            waits = {Name(meter_id, row.epoch, row.seq) for row in left(made.outbox(meter_id))}
            mine = {name: row for name, row in rows.items() if name.meter_id == meter_id}
            ledger.tell("wired: missing", sorted(taken - mine.keys() - waits))
            ledger.tell("wired: never taken", sorted(mine.keys() - taken))
            ledger.tell("wired: altered", (name for name in mine if book.wanted.get(name) != mine[name]))
            ledger.tell("wired: nothing was taken", [] if taken else [meter_id])
            count += len(mine)
    return count
