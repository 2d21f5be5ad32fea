"""What a Write may contain: values within the ranges of their types; ``controls.py`` has the commands.

libiec61850 stores values beyond the type of the attribute.

>>> value_error("LLN0$BR$brcbPos01$ResvTms", bytes.fromhex("8503008000"))
11
>>> value_error("LLN0$BR$brcbPos01$ResvTms", bytes.fromhex("85020258"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mms_bridge.guard.answers import OBJECT_VALUE_INVALID, TYPE_INCONSISTENT
from mms_bridge.guard.ber import MalformedError, parts

STRUCTURE, BOOLEAN, BITS, INTEGER, UNSIGNED, OCTETS, TEXT, UTC = (
    0xA2, 0x83, 0x84, 0x85, 0x86, 0x89, 0x8A, 0x91,
)  # fmt: skip
"""Tags of Data (ISO 9506-2)."""


@dataclass(frozen=True)
class Kind:
    """Which values an attribute takes: their tags, and what their octets must be."""

    tags: tuple[int, ...]
    fits: Callable[[bytes], bool]


def _number(low: int, high: int) -> Kind:
    def fits(value: bytes) -> bool:
        return 0 < len(value) <= 9 and low <= int.from_bytes(value, signed=True) <= high

    return Kind((INTEGER, UNSIGNED), fits)


def _text(most: int) -> Kind:
    return Kind((TEXT,), lambda value: len(value) <= most and b"\0" not in value)


def _bits(count: int) -> Kind:
    octets = (count + 7) // 8
    return Kind((BITS,), lambda value: len(value) == octets + 1 and value[0] == octets * 8 - count)


_BOOLEAN = Kind((BOOLEAN,), lambda value: len(value) == 1)
_ANY_LIST = _text(129)
_LASTING_LIST = Kind((TEXT,), lambda value: _ANY_LIST.fits(value) and not value.startswith(b"@"))
_INT16, _INT32U = _number(-1, 32_767), _number(0, 2**32 - 1)
CTL_NUM = _number(0, 255)
"""ctlNum of a command."""
_COMMON = {
    "RptID": _text(129), "RptEna": _BOOLEAN, "OptFlds": _bits(10), "BufTm": _INT32U, "TrgOps": _bits(6),
    "IntgPd": _INT32U, "GI": _BOOLEAN,
}  # fmt: skip
ATTRIBUTES: Mapping[str, Mapping[str, Kind]] = {
    "RP": _COMMON | {"DatSet": _ANY_LIST, "Resv": _BOOLEAN},
    "BR": _COMMON | {
        "DatSet": _LASTING_LIST, "PurgeBuf": _BOOLEAN, "ResvTms": _INT16,
        "EntryID": Kind((OCTETS,), lambda value: len(value) == 8),
    },
}  # fmt: skip
"""Functional constraint → attribute of a report control block that clients write → what it takes."""


def is_command(item: str) -> bool:
    """Whether a Write to it is a command, or a part of one."""
    return "$CO$" in item


def value_error(item: str, data: bytes) -> int | None:
    """The DataAccessError of a value (its BER) for a variable that is no command; None if it may have it."""
    at = parts(data)
    if len(at) != 1:
        raise MalformedError("not one value")
    tag, begin, end = at[0]
    names = item.split("$")
    kind = ATTRIBUTES.get(names[1], {}).get(names[3]) if len(names) == 4 else None
    if kind is None:
        return None
    return error_of(kind, tag, data[begin:end])


def error_of(kind: Kind, tag: int, value: bytes) -> int | None:
    """The DataAccessError of a value that is to be of this kind; None if it is."""
    if tag not in kind.tags:
        return TYPE_INCONSISTENT
    return None if kind.fits(value) else OBJECT_VALUE_INVALID
