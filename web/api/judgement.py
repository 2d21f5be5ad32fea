"""What somebody should look at, in words, with the cure: of the broker, the database, and each service.

A counter by itself says little: what counts is that it rose in the last ten minutes (`web.live.services`).

>>> of_service("bridge", status, {"limited": 4})[0].what  # doctest: +SKIP
'messages beyond a limit, which were left out; readings among them come again: 4 in the last ten minutes'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.contract.status import ServiceStatus
from broker.version import VERSION
from web.live.state import Live

_MANY_WAITING = 1000
_LATELY = "in the last ten minutes"


@dataclass(frozen=True)
class Finding:
    """Something to look at."""

    what: str
    cure: str
    """What to do; empty when ``what`` says it."""


BROKER_AWAY = Finding(
    "the web has no connection to it: all values are old",
    "start it, or look at the network between; meter61850 doctor looks for the cause",
)
NO_BRIDGE = Finding("no bridge was heard of: no reading is stored", "start it: meter61850 bridge run")
_LOOK_AT_LETTERS = "Dead letters has their topics and causes"
# fmt: off
_RISING: dict[str, tuple[tuple[str, str, str], ...]] = {
    "bridge": (
        ("dead", "messages that could not be used", _LOOK_AT_LETTERS),
        ("spoiled", "bad quantities, whose readings were stored without them", _LOOK_AT_LETTERS),
        ("limited", "messages beyond a limit, which were left out; readings among them come again",
         f"{_LOOK_AT_LETTERS}; docs/operations.md (Limits) has the limits"),
        ("database_errors", "failed attempts to reach the database",
         "look at the database, its disk and its log; nothing is lost while the meters can keep it"),
        ("scl_errors", "failed builds of the SCL", "the log of the bridge has the reason"),
        ("notify_errors", "notifications that could not be sent",
         "meter61850 alarms test shows why; they are tried again"),
    ),
    "mms": (
        ("rejected", "messages outside the contract", "the log of the MMS bridge names them"),
        ("errors", "errors while it served clients", "the log of the MMS bridge has the reason"),
        ("disconnects", "lost connections to the broker", "look at the broker and the network between"),
    ),
    "registrar": (
        ("rejected", "messages outside the contract", "the log of the registrar names them"),
        ("refused", "refused requests of meters", "meter61850 audit show --event enrolment-refused"),
    ),
    "web": (
        ("rejected", "messages outside the contract", "the log of the web names them"),
    ),
}
"""Kind of service → counters that should not rise: what that means, and the cure."""
# fmt: on


def of_database(state: str) -> list[Finding]:
    """``state``: ok, or why it does not answer."""
    cure = "start it, or look at its disk; the web tries again by itself, the meters keep their readings"
    return [] if state == "ok" else [Finding(f"it does not answer: {state}", cure)]


def of_service(name: str, status: ServiceStatus, risen: Mapping[str, int]) -> list[Finding]:
    """A service by its last status, and by how much its counters rose lately."""
    kind = name.partition("-")[0]
    if not status.online:
        cure = f"start it, or look at its log (journalctl -u meter61850-{kind}); meter61850 doctor"
        return [Finding("it does not run, or has no connection to the broker", cure)]
    found = [Finding(warning, "") for warning in status.warnings]
    if status.version != VERSION:
        words = f"it is version {status.version}, and this page {VERSION}"
        found.append(Finding(words, "start the older one again after an upgrade"))
    if status.counters.get("audit_broken"):
        words = "the audit has lost an end that the bridge remembers"
        found.append(Finding(words, "meter61850 audit verify; docs/operations.md (The audit)"))
    if (waiting := status.counters.get("waiting", 0)) >= _MANY_WAITING:
        cure = "look at the database and its disk: it takes them more slowly than they come"
        found.append(Finding(f"{waiting} messages wait for the database", cure))
    rising = ((risen.get(counter, 0), what, cure) for counter, what, cure in _RISING.get(kind, ()))
    return found + [Finding(f"{what}: {count} {_LATELY}", cure) for count, what, cure in rising if count > 0]


def findings(live: Live, database: str) -> dict[str, list[Finding]]:
    """Part → what to look at; of parts that are well an empty list."""
    services = live.services
    told = {
        "broker": [] if live.fleet.broker_up else [BROKER_AWAY],
        "database": of_database(database),
        **{
            name: of_service(name, status, services.risen(name))
            for name, status in sorted(services.known.items())
        },
    }
    if live.fleet.broker_up and not _has_bridge(services.known):
        told["bridge"] = [NO_BRIDGE]
    return told


def _has_bridge(names: Iterable[str]) -> bool:
    return any(name.startswith("bridge") for name in names)
