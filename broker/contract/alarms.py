"""Alarms: what needs a human. One table of the kinds, and the messages that tell and acknowledge them.

From :data:`KINDS` follow docs/alarms.md, the metric, the page, the command line and the health in MMS. The
bridge alone raises and clears alarms; it stores them and publishes those in force, retained: of a meter on
``<meter_id>/alarms``, of the server itself on ``service/bridge/alarms``. An alarm is acknowledged by a
message of its own; the bridge notes who did, and the alarm stays in force until its cause is gone.

>>> KINDS["twin"].severity
<Severity.ALARM: 'alarm'>
>>> worst(["clock", "voltage"])
<Severity.WARNING: 'warning'>
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from broker.contract.messages import MAX_SEQ, Line, Message, Timestamp, Token

SERVICE = "bridge"
"""The service in the topic of the server's own alarms, whichever bridge of a group leads."""


class Severity(StrEnum):
    """How bad it is, in the words of IEC 61850's HealthKind."""

    ALARM = "alarm"
    """Something does not work, or readings are being lost."""
    WARNING = "warning"
    """It works, and somebody should look at it soon."""


class Of(StrEnum):
    """Whose alarm it is."""

    METER = "meter"
    SERVER = "server"
    BOTH = "meter, server"


@dataclass(frozen=True, kw_only=True)
class AlarmKind:
    """One kind of alarm."""

    of: Of
    severity: Severity
    meaning: str
    raised: str
    cleared: str
    cure: str
    """What to do."""
    lasts: int | None = None
    """Seconds in force after it was seen last, of what is an event; None for a state."""
    health: bool = True
    """Whether it is of the meter's, or the server's, health: PhyHealth in MMS.

    The MMS bridge itself sees a meter that is offline or stale, and that it is back, also without a bridge.
    """


