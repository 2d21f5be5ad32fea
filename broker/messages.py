"""The payloads of the contract: one pydantic model for each topic, with units.

Every payload is one JSON object. Unknown fields are ignored, so that an old reader takes a new
writer; a quantity that the sensor does not give is absent, never 0. Timestamps are UTC with
milliseconds (``2026-11-23T12:00:00.000Z``). ``session`` is fresh at every connect; a last will
carries its session, so that an old will cannot mark a new session offline.

>>> Status.model_validate_json('{"online":true,"session":"a1","ts":"2026-11-23T12:00:00Z"}').online
True
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, from_json

from broker import texts
from broker.quantities import LABEL, LIMITS, other_numbers

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

MAX_LINE = 255
"""Characters of a text."""

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


def _visible(told: Any) -> Any:
    return texts.visible(told) if isinstance(told, str) else told


def _line(told: Any) -> str:
    return texts.visible(told)[:MAX_LINE] if isinstance(told, str) else ""


def _identifier(told: Any) -> Any:
    try:
        return texts.identifier(told) if isinstance(told, str) else told
    except ValueError as error:
        raise PydanticCustomError("identifier", str(error)) from None


Text = Annotated[
    str, BeforeValidator(_visible), StringConstraints(strip_whitespace=True, max_length=MAX_LINE)
]
"""What is no text (control characters and the like) stands in it as U+FFFD (`broker.texts`)."""
Line = Annotated[str, BeforeValidator(_line), StringConstraints(max_length=MAX_LINE)]
"""One line for a human. It costs nothing else: what is too long is cut, what is no text is left out."""
Identifier = Annotated[str, BeforeValidator(_identifier), Field(min_length=1, max_length=texts.MAX_HEX)]
"""At most 64 characters of text; what is no text stands in it as 0x and its octets in hex."""
Token = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,64}$")]
"""A short identifier: session, command_id."""
Quantity = Annotated[float, Field(ge=-1e12, le=1e12)]
Magnitude = Annotated[float, Field(ge=0, le=1e12)]


_HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""An escape in JSON; the group is half of a surrogate pair, which Python writes, and readers differ on."""


def whole(payload: str | bytes | bytearray) -> bytes:
    """``payload`` with U+FFFD in place of each half of a surrogate pair."""
    octets = payload.encode(errors="surrogatepass") if isinstance(payload, str) else bytes(payload)
    if rb"\ud" not in octets and rb"\uD" not in octets:
        return octets
    return _HALF.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], octets)


class _IfBad:
    """What stands in place of a value that is not valid: one bad quantity costs that quantity."""

    def __init__(self, instead: Callable[[], bool | datetime | None]) -> None:
        self._instead = instead

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(
            handler(source), default_factory=self._instead, on_error="default"
        )


_IF_BAD = _IfBad(lambda: None)


def _no_flag(told: Any) -> Any:
    if isinstance(told, bool):
        raise PydanticCustomError("flag", "is true or false, not a number")
    return told


_NUMBER = BeforeValidator(_no_flag)
"""``true`` is not 1."""


def _within(name: str) -> Any:
    """The limits of a quantity, as pydantic checks them."""
    low, high = LIMITS[name]
    return Field(ge=low, le=high)


