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

from broker.contract.topics import TOLD_KINDS
from broker.daemon.mosquitto import EDITION, END
from registrar.identities import Identity, Role

HEAD = "# Written by meter61850 from the register of identities; a change here is lost at the next one.\n"

# fmt: off
METER_RIGHTS: dict[str, tuple[str, ...]] = {
    "write": ("birth", "status", "reading", "history", "relay", "result", "block", "renew"),
    "read": ("command", "stored", "notice", "block", "credential"),
}
"""A meter's rights below its own meter_id; it repeats ``block`` as it keeps it."""

REPEATED = ("birth", "status", "relay", "reading")
"""What the bridge publishes once more for a meter that is away, when a broker has lost it; or clears."""
_TOLD = tuple(f"+/{kind}" for kind in TOLD_KINDS)
RIGHTS: dict[Role, dict[str, tuple[str, ...]]] = {
    Role.BRIDGE: {
        "read": (*_TOLD, "scl/#", "service/#"),
        "write": ("+/stored", "+/notice", "+/block", *(f"+/{kind}" for kind in REPEATED), "scl/#",
                  "service/+/status"),
    },
    Role.MMS: {
        "read": (*_TOLD, "scl/#", "service/#"),
        "write": ("+/command", "+/block", "service/+/status", "service/{name}/refused"),
    },
    Role.REGISTRAR: {
        "read": ("enrol/+/ask", "+/renew", "+/birth", "+/status"),
        "write": ("enrol/+/answer", "+/credential", "+/access", "+/status", "service/+/status"),
    },
    Role.WEB: {
        "read": (*_TOLD, "scl/#", "service/#"),
        "write": ("+/command", "+/birth", "+/status", "+/reading", "+/relay", "service/+/status",
                  "service/{name}/refused"),
    },
    Role.ADMIN: {
        "read": ("#",),
        "write": (*_TOLD, "service/{name}/refused/+"),
    },
    Role.OPERATOR: {"read": (*_TOLD, "scl/#", "service/+/status"), "write": ()},
    Role.ISSUER: {
        "read": (*_TOLD, "scl/#", "service/+/status"),
        "write": ("+/command", "+/block", "service/{name}/refused/+"),
    },
}
"""Topics below the prefix; no identity reports refusals under another name, and one who is confined to some
meters reports about these only. The administrator clears a retired meter's topics and sends dead letters
again; the registrar publishes offline for a meter that it blocked, whose last will is not delivered."""
# fmt: on


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
        *(f"pattern {verb} {prefix}/%u/{kind}" for verb, kinds in METER_RIGHTS.items() for kind in kinds),
    ]
    for identity in identities:
        lines += _block(identity, prefix, codes)
        if identity.role is Role.REGISTRAR and not identity.blocked:
            lines.append(f"topic readwrite {edition_topic(edition)}")
    for slot in slots:
        lines += _user(slot, prefix)
        lines += [f"topic write {prefix}/enrol/{slot}/ask", f"topic read {prefix}/enrol/{slot}/answer"]
    return "\n".join(lines) + "\n" + END.decode()


def _block(identity: Identity, prefix: str, codes: Mapping[str, str]) -> Iterator[str]:
    if identity.blocked:
        yield from ("", f"user {identity.name}", "topic deny #")
    elif identity.role is not Role.METER:
        yield from _user(identity.name, prefix)
        yield from (f"topic {verb} {prefix}/{topic}" for verb, topic in _rights(identity, codes))
        if identity.role is Role.ADMIN:
            yield "topic read $SYS/broker/#"


def _user(name: str, prefix: str) -> list[str]:
    return ["", f"user {name}", f"topic deny {prefix}/{name}/#"]


def _rights(identity: Identity, codes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(read or write, topic below the prefix); with a scope, those of its meters alone.

    The SCL names every house, so it is not for those who may see some.
    """
    granted = [
        (verb, topic.format(name=identity.name))
        for verb, topics in RIGHTS[identity.role].items()
        for topic in topics
    ]
    if not identity.scope:
        yield from granted
        return
    own = [meter_id for meter_id, code in codes.items() if code in identity.scope]
    for verb, topic in granted:
        if topic.startswith("+/"):
            yield from ((verb, f"{meter_id}/{topic[2:]}") for meter_id in own)
        elif topic.endswith("/refused/+"):
            yield from ((verb, f"{topic[:-1]}{meter_id}") for meter_id in own)
        elif topic.startswith("service/"):
            yield verb, topic