KINDS: dict[str, AlarmKind] = {
    "offline": AlarmKind(
        of=Of.METER,
        severity=Severity.ALARM,
        health=False,
        meaning="the meter has no connection to the broker",
        raised="its status or last will says offline; a meter that is blocked or out of service has none",
        cleared="it connects",
        cure="look at its power and its network; `meter61850 doctor` looks at ours",
    ),
    "stale": AlarmKind(
        of=Of.METER,
        severity=Severity.ALARM,
        health=False,
        meaning="the meter is online, but none of its readings arrives",
        raised="none has arrived for three intervals and a minute",
        cleared="a reading arrives",
        cure="look at the sensor and its cable, and at the log of the meter",
    ),
    "twin": AlarmKind(
        of=Of.METER,
        severity=Severity.ALARM,
        lasts=15 * 60,
        meaning="two meters with one identity connect alternately",
        raised="an instance or a session comes back after another one; the detail has both addresses",
        cleared="it was not seen for 15 minutes",
        cure="switch one of the two off, and give it an identity of its own (`meter61850 enrol new`)",
    ),
    "epoch-conflict": AlarmKind(
        of=Of.METER,
        severity=Severity.ALARM,
        lasts=15 * 60,
        meaning="a reading has the name (epoch, seq) of another one: a restored or copied memory card",
        raised="such a reading arrives",
        cleared="it was not seen for 15 minutes",
        cure="nothing is lost: the meter begins a new epoch; was its card restored or copied?",
    ),
    "clock": AlarmKind(
        of=Of.BOTH,
        severity=Severity.WARNING,
        meaning="the clock of the meter, or of the server, may be wrong",
        raised="a birth of the meter, or the kernel of the server, says that NTP does not keep the clock",
        cleared="a later birth, or the kernel, says that NTP keeps it",
        cure="let NTP reach it (`timedatectl`); until then the times of readings may be wrong",
    ),
    "counter-doubtful": AlarmKind(
        of=Of.METER,
        severity=Severity.WARNING,
        lasts=24 * 3600,
        meaning="the counter of energy fell, or rose by more than the meter can measure",
        raised="an hour of the last day is summed up, and steps of the counter are left out of its energy",
        cleared="24 hours after the last such hour was summed up",
        cure="was the sensor replaced or reset? compare with the display of the meter",
    ),
    "voltage": AlarmKind(
        of=Of.METER,
        severity=Severity.WARNING,
        health=False,
        meaning="a voltage to neutral is outside its limits",
        raised="the latest reading is outside of the range of METER61850_MMS_RANGE (207 to 253 V)",
        cleared="the latest reading is inside of it by 1 % of the nominal value",
        cure="tell the network's operator; if several voltages of a house differ, look at its neutral",
    ),
    "outbox-dropping": AlarmKind(
        of=Of.METER,
        severity=Severity.ALARM,
        lasts=15 * 60,
        meaning="the outbox of the meter is full: readings are lost",
        raised="a status says that more readings were dropped than the one before",
        cleared="no status said this for 15 minutes",
        cure="the meter could not send for too long: look at its network, and at the bridge",
    ),
    "relay": AlarmKind(
        of=Of.METER,
        severity=Severity.ALARM,
        meaning="a command ended without the relay having moved",
        raised="its last command (of 24 hours) timed out or failed; refused and expired ones do not count",
        cleared="a later command is done",
        cure="look at the relay and its wiring; `meter61850 commands` has the reason",
    ),
    "certificate": AlarmKind(
        of=Of.SERVER,
        severity=Severity.WARNING,
        meaning="a certificate ends soon, or has ended, and was not renewed",
        raised="the registrar reports it",
        cleared="it is renewed",
        cure="the detail has what to do",
    ),
    "disk": AlarmKind(
        of=Of.SERVER,
        severity=Severity.ALARM,
        meaning="the disk of the database is nearly full",
        raised="less is free than METER61850_ALARM_DISK_MB",
        cleared="a quarter more than that is free",
        cure="make room, or keep readings for less long (METER61850_KEEP)",
    ),
    "dead-letters": AlarmKind(
        of=Of.SERVER,
        severity=Severity.WARNING,
        meaning="many messages cannot be used",
        raised="so many different ones as METER61850_ALARM_DEAD_LETTERS were seen within an hour",
        cleared="fewer than half of that were",
        cure="`meter61850 dead-letters` lists them with their causes",
    ),
}
"""Every kind, in the order in which they are shown; a name is kept for ever."""


def worst(kinds: Iterable[str]) -> Severity | None:
    """The health that alarms of these ``kinds`` leave; None for good. A kind of a newer bridge warns."""
    known = [KINDS.get(kind) for kind in kinds]
    found = {kind.severity if kind else Severity.WARNING for kind in known if kind is None or kind.health}
    return next((severity for severity in Severity if severity in found), None)


class AlarmInForce(Message):
    """An alarm that was raised and is not cleared."""

    id: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """Of this occurrence: what an acknowledgement names."""
    kind: Token
    """One of docs/alarms.md, or one that a newer bridge knows."""
    severity: Token
    """``alarm`` or ``warning``."""
    subject: Line = ""
    """Which one, where a meter or the server can have several of a kind, such as certificates."""
    detail: Line = ""
    count: Annotated[int, Field(ge=1, le=MAX_SEQ)] = 1
    """How often it was seen since it was raised, of what is an event."""
    since: Timestamp
    acknowledged_by: Line = ""
    """Empty: not acknowledged yet."""
    acknowledged_at: Timestamp | None = None


class Alarms(Message):
    """The alarms in force of one meter, or of the server. Retained; empty payload: there are none."""

    MAX_BYTES: ClassVar[int] = 64 * 1024

    alarms: tuple[AlarmInForce, ...]

    @property
    def health(self) -> Severity | None:
        """What they leave of the health; None for good."""
        return worst(alarm.kind for alarm in self.alarms)


class Acknowledgement(Message):
    """Somebody has seen an alarm and takes care of it; of several the first counts."""

    id: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """Of the alarm. It must be one of the meter in the topic; without a meter, one of the server."""
    by: Line = ""
    """Name of the person, which is noted beside the identity in the topic."""
    ts: Timestamp
