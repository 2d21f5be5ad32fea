"""Reasons of refused requests: a fixed set, so that no client can create new kinds of audit events.

>>> str(RequestRefusedError(Why.KEY, "not PKCS #10"))
'the signing request is not valid: not PKCS #10'
"""

from __future__ import annotations

from enum import StrEnum

from broker.contract.errors import ContractError


class Why(StrEnum):
    """The reasons, as the audit has them."""

    MALFORMED = "the request is not of the contract"
    SLOT_TAKEN = "this slot is taken by another request"
    NO_CODE = "no such enrolment code"
    WITHDRAWN = "the enrolment code was withdrawn"
    EXPIRED = "the enrolment code has expired"
    OTHER_SERIAL = "meter_id belongs to another hardware serial"
    OTHER_METER = "this serial number belongs to another meter"
    NO_SERIAL = "hardware.serial: a meter has a serial number"
    KEY = "the signing request is not valid"
    BLOCKED = "this meter is blocked"
    ENROLLED = "this meter has a credential already"
    ASKED = "this meter has asked with another slot"
    SERIAL_ASKED = "a meter with this serial number has asked already"
    TOO_MANY = "too many requests wait to be approved"


class RequestRefusedError(ContractError):
    """A request is refused; ``cure`` or ``text`` is for the installer, the audit has ``why`` alone."""

    def __init__(self, why: Why, cure: str = "", *, text: str = "") -> None:
        super().__init__(text or (f"{why}: {cure}" if cure else str(why)))
        self.why = why
