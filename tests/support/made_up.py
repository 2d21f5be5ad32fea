"""A family of devices that nobody makes, for tests of the adapter: JSON on ``made-up/KEY/…``.

``info`` → Point, ``values`` → Values, ``online`` → Available, ``relay`` → Switched, ``refused`` → Refused.
Commands go to ``made-up/KEY/set``, questions to ``made-up/KEY/get``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adapters.families.registry import FAMILIES, FamilyKind, Options, register
from adapters.family import Available, Finding, Gone, Outgoing, Point, Refused, Step, Switched, Values
from broker.contract.relay import Position

NAME = "made-up"


class MadeUpOptions(Options):
    """Its keys."""

    prefix: str = NAME


class MadeUp:
    """The decoder."""

    name = NAME

    def __init__(self, options: MadeUpOptions) -> None:
        self._prefix = options.prefix

    def subscriptions(self) -> tuple[str, ...]:
        return (f"{self._prefix}/+/+",)

    def connected(self, now: float) -> Sequence[Step]:
        return (Outgoing(f"{self._prefix}/all/announce", b""),)

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        _, key, kind = topic.split("/")
        if kind in ("set", "get", "announce") or key == "all":
            return ()
        if kind == "bug":
            raise KeyError("a mistake in the decoder")
        if kind == "info" and not payload:
            return (Gone(key),)
        try:
            told = json.loads(payload)
        except ValueError:
            return (Finding("not JSON", f"{payload[:40]!r}"),)
        return (step(key, kind, told),)

    def due(self, now: float) -> Sequence[Step]:
        return ()

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        told = {"position": position, "token": token}
        return (Outgoing(f"{self._prefix}/{key}/set", json.dumps(told).encode()),)

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        return (Outgoing(f"{self._prefix}/{key}/get", b""),)


def step(key: str, kind: str, told: Any) -> Step:
    """The event of one message."""
    match kind:
        case "info":
            names = {"name": key, "vendor": "Nobody", "model": "None", "serial": key} | told
            return Point(key, **names | {"quantities": tuple(told.get("quantities", ("power", "energy")))})
        case "values":
            at = told.pop("at", None)
            historical = told.pop("historical", False)
            return Values(key, told, datetime.fromisoformat(at) if at else None, historical)
        case "online":
            return Available(key, bool(told))
        case "relay":
            position = Position(told["position"])
            return Switched(key, position, told.get("confirmed", True), told.get("token"))
        case "refused":
            return Refused(key, str(told["reason"]), told.get("token"))
    return Finding("unknown topic", kind)


if NAME not in FAMILIES:
    register(FamilyKind(NAME, "Made up", MadeUpOptions, MadeUp))
