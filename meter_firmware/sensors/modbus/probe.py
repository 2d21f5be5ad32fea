"""Finds which Modbus devices are on a line or behind a TCP port, by reading them as each kind that there is.

Modbus has no discovery: a device is of a kind if its registers give plausible values when they are read as
that kind. The kind with the most plausible values comes first; kinds with the same registers cannot be told
apart.

>>> for found in probe(Place(port="/dev/ttyUSB0"), tell=print):  # doctest: +SKIP
...     print(found.toml())
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from meter_firmware.sensors.kinds import kinds
from meter_firmware.sensors.modbus.bus import (
    TCP_PORT,
    Bus,
    Line,
    NoAnswerError,
    Query,
    RefusedError,
    SerialBus,
    TcpBus,
)
from meter_firmware.sensors.modbus.plausible import PHASES, complaints
from meter_firmware.sensors.modbus.registration import GENERAL_ADDRESS, MODELS, Model
from meter_firmware.sensors.sensor import Measurement, SensorError

OTHER_LINES = (Line(2400, "8N1"), Line(19_200, "8N1"))
"""That devices are often set to, besides those that they leave the factory with."""
USUAL_ADDRESSES = (1, 2, 3)
GOOD_VOLTAGE = (80.0, 300.0)


@dataclass(frozen=True)
class Place:
    """Where to look. None stands for the usual ones."""

    port: str | None = None
    host: str | None = None
    tcp_port: int = TCP_PORT
    addresses: tuple[int, ...] | None = None
    baud_rates: tuple[int, ...] | None = None

    def lines(self) -> list[Line | None]:
        """The lines to try; None is TCP."""
        if self.host is not None:
            return [None]
        usual = [Line(model.device.baud_rate, model.device.frame) for model in MODELS.values()]
        counted = sorted(set(usual), key=lambda line: -usual.count(line))
        if self.baud_rates is None:
            return [*counted, *OTHER_LINES]
        frames = list(dict.fromkeys(line.frame for line in counted))
        return [Line(baud_rate, frame) for baud_rate in self.baud_rates for frame in frames]

    def units(self) -> tuple[int, ...]:
        """The addresses to try."""
        if self.addresses is not None:
            return self.addresses
        return USUAL_ADDRESSES if self.host is not None else (*USUAL_ADDRESSES, GENERAL_ADDRESS)

    def bus(self, line: Line | None) -> Bus:
        """The bus with this line."""
        if line is None:
            return TcpBus(str(self.host), self.tcp_port)
        return SerialBus(str(self.port), line)


@dataclass(frozen=True)
class Fit:
    """A kind as which a device can be read, and what that gave."""

    model: Model
    measured: Measurement
    refused: int
    """Blocks of registers that the device does not have."""

    @property
    def worth(self) -> tuple[int, int, int, int]:
        """First what is plausible, then what is there, then how little is missing."""
        there = sum(bool(value) for value in self.measured.values())
        return evidence(self.measured), there, -self.refused, -len(self.model.device.measures)


@dataclass(frozen=True)
class Found:
    """A device, as the kind that fits best."""

    place: Place
    line: Line | None
    address: int
    fits: tuple[Fit, ...]

    def sensor(self) -> dict[str, Any]:
        """The settings that read it."""
        at = {"host": self.place.host, "tcp_port": self.place.tcp_port} if self.line is None else {}
        if self.line is not None:
            at = {"port": self.place.port, "baud_rate": self.line.baud_rate, "frame": self.line.frame}
        return {"kind": self.fits[0].model.device.name, "address": self.address} | at

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        best, *others = self.fits
        names = [fit.model.device.name for fit in others]
        told = {"title": best.model.device.title, "measured": best.measured, "others": names}
        return self.sensor() | told

    def toml(self) -> str:
        """A meter.toml for it."""
        device = self.fits[0].model.device
        name = f"{device.name}-{self.address}"
        others = ", ".join(fit.model.device.name for fit in self.fits[1:])
        lines = [f"# {device.title}, found by meter61850 meter probe.", "# It measures now:"]
        lines += [f"#   {quantity} = {value:g}" for quantity, value in self.fits[0].measured.items()]
        lines += [f"# It can also be read as: {others}."] if others else []
        tables: dict[str, dict[str, Any]] = {
            "identity": {"name": name},
            "hardware": {"model": device.title, "serial": f"CHANGE ME: serial number of {name}"},
            "sensor": self.sensor(),
            "relay": {"kind": "none"},
        }
        lines.append(f'data_dir = "/var/lib/meter61850/{name}"')
        for table, rows in tables.items():
            lines += ["", f"[{table}]"]
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in rows.items()]
        return "\n".join(lines) + "\n"


def probe(place: Place, *, tell: Callable[[str], None]) -> list[Found]:
    """What is there, at the first line on which anything is; ``tell`` gets each step. SensorError if the port
    cannot be opened."""
    kinds()
    first, *others = place.lines()
    if found := _on(place, first, tell):
        return found
    for line in others:
        try:
            if found := _on(place, line, tell):
                return found
        except SensorError as error:  # not every port can do every line
            tell(f"{place.port} {line}: {error}")
    return []


def _on(place: Place, line: Line | None, tell: Callable[[str], None]) -> list[Found]:
    """What is there, with this line."""
    bus = place.bus(line)
    try:
        found = [Found(place, line, unit, fits) for unit in place.units() if (fits := _fits(bus, unit, tell))]
    finally:
        bus.close()
    return _without_general(found)


def _without_general(found: list[Found]) -> list[Found]:
    """A PZEM that is alone answers its own address as well."""
    own = [device for device in found if device.address != GENERAL_ADDRESS]
    return own or found


def _fits(bus: Bus, unit: int, tell: Callable[[str], None]) -> tuple[Fit, ...]:
    """The kinds as which the device can be read, the best first; none if there is no device."""
    line = f" {bus.line}" if isinstance(bus, SerialBus) else ""
    functions = [function for function in (4, 3) if _answers(bus, unit, function)]
    if not functions:
        tell(f"{bus.place}{line} address {unit}: no answer")
        return ()
    models = [model for model in MODELS.values() if model.device.function in functions]
    fits = sorted(_read(bus, unit, models), key=lambda fit: fit.worth, reverse=True)
    fits = [fit for fit in fits if evidence(fit.measured)] or fits
    names = ", ".join(fit.model.device.name for fit in fits) or "no kind that we know"
    tell(f"{bus.place}{line} address {unit}: {names}")
    return tuple(fits)


def _answers(bus: Bus, unit: int, function: int) -> bool:
    """Whether a device answers this function, be it with a refusal."""
    try:
        bus.read(Query(unit, function, 0, 2))
    except RefusedError:
        return True
    except NoAnswerError:
        return False
    except SensorError as error:
        if error.cause == "sensor port is not available":
            raise
        return False  # noise, as of another baud rate
    return True


def _read(bus: Bus, unit: int, models: list[Model]) -> Iterator[Fit]:
    for model in models:
        sensor = model.on(bus, unit)
        sensor.quiet = True
        try:
            measured = sensor.decoded(sensor.words())
        except SensorError:
            continue
        if measured and not complaints(measured, alternating=model.device.alternating):
            yield Fit(model, measured, len(sensor.missing))


def evidence(measured: Measurement) -> int:
    """How many values are what only the right registers give: voltages, a frequency, power that fits them."""
    volts = [float(measured.get(f"voltage{phase}", 0)) for phase in PHASES]
    live = [phase for phase, value in zip(PHASES, volts, strict=True) if GOOD_VOLTAGE[0] <= value]
    powers = sum(bool(measured.get(f"power{phase}")) and f"current{phase}" in measured for phase in live)
    return len(live) + powers + ("frequency" in measured)
