"""A client of the buffered reports that is away most of the time, and what it has missed.

>>> visits = [Visit(7, (1, 2)), Visit(7, (4,)), Visit(8, (6,))]
>>> missed([1, 2, 3, 4, 5, 6], visits)
Missed(kept=1, replaced=1)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.support.open61850_client import Open61850, open61850
from tests.support.scada import Told

BLOCK = "SMGW001GW/LLN0.BR.brcbPos02"
AWAY_SECONDS = 1.0
QUIET_SECONDS = 0.5
"""After so long without an entry the client goes again."""


@dataclass(frozen=True)
class Visit:
    """An association of the client."""

    conf_rev: int
    times: tuple[int, ...]
    """Of the first meter's positions, in ms since 1970, as the entries came."""


class Missed(NamedTuple):
    """Entries that the client never got."""

    kept: int
    """While the configuration stayed: none may be lost."""
    replaced: int
    """While it was replaced by a new one, whose buffers begin empty."""


def missed(published: Sequence[int], visits: Sequence[Visit]) -> Missed:
    """What is missing between the first and the last entry that the client got."""
    got = {at: visit.conf_rev for visit in visits for at in visit.times}
    kept = replaced = 0
    revision: int | None = None
    waiting = 0
    for at in published:
        if at not in got:
            waiting += revision is not None
            continue
        if got[at] == revision:
            kept += waiting
        else:
            replaced += waiting
        revision, waiting = got[at], 0
    return Missed(kept, replaced)


def come_and_go(port: int, visits: list[Visit], stop: threading.Event) -> None:
    """Come for what was buffered, go, and come again; once more after ``stop``."""
    last: tuple[int, str] | None = None
    while True:
        ending = stop.is_set()
        with open61850(port) as client:
            conf_rev: int = client.read(BLOCK.replace(".BR.", ".") + ".ConfRev", "BR")
            known = last[1] if last is not None and last[0] == conf_rev else None
            client.enable(BLOCK, entry_id=known)
            told = _until_quiet(client)
        times = tuple(_time(one) for one in told if 0 in one.entries)
        visits.append(Visit(conf_rev, times))
        if told and told[-1].entry_id:
            last = conf_rev, told[-1].entry_id
        if ending:
            return
        stop.wait(AWAY_SECONDS)


def _time(told: Told) -> int:
    value: Any = told.entries[0]
    return int(value[2])


def _until_quiet(client: Open61850) -> list[Told]:
    told: list[Told] = []
    quiet = time.monotonic()
    while time.monotonic() - quiet < QUIET_SECONDS:
        if new := client.reports():
            told += new
            quiet = time.monotonic()
        time.sleep(0.02)
    return told
