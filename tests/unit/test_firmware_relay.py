"""The relay's pin: normally closed, never clacking at a start, read back."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest

from broker.contract.errors import ConfigurationError
from broker.contract.relay import Position
from meter_firmware.relay.pin import GpioPin, RelayError, simulated_pin


@dataclass
class Board:
    """Stands in for RPi.GPIO: the calls that were made, and the levels."""

    BCM: str = "BCM"
    OUT: str = "OUT"
    calls: list[tuple[object, ...]] = field(default_factory=list)
    levels: dict[int, int] = field(default_factory=dict)
    stuck_at: int | None = None

    def setwarnings(self, on: bool) -> None:
        assert not on

    def setmode(self, mode: str) -> None:
        assert mode == self.BCM

    def setup(self, pin: int, direction: str, *, initial: int) -> None:
        assert direction == self.OUT
        self.calls.append(("setup", pin, initial))
        self.levels[pin] = initial

    def output(self, pin: int, level: int) -> None:
        self.calls.append(("output", pin, level))
        self.levels[pin] = level

    def input(self, pin: int) -> int:
        return self.levels[pin] if self.stuck_at is None else self.stuck_at


@pytest.mark.parametrize(("active_low", "open_level"), [(False, 1), (True, 0)])
def test_de_energised_is_closed(active_low: bool, open_level: int) -> None:
    board = Board()
    pin = GpioPin(17, active_low=active_low, gpio=board)
    pin.drive(Position.OPEN)
    assert board.levels == {17: open_level}
    pin.drive(Position.CLOSED)
    assert board.levels == {17: 1 - open_level}


def test_the_first_level_comes_with_the_set_up_so_that_nothing_clacks() -> None:
    board = Board()
    pin = GpioPin(17, gpio=board)
    pin.drive(Position.OPEN)
    pin.drive(Position.CLOSED)
    assert board.calls == [("setup", 17, 1), ("output", 17, 0)]


def test_a_pin_that_does_not_read_back_is_an_error() -> None:
    with pytest.raises(RelayError, match="reads 0 after 1"):
        GpioPin(17, gpio=Board(stuck_at=0)).drive(Position.OPEN)


def test_gpio_without_the_library_refuses_with_the_cure() -> None:
    with pytest.raises(ConfigurationError, match=r"pip install .*or set relay\.kind = \"simulated\""):
        GpioPin(17)


def test_a_simulated_pin_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pin = simulated_pin()
    assert "no pin is driven" in caplog.text
    assert not pin.energised
