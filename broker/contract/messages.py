"""What all payloads of the contract have in common: JSON objects, times, texts, and what is unreadable.

Every payload is one JSON object and one pydantic model (`broker.contract.birth`, `reading`, `relay` and so
on). Unknown fields are ignored, so that an old reader takes a new
writer; a quantity that the sensor does not give is absent, never 0. Timestamps are UTC with
milliseconds (``2026-11-23T12:00:00.000Z``). ``session`` is fresh at every connect; a last will
carries its session, so that an old will cannot mark a new session offline.

>>> TypeAdapter(Timestamp).dump_json(datetime(2026, 11, 23, 12, tzinfo=UTC))
b'"2026-11-23T12:00:00.000Z"'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, from_json

from broker.contract import texts

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
    return ts.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def checked_ts(ts: datetime) -> datetime:
    """``ts`` in UTC; ValueError where it is the time of a clock that is wrong."""
    if ts < EARLIEST:
        raise ValueError(f"{ts.isoformat()} is before {EARLIEST.date()}: the sender's clock was never set")
    if ts >= LATEST:  # also what UTC has no number for: 9999-12-31T23:59:59-01:00
        raise PydanticCustomError(
            LATE, "{ts} is after 2099: the sender's clock is wrong", {"ts": ts.isoformat()}
        )
    return ts.astimezone(UTC)


Timestamp = Annotated[
    AwareDatetime, AfterValidator(checked_ts), PlainSerializer(format_ts, return_type=str, when_used="json")
]


def _to_the_millisecond(ts: datetime) -> datetime:
    return ts.replace(microsecond=ts.microsecond // 1000 * 1000)


Moment = Annotated[Timestamp, AfterValidator(_to_the_millisecond)]
"""A time that is compared after it was on the wire: exact there."""


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
"""What is no text (control characters and the like) stands in it as U+FFFD (`broker.contract.texts`)."""
Line = Annotated[str, BeforeValidator(_line), StringConstraints(max_length=MAX_LINE)]
"""One line for a human. It costs nothing else: a longer one is cut, a value that is no text is left out."""
Identifier = Annotated[str, BeforeValidator(_identifier), Field(min_length=1, max_length=texts.MAX_HEX)]
"""At most 64 characters of text; what is no text stands in it as 0x and its octets in hex."""
Token = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,64}$")]
"""A short identifier: session, command_id."""


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


class IfBad:
    """What stands in place of a value that is not valid: one bad quantity costs that quantity."""

    def __init__(self, instead: Callable[[], bool | datetime | None]) -> None:
        self._instead = instead

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(
            handler(source), default_factory=self._instead, on_error="default"
        )


IF_BAD = IfBad(lambda: None)


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


_V = TypeVar("_V")


def legible(adapter: TypeAdapter[_V], told: object) -> _V | None:
    """The value in ``told``; None when it is none."""
    try:
        return adapter.validate_python(told)
    except ValidationError:
        return None


def legible_json(payload: bytes) -> dict[str, Any]:
    """The readable part of a JSON object, for what counts although the rest is spoilt; empty without one.

    Its text may be of another encoding than UTF-8, have control characters or invalid escapes in its strings,
    or be cut short: the members that are whole before the end are read.
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
"""An escape in JSON, in the group; or an invalid one."""


def _mended(payload: bytes) -> bytes:
    """``payload`` with what JSON does not allow in a string replaced."""
    text = _CONTROL.sub(b" ", payload.decode("utf-8-sig", errors="replace").encode())
    return _ESCAPE.sub(lambda escape: escape[1] or rb"\ufffd", text)
