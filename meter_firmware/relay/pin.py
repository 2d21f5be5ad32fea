"""The relay's coil on a GPIO pin. Normally closed: de-energised means that the house has power.

So a meter without power or without a program leaves the lights on. ``relay.kind = "gpio"`` drives a
Raspberry Pi's pin through RPi.GPIO, or through rpi-lgpio, which has the same module for a Raspberry Pi 5;
``"simulated"`` keeps the level in memory and logs that.

>>> pin = SimulatedPin()
>>> pin.drive(Position.OPEN)
>>> pin.energised
True
"""

from __future__ import annotations

import importlib
import logging
from typing import Any, Protocol

from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.relay import Position

_log = logging.getLogger(__name__)


class RelayError(UnavailableError):
    """The pin could not be driven, or does not read back what was driven."""


class Pin(Protocol):
    """The relay's coil."""

    def drive(self, position: Position) -> None:
        """Bring the relay into ``position``; RelayError if that fails."""


class SimulatedPin:
    """A pin in memory, for a meter without a relay board."""

    def __init__(self) -> None:
        self.energised = False

    def drive(self, position: Position) -> None:
        """Remember the level."""
        self.energised = position is Position.OPEN


class GpioPin:
    """A pin by its BCM number; ``active_low`` for relay boards whose input pulls the coil at 0 V.

    The pin is never cleaned up: an open relay stays open while the program is restarted.
    """

    def __init__(self, number: int, *, active_low: bool = False, gpio: Any = None) -> None:
        self._number = number
        self._active_low = active_low
        self._gpio = gpio or rpi_gpio()
        self._is_output = False

    def drive(self, position: Position) -> None:
        """Set the level and read it back; RelayError if either fails."""
        energised = position is Position.OPEN
        level = int(energised != self._active_low)
        try:
            self._set(level)
            seen = int(self._gpio.input(self._number))
        except (RuntimeError, ValueError, OSError) as error:
            raise RelayError(f"GPIO {self._number}: {error}") from error
        if seen != level:
            raise RelayError(f"GPIO {self._number} reads {seen} after {level} was set: check the wiring")

    def _set(self, level: int) -> None:
        if self._is_output:
            self._gpio.output(self._number, level)
            return
        # With the level at once: an output that begins low would clack the relay at every start.
        self._gpio.setwarnings(False)
        self._gpio.setmode(self._gpio.BCM)
        self._gpio.setup(self._number, self._gpio.OUT, initial=level)
        self._is_output = True


def rpi_gpio() -> Any:
    """The RPi.GPIO module; ConfigurationError with the cure where it does not exist."""
    try:
        return importlib.import_module("RPi.GPIO")
    except (ImportError, RuntimeError) as error:  # RuntimeError: installed, but this is no Raspberry Pi
        raise ConfigurationError(
            f'relay.kind = "gpio" needs RPi.GPIO on a Raspberry Pi ({error}): run'
            " apt-get install python3-rpi.gpio (on a Raspberry Pi 5 python3-rpi-lgpio), or"
            " pip install 'meter61850[gpio]' (there 'meter61850[lgpio]'), or set relay.kind = \"simulated\""
        ) from error


def simulated_pin() -> SimulatedPin:
    """A pin in memory, told in the log so that nobody waits for a click."""
    _log.warning('relay.kind = "simulated": no pin is driven, the relay is a variable in memory')
    return SimulatedPin()
