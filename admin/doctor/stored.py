"""The database: meters, their clocks and versions, alarms such as twins, dead letters, the audit.

>>> firmware([]).detail
'no meter yet'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from admin.doctor.findings import Finding, Verdict
from admin.lazy import MissingPartError, load
from broker.contract.errors import Meter61850Error
from broker.contract.messages import utc_now

AUDIT_ROWS = 10_000
RECENT = timedelta(hours=24)
NAMED = 5
"""So many meters are named; more are counted."""


def look(url: str) -> Iterator[Finding]:
    """Whether the database answers, and what in it needs a person."""
    try:
        with load("admin.stores").open_store(url) as store:
            states = store.meters()
            online = sum(state.meter.online for state in states)
            yield Finding(Verdict.OK, "database", f"{len(states)} meters, {online} online")
            yield firmware([state.meter.firmware for state in states])
            yield _clocks(states)
            yield _audit(store, url)
            yield from _alarms(store)
            yield _dead_letters(store)
    except MissingPartError as error:
        yield Finding(Verdict.NOTE, "database", "not looked at", str(error))
    except Meter61850Error as error:
        yield Finding(Verdict.FAIL, "database", str(error), "meter61850 bridge run, or --database URL")


def firmware(versions: Sequence[str]) -> Finding:
    """Which version how many meters have; devices of other makers have their own numbers."""
    counted = Counter(one or "unknown" for one in versions)
    told = ", ".join(f"{one} on {count}" for one, count in counted.most_common(NAMED))
    return Finding(Verdict.OK, "firmware", told or "no meter yet")


def _clocks(states: Sequence[Any]) -> Finding:
    """Meters whose latest reading has a time that NTP does not keep."""
    wrong = [one.meter.name for one in states if one.latest and one.latest.clock_synchronized is False]
    if not wrong:
        return Finding(Verdict.OK, "meters' clocks", "none is known to be wrong")
    rest = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return Finding(
        Verdict.NOTE,
        "meters' clocks",
        f"not kept by NTP: {', '.join(wrong[:NAMED])}{rest}",
        "give these meters NTP: systemd-timesyncd or chrony on the Pi",
    )


def _alarms(store: Any) -> Iterator[Finding]:
    lasting = store.alarms()
    if not lasting:
        yield Finding(Verdict.OK, "alarms", "none")
    for alarm in lasting:
        named = f"{alarm.name} ({alarm.meter_id})" if alarm.name else alarm.place
        bad = alarm.severity == "alarm" and alarm.acknowledged_at is None
        verdict = Verdict.FAIL if bad else Verdict.NOTE
        yield Finding(verdict, f"alarm {alarm.kind}", f"{named}: {alarm.detail}", alarm.cure)


def _dead_letters(store: Any) -> Finding:
    """Those of the last day are news; older ones are only counted."""
    since = int((utc_now() - RECENT).timestamp() * 1000)
    causes, all_of_them = store.dead_letter_causes(since=since), store.dead_letter_causes(since=0)
    total = sum(count for _, count in all_of_them)
    if not causes:
        before = f"; {total} older ones" if total else ""
        return Finding(Verdict.OK, "dead letters", f"none in the last 24 hours{before}")
    first, count = causes[0]
    return Finding(
        Verdict.NOTE,
        "dead letters",
        f"{sum(count for _, count in causes)} in the last 24 hours, {total} in all; most: {first} ({count})",
        "meter61850 dead-letters shows them; `retry` after the cause is removed, `purge` deletes them",
    )


def _audit(store: Any, url: str) -> Finding:
    """Whether the newest rows of the audit are as they were written, up to the bridge's last head; all rows
    take their time."""
    check = "meter61850 audit verify"
    kept = load("bridge.store.audit_head")
    try:
        file = kept.beside(url)
        heads = [kept.remembered(file)] if file and file.exists() else []
        count = sum(1 for _ in store.verified_audit(heads, newest=AUDIT_ROWS))
    except load("bridge.store.audit_verify").TamperedError as error:
        return Finding(Verdict.FAIL, "audit", str(error), check)
    return Finding(Verdict.OK, "audit", f"the newest {count} rows are whole; `{check}` looks at all")
