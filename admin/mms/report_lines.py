"""Reports (IEC 61850-7-2, 17) as lines: one for each member of the data set that a report includes.

A member's value is its process value (``stVal``, ``mag.f``, ``actVal``), its time is its own ``t``, and its
quality is said in the standard's words. Whoever reads a report needs to know the data set and its types:
:class:`Subscription` holds both.

>>> parse_name(ObjectName("LLN0$BR$brcbPos01", "SMGW001GW"))
'SMGW001GW/LLN0.brcbPos01'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from open61850.data import BitStringData, IECData, IntData, TimestampData
from open61850.mms import DataAccessError, ObjectName, ReasonCode, Reference
from open61850.mms.report import Report, ReportEntry
from open61850.mms.types import MmsType, label
from open61850.quality import Quality, TimeQuality

from admin.mms.association import plain
from admin.mms.name_plates import NO_PLATES, NamePlates
from admin.tables import text
from broker.contract.messages import format_ts
from scl_builder.model.cdc import SERVED_CDCS
from scl_builder.model.nsd_enums import ENUMERATIONS

PROCESS_VALUES = (
    *dict.fromkeys(".".join(value.path) for row in SERVED_CDCS.values() for value in row.values),
    "mag.i",
    "instMag.f",
)
"""Where the process value of a data object is; one that has none of them is shown with all its parts."""
ENUMERATED = {
    "Beh": "BehaviourModeKind", "Mod": "BehaviourModeKind",
    "Health": "HealthKind", "PhyHealth": "HealthKind",
}  # fmt: skip
"""Data objects whose stVal has the same enumeration wherever they are (IEC 61850-7-4)."""


@dataclass(frozen=True)
class Member:
    """A member of a data set, and what its values mean."""

    reference: Reference
    kind: MmsType | None
    unit: str = ""


@dataclass(frozen=True)
class Subscription:
    """A report control block that is ours."""

    block: ObjectName
    report_id: str
    data_set: str
    members: tuple[Member, ...]
    buffered: bool


@dataclass(frozen=True)
class Line:
    """One member of one report."""

    received: datetime
    time: datetime | None
    clock_synchronized: bool | None
    reference: str
    name: str
    """Of the logical device, on its name plate."""
    value: bool | int | float | str
    unit: str
    quality: str
    reason: str
    block: str
    sequence: int | None
    entry: str | None
    """EntryID in hex, of a buffered block."""
    overflow: bool | None
    """BufOvfl: entries before this one may be lost; of the first entry of a buffer nobody knows."""

    def __str__(self) -> str:
        moment = self.time or self.received
        stamp = f"{moment.astimezone():%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
        value = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        clock = "" if self.clock_synchronized in (True, None) else " (clock not synchronized)"
        lost = " (entries before it may be lost)" if self.overflow else ""
        number = "" if self.sequence is None else f" #{self.sequence}"
        words = (
            stamp,
            f"{self.reference:<24}",
            *([f"{self.name:<12}"] if self.name else []),
            f"{value} {self.unit}".ljust(14),
            f"{self.quality or 'no quality'}{clock}",
            self.reason,
            f"{self.block}{number}{lost}",
        )
        return text("  ".join(words)).plain

    def document(self) -> dict[str, Any]:
        """For JSON."""
        told = dict(vars(self))
        for name in ("received", "time"):
            told[name] = None if told[name] is None else format_ts(told[name])
        return told


def parse_name(block: ObjectName) -> str:
    """A block as IEC 61850-7-2 names it."""
    return Reference.from_object_name(block).name


def lines(
    report: Report, subscription: Subscription, *, received: datetime, plates: NamePlates = NO_PLATES
) -> Iterator[Line]:
    """Each member that ``report`` includes; ``plates`` say how its logical device is called."""
    for entry in report.entries:
        known = entry.index < len(subscription.members)
        member = subscription.members[entry.index] if known else None
        name = plates[member.reference.ld].name if member else ""
        yield replace(_line(report, entry, member, subscription, received), name=name)


def _line(
    report: Report,
    entry: ReportEntry,
    member: Member | None,
    subscription: Subscription,
    received: datetime,
) -> Line:
    leaves = {} if isinstance(entry.value, DataAccessError) else _leaves(entry.value, member)
    times = (leaf for leaf in _each(leaves, "t").values() if isinstance(leaf, TimestampData))
    t = max(times, key=attrgetter("value"), default=None)
    failed = isinstance(entry.value, DataAccessError)
    return Line(
        received=received,
        time=t.value.astimezone(UTC) if isinstance(t, TimestampData) else None,
        clock_synchronized=_synchronized(t),
        reference=member.reference.name if member else entry.reference or f"member {entry.index + 1}",
        name="",
        value=f"not readable: {entry.value}" if failed else _value(leaves, member),
        unit=member.unit if member else "",
        quality=_quality(leaves),
        reason=reason_words(entry.reason),
        block=parse_name(subscription.block),
        sequence=report.seq_num,
        entry=report.entry_id.hex() if report.entry_id else None,
        overflow=report.buf_ovfl if subscription.buffered else None,
    )


def _leaves(value: IECData, member: Member | None) -> dict[str, IECData]:
    return dict(label(value, member.kind if member else None))


def _each(leaves: Mapping[str, IECData], name: str) -> dict[str, IECData]:
    """The attribute of the data object, or of each of its sub data objects (whose path is the key)."""
    split = ((path.rpartition("."), leaf) for path, leaf in leaves.items())
    return {part: leaf for (part, _, last), leaf in split if last == name}


def _quality(leaves: Mapping[str, IECData]) -> str:
    """In words; of sub data objects that differ, each."""
    words = {
        part: str(Quality.from_bitstring(leaf))
        for part, leaf in _each(leaves, "q").items()
        if isinstance(leaf, BitStringData)
    }
    if len(set(words.values())) <= 1:
        return next(iter(words.values()), "")
    return ", ".join(f"{part} {told}" for part, told in words.items())


def _synchronized(t: IECData | None) -> bool | None:
    if not isinstance(t, TimestampData):
        return None
    return not TimeQuality.from_octet(t.quality).clock_not_synchronized


def _value(leaves: Mapping[str, IECData], member: Member | None) -> bool | int | float | str:
    for name in PROCESS_VALUES:
        if name in leaves:
            return _in_words(plain(name, leaves[name]), leaves[name], member)
    if len(leaves) == 1:
        ((name, leaf),) = leaves.items()
        return plain(name or (member.reference.path[-1] if member else ""), leaf)
    return " ".join(
        f"{_part(name)}={plain(name, leaf)}"
        for name, leaf in leaves.items()
        if name.rpartition(".")[2] not in ("q", "t") and "instCVal" not in name
    )


def _part(name: str) -> str:
    """The sub data object whose process value ``name`` is: ``phsA`` of ``phsA.cVal.mag.f``."""
    found = (name.removesuffix(f".{value}") for value in PROCESS_VALUES if name.endswith(f".{value}"))
    return next(found, name)


def _in_words(
    shown: bool | int | float | str, leaf: IECData, member: Member | None
) -> bool | int | float | str:
    """An ordinal of an enumeration that we know is its literal."""
    kind = ENUMERATED.get(member.reference.path[0], "") if member and member.reference.path else ""
    if kind and isinstance(leaf, IntData):
        return ENUMERATIONS[kind].get(leaf.value, leaf.value)
    return shown


def reason_words(reason: ReasonCode | None) -> str:
    """Why a member is in a report."""
    told = [name.replace("_", "-") for name, is_set in vars(reason).items() if is_set] if reason else []
    return "+".join(told) or "no reason given"
