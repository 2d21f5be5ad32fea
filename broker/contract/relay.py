"""The relay: its position, and the command that moves it, and who wants it.

``legible_origin`` keeps what can be read of an origin that only a newer program can read as a whole.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import from_json

from broker.contract import texts
from broker.contract.messages import Identifier, Message, Text, Timestamp, Token, legible, whole


class Position(StrEnum):
    """Relay position: ``closed`` means that the house has power."""

    OPEN = "open"
    CLOSED = "closed"


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


_CATEGORY: TypeAdapter[OriginCategory] = TypeAdapter(OriginCategory)


def legible_origin(told: object) -> Origin:
    """What can be read of an origin."""
    fields = told if isinstance(told, dict) else {}
    name, via = fields.get("identifier"), fields.get("via")
    return Origin(
        category=legible(_CATEGORY, fields.get("category")) or OriginCategory.NOT_SUPPORTED,
        identifier=name[: texts.MAX_IDENTIFIER] if isinstance(name, str) and name else "unknown",
        via=via[:255] if isinstance(via, str) else None,
    )


def origin_as_far_as_legible(told: Any, read: ValidatorFunctionWrapHandler) -> Origin | None:
    try:
        origin: Origin | None = read(told)
    except ValidationError:
        return legible_origin(told) if isinstance(told, dict) else None
    return origin
