"""What a state or an availability says, with a template or without.

>>> read_number(Source("n/power", None, {}), b" 631.6 ")
Decimal('631.6')
"""

from __future__ import annotations

from typing import Any, NamedTuple

from adapters.families.homeassistant.device import Device
from adapters.families.homeassistant.discovery import Entity, Source
from adapters.families.homeassistant.evaluation import NoValueError
from adapters.measured import excerpt, text_number


class Use(NamedTuple):
    """What a topic means for one entity of a device."""

    device: Device
    entity: Entity
    source: Source
    number: int
    """Of its availability topics; -1: its state."""


def read_number(source: Source, payload: bytes) -> Any:
    """The number; a text that is none as it is; NoValueError where there is nothing."""
    told = _text(payload) if source.template is None else source.template.number(payload)
    if isinstance(told, str):
        known = text_number(told.encode())
        return told if known is None else known
    return told


def read_words(source: Source, payload: bytes) -> bool:
    """What the word means; NoValueError for another word."""
    words = _text(payload) if source.template is None else source.template.words(payload)
    if words not in source.words:
        raise NoValueError(f"{excerpt(words)} is none of {', '.join(source.words)}")
    return source.words[words]


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "replace").strip()
