"""The topics of the contract: names, who writes them, quality of service, retained or not.

One table, :data:`SPECS`, is the truth for the programs, for docs/topics.md and later for the
broker's access control lists.

>>> topics = Topics("sm/v1")
>>> topics.meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "reading")
'sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/reading'
>>> topics.parse("sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/reading").kind
'reading'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from broker.contract import enrolment, messages
from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.notice import MeterNotice
from broker.contract.reading import History, Reading, Stored
from broker.contract.relay import Command, Relay
from broker.contract.result import Refusal, Result
from broker.contract.status import Revision, ServiceStatus, Status

Scope = Literal["meter", "scl", "service", "enrol"]


@dataclass(frozen=True)
class Spec:
    """One kind of topic: ``pattern`` below the prefix, and how it is used."""

    kind: str
    scope: Scope
    pattern: str
    sender: str
    receiver: str
    qos: Literal[0, 1]
    retained: bool
    model: type[messages.Message] | None
    """None: the payload is an XML document (`broker.contract.compressed`)."""


_METER = "meter (the bridge repeats it)"

# fmt: off
SPECS: dict[str, Spec] = {
    spec.kind: spec
    for spec in (
        Spec("birth", "meter", "<meter_id>/birth", _METER, "all", 1, True, Birth),
        Spec("status", "meter", "<meter_id>/status", f"{_METER}, and its last will", "all", 1, True,
             Status),
        Spec("reading", "meter", "<meter_id>/reading", _METER, "all", 1, True, Reading),
        Spec("history", "meter", "<meter_id>/history", "meter", "bridge", 1, False, History),
        Spec("stored", "meter", "<meter_id>/stored", "bridge", "meter", 0, False, Stored),
        Spec("relay", "meter", "<meter_id>/relay", _METER, "all", 1, True, Relay),
        Spec("command", "meter", "<meter_id>/command", "command issuer", "meter", 1, False, Command),
        Spec("result", "meter", "<meter_id>/result", "meter", "all", 1, False, Result),
        Spec("notice", "meter", "<meter_id>/notice", "bridge", "meter", 0, False, MeterNotice),
        Spec("block", "meter", "<meter_id>/block", "command issuer; both bridges and meter repeat it", "all",
             1, True, Block),
        Spec("access", "meter", "<meter_id>/access", "registrar", "all", 1, True, enrolment.Access),
        Spec("renew", "meter", "<meter_id>/renew", "meter", "registrar", 1, False, enrolment.Renewal),
        Spec("credential", "meter", "<meter_id>/credential", "registrar", "meter", 1, True,
             enrolment.Credential),
        Spec("scd", "scl", "scl/scd", "bridge", "all", 1, True, None),
        Spec("revision", "scl", "scl/revision", "bridge", "all", 1, True, Revision),
        Spec("cid", "scl", "scl/cid/<ied>", "bridge", "MMS bridge", 1, True, None),
        Spec("service_status", "service", "service/<name>/status", "service, and its last will", "all",
             1, True, ServiceStatus),
        Spec("refused", "service", "service/<name>/refused, of people service/<name>/refused/<meter_id>",
             "service; command issuer", "bridge", 1, False, Refusal),
        Spec("ask", "enrol", "enrol/<slot>/ask", "new meter", "registrar", 1, False, enrolment.Ask),
        Spec("answer", "enrol", "enrol/<slot>/answer", "registrar", "new meter", 1, True, enrolment.Answer),
    )
}
# fmt: on

METER_KINDS = tuple(kind for kind, spec in SPECS.items() if spec.scope == "meter")
PRIVATE_KINDS = ("renew", "credential")
"""Between a meter and the registrar alone."""
TOLD_KINDS = tuple(kind for kind in METER_KINDS if kind not in PRIVATE_KINDS)
ENROL_KINDS = tuple(kind for kind, spec in SPECS.items() if spec.scope == "enrol")

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


@dataclass(frozen=True)
class Topic:
    """A parsed topic; ``name`` is the meter_id, IED, service or slot (empty for scd and revision)."""

    kind: str
    name: str = ""
    meter_id: str = ""
    """Of a refusal that a person tells."""


@dataclass(frozen=True)
class Topics:
    """Builds and parses the topics below one ``prefix``."""

    prefix: str = "sm/v1"

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(
                f"topic prefix {self.prefix!r} is not words joined by '/', such as sm/v1"
            )

    def meter(self, meter_id: str, kind: str) -> str:
        """Topic of ``kind`` for one meter; ``+`` as meter_id makes a subscription to all."""
        if kind not in METER_KINDS:
            raise ContractError(f"{kind!r} is no meter topic: {', '.join(METER_KINDS)}")
        return f"{self.prefix}/{meter_id}/{kind}"

    @property
    def scl(self) -> str:
        """What the topics of the SCL begin with."""
        return f"{self.prefix}/scl/"

    @property
    def scd(self) -> str:
        """Topic of the SCD."""
        return f"{self.scl}scd"

    @property
    def revision(self) -> str:
        """Topic of the SCD's revision."""
        return f"{self.scl}revision"

    def cid(self, ied: str) -> str:
        """Topic of one IED's CID; ``+`` makes a subscription to all."""
        return f"{self.scl}cid/{ied}"

    def service_status(self, name: str) -> str:
        """Topic of one service's status; ``+`` makes a subscription to all."""
        return f"{self.prefix}/service/{name}/status"

    def refused(self, name: str, meter_id: str = "") -> str:
        """Topic on which service ``name`` tells of commands that it refused; ``+`` for all.

        A person's has the ``meter_id`` in it, so that the broker holds it to the meters that are his.
        """
        return f"{self.prefix}/service/{name}/refused" + (f"/{meter_id}" if meter_id else "")

    def enrol(self, slot: str, kind: str) -> str:
        """Topic on which an enrolment slot (`broker.contract.enrolment_codes`) asks or is answered; ``+`` for
        all."""
        if kind not in ENROL_KINDS:
            raise ContractError(f"{kind!r} is no topic of enrolment: {', '.join(ENROL_KINDS)}")
        return f"{self.prefix}/enrol/{slot}/{kind}"

    @property
    def everything(self) -> str:
        """The subscription to all that is below the prefix."""
        return f"{self.prefix}/#"

    def parse(self, topic: str) -> Topic:
        """What ``topic`` is; ContractError if it is not of the contract."""
        head = self.prefix + "/"
        if not topic.startswith(head):
            raise ContractError(f"topic {topic[:128]!r} is not below {self.prefix!r}")
        match topic[len(head) :].split("/"):
            case ["scl", "scd" | "revision" as kind]:
                return Topic(kind)
            case ["scl", "cid", ied] if _NAME.fullmatch(ied):
                return Topic("cid", ied)
            case ["service", name, "status"] if _NAME.fullmatch(name):
                return Topic("service_status", name)
            case ["service", name, "refused", *meter] if _PUBLISHER.fullmatch(name) and len(meter) < 2:
                return Topic("refused", name, *map(checked_meter_id, meter))
            case ["enrol", slot, kind] if kind in ENROL_KINDS and is_slot(slot):
                return Topic(kind, slot)
            case [meter_id, kind] if kind in METER_KINDS:
                return Topic(kind, checked_meter_id(meter_id))
        raise ContractError(f"topic {topic[:128]!r} is not of the contract (docs/topics.md)")
