"""Devices that a family knows: a bounded number, so that a flood of invented ones costs no memory.

Two halves of ``limit`` each: devices that have measured something, and newcomers. In each half the device
that was silent for longest leaves first; so no flood of announcements displaces a device that measures.

>>> devices = Known[str](limit=1)
>>> devices.put("a", "first"), devices.put("b", "second")
(None, ('a', 'first'))
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from adapters.family import Finding

T = TypeVar("T")

MAX_DEVICES = 5000
"""Of each half."""


class Known(Generic[T]):
    """Key → device."""

    def __init__(self, *, limit: int = MAX_DEVICES) -> None:
        self._limit = limit
        self._newcomers: OrderedDict[str, T] = OrderedDict()
        self._proven: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._newcomers) + len(self._proven)

    def __iter__(self) -> Iterator[T]:
        yield from self._proven.values()
        yield from self._newcomers.values()

    def get(self, key: str) -> T | None:
        """The device, which has been heard now; None if it is not known."""
        for half in (self._proven, self._newcomers):
            if key in half:
                half.move_to_end(key)
                return half[key]
        return None

    def put(self, key: str, device: T) -> tuple[str, T] | None:
        """Add or replace; returns the device that had to leave, if any."""
        half = self._proven if key in self._proven else self._newcomers
        half[key] = device
        half.move_to_end(key)
        return half.popitem(last=False) if len(half) > self._limit else None

    def prove(self, key: str) -> tuple[str, T] | None:
        """The device has measured something; returns the device that had to leave, if any."""
        if key not in self._newcomers:
            return None
        self._proven[key] = self._newcomers.pop(key)
        return self._proven.popitem(last=False) if len(self._proven) > self._limit else None

    def pop(self, key: str) -> T | None:
        """Forget it."""
        return self._proven.pop(key, None) or self._newcomers.pop(key, None)


def forgotten(key: str) -> Finding:
    """What is reported when a device had to leave."""
    return Finding("too many devices", f"{key!r} was silent for longest and is forgotten")
