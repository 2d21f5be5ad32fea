"""What a Tasmota device says about itself, and its topics.

Topics are built from ``ft``, ``tp`` and ``t`` of the discovery message, never by hand: users change them.

>>> about = Config(mac="A0B0C0A1B2C3", t="tasmota_A1B2C3", rl=(0, 1))
>>> about.base(TELE), about.relays, about.command(1)
('tele/tasmota_A1B2C3/', (1,), 'cmnd/tasmota_A1B2C3/Power')
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from adapters.families.registry import Options, Topic
from adapters.families.tasmota_energy import Mapped
from adapters.measured import UnreadableError, excerpt
from broker.contract.messages import Line
from broker.contract.relay import Position

CMND, STAT, TELE = 0, 1, 2
"""Places in ``tp``."""
_LEVEL = re.compile(r"[^+#\x00]{1,300}\Z")
_RELAY = 1
"""In ``rl``: 0 is none, 2 a light, 3 a shutter."""
_POWER = re.compile(r"POWER(\d{0,2})\Z", re.ASCII)

Word = Annotated[str, Field(max_length=100)]


class Config(BaseModel):
    """``tasmota/discovery/<MAC>/config``, as far as it matters here."""

    model_config = ConfigDict(frozen=True)

    mac: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{12}$")]
    t: Topic
    ft: Topic = "%prefix%/%topic%/"
    tp: tuple[Topic, Topic, Topic] = ("cmnd", "stat", "tele")
    dn: Line = ""
    fn: Annotated[tuple[Line, ...], Field(max_length=64)] = ()
    hn: Line = ""
    md: Line = ""
    sw: Line = ""
    ofln: Word = "Offline"
    onln: Word = "Online"
    state: Annotated[tuple[Word, ...], Field(min_length=2, max_length=8)] = ("OFF", "ON")
    rl: Annotated[tuple[int, ...], Field(max_length=64)] = ()

    @field_validator("tp")
    @classmethod
    def _levels(cls, told: tuple[str, str, str]) -> tuple[str, str, str]:
        if len(set(told)) != 3:
            raise ValueError("are not three different words")
        return told

    @field_validator("ft")
    @classmethod
    def _with_prefix(cls, told: str) -> str:
        if "%prefix%" not in told:
            raise ValueError("has no %prefix%: commands and answers would have one topic")
        return told

    @property
    def relays(self) -> tuple[int, ...]:
        """Places of its relays, from 0."""
        return tuple(place for place, kind in enumerate(self.rl) if kind == _RELAY)

    @property
    def standard(self) -> bool:
        """Whether its topics are those of the factory setting, with a topic of one level."""
        return (self.ft, self.tp) == ("%prefix%/%topic%/", ("cmnd", "stat", "tele")) and "/" not in self.t

    def base(self, prefix: int) -> str:
        """The beginning of its topics, with the slash; ``prefix`` is the place in ``tp``."""
        words = {
            "%hostname%": self.hn,
            "%id%": self.mac[-6:],
            "%prefix%": self.tp[prefix],
            "%topic%": self.t,
        }
        base = self.ft
        for word, means in words.items():
            base = base.replace(word, means)
        return base if base.endswith("/") else f"{base}/"

    def command(self, relay: int) -> str:
        """The topic that switches the relay at this place."""
        alone = sum(kind != 0 for kind in self.rl) <= 1
        return f"{self.base(CMND)}Power{'' if alone else relay + 1}"

    def word(self, position: Position) -> str:
        """The device's word for ON or OFF."""
        return self.state[1 if position is Position.CLOSED else 0]

    def position(self, word: object) -> Position | None:
        """What the device's word means; None for a word that is not of its state[]."""
        known = {self.state[0]: Position.OPEN, self.state[1]: Position.CLOSED}
        return known.get(word) if isinstance(word, str) else None


def config(topic: str, told: dict[str, Any], *, mac: str) -> Config:
    """What the config message of the device ``mac``; UnreadableError says what is wrong with it."""
    try:
        about = Config.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableError(
            "discovery is not valid", f"{topic}: {where} {excerpt(first['input'])}: {first['msg']}"
        ) from None
    if about.mac != mac:
        raise UnreadableError("discovery has another MAC", f"{topic}: mac is {about.mac!r}")
    if not all(_LEVEL.match(about.base(prefix)) for prefix in (CMND, STAT, TELE)):
        raise UnreadableError("discovery is not valid", f"{topic}: ft and hn make a bad topic")
    return about


def relay_of(name: str) -> int | None:
    """The place of the relay in ``POWER`` or ``POWER2``, from 0; None for another name."""
    found = _POWER.match(name)
    return max(int(found[1] or 1), 1) - 1 if found else None


class DeviceOptions(Options):
    """What the messages of one device leave open."""

    discovery: bool = True
    """False: it publishes no discovery message (SetOption19 1); its name here is its topic."""
    arrays: Literal["phases", "channels"] | None = None
    """What the numbers of an array are; None: judged by the number of relays."""
    relay: Annotated[int, Field(ge=1, le=32)] | None = None
    """The relay that switches the metering point, of a device with several."""
    signed_reactive: bool = False
    """True: its chip measures ReactivePower with a sign."""
    map: dict[str, Mapped] = Field(default_factory=dict)
    """Of an IR head or a driver with names of its own: ``"SML.Total_in" = "energy_import kWh"``."""


class TasmotaOptions(Options):
    """Keys of a Tasmota adapter in adapters.toml."""

    discovery_prefix: Topic = "tasmota/discovery"
    filters: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ("tele/+/+", "stat/+/+")
    """Topics in which devices publish, beside those that discovery messages tell."""
    devices: dict[Topic, DeviceOptions] = Field(default_factory=dict)
    """By topic (``tasmota_A1B2C3``) or MAC."""

    def of(self, about: Config) -> DeviceOptions:
        """The options of a device."""
        return self.devices.get(about.t) or self.devices.get(about.mac) or DeviceOptions()
