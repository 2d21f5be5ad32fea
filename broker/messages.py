"""The payloads of the contract: one pydantic model for each topic, with units.

Every payload is one JSON object. Unknown fields are ignored, so that an old reader takes a new
writer; a quantity that the sensor does not give is absent, never 0. Timestamps are UTC with
milliseconds (``2026-11-23T12:00:00.000Z``). ``session`` is fresh at every connect; a last will
carries its session, so that an old will cannot mark a new session offline.

>>> Status.model_validate_json('{"online":true,"session":"a1","ts":"2026-11-23T12:00:00Z"}').online
True
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)
from pydantic_core import PydanticCustomError

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""No meter61850 existed before; an earlier timestamp is a clock that was never set."""

LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""A later timestamp is a clock that is wrong: MMS could not show it, and no block could follow it."""

LATE = "timestamp_late"
"""Type of pydantic's error for it."""

FUTURE_TOLERANCE = timedelta(minutes=5)
"""A timestamp further ahead of the reader's clock than this is refused by the reader."""

MAX_COMMAND_VALIDITY = timedelta(seconds=60)
"""A relay command that stays valid longer than this is refused: a switch is meant for now."""

MAX_SEQ = 2**53 - 1
"""Largest integer that every JSON reader keeps exact."""


def utc_now() -> datetime:
    """Now in UTC, cut to the millisecond that the contract carries."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def format_ts(ts: datetime) -> str:
    """``ts`` as the contract writes it: UTC, milliseconds, ``Z``."""
    return ts.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ts.microsecond // 1000:03d}Z"


def _checked_ts(ts: datetime) -> datetime:
    if ts < EARLIEST:
        raise ValueError(f"{ts.isoformat()} is before {EARLIEST.date()}: the sender's clock was never set")
    if ts >= LATEST:  # also what UTC has no number for: 9999-12-31T23:59:59-01:00
        raise PydanticCustomError(
            LATE, "{ts} is after 2099: the sender's clock is wrong", {"ts": ts.isoformat()}
        )
    return ts.astimezone(UTC)


Timestamp = Annotated[
    AwareDatetime, AfterValidator(_checked_ts), PlainSerializer(format_ts, return_type=str, when_used="json")
]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)]
Token = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,64}$")]
"""A short identifier: session, command_id."""
Quantity = Annotated[float, Field(ge=-1e12, le=1e12)]
Magnitude = Annotated[float, Field(ge=0, le=1e12)]


class Message(BaseModel):
    """Base of all payloads: immutable, unknown fields ignored, no NaN and no infinity."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, strict=False)

    def payload(self) -> bytes:
        """The JSON that goes on the wire; absent quantities are left out."""
        return self.model_dump_json(exclude_none=True).encode()


class Position(StrEnum):
    """Relay position: ``closed`` means that the house has power."""

    OPEN = "open"
    CLOSED = "closed"


class Hardware(Message):
    """What is on the wall; IEC 61850 shows it as LPHD1.PhyNam."""

    vendor: Text = ""
    model: Text = ""
    serial: Text
    """Serial number of the device; a meter_id belongs to one serial for ever."""


QuantityName = Literal["voltage", "current", "power", "power_factor", "frequency", "energy"]
QUANTITIES: tuple[QuantityName, ...] = get_args(QuantityName)
"""Names of the quantities that this version knows, as in :class:`Reading` and in :attr:`Birth.quantities`."""

QuantityLabel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][0-9A-Za-z_]{0,63}$")]
"""Name of a quantity, also one that only a newer meter knows."""


class Birth(Message):
    """A meter registers itself: who and where it is, what it measures. Retained."""

    name: Text
    owner: Text = ""
    address: Text = ""
    """Street address of the installation."""
    address_code: Text = ""
    """Postal (zip) code or any other address code; IEDs may be filled by it."""
    ip: Text = ""
    hardware: Hardware
    firmware: Text
    """Version of the firmware."""
    quantities: tuple[QuantityLabel, ...] = QUANTITIES
    """Names of what is measured; unknown ones are of a newer meter and are kept."""
    relay: bool = True
    """False without a relay: no ``relay`` topic, no CSWI and XSWI, and every command is refused."""
    interval: Annotated[float, Field(gt=0, le=86_400)]
    """Seconds between readings."""
    clock_synchronized: bool = True
    """False when the meter has no NTP: its ``t`` then says clock-not-synchronized in MMS."""
    session: Token
    ts: Timestamp
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""


