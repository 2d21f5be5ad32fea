"""Anything that announces itself by Home Assistant MQTT discovery, such as ESPHome.

A device is complete one second after its last discovery message: then it is reported as a metering point.
Values that come one by one within a second are one reading; a quantity that comes again begins the next one.
A retained value is old: it is no reading. A retained position of the relay is the device's last word.

The filters of :meth:`HomeAssistant.subscriptions` grow with what is announced.

>>> family = HomeAssistant(Settings())
>>> family.subscriptions()[0]
'homeassistant/+/+/config'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from adapters.families.homeassistant.device import WINDOW, Choice, Device
from adapters.families.homeassistant.discovery import MAX_ENTITIES, Description, description
from adapters.families.homeassistant.evaluation import NoValueError
from adapters.families.homeassistant.states import Use, read_number, read_words
from adapters.families.registry import FamilyKind, Options, register
from adapters.family import Finding, Gone, Outgoing, Refused, Step
from adapters.measured import Gathered, UnreadableError, loaded_object
from broker.contract.relay import Position

MAX_STATE = 64 * 1024
"""Octets of a state."""
MAX_OCTETS = 16 * 1024 * 1024
"""Of all discovery messages that are kept."""
MAX_USES = 256
"""Entities that read one topic."""
ASKED_SECONDS = 10.0
"""After a wish to switch a retained state does not confirm it."""
LOOK_SECONDS = 1.0


class Settings(Options):
    """Keys of ``family = "homeassistant"`` in adapters.toml."""

    discovery_prefix: Annotated[str, Field(pattern=r"^[0-9A-Za-z_/-]{1,64}$")] = "homeassistant"
    """What the discovery topics begin with."""
    quantities: dict[str, str] = Field(default_factory=dict)
    """unique_id, or key/unique_id, of a sensor → its quantity; empty: the sensor is left out."""
    relays: frozenset[str] = frozenset()
    """unique_id, or key/unique_id, of the switch that is the relay of a device with several."""
    confirms: frozenset[str] = frozenset()
    """Keys of devices whose state topic shows what the relay did, and no echo. ESPHome's always does."""


