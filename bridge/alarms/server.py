"""What is wrong with the server itself: its clock, its disk, its certificates, dead letters.

>>> free(Path("/"), least_mb=0)  # there is none
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlmodel import col

from bridge.store.alarms import Finding
from bridge.store.tables import HOUR_MS, DeadLetter
from broker.contract.status import ServiceStatus

REGISTRAR = "registrar"
MB = 1024 * 1024
_AGAIN = 1.25
"""So many times the least free space is enough."""


def free(folder: Path, *, least_mb: int) -> Finding | None:
    """A disk with too little room; not sure between the limit and the one at which the alarm is over."""
    left = shutil.disk_usage(folder).free / MB
    if left >= least_mb * _AGAIN:
        return None
    detail = f"{left:.0f} MB are free where {folder} is, {least_mb} MB are the limit"
    return Finding(0, "disk", detail, str(folder)[-64:], sure=left < least_mb)


def certificates(services: Mapping[str, ServiceStatus]) -> Iterator[Finding]:
    """What the registrar says of certificates that end."""
    for warning in services[REGISTRAR].warnings:
        subject = warning.partition(" ends on ")[0].lstrip("0123456789 ")  # of "7 more …" the number changes
        yield Finding(0, "certificate", warning, subject)


def dead_letters(connection: Connection, *, most: int, now: int, listening_since: int) -> Iterator[Finding]:
    """Too many different ones within an hour; while we listen for less than that, an alarm stays."""
    since = now - HOUR_MS
    count = connection.scalar(select(func.count()).where(col(DeadLetter.last_seen) > since)) or 0
    if count * 2 >= most or listening_since > since:
        yield Finding(0, "dead-letters", f"{count} different ones in an hour", sure=count >= most)


def clock(*, kept: bool) -> Sequence[Finding]:
    """Whether NTP keeps this machine's clock."""
    return [] if kept else [Finding(0, "clock", "NTP does not keep the clock of the bridge's machine")]