class Status(Message):
    """Online or not; also the meter's last will (``online`` false). Retained."""

    online: bool
    session: Token
    ts: Timestamp
    """When the status was written; in a last will the time of the connect."""
    outbox: Annotated[int, Field(ge=0)] = 0
    """Readings that wait in the meter's outbox for ``stored``."""
    dropped: Annotated[int, Field(ge=0)] = 0
    """Readings that a full outbox has dropped since it was created."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""


class Reading(Message):
    """One reading. (meter_id, epoch, seq) names it for ever. Retained: the latest one."""

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """When the meter's outbox was created, in ms since 1970: a new outbox is a new epoch."""
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """Counts up by one in an epoch."""
    ts: Timestamp
    """When the sensor was read."""
    voltage: Magnitude | None = None
    """V, RMS."""
    current: Magnitude | None = None
    """A, RMS."""
    power: Quantity | None = None
    """W, active."""
    power_factor: Annotated[float, Field(ge=-1, le=1)] | None = None
    """−1…1."""
    frequency: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Hz."""
    energy: Magnitude | None = None
    """Wh, active, counted up since the sensor's last reset."""
    alarm: bool | None = None
    """True while the sensor's own over-power alarm is set."""
    clock_synchronized: bool | None = None
    """False when nothing kept the meter's clock right when it read: ``ts`` may be wrong. Absent otherwise."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""


class History(Message):
    """Readings kept while offline, oldest first. Not retained."""

    readings: Annotated[tuple[Reading, ...], Field(min_length=1, max_length=1000)]


class Stored(Message):
    """The bridge has committed readings ``first`` … ``seq`` of ``epoch``; the meter may forget them."""

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    first: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]


class Relay(Message):
    """The relay as it is. Retained."""

    position: Position
    operations: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """Operations since the meter was installed (XSWI1.OpCnt)."""
    local: bool = False
    """True when only a hand at the meter may switch (XSWI1.Loc)."""
    ts: Timestamp
    """When the position last changed."""
    command_id: Token | None = None
    """The command that caused it."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""

    @model_serializer(mode="wrap")
    def _unless_repeated(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A meter's own message is without the field."""
        fields: dict[str, Any] = serialize(self)
        return fields if self.repeated else {name: fields[name] for name in fields if name != "repeated"}


class OriginCategory(StrEnum):
    """orCat of IEC 61850-7-3 (OriginatorCategoryKind), literal for literal."""

    NOT_SUPPORTED = "not-supported"
    BAY_CONTROL = "bay-control"
    STATION_CONTROL = "station-control"
    REMOTE_CONTROL = "remote-control"
    AUTOMATIC_BAY = "automatic-bay"
    AUTOMATIC_STATION = "automatic-station"
    AUTOMATIC_REMOTE = "automatic-remote"
    MAINTENANCE = "maintenance"
    PROCESS = "process"


class Origin(Message):
    """Who wants it: origin of IEC 61850-7-2, or the CLI's user."""

    category: OriginCategory
    identifier: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """orIdent: at most 64 octets. The client chose it."""
    via: Text | None = None
    """From where the service has it that publishes it, as that tells: ``mms 192.0.2.7:40112``, ``cli desk4``;
    over TLS with the certificate's name and SHA-256."""


class Command(Message):
    """Switch the relay, once, before ``expires_at``, or not at all. Never retained."""

    command_id: Token
    position: Position
    issued_at: Timestamp
    expires_at: Timestamp
    origin: Origin


def _to_the_millisecond(ts: datetime) -> datetime:
    return ts.replace(microsecond=ts.microsecond // 1000 * 1000)


Moment = Annotated[Timestamp, AfterValidator(_to_the_millisecond)]
"""A time that is compared after it was on the wire: exact there."""


class Block(Message):
    """Which operations of the relay are blocked: a command against it is refused. Retained.

    For each direction the newest change counts, whoever tells it and in whichever order it comes. So
    broker, MMS bridge and meter, which all keep it, agree again after one of them has lost it, and two who
    change different directions at once do not undo each other. An empty payload releases nothing.
    """

    open: bool
    """Opening is blocked (XSWI1.BlkOpn)."""
    close: bool
    """Closing is blocked (XSWI1.BlkCls)."""
    ts: Moment
    """When it was changed last; always after the change that was known before."""
    open_ts: Moment | None = None
    """When opening was blocked or released last; absent if never. Both absent: both at ``ts``."""
    close_ts: Moment | None = None
    """The same of closing."""
    origin: Origin
    """Who made the last change."""

    @classmethod
    def changed(
        cls, known: Block | None, *, opening: bool | None, closing: bool | None, origin: Origin
    ) -> Block:
        """The block after ``known``: blocked, released, or (None) as it was, for each direction."""
        ts = utc_now() if known is None else max(utc_now(), known.ts + timedelta(milliseconds=1))
        new = cls(
            open=bool(opening),
            close=bool(closing),
            ts=ts,
            open_ts=None if opening is None else ts,
            close_ts=None if closing is None else ts,
            origin=origin,
        )
        return new.merged(known)

    def merged(self, known: Block | None) -> Block:
        """What holds when both were told, in any order; of changes at the same time the one that blocks."""
        return self._joined(known, key=lambda change: change)

    def guarded(self, known: Block | None) -> Block:
        """What holds until this is kept: what either blocks. A release that may be lost is none yet."""
        return self._joined(known, key=lambda change: change[::-1])

    def _joined(self, known: Block | None, *, key: Callable[[tuple[datetime, bool]], Any]) -> Block:
        """For each direction the later change of the two by ``key``."""
        other = known or self
        open_ts, open_ = max(self._opening, other._opening, key=key)
        close_ts, close = max(self._closing, other._closing, key=key)
        newest = max(self, other, key=lambda told: (told.ts, told.origin.category, told.origin.identifier))
        return Block(
            open=open_,
            close=close,
            ts=newest.ts,
            open_ts=None if open_ts == EARLIEST else open_ts,
            close_ts=None if close_ts == EARLIEST else close_ts,
            origin=newest.origin,
        )

    @property
    def _opening(self) -> tuple[datetime, bool]:
        return self.open_ts or (EARLIEST if self.close_ts else self.ts), self.open

    @property
    def _closing(self) -> tuple[datetime, bool]:
        return self.close_ts or (EARLIEST if self.open_ts else self.ts), self.close

    def forbids(self, position: Position) -> bool:
        """Whether a command to ``position`` is blocked."""
        return self.open if position is Position.OPEN else self.close

    @property
    def words(self) -> str:
        """``opening``, ``closing``, ``opening and closing``, or ``nothing`` that is blocked."""
        told = [word for word, blocked in (("opening", self.open), ("closing", self.close)) if blocked]
        return " and ".join(told) or "nothing"


class Outcome(StrEnum):
    """What became of a command."""

    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    FAILED = "failed"


class Cause(StrEnum):
    """Why a meter has refused, for programs: MMS makes its AddCause of it."""

    BLOCKED = "blocked"
    LOCAL = "local"
    POSITION_REACHED = "position-reached"


class Result(Message):
    """The meter's answer to one command. Not retained.

    The last ones, of ten minutes, are told again at each new connection: a broker that was killed forgets.
    """

    command_id: Token
    outcome: Annotated[Outcome | Token, Field(union_mode="left_to_right")]
    """An :class:`Outcome`, or one that a newer meter knows."""
    reason: Text = ""
    """Empty when done; otherwise one line for a human."""
    cause: Token | None = None
    """The same for programs where they need it: ``blocked``, ``local``, ``position-reached``, or one that
    a newer meter knows."""
    position: Position | None = None
    """Of the command, as are the next three: enough for the record of a command that nobody else has seen."""
    origin: Origin | None = None
    issued_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    ts: Timestamp


class NoticeCode(StrEnum):
    """What the bridge has to say to one meter."""

    RECORDED = "recorded"
    """The result of ``command_id`` is in the ledger: the meter may forget it."""
    BIRTH_REFUSED = "birth-refused"
    """The birth was not taken, for ``reason``; what was known of the meter stays in force."""
    EPOCH_CONFLICT = "epoch-conflict"
    """A reading of ``epoch`` has the number of another one that is stored: the meter begins a new epoch."""


class MeterNotice(Message):
    """The bridge to one meter, not retained. A meter ignores a code that it does not know."""

    code: Token
    """A :class:`NoticeCode`, or one that a newer bridge knows."""
    reason: Text = ""
    """One line for a human."""
    command_id: Token | None = None
    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    ts: Timestamp


class Refusal(Message):
    """A service refused a command, or a change of the block, before it was sent: a record for the ledger.

    Also when it lost the broker while it sent: the meter may have it then, and its Result counts more.
    """

    meter_id: str
    command: Command | None = None
    block: Block | None = None
    """Instead of a command."""
    reason: Text
    ts: Timestamp


class Revision(Message):
    """Which SCD is current. Retained, published after the SCD and the CIDs."""

    revision: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the SCD's bytes."""
    meters: Annotated[int, Field(ge=0)]
    ieds: Annotated[int, Field(ge=0)]
    ts: Timestamp


class ServiceStatus(Message):
    """A service is there, and what it has counted; also its last will. Retained."""

    online: bool
    version: Text
    session: Token
    ts: Timestamp
    counters: dict[str, int] = Field(default_factory=dict)
    warnings: tuple[Text, ...] = ()
    """What somebody should look at, one line each; the registrar's are certificates that end soon."""
    audit_head: Text | None = None
    """The bridge's: NO:HASH of the last row of the audit, to be remembered outside of the database."""
