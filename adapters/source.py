"""One family of devices on one broker: a connection, and a decoder that cannot stop it.

The broker keeps nothing for us while we are away (a clean session). Most devices publish at quality of
service 0, which it would not keep anyway. What it kept would come late and, without a time of the device, be
stored with the wrong one; what it sent again would be stored twice. What devices tell meanwhile is lost,
except what they have in a memory of their own.

>>> source = Source(settings, mqtt, take)       # doctest: +SKIP
>>> await source.run()                          # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic, time
from typing import Protocol

from adapters.aside import Aside
from adapters.families.registry import family
from adapters.family import Finding, Outgoing, Refused, Step, will_of
from adapters.flood import PERIOD, Gate
from adapters.settings import SourceSettings
from adapters.topics import allowed, trouble
from broker.contract.relay import Position
from broker.mqtt.packets import Will
from broker.mqtt.receiver import Receiver
from broker.mqtt.settings import MqttSettings

TICK = 0.1
LARGEST = 1 << 20
"""Bytes of a message; a larger one is none of a device."""
MISTAKES = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
)
"""A decoder must not raise; what it raises all the same costs that message only."""


class Take(Protocol):
    """Takes what a device has told."""

    def __call__(self, source: Source, step: Step) -> None:
        """Anything but Outgoing and Finding, which the source deals with itself."""


class Source:
    """The connection; ``connected`` is called when it stands and when it is lost.

    ``prefix``: of the topics of our meters, where it is another one than that of ``mqtt``. ``heard_at``:
    time of the last message in seconds since 1970, 0 before the first.
    """

    def __init__(
        self,
        settings: SourceSettings,
        mqtt: MqttSettings,
        take: Take,
        *,
        connected: Callable[[Source], None] = lambda _: None,
        prefix: str = "",
    ) -> None:
        self.settings = settings
        self.up = False
        self.messages = 0
        self.heard_at = 0.0
        self.aside = Aside(settings.name)
        kind = family(settings.family)
        options = kind.options.model_validate(settings.options)
        self.gate = None if kind.numbered else Gate(shared=options.shared())
        """For devices that flood."""
        self._opens = 0.0
        self._family = kind.make(options)
        self.family = self._family.name
        self._take_step = take
        self._tell_connected = connected
        self._contract = f"{mqtt.prefix}/", f"{prefix or mqtt.prefix}/"
        self._given: tuple[str, ...] = ()
        self._filters: tuple[str, ...] = ()
        self._refused: dict[str, str] = {}
        self._receiver = Receiver(
            mqtt,
            self._take,
            topics=self._followed(),
            connected=self._connected,
            name=f"adapter-{settings.name}",
            will=self._will,
        )

    async def run(self) -> None:
        """Receive for ever; at the end say goodbye where the family has a will."""
        receiving = asyncio.create_task(self._receiver.run(), name=f"source {self.settings.name}")
        try:
            while True:
                await asyncio.sleep(TICK)
                self._all(lambda: self._family.due(monotonic()))
                self._open()
                self._receiver.follow(self._followed())
                if receiving.done():
                    receiving.result()
        finally:
            if self.up and (will := will_of(self._family)) is not None:
                self._send(will)
            receiving.cancel()
            await asyncio.wait([receiving])

    def switch(self, key: str, position: Position, *, token: str) -> str:
        """Ask the device to switch; why that is not possible, or an empty text."""
        if not self.up:
            return f"no connection to the broker of the source {self.settings.name}"
        steps = self._steps(lambda: self._family.switch(key, position, token=token, now=monotonic()))
        refused = [step for step in steps if isinstance(step, Refused)]
        if refused:
            return f"the device cannot be switched: {refused[0].reason}"
        requests = [step for step in steps if isinstance(step, Outgoing)]
        if not requests:
            return "the device cannot be switched: its family has no message for it"
        self._handle([step for step in steps if not isinstance(step, Outgoing)])
        # Never retained: the broker would switch the device again at each connection. Quality of service 0:
        # it would keep the request for a device that is away, and switch it later.
        if not all(self._send(replace(request, retain=False, qos=0)) for request in requests):
            return f"the broker of the source {self.settings.name} does not take the request"
        return ""

    def ask(self, key: str) -> None:
        """Ask the device where its relay is."""
        if self.up:
            self._all(lambda: self._family.ask(key, now=monotonic()))

    def _followed(self) -> tuple[str, ...]:
        """The family's filters, without those for which the broker would end the connection."""
        given = self._family.subscriptions()
        if given is not self._given and given != self._given:
            self._given, before = given, self._refused
            self._filters, self._refused = allowed(given)
            for topic, why in self._refused.items():
                if topic not in before:
                    self.aside.note("topic is not allowed", f"{topic[:200]!r}: {why}", topic=topic)
        return self._filters

    def _will(self) -> Will | None:
        will = will_of(self._family)
        return Will(will.topic.encode(), will.payload) if will else None

    def _connected(self, up: bool) -> None:
        self.up = up
        if up:
            self._all(lambda: self._family.connected(monotonic()))
        self._tell_connected(self)

    def _take(self, name: str, payload: bytes, *, retained: bool) -> None:
        self.messages += 1
        self.heard_at = time()
        if self.gate is None or self.gate.passes(name, payload, retained=retained):
            self._read(name, payload, retained=retained)

    def _open(self) -> None:
        """Read the last message of each topic with too many, once in a period."""
        if self.gate is None or monotonic() < self._opens:
            return
        self._opens = monotonic() + PERIOD
        for held in self.gate.opened():
            if held.dropped:
                detail = f"{held.dropped} of them in a second were not read, only the last"
                self.aside.note("too many messages of a topic", detail, topic=held.topic)
            self._read(held.topic, held.payload, retained=held.retained)

    def _read(self, name: str, payload: bytes, *, retained: bool) -> None:
        if len(payload) > LARGEST:
            self.aside.note("message is too large", f"{len(payload)} bytes", topic=name, payload=payload)
            return
        steps = self._steps(
            lambda: self._family.take(name, payload, retained=retained, now=monotonic()),
            topic=name,
            payload=payload,
        )
        self._handle(steps, topic=name, payload=payload)

    def _all(self, call: Callable[[], Sequence[Step]]) -> None:
        self._handle(self._steps(call))

    def _steps(
        self, call: Callable[[], Sequence[Step]], *, topic: str = "", payload: bytes = b""
    ) -> Sequence[Step]:
        try:
            return call()
        except MISTAKES as error:
            self.aside.note("the family's decoder has failed", repr(error), topic=topic, payload=payload)
            return ()

    def _handle(self, steps: Sequence[Step], *, topic: str = "", payload: bytes = b"") -> None:
        for step in steps:
            match step:
                case Outgoing():
                    self._send(step)
                case Finding(cause, detail):
                    self.aside.note(cause, detail, topic=topic, payload=payload)
                case _:
                    self._take_step(self, step)

    def _send(self, message: Outgoing) -> bool:
        if message.topic.startswith(self._contract):  # a device's discovery may name any topic
            self.aside.note("topic is of our meters", message.topic, topic=message.topic)
            return False
        if why := trouble(message.topic):
            self.aside.note("topic is not allowed", f"{message.topic[:200]!r}: {why}", topic=message.topic)
            return False
        sent = self._receiver.send(message.topic, message.payload, qos=message.qos, retain=message.retain)
        if not sent:
            self.aside.note("message was not sent", message.topic, topic=message.topic)
        return sent
