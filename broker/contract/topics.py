"""The names of the topics, built and parsed by the patterns of `broker.contract.specs`.

>>> topics = Topics("sm/v1")
>>> topics.meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "reading")
'sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/reading'
>>> topics.parse("sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/reading").kind
'reading'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.specs import ENROL_KINDS, METER_KINDS, SPECS, Spec

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NIL = str(UUID(int=0))
_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]{0,63}")
_PUBLISHER = re.compile(r"[A-Za-z][0-9A-Za-z_-]{0,63}")
_SLOT = re.compile(r"[2-9A-HJ-NP-Z]{4}-[1-9]\d{0,3}")
_PREFIX = re.compile(r"[0-9A-Za-z_.-]+(/[0-9A-Za-z_.-]+)*")


def checked_meter_id(text: str) -> str:
    """``text`` if it is a UUID in canonical form (RFC 9562: lower case, hyphens); else ContractError."""
    if not _UUID.fullmatch(text) or text == _NIL:
        raise ContractError(
            f"meter_id {text[:64]!r} is not a UUID in canonical form (lower case, 8-4-4-4-12 hex)"
        )
    return text


def is_slot(text: str) -> bool:
    """Whether ``text`` is the name of an enrolment slot (`broker.contract.enrolment_codes`)."""
    return _SLOT.fullmatch(text) is not None


def scl_name(meter_id: str) -> str:
    """The meter's logical device name: ``SM_`` and its 32 hex digits (IEC 61850-6 allows no hyphen)."""
    return "SM_" + checked_meter_id(meter_id).replace("-", "")


def meter_id_of(ld_name: str) -> str:
    """The inverse of :func:`scl_name`; ContractError for any other name."""
    if not re.fullmatch(r"SM_[0-9a-f]{32}", ld_name):
        raise ContractError(f"logical device {ld_name[:64]!r} is not SM_ and 32 hex digits")
    return str(UUID(ld_name[3:]))


def _named(name: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: text if name.fullmatch(text) else None


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "meter_id": checked_meter_id,
    "ied": _named(_NAME),
    "service": _named(_NAME),
    "identity": _named(_PUBLISHER),
    "slot": _named(_SLOT),
}
"""What may stand in a field of a pattern; None: the topic is not of this pattern."""


def _fields(spec: Spec, words: Sequence[str]) -> list[str] | None:
    """What stands in the fields of the pattern; None when ``words`` are not of it, ContractError for a bad
    meter_id."""
    if len(words) != len(spec.words):
        return None
    pairs = list(zip(spec.words, words, strict=True))
    if any(part != word for part, word in pairs if not part.startswith("<")):
        return None
    found = []
    for part, word in pairs:
        if part.startswith("<"):
            value = _CHECKS[part[1:-1]](word)
            if value is None:
                return None
            found.append(value)
    return found


@dataclass(frozen=True)
class Topic:
    """A parsed topic; ``name`` is the meter_id, IED, service or slot (empty for scd and revision)."""

    kind: str
    name: str = ""
    meter_id: str = ""
    """Of a refusal by a user, or of an acknowledgement."""


class Handler(Protocol):
    """What a program does with a message of one kind."""

    def __call__(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        """``retained``: the broker had it before the program subscribed."""


@dataclass(frozen=True)
class Topics:
    """Builds and parses the topics below one ``prefix``."""

    prefix: str = "sm/v1"

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(
                f"topic prefix {self.prefix!r} is not words joined by '/', such as sm/v1"
            )

    def filter(self, kind: str) -> str:
        """The subscription to all topics of ``kind``."""
        return f"{self.prefix}/{SPECS[kind].topic()}"

    def meter(self, meter_id: str, kind: str) -> str:
        """Topic of ``kind`` for one meter."""
        if kind not in METER_KINDS:
            raise ContractError(f"{kind!r} is no meter topic: {', '.join(METER_KINDS)}")
        return f"{self.prefix}/{SPECS[kind].topic(meter_id=meter_id)}"

    @property
    def scl(self) -> str:
        """What the topics of the SCL begin with."""
        return f"{self.prefix}/scl/"

    @property
    def scd(self) -> str:
        """Topic of the SCD."""
        return self.filter("scd")

    @property
    def revision(self) -> str:
        """Topic of the SCD's revision."""
        return self.filter("revision")

    def cid(self, ied: str) -> str:
        """Topic of one IED's CID."""
        return f"{self.prefix}/{SPECS['cid'].topic(ied=ied)}"

    def service_status(self, name: str) -> str:
        """Topic of one service's status."""
        return f"{self.prefix}/{SPECS['service_status'].topic(service=name)}"

    def refused(self, name: str, meter_id: str = "") -> str:
        """Topic on which service ``name`` publishes which commands it refused.

        A user's has the ``meter_id`` in it, so that the broker confines the user to the meters of its rights.
        """
        spec = SPECS["user_refused" if meter_id else "refused"]
        return f"{self.prefix}/{spec.topic(identity=name, meter_id=meter_id)}"

    def service_alarms(self, name: str) -> str:
        """Topic of the server's own alarms (``broker.contract.alarms.SERVICE``)."""
        return f"{self.prefix}/{SPECS['service_alarms'].topic(service=name)}"

    @property
    def tariff(self) -> str:
        """Topic of the tariff in force, whichever bridge of a group leads."""
        return f"{self.prefix}/{SPECS['tariff'].topic(service='bridge')}"

    def acknowledged(self, name: str, meter_id: str = "") -> str:
        """Topic on which ``name`` acknowledges alarms of a meter, or without one of the server."""
        spec = SPECS["meter_acknowledged" if meter_id else "acknowledged"]
        return f"{self.prefix}/{spec.topic(identity=name, meter_id=meter_id)}"

    def enrol(self, slot: str, kind: str) -> str:
        """Topic on which an enrolment slot (`broker.contract.enrolment_codes`) asks or is answered."""
        if kind not in ENROL_KINDS:
            raise ContractError(f"{kind!r} is no topic of enrolment: {', '.join(ENROL_KINDS)}")
        return f"{self.prefix}/{SPECS[kind].topic(slot=slot)}"

    @property
    def everything(self) -> str:
        """The subscription to all that is below the prefix."""
        return f"{self.prefix}/#"

    def parse(self, topic: str) -> Topic:
        """What ``topic`` is; ContractError if it is not of the contract."""
        head = self.prefix + "/"
        if not topic.startswith(head):
            raise ContractError(f"topic {topic[:128]!r} is not below {self.prefix!r}")
        words = topic[len(head) :].split("/")
        for kind, spec in SPECS.items():
            if (fields := _fields(spec, words)) is not None:
                return Topic(kind, *fields)
        raise ContractError(f"topic {topic[:128]!r} is not of the contract (docs/topics.md)")