class Message(BaseModel):
    """Base of all payloads: immutable, unknown fields ignored, no NaN and no infinity."""

    MAX_BYTES: ClassVar[int] = 16 * 1024
    """Of a payload; ten times and more of what a message needs."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, strict=False)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """The message in a payload, the same for all who read it; ValidationError when it is none.

        Of a name that stands there twice the last one counts; nothing may stand before or after the object.
        """
        if len(json_data) > cls.MAX_BYTES:
            large = PydanticCustomError("too_large", "is larger than {most} bytes", {"most": cls.MAX_BYTES})
            raise ValidationError.from_exception_data(
                cls.__name__, [{"type": large, "loc": (), "input": b""}]
            )
        return super().model_validate_json(whole(json_data), **options)

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

QuantityLabel = Annotated[str, StringConstraints(pattern=LABEL)]
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
    instance: Token | None = None
    """Fresh at each start of the meter's program: two that come in turn are two meters with one identity."""
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
    """One reading. (meter_id, epoch, seq) names it for ever. Retained: the latest one.

    A quantity that is no number within its limits is taken as absent; the rest of the reading counts. A
    number under a name that is not in this table is of a newer meter: it is kept too, at most 32 of them.
    """

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """When the meter began to count so, in ms since 1970: a new outbox is a new epoch."""
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    """Counts up by one in an epoch."""
    ts: Timestamp
    """When the sensor was read."""
    voltage: Annotated[Annotated[float, _within("voltage"), _NUMBER] | None, _IF_BAD] = None
    """V, RMS."""
    current: Annotated[Annotated[float, _within("current"), _NUMBER] | None, _IF_BAD] = None
    """A, RMS."""
    power: Annotated[Annotated[float, _within("power"), _NUMBER] | None, _IF_BAD] = None
    """W, active."""
    power_factor: Annotated[Annotated[float, _within("power_factor"), _NUMBER] | None, _IF_BAD] = None
    """−1…1."""
    frequency: Annotated[Annotated[float, _within("frequency"), _NUMBER] | None, _IF_BAD] = None
    """Hz."""
    energy: Annotated[Annotated[float, _within("energy"), _NUMBER] | None, _IF_BAD] = None
    """Wh, active, counted up since the sensor's last reset."""
    alarm: Annotated[bool | None, _IF_BAD] = None
    """True while the sensor's own over-power alarm is set."""
    clock_synchronized: Annotated[bool | None, _IfBad(lambda: False)] = None
    """False when nothing kept the meter's clock right when it read: ``ts`` may be wrong. Absent otherwise."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""

    model_config = ConfigDict(extra="allow")

    @property
    def other(self) -> dict[str, float | str]:
        """The numbers under names that only a newer meter knows."""
        return other_numbers(self.model_extra or {})

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if self.__pydantic_extra__:
            other_numbers(self.__pydantic_extra__)
        return self


class History(Message):
    """Readings kept while offline, oldest first. Not retained."""

    MAX_BYTES: ClassVar[int] = 512 * 1024

    readings: Annotated[tuple[Reading, ...], Field(min_length=1, max_length=1000)]


class Stored(Message):
    """The bridge has committed readings ``first`` … ``seq`` of ``epoch``; the meter may forget them."""

    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    first: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)]
    ts: Timestamp | None = None
    """The bridge's time after it had received them; the meter judges the age of commands by it, too."""
    taken: Annotated[tuple[int, ...], Field(min_length=2, max_length=2)] | None = None
    """``ts`` of readings ``first`` and ``seq``, ms since 1970: a meter that took others is not meant."""
    blocks: bool | None = None
    """True: the broker retains every relay block of the ledger. False: the bridge has not seen to it yet; a
    meter that has not heard true on its connection refuses commands. Absent: an older bridge."""


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
    identifier: Identifier
    """orIdent: at most 64 octets, which the client chose. Octets that are no text stand here in hex:
    ``0x0A000005``."""
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

    @classmethod
    def claimed_id(cls, payload: bytes) -> str | None:
        """The command_id in a payload that is no command, for its record; None when there is none."""
        try:
            return _TOKEN.validate_python(from_json(whole(payload))["command_id"])
        except (ValueError, TypeError, KeyError):
            return None


_TOKEN: TypeAdapter[str] = TypeAdapter(Token)