class HomeAssistant:
    """All devices that one broker's discovery messages tell of."""

    name = "homeassistant"

    def __init__(self, settings: Settings, *, limit: int = MAX_OCTETS) -> None:
        self._limit = limit
        self._prefix = settings.discovery_prefix
        self._choice = Choice(settings.quantities, settings.relays, settings.confirms)
        self._of_token: dict[str, Device] = {}
        self._of_topic: dict[str, Device] = {}
        self._of_key: dict[str, Device] = {}
        """Those that are metering points."""
        self._sizes: dict[str, int] = {}
        self._octets = 0
        self._uses: dict[str, list[Use]] = {}
        self._busy: dict[int, Device] = {}
        """Devices with news or values that wait."""
        self._order = 0
        self._looked = 0.0
        self._filters: tuple[str, ...] | None = None

    def subscriptions(self) -> tuple[str, ...]:
        """Discovery and the topics that it named; the same object while nothing has changed."""
        if self._filters is None:
            found = (f"{self._prefix}/+/+/config", f"{self._prefix}/+/+/+/config")
            self._filters = (*found, *self._uses)
        return self._filters

    def connected(self, now: float) -> Sequence[Step]:
        """Discovery messages are retained: nothing is to be asked."""
        return ()

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A discovery message, an availability or a state."""
        words = topic[len(self._prefix) + 1 :].split("/")
        if topic.startswith(f"{self._prefix}/") and words[-1] == "config" and len(words) in (3, 4):
            try:
                return self._announced(topic, payload, platform=words[0], now=now)
            except UnreadableError as error:
                return [error.finding]
        uses = self._uses.get(topic, [])
        if len(payload) > MAX_STATE:
            return [Finding("message is too long", f"{topic}: {len(payload)} octets, at most {MAX_STATE}")]
        found: list[Step] = []
        for device in {id(use.device): use.device for use in uses}.values():
            mine = [use for use in uses if use.device is device]
            found += self._heard(device, mine, payload, retained=retained, now=now)
        return found

    def due(self, now: float) -> Sequence[Step]:
        """Devices that are complete, readings whose second is over, and values that have expired."""
        found: list[Step] = []
        for device in list(self._busy.values()):
            if device.is_settled(now):
                found += self._settled(device)
            if device.window is not None and now >= device.window_until:
                found += _reading(device)
            if device.announced is None and device.window is None:
                del self._busy[id(device)]
        if now >= self._looked + LOOK_SECONDS:
            self._looked = now
            for device in set(self._of_token.values()):
                found += _expired(device, now)
        return found

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """The command of the device's only relay, if its state confirms what it did."""
        device = self._of_key.get(key)
        relay = device.meaning.relay if device else None
        if device is None or relay is None or relay.switch is None or not relay.switch.confirms:
            return [Refused(key, "the device has no relay whose state confirms a command", token)]
        device.asked_until = now + ASKED_SECONDS
        payload = relay.switch.on if position is Position.CLOSED else relay.switch.off
        return [Outgoing(relay.switch.topic, payload.encode(), qos=0)]  # kept for no device that is away

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """Discovery has no way to ask; the retained state is what there is."""
        return ()

    def _announced(self, topic: str, payload: bytes, *, platform: str, now: float) -> list[Step]:
        device = self._of_topic.get(topic)
        described = None
        if payload:
            told = loaded_object(topic, payload)
            if told.get("migrate_discovery") is True or told.get("migr_discvry") is True:
                return []  # its device's own message follows, and then an empty one here
            described = description(topic, told, platform=platform)
        if described is not None and not described.entities and not described.doubts and device is None:
            return list(described.findings)  # a light, a temperature: no meter's
        size = 0 if described is None else len(payload)
        if self._octets - self._sizes.get(topic, 0) + size > self._limit:
            raise UnreadableError("too many devices", f"{topic}: at most {self._limit} octets of discovery")
        if described is not None and (device is None or not device.tokens & described.info.tokens):
            if device is not None:
                self._learn(device, topic, None, now=now)
            device = self._device(described)
        if device is not None and described is not None and not device.has_room(topic, described):
            raise UnreadableError(
                "device is too large", f"{topic}: at most {MAX_ENTITIES} sensors of a device"
            )
        if device is not None:
            self._octets += size - self._sizes.pop(topic, 0)
            if size:
                self._sizes[topic] = size
            routes = device.routes()
            self._learn(device, topic, described, now=now)
            return [*(described.findings if described else ()), *device.moved(routes)]
        return list(described.findings) if described is not None else []

    def _device(self, described: Description) -> Device:
        known = (self._of_token.get(token) for token in sorted(described.info.tokens))
        return next(filter(None, known), None) or Device(described.info.tokens, self._choice)

    def _learn(self, device: Device, topic: str, described: Description | None, *, now: float) -> None:
        self._forget_uses(device)
        device.learn(topic, described, now=now)
        if described is None:
            self._of_topic.pop(topic, None)
        else:
            self._of_topic[topic] = device
            self._of_token |= {
                token: device for token in described.info.tokens if token not in self._of_token
            }
        self._note_uses(device)
        self._busy[id(device)] = device

    def _forget_uses(self, device: Device) -> None:
        for topic in _topics(device):
            left = [use for use in self._uses.get(topic, []) if use.device is not device]
            if left:
                self._uses[topic] = left
            else:
                self._uses.pop(topic, None)
        self._filters = None

    def _note_uses(self, device: Device) -> None:
        for entity in device.entities.values():
            for number, source in enumerate((entity.state, *entity.availability), start=-1):
                uses = self._uses.setdefault(source.topic, [])
                if len(uses) < MAX_USES:
                    uses.append(Use(device, entity, source, number))

    def _settled(self, device: Device) -> list[Step]:
        """The news of a device: it is a metering point, has changed, or is a metering point no longer."""
        device.announced = None
        point, before = device.as_point(), device.point
        if not device.entities:
            for token in [token for token, one in self._of_token.items() if one is device]:
                del self._of_token[token]
        if point is None:
            device.point, device.online, device.window = None, None, None
            if before is None:
                return []
            del self._of_key[device.key]
            return [Gone(device.key)]
        if self._of_key.setdefault(device.key, device) is not device:
            first = self._of_key[device.key].point
            detail = f"{device.key}: {point.name!r} is left out, it is {first.name if first else ''!r}"
            return [Finding("two devices have one key", detail)]
        return device.renewed(point) if point != before else device.heard()

    def _heard(
        self, device: Device, uses: list[Use], payload: bytes, *, retained: bool, now: float
    ) -> list[Step]:
        found: list[Step] = []
        values: dict[str, tuple[Any, Use]] = {}
        for use in uses:
            try:
                if use.number >= 0:
                    self._order += 1
                    there = read_words(use.source, payload)
                    device.there[use.entity.id, use.number] = (self._order, there)
                elif use.entity.switch is not None or use.entity.named is None:
                    found += _switched(device, use, payload, retained=retained, now=now)
                elif not retained and use.entity.id in device.meaning.quantities:
                    values[use.entity.id] = (read_number(use.source, payload), use)
            except NoValueError as error:
                found.append(Finding("message has no value", f"{use.source.topic}: {error}"))
        return [*found, *self._measured(device, values, now=now), *device.heard()]

    def _measured(self, device: Device, values: dict[str, tuple[Any, Use]], *, now: float) -> list[Step]:
        """Put the values of one message into the reading that is being gathered."""
        if not values:
            return []
        found: list[Step] = []
        names = {device.meaning.quantities[entity][0] for entity in values}
        if device.window is not None and names & set(device.window.measured):
            found = _reading(device)
        if device.window is None:
            device.window, device.window_until = Gathered(), now + WINDOW
            self._busy[id(device)] = device
        for entity, (told, use) in values.items():
            name, factor = device.meaning.quantities[entity]
            device.window.put(name, told, factor=factor)
            if use.entity.expire_after and name in device.window.measured:
                device.fresh[entity], device.silent = now + use.entity.expire_after, False
        return found


def _topics(device: Device) -> set[str]:
    return {source.topic for one in device.entities.values() for source in (one.state, *one.availability)}


def _reading(device: Device) -> list[Step]:
    """The reading that was gathered; none of a device that is no metering point yet."""
    window, device.window = device.window, None
    return [] if window is None or device.point is None else window.steps(device.key, where=device.key)


def _expired(device: Device, now: float) -> list[Step]:
    """Every value with ``expire_after`` has expired: the device is silent."""
    if device.silent or not device.fresh or max(device.fresh.values()) > now:
        return []
    device.silent = True
    return device.heard()


def _switched(device: Device, use: Use, payload: bytes, *, retained: bool, now: float) -> list[Step]:
    relay = device.meaning.relay
    if relay is None or relay.id != use.entity.id or relay.switch is None:
        return []
    position = Position.CLOSED if read_words(use.source, payload) else Position.OPEN
    confirmed = relay.switch.confirms and not (retained and now < device.asked_until)
    return device.at(position, confirmed=confirmed)


register(
    FamilyKind(
        name="homeassistant",
        title="Home Assistant discovery (ESPHome and others)",
        options=Settings,
        make=HomeAssistant,
    )
)
