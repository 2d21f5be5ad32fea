"""Shelly Gen2 and later: the keys of its adapter, and requests by RPC over MQTT.

>>> requests = Requests("meter61850-adapter", first_id=71)
>>> request = Request("shellyplus1pm-a0b0c0d0e0f0", "info", 0.0)
>>> requests.send(request, "Shelly.GetDeviceInfo").payload
b'{"id":71,"src":"meter61850-adapter","method":"Shelly.GetDeviceInfo"}'
>>> requests.answered(71) is request, requests.answered(71)
(True, None)
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from adapters.families.registry import Options, Topic
from adapters.family import Outgoing
from broker.contract.relay import Position

ANSWER_WITHIN = 30.0
"""Seconds."""
_MOST = 5000


class DeviceOptions(Options):
    """What the messages of one device leave open."""

    relays: dict[str, Annotated[int, Field(ge=0, le=200)]] = Field(default_factory=dict)
    """``"em1:0" = 0``: switch:0 of the device switches what this clamp measures."""


class Shelly2Options(Options):
    """Keys of an adapter for Shelly Gen2 and later in adapters.toml."""

    source: Topic = "meter61850-adapter"
    """Answers come to this topic and ``/rpc``: another one for each adapter at a broker."""
    prefixes: tuple[Topic, ...] = ()
    """Prefixes of devices with more than one level, such as ``house/meter``."""
    backfill_hours: Annotated[float, Field(ge=0, le=72)] = 24
    """Of an outage, that are read from the device's memory; 0: none."""
    devices: dict[str, DeviceOptions] = Field(default_factory=dict)
    """By device id."""

    @property
    def answers(self) -> str:
        """The topic of all answers."""
        return f"{self.source}/rpc"

    def shared(self) -> tuple[str, ...]:
        """All devices answer on one topic."""
        return (self.answers,)


@dataclass(frozen=True)
class Request:
    """What waits for an answer."""

    prefix: str
    kind: str
    """``info``, ``status``, ``switch`` or ``minutes``."""
    sent: float
    key: str = ""
    token: str = ""
    position: Position = Position.OPEN


class Requests:
    """Requests that are on their way; their ids do not begin where those of an earlier run did."""

    def __init__(self, source: str, *, first_id: int | None = None) -> None:
        self._source = source
        self._next = secrets.randbelow(2**30) if first_id is None else first_id
        self._waiting: OrderedDict[int, Request] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, request: Request, method: str, params: dict[str, Any] | None = None) -> Outgoing:
        """The message. Quality of service 0: the broker must not keep it for a device that is away."""
        number, self._next = self._next, self._next + 1
        self._waiting[number] = request
        if len(self._waiting) > _MOST:
            self._waiting.popitem(last=False)
        told = {"id": number, "src": self._source, "method": method} | ({"params": params} if params else {})
        payload = json.dumps(told, separators=(",", ":")).encode()
        return Outgoing(f"{request.prefix}/rpc", payload, qos=0)

    def answered(self, number: object) -> Request | None:
        """The request with this id, once."""
        return self._waiting.pop(number, None) if type(number) is int else None

    def overdue(self, now: float) -> Iterator[Request]:
        """Those that nobody has answered."""
        while self._waiting and now - next(iter(self._waiting.values())).sent > ANSWER_WITHIN:
            yield self._waiting.popitem(last=False)[1]
