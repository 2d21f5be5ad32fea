"""Every kind of topic of the contract: who writes and reads it, quality of service, retained or not, payload.

One table, :data:`SPECS`, is the truth for the names of the topics (`broker.contract.topics`), for the
programs' subscriptions and dispatch, for the broker's access control list (`registrar.acl`) and for
docs/topics.md. A new kind of topic is one row here, and a handler in each program that the row names in
``heard_by``.

>>> SPECS["command"].topic(meter_id="+")
'+/command'
>>> heard_by(Role.REGISTRAR)
('birth', 'renew', 'ask')
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from broker.contract import enrolment
from broker.contract.alarms import Acknowledgement, Alarms
from broker.contract.billing import Billing, TariffInForce
from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.messages import Message
from broker.contract.notice import MeterNotice
from broker.contract.reading import History, Reading, Stored
from broker.contract.relay import Command, Relay
from broker.contract.result import Refusal, Result
from broker.contract.roles import HOMEASSISTANTS, Role
from broker.contract.status import Revision, ServiceStatus, Status

Scope = Literal["meter", "scl", "service", "enrol"]
_FIELD = re.compile("<([a-z_]+)>")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One kind of topic, and how it is used."""

    pattern: str
    """Below the prefix. ``<identity>`` is the name of who writes there."""
    writers: tuple[Role, ...]
    """Who may publish: first the sender, then those who repeat, clear or correct it."""
    heard_by: tuple[Role, ...]
    """Whose programs subscribe to it."""
    readers: tuple[Role, ...] = ()
    """Who else may receive it; the administrator may receive everything."""
    qos: Literal[0, 1] = 1
    retained: bool = False
    live_only: bool = False
    """One that is published retained is refused."""
    model: type[Message] | None
    """None: the payload is an XML document (`broker.contract.compressed`)."""
    state: bool = False
    """Part of what is known of a meter (`broker.contract.known`), by which commands are judged."""
    shared: bool = False
    """The meter keeps it until a bridge has stored it, so it goes to one bridge of a group."""

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The levels of the pattern."""
        return tuple(self.pattern.split("/"))

    @property
    def scope(self) -> Scope:
        """What it is about."""
        match self.words[0]:
            case "scl" | "service" | "enrol" as scope:
                return scope
        return "meter"

    def topic(self, **names: str) -> str:
        """The topic below the prefix; a field that is not named is ``+``."""
        return _FIELD.sub(lambda field: names.get(field[1], "+"), self.pattern)

    def may(self, verb: Literal["read", "write"], role: Role) -> bool:
        """Whether ``role`` has this right."""
        return role in (self.writers if verb == "write" else (*self.heard_by, *self.readers))


_METER, _BRIDGE, _MMS, _REGISTRAR = Role.METER, Role.BRIDGE, Role.MMS, Role.REGISTRAR
_WEB, _ADMIN, _OPERATOR, _ISSUER = Role.WEB, Role.ADMIN, Role.OPERATOR, Role.ISSUER
_SERVICES = (_BRIDGE, _MMS, _WEB)
_HOME_ISSUER, _CREDIT = Role.HOMEASSISTANT_ISSUER, Role.CREDIT
ALL = (*_SERVICES, _OPERATOR, _ISSUER, *HOMEASSISTANTS)
"""Who may receive all that concerns meters; an operator or issuer perhaps of some meters alone."""
_JUDGES = (*ALL, _CREDIT)
"""Who may receive what a command is judged by, and its result."""

# fmt: off
SPECS: dict[str, Spec] = {
    "access": Spec(
        pattern="<meter_id>/access", writers=(_REGISTRAR, _ADMIN), heard_by=_SERVICES, readers=_JUDGES,
        retained=True, model=enrolment.Access, state=True),
    "birth": Spec(
        pattern="<meter_id>/birth", writers=(_METER, _BRIDGE, _WEB, _ADMIN),
        heard_by=(*_SERVICES, _REGISTRAR), readers=_JUDGES, retained=True, model=Birth, state=True),
    "status": Spec(
        pattern="<meter_id>/status", writers=(_METER, _BRIDGE, _REGISTRAR, _WEB, _ADMIN),
        heard_by=_SERVICES, readers=(*_JUDGES, _REGISTRAR), retained=True, model=Status, state=True),
    "relay": Spec(
        pattern="<meter_id>/relay", writers=(_METER, _BRIDGE, _WEB, _ADMIN), heard_by=_SERVICES,
        readers=_JUDGES, retained=True, model=Relay, state=True),
    "reading": Spec(
        pattern="<meter_id>/reading", writers=(_METER, _BRIDGE, _WEB, _ADMIN), heard_by=_SERVICES,
        readers=ALL, retained=True, model=Reading, shared=True),
    "history": Spec(
        pattern="<meter_id>/history", writers=(_METER, _ADMIN), heard_by=(_BRIDGE,), readers=ALL,
        model=History, shared=True),
    "stored": Spec(
        pattern="<meter_id>/stored", writers=(_BRIDGE, _ADMIN), heard_by=(_METER, _WEB), readers=ALL, qos=0,
        model=Stored),
    "block": Spec(
        pattern="<meter_id>/block", writers=(_ISSUER, _MMS, _BRIDGE, _METER, _ADMIN),
        heard_by=(*_SERVICES, _METER), readers=_JUDGES, retained=True, model=Block, state=True),
    "command": Spec(
        pattern="<meter_id>/command", writers=(_ISSUER, _MMS, _WEB, _ADMIN, _HOME_ISSUER, _CREDIT),
        heard_by=(_BRIDGE, _METER),
        readers=ALL, live_only=True, model=Command),
    "result": Spec(
        pattern="<meter_id>/result", writers=(_METER, _ADMIN), heard_by=_SERVICES, readers=_JUDGES,
        model=Result),
    "notice": Spec(
        pattern="<meter_id>/notice", writers=(_BRIDGE, _ADMIN), heard_by=(_METER, _MMS), readers=ALL, qos=0,
        model=MeterNotice),
    "alarms": Spec(
        pattern="<meter_id>/alarms", writers=(_BRIDGE, _ADMIN), heard_by=_SERVICES, readers=ALL,
        retained=True, model=Alarms),
    "billing": Spec(
        pattern="<meter_id>/billing", writers=(_BRIDGE, _ADMIN), heard_by=(_MMS, _WEB), readers=ALL,
        retained=True, model=Billing),
    "renew": Spec(
        pattern="<meter_id>/renew", writers=(_METER,), heard_by=(_REGISTRAR,), model=enrolment.Renewal),
    "credential": Spec(
        pattern="<meter_id>/credential", writers=(_REGISTRAR,), heard_by=(_METER,), retained=True,
        model=enrolment.Credential),
    "scd": Spec(
        pattern="scl/scd", writers=(_BRIDGE,), heard_by=(_WEB,), readers=ALL, retained=True, model=None),
    "revision": Spec(
        pattern="scl/revision", writers=(_BRIDGE,), heard_by=(_MMS, _WEB), readers=ALL, retained=True,
        model=Revision),
    "cid": Spec(
        pattern="scl/cid/<ied>", writers=(_BRIDGE,), heard_by=(_MMS, _WEB), readers=ALL, retained=True,
        model=None),
    "service_status": Spec(
        pattern="service/<service>/status", writers=(_BRIDGE, _MMS, _REGISTRAR, _WEB),
        heard_by=_SERVICES, readers=ALL, retained=True, model=ServiceStatus),
    "service_alarms": Spec(
        pattern="service/<service>/alarms", writers=(_BRIDGE, _ADMIN), heard_by=_SERVICES, readers=ALL,
        retained=True, model=Alarms),
    "tariff": Spec(
        pattern="service/<service>/tariff", writers=(_BRIDGE, _ADMIN), heard_by=(_MMS, _WEB), readers=ALL,
        retained=True, model=TariffInForce),
    "acknowledged": Spec(
        pattern="service/<identity>/acknowledged", writers=(_WEB, _ADMIN), heard_by=(_BRIDGE,),
        readers=_SERVICES, model=Acknowledgement),
    "meter_acknowledged": Spec(
        pattern="service/<identity>/acknowledged/<meter_id>", writers=(_WEB, _ISSUER, _ADMIN),
        heard_by=(_BRIDGE,), readers=_SERVICES, model=Acknowledgement),
    "refused": Spec(
        pattern="service/<identity>/refused", writers=(_MMS, _WEB), heard_by=(_BRIDGE,), readers=_SERVICES,
        model=Refusal),
    "user_refused": Spec(
        pattern="service/<identity>/refused/<meter_id>", writers=(_ISSUER, _ADMIN, _CREDIT),
        heard_by=(_BRIDGE,), readers=_SERVICES, model=Refusal),
    "ask": Spec(
        pattern="enrol/<slot>/ask", writers=(_METER,), heard_by=(_REGISTRAR,), model=enrolment.Ask),
    "answer": Spec(
        pattern="enrol/<slot>/answer", writers=(_REGISTRAR,), heard_by=(_METER,), retained=True,
        model=enrolment.Answer),
}
# fmt: on
"""In the order in which programs subscribe: whether the registrar lets a meter in is heard before what the
meter says, and what is blocked before the first command."""

METER_KINDS = tuple(kind for kind, spec in SPECS.items() if spec.scope == "meter")
ENROL_KINDS = tuple(kind for kind, spec in SPECS.items() if spec.scope == "enrol")
STATE_KINDS = tuple(kind for kind, spec in SPECS.items() if spec.state)
"""What is known of a meter; a command is judged by it."""
RETAINED_OF_METER = tuple(
    kind
    for kind, spec in SPECS.items()
    if spec.scope == "meter" and spec.retained and spec.writers[0] is _METER
)
"""What a broker keeps of a meter's own words: cleared when the meter is taken out of service (the empty birth
is what the bridge acts upon), repeated by the bridge when a broker has lost it."""


def heard_by(role: Role) -> tuple[str, ...]:
    """The kinds that the program of ``role`` subscribes to."""
    return tuple(kind for kind, spec in SPECS.items() if role in spec.heard_by)
