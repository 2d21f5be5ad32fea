"""Mosquitto's access control list, rendered from the identity store: the topics of each identity.

Patterns limit a meter to its own topics: Mosquitto replaces %u with the user name, the common name of the
certificate. Patterns apply to every user, so the section of every other identity first denies what they
allow; the section of a blocked identity denies everything. Mosquitto 2.0 accepts any subscription and filters
what it sends, so only the received messages show a right to read, not the SUBACK.

The dynamic security plugin is not used: in 2.0 it cannot substitute names, so 10,000 meters would be 10,000
roles, and it writes all of them again at every change (docs/security.md).

>>> print(render([Identity("anna", Role.OPERATOR)], prefix="sm/v1").splitlines()[-16])
user anna
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from broker.contract.roles import DISCOVERY, HOMEASSISTANTS, Role
from broker.contract.specs import SPECS, Spec
from broker.daemon.security_files import EDITION, END
from registrar.identities import Identity

Verb = Literal["read", "write"]
VERBS: tuple[Verb, ...] = ("read", "write")
HEAD = "# Written by meter61850 from the register of identities; a change here is lost at the next one.\n"

HOMEASSISTANT_TOPICS: tuple[tuple[Verb, str], ...] = (
    ("read", f"{DISCOVERY}/#"),
    ("write", f"{DISCOVERY}/device/+/config"),
    ("write", f"{DISCOVERY}/status"),
)
"""Beside the contract: our meters are announced there, and Home Assistant says there that it has started."""


def edition_topic(edition: str) -> str:
    """Where the registrar hears itself once Mosquitto has read the access list of this edition.

    No wildcard matches a topic that begins with $ (MQTT 5, 4.7.2), so no other client ever receives it.
    """
    return f"$meter61850/{edition}"


def head(edition: str) -> str:
    """How the access list of an edition (`registrar.deployment`) begins."""
    return f"{HEAD}{EDITION.decode()}{edition}\n"


def render(
    identities: Iterable[Identity],
    *,
    prefix: str,
    slots: Iterable[str] = (),
    codes: Mapping[str, str] = {},
    edition: str = "0",
) -> str:
    """The whole file; ``slots`` are the open enrolment slots, ``codes`` meter_id → address code."""
    lines = [
        head(edition),
        *(
            f"pattern {verb} {prefix}/{spec.topic(meter_id='%u')}"
            for verb, spec in _granted(Role.METER)
            if spec.scope == "meter"
        ),
    ]
    for identity in identities:
        lines += _block(identity, prefix, codes)
        if identity.role is Role.REGISTRAR and not identity.blocked:
            lines.append(f"topic readwrite {edition_topic(edition)}")
    for slot in slots:
        lines += _user(slot, prefix)
        lines += [
            f"topic {verb} {prefix}/{spec.topic(slot=slot)}"
            for verb, spec in _granted(Role.METER)
            if spec.scope == "enrol"
        ]
    return "\n".join(lines) + "\n" + END.decode()


def _block(identity: Identity, prefix: str, codes: Mapping[str, str]) -> Iterator[str]:
    if identity.blocked:
        yield from ("", f"user {identity.name}", "topic deny #")
    elif identity.role is not Role.METER:
        yield from _user(identity.name, prefix)
        yield from (f"topic {verb} {prefix}/{topic}" for verb, topic in _rights(identity, codes))
        if identity.role is Role.ADMIN:
            yield from (f"topic read {prefix}/#", "topic read $SYS/broker/#")
        if identity.role in HOMEASSISTANTS:
            yield from (f"topic {verb} {topic}" for verb, topic in HOMEASSISTANT_TOPICS)


def _user(name: str, prefix: str) -> list[str]:
    return ["", f"user {name}", f"topic deny {prefix}/{name}/#"]


def _granted(role: Role) -> Iterator[tuple[Verb, Spec]]:
    """The rights of a role, from the contract."""
    return ((verb, spec) for verb in VERBS for spec in SPECS.values() if spec.may(verb, role))


def _rights(identity: Identity, codes: Mapping[str, str]) -> Iterator[tuple[Verb, str]]:
    """(read or write, topic below the prefix); with a scope, those of its meters alone.

    The SCL names every house, so it is not for those who may see some.
    """
    own = ["+"]
    if identity.scope:
        own = [meter_id for meter_id, code in codes.items() if code in identity.scope]
    for verb, spec in _granted(identity.role):
        if identity.scope and spec.scope == "scl":
            continue
        name = identity.name if verb == "write" else "+"
        meters = own if "<meter_id>" in spec.words else ["+"]
        yield from ((verb, spec.topic(meter_id=meter_id, identity=name)) for meter_id in meters)