def _to_the_millisecond(ts: datetime) -> datetime:
    return ts.replace(microsecond=ts.microsecond // 1000 * 1000)


Moment = Annotated[Timestamp, AfterValidator(_to_the_millisecond)]
"""A time that is compared after it was on the wire: exact there."""


class Block(Message):
    """Which operations of the relay are blocked: a command against it is refused. Retained.

    For each direction the newest change counts, whoever tells it and in whichever order it comes. So
    broker, MMS bridge and meter, which all keep it, agree again after one of them has lost it, and two who
    change different directions at once do not undo each other. An empty payload releases nothing.

    What blocks is obeyed although the rest of the message cannot be read (an origin that only a newer program
    knows, a time after 2099 or none, a string with an odd escape, an end that is missing); then it counts as
    a change of now. A release needs a message that is valid as a whole. A payload in which no direction can
    be read as blocked (no JSON at all) blocks nothing and releases nothing: it is a dead letter, and those
    who know what is blocked publish that again.
    """

    MAX_BYTES: ClassVar[int] = 1024 * 1024
    _undated: bool = PrivateAttr(default=False)
    """It blocks, and when that was decided cannot be read."""

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
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As of any message, or what blocks of one that is not valid; ValidationError when nothing does."""
        try:
            block = super().model_validate_json(json_data, **options)
        except ValidationError:
            legible = cls._legible(whole(json_data)) if len(json_data) <= cls.MAX_BYTES else None
            if legible is None:
                raise
            return legible
        if block.ts >= _LAST_DAY and (block.open or block.close):  # nothing could follow it
            return cls._restricting(block.open, block.close, {}, block.origin)
        return block

    @classmethod
    def _legible(cls, payload: bytes) -> Self | None:
        """What blocks in a payload that is no valid message; None when nothing does."""
        told = legible_json(payload)
        opening, closing = (_read(_BOOL, told.get(name)) is True for name in ("open", "close"))
        origin = _legible_origin(told.get("origin"))
        return cls._restricting(opening, closing, told, origin) if opening or closing else None

    @classmethod
    def _restricting(cls, opening: bool, closing: bool, told: dict[str, Any], origin: Origin) -> Self:
        """What blocks of a message, with the times in ``told`` that can be read."""
        times = {name: _read(_MOMENT, told.get(name)) for name in ("ts", "open_ts", "close_ts")}
        known = {name: ts for name, ts in times.items() if ts is not None and ts < _LAST_DAY}
        ts = known.get("ts") or max(known.values(), default=EARLIEST)
        block = cls(
            open=opening,
            close=closing,
            ts=ts,
            open_ts=known.get("open_ts", ts) if opening else None,
            close_ts=known.get("close_ts", ts) if closing else None,
            origin=origin,
        )
        block._undated = not known
        return block

    @classmethod
    def changed(
        cls, known: Block | None, *, opening: bool | None, closing: bool | None, origin: Origin
    ) -> Block:
        """The block after ``known``: blocked, released, or (None) as it was, for each direction."""
        ts = (
            utc_now()
            if known is None
            else max(utc_now(), min(known.ts + _MILLISECOND, LATEST - _MILLISECOND))
        )
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
        if self._undated:
            new = (self.open and not (known and known.open), self.close and not (known and known.close))
            if known is not None and not any(new):
                return known
            return Block.changed(known, opening=new[0] or None, closing=new[1] or None, origin=self.origin)
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

    @property
    def undated(self) -> bool:
        """Whether it has no time that can be read; `merged` gives it one."""
        return self._undated

    def forbids(self, position: Position) -> bool:
        """Whether a command to ``position`` is blocked."""
        return self.open if position is Position.OPEN else self.close

    @property
    def words(self) -> str:
        """``opening``, ``closing``, ``opening and closing``, or ``nothing`` that is blocked."""
        told = [word for word, blocked in (("opening", self.open), ("closing", self.close)) if blocked]
        return " and ".join(told) or "nothing"


_MILLISECOND = timedelta(milliseconds=1)
_LAST_DAY = LATEST - timedelta(days=1)
_BOOL: TypeAdapter[bool] = TypeAdapter(bool)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
_CATEGORY: TypeAdapter[OriginCategory] = TypeAdapter(OriginCategory)
_V = TypeVar("_V")


def _read(adapter: TypeAdapter[_V], told: object) -> _V | None:
    """The value in ``told``; None when it is none."""
    try:
        return adapter.validate_python(told)
    except ValidationError:
        return None


def legible_json(payload: bytes) -> dict[str, Any]:
    """What can be read of a JSON object, for what counts although the rest is spoilt; empty when nothing can.

    Its text may be of another encoding than UTF-8, have control characters or escapes that are none in its
    strings, or be cut short: what stands whole before the end is read.
    """
    try:
        told = from_json(payload)
    except ValueError:
        try:
            told = from_json(_mended(payload), allow_partial=True)
        except ValueError:
            return {}
    return told if isinstance(told, dict) else {}


_CONTROL = re.compile(rb"[\x00-\x1f]")
_ESCAPE = re.compile(rb'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\u?')
"""An escape in JSON, in the group; or what is none."""


def _mended(payload: bytes) -> bytes:
    """``payload`` with what JSON does not allow in a string replaced."""
    text = _CONTROL.sub(b" ", payload.decode("utf-8-sig", errors="replace").encode())
    return _ESCAPE.sub(lambda escape: escape[1] or rb"\ufffd", text)


def _legible_origin(told: object) -> Origin:
    """What can be read of an origin."""
    fields = told if isinstance(told, dict) else {}
    name, via = fields.get("identifier"), fields.get("via")
    return Origin(
        category=_read(_CATEGORY, fields.get("category")) or OriginCategory.NOT_SUPPORTED,
        identifier=name[: texts.MAX_IDENTIFIER] if isinstance(name, str) and name else "unknown",
        via=via[:255] if isinstance(via, str) else None,
    )


def _origin_as_far_as_legible(told: Any, read: ValidatorFunctionWrapHandler) -> Origin | None:
    try:
        origin: Origin | None = read(told)
    except ValidationError:
        return _legible_origin(told) if isinstance(told, dict) else None
    return origin


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

    What was done counts although what explains it cannot be read: a ``done`` ends the ledger's entry as done.

    A meter publishes it again until the bridge has confirmed it (`recorded`), for 30 days at most. Of results
    for a bridge that confirms none only those of the last ten minutes come again, at each new connection.
    """

    command_id: Token
    outcome: Annotated[Outcome | Token, Field(union_mode="left_to_right")]
    """An :class:`Outcome`, or one that a newer meter knows."""
    reason: Line = ""
    """Empty when done."""
    cause: Annotated[Token | None, _IF_BAD] = None
    """The same for programs where they need it: ``blocked``, ``local``, ``position-reached``, or one that
    a newer meter knows."""
    position: Annotated[Position | None, _IF_BAD] = None
    """Of the command, as are the next three: enough for the record of a command that nobody else has seen.
    One of them that cannot be read costs itself, not the record of what the meter did."""
    origin: Annotated[Origin | None, WrapValidator(_origin_as_far_as_legible)] = None
    issued_at: Annotated[Timestamp | None, _IF_BAD] = None
    expires_at: Annotated[Timestamp | None, _IF_BAD] = None
    ts: Annotated[Timestamp, _IfBad(utc_now)]
    """When it was done or refused; one that cannot be read counts as now."""

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As of any message, or what can be read of it; ValidationError without command_id or outcome."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError:
            told = legible_json(whole(json_data)) if len(json_data) <= cls.MAX_BYTES else {}
            with suppress(ValidationError):
                return cls.model_validate(told)
            raise


class NoticeCode(StrEnum):
    """What the bridge has to say to one meter."""

    RECORDED = "recorded"
    """The result of ``command_id`` with the outcome ``reason`` is in the ledger: the meter may forget it."""
    BIRTH_REFUSED = "birth-refused"
    """The birth was not taken, for ``reason``; what was known of the meter stays in force."""
    BLOCK_RECORDED = "block-recorded"
    """The change of the block at ``block_ts`` is in the ledger: it holds, whatever the broker forgets."""
    EPOCH_CONFLICT = "epoch-conflict"
    """Readings of ``epoch`` have the numbers of others that are stored: the meter begins a new epoch and
    gives them new numbers in it."""


class MeterNotice(Message):
    """The bridge to one meter, not retained. A meter ignores a code that it does not know."""

    MAX_BYTES: ClassVar[int] = 64 * 1024

    code: Token
    """A :class:`NoticeCode`, or one that a newer bridge knows."""
    reason: Line = ""
    command_id: Token | None = None
    block_ts: Moment | None = None
    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    first: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    """``first`` … ``seq`` of ``epoch`` are the readings in conflict; absent: all that are not confirmed."""
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    taken: Annotated[tuple[Timestamp, ...], Field(max_length=1000)] | None = None
    """``ts`` of each of these readings: one that was taken at another time is not meant, but a twin's."""
    blocks: bool | None = None
    """As in :class:`Stored`."""
    ts: Timestamp

    def records(self, block: Block) -> bool:
        """Whether it says that this change is in the ledger."""
        return self.code == NoticeCode.BLOCK_RECORDED and self.block_ts == block.ts


class Refusal(Message):
    """A service refused a command, or a change of the block, before it was sent: a record for the ledger.

    Also when it lost the broker while it sent: the meter may have it then, and its Result counts more.
    """

    meter_id: str
    command: Command | None = None
    block: Block | None = None
    """Instead of a command."""
    reason: Line
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
