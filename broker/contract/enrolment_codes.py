"""Enrolment codes: what an administrator makes, an installer reads aloud, and a new meter shows once.

24 letters and digits in groups of four, without 0, O, 1 and I: four name the code, two say for how many
meters it is, seventeen are the secret (85 random bits), the last one checks the rest. The check is a sum in
the field of 32 elements, each character times another power of 2 (x⁵ + x² + 1): one wrong character, or any
two that changed places, are always found.

>>> code = EnrolmentCode.new(count=20)
>>> EnrolmentCode.parse(str(code).lower()) == code
True
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from broker.contract.errors import ConfigurationError

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
MAX_COUNT = 1000
"""Meters that one code may be for."""
_ID, _COUNT, _SECRET = 4, 2, 17
LENGTH = _ID + _COUNT + _SECRET + 1
_GROUP = 4
_FIELD = 0b100101


@dataclass(frozen=True)
class EnrolmentCode:
    """One code; only who was told it has ``secret``."""

    id: str
    count: int
    """Meters that it is for: so many logins (slots) the broker has for it."""
    secret: str

    @classmethod
    def new(cls, *, count: int) -> EnrolmentCode:
        """A fresh one; ConfigurationError unless it is for 1 … 1000 meters."""
        if not 1 <= count <= MAX_COUNT:
            raise ConfigurationError(f"count {count}: a code is for 1 to {MAX_COUNT} meters")
        return cls(_random(_ID), count, _random(_SECRET))

    @classmethod
    def parse(cls, text: str) -> EnrolmentCode:
        """What was typed, in capitals or not, hyphens or not; ConfigurationError says what is wrong."""
        typed = "".join(sign for sign in text.upper() if sign not in " -\t")
        strange = sorted(set(typed) - set(ALPHABET))
        if strange:
            raise ConfigurationError(
                f"enrolment code: {', '.join(map(repr, strange[:4]))} is in no code; they have the "
                "digits 2 to 9 and letters, but not O and I"
            )
        if len(typed) != LENGTH:
            raise ConfigurationError(
                f"enrolment code: {len(typed)} characters instead of {LENGTH} (six groups of four)"
            )
        if _check(typed[:-1]) != typed[-1]:
            raise ConfigurationError("enrolment code: mistyped, its last character does not fit the others")
        count = ALPHABET.index(typed[_ID]) * len(ALPHABET) + ALPHABET.index(typed[_ID + 1])
        return cls(typed[:_ID], count, typed[_ID + _COUNT : -1])

    def __str__(self) -> str:
        high, low = divmod(self.count, len(ALPHABET))
        signs = self.id + ALPHABET[high] + ALPHABET[low] + self.secret
        signs += _check(signs)
        return "-".join(signs[start : start + _GROUP] for start in range(0, LENGTH, _GROUP))

    def __repr__(self) -> str:
        return f"EnrolmentCode({self.id}, count={self.count})"

    def slots(self) -> list[str]:
        """The broker's logins that it stands for, each for one meter."""
        return [f"{self.id}-{number}" for number in range(1, self.count + 1)]

    def slots_for(self, meter_id: str) -> Iterator[str]:
        """The same, beginning where this meter does, so that many at once seldom meet."""
        slots = self.slots()
        first = int.from_bytes(hashlib.sha256(meter_id.encode()).digest()[:8], "big") % len(slots)
        yield from slots[first:] + slots[:first]


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _check(signs: str) -> str:
    total = 0
    for sign in signs:
        total = _doubled(total ^ ALPHABET.index(sign))
    return ALPHABET[total]


def _doubled(value: int) -> int:
    """Times x in GF(32)."""
    value <<= 1
    return value ^ _FIELD if value & 0b100000 else value
