"""What a revision of the SCD says of itself: what has changed, and what caused it.

>>> changes({"M1": 1, "M2": 2}, {"M2": 3, "M3": 3})
'1 meter added, 1 withdrawn, 1 changed'
>>> of_settings({"control_model": "status-only"}, {"control_model": "direct-with-normal-security"})
[Change(what='control model direct-with-normal-security instead of status-only', why='METER61850_CONTROL_MODEL')]
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Engine, update
from sqlmodel import Session, col, select

from bridge.scl.topology import Held, held_by
from bridge.settings import BridgeSettings
from bridge.store.ld_names import LdNames
from bridge.store.tables import SclRevision
from broker.version import VERSION
from scl_builder.build.project import Ied, Project
from scl_builder.build.project import Meter as SclMeter
from scl_builder.model.topology import Topology

_UNKNOWN = "settings changed"
RESTARTED = "changed while the bridge was not running"
# fmt: off
_NAMES = {
    "project_name": "name of the project", "control_model": "control model",
    "mms_operate_limit": "time limit of an operate in s",
    "report_instances": "report instances", "report_clients": "clients of the reports",
    "mms_host": "address", "mms_hosts": "addresses of the IEDs",
    "mms_port": "MMS port", "mms_tls_port": "port for TLS",
    "ld_names": "logical devices named by", "spare": "spare logical devices of an IED",
    "mms_deadband": "deadband (%)", "mms_zero_deadband": "zero deadband (%)", "mms_range": "range (%)",
    "mms_nominal": "nominal values", "interval_minutes": "minutes of an interval",
}
_OF_BILLING = {"billing_period": "registers frozen at the end of each", "mms_demand": "computed demand"}
# fmt: on
_CALLED = _NAMES | _OF_BILLING | {"tariffs": "calendar of tariffs"}
"""Settings that are in the SCD, and what they are called."""
_SOFTWARE = "meter61850"


class Change(NamedTuple):
    """Something that has changed, and its cause."""

    what: str
    why: str


MEMBERS = "births and withdrawals of meters"
TOPOLOGY = "METER61850_TOPOLOGY"


def made_with(settings: BridgeSettings, names: LdNames) -> dict[str, str]:
    """What an SCD is made with, beside meters and topology, for JSON; ``names`` says the database."""
    told = {name: getattr(settings, name) for name in _NAMES} | {"ld_names": names}
    billing = settings.billing
    told |= {name: getattr(billing, name) for name in _OF_BILLING} | {"tariffs": billing.calendar.tariffs}
    return {name: "none" if value in (None, "") else str(value) for name, value in told.items()} | {
        _SOFTWARE: VERSION
    }


def kept_topology(session: Session) -> str | None:
    """Text of the topology file of the newest revision."""
    newest = select(SclRevision.topology).order_by(col(SclRevision.revision).desc()).limit(1)
    return session.exec(newest).first()


def keep_topology(engine: Engine, row: SclRevision, text: str) -> None:
    """The newest revision, ``row``, has the file as it is now: own meters of feeders are not in the SCD."""
    if row.settings is not None and row.topology != text:
        with engine.begin() as connection:
            newest = update(SclRevision).where(col(SclRevision.revision) == row.revision)
            connection.execute(newest.values(topology=text))


def known(text: str | None) -> dict[str, str]:
    """The inverse of JSON of :func:`made_with`; empty for a revision that did not keep it."""
    try:
        told = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else {}


def of_settings(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """Settings that both revisions know and that differ."""
    found = []
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            called = _CALLED.get(name, name)
            why = "another version" if name == _SOFTWARE else f"METER61850_{name.upper()}"
            found.append(Change(f"{called} {after[name]} instead of {before[name]}", why))
    return sorted(found)


def of_meters(before: Collection[Ied], after: Collection[Ied]) -> list[Change]:
    """The meters in the IEDs that are not the same any more; a meter keeps its IED."""
    known_ieds = {ied.name: ied for ied in before}
    now = {ied.name: ied for ied in after}
    same = {name for name, ied in now.items() if known_ieds.get(name) == ied}
    both = (_meters(ied for ied in ieds.values() if ied.name not in same) for ieds in (known_ieds, now))
    text, spare = changes(*both), len(_spares(after) - _spares(before) - _insts(before))
    if all(name in known_ieds and known_ieds[name].changes == ied.changes for name, ied in now.items()):
        text = text.replace(" added", " added in spare logical devices")
    found = [Change(text, MEMBERS)] if text != _UNKNOWN else []
    what = "1 spare logical device more" if spare == 1 else f"{spare} spare logical devices more"
    return found + ([Change(what, MEMBERS)] if spare else [])


def changed_since(
    before: Project | SclRevision | None, ieds: tuple[Ied, ...], held: Held, settings: Mapping[str, str]
) -> Change:
    """What has changed since ``before``: the project that we have published, or the newest kept revision."""
    if isinstance(before, SclRevision):
        return _since_revision(before, ieds, held, settings)
    known_ieds, topology = (before.ieds, before.topology) if before else ((), None)
    return told([*of_meters(known_ieds, ieds), *of_topology(topology, held.topology)], otherwise=_UNKNOWN)


def _since_revision(
    row: SclRevision, ieds: tuple[Ied, ...], held: Held, settings: Mapping[str, str]
) -> Change:
    found = of_settings(known(row.settings), settings)
    if row.settings is not None:
        found += of_topology(held_by(row.topology).topology, held.topology)
    if (count := sum(len(ied.owned) for ied in ieds)) != row.meters:
        found.append(Change(f"{count} meters instead of {row.meters}", MEMBERS))
    return told(found, otherwise=RESTARTED)


def of_topology(before: Topology | None, after: Topology | None) -> list[Change]:
    """A topology, in numbers, if it is another one."""
    if before == after:
        return []
    return [Change(f"topology of {after}" if after else "no topology any more", TOPOLOGY)]


def told(found: list[Change], *, otherwise: str) -> Change:
    """All changes in one line; ``otherwise`` if we do not know any."""
    causes = dict.fromkeys(change.why for change in found)
    return Change("; ".join(change.what for change in found) or otherwise, ", ".join(causes))


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What happened to the meters, in words."""
    added, gone = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    changed = sum(before[name] != after[name] for name in before.keys() & after.keys())
    parts = [(added, "added"), (gone, "withdrawn"), (changed, "changed")]
    words = [f"{number} {word}" for number, word in parts if number]
    if not words:
        return _UNKNOWN
    noun = "meter" if words[0].startswith("1 ") else "meters"
    return ", ".join([words[0].replace(" ", f" {noun} ", 1), *words[1:]])


def _insts(ieds: Iterable[Ied]) -> set[str]:
    return {meter.inst for ied in ieds for meter in ied.owned}


def _spares(ieds: Iterable[Ied]) -> set[str]:
    return {meter.inst for ied in ieds for meter in ied.meters if meter.is_spare}


def _meters(ieds: Iterable[Ied]) -> dict[str, tuple[str, SclMeter]]:
    return {meter.meter_id: (ied.name, meter) for ied in ieds for meter in ied.owned}
