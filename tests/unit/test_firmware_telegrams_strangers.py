"""Answers of another meter on the bus, and answers that never come to an end."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import count

import pytest

from meter_firmware.sensors import mbus
from meter_firmware.sensors.sensor import SensorError
from meter_firmware.sensors.telegrams import polled
from meter_firmware.sensors.telegrams.encoders import mbus as encoded
from meter_firmware.sensors.telegrams.polled import Talk

TOLD: dict[str, float | bool] = {"energy_import": 1000.0, "power": 40.0}


class Port:
    """A line on which each request is followed by the next of these answers."""

    baudrate = 2400
    in_waiting = 0

    def __init__(self, *answers: bytes) -> None:
        self._answers = deque(answers)
        self._now = b""

    def reset_input_buffer(self) -> None:
        self._now = b""

    def write(self, _request: bytes) -> None:
        self._now = self._answers.popleft()

    def flush(self) -> None:
        """Nothing is held back."""

    def read(self, _size: int = 1) -> bytes:
        now, self._now = self._now, b""
        return now


def asked(address: int, answer: bytes) -> dict[str, float | bool]:
    talk = Talk(Port(bytes((mbus.ACK,)), answer), threading.Event())
    return mbus.exchange(talk, address=address)


@pytest.mark.parametrize("address", [5, mbus.ANYBODY])
def test_the_meter_that_was_asked_answers(address: int) -> None:
    assert asked(address, encoded(TOLD, 5))["power"] == 40.0


def test_a_late_answer_of_another_meter_is_none() -> None:
    with pytest.raises(SensorError, match="another meter's: of address 4, not 5"):
        asked(5, encoded(TOLD, 4))


def test_a_frame_of_another_kind_is_no_answer() -> None:
    data = bytearray(encoded(TOLD, 5)[4:-2])
    data[0] = 0x73  # SND_UD: somebody's request
    frame = bytes((0x68, len(data), len(data), 0x68, *data, sum(data) & 0xFF, 0x16))
    with pytest.raises(SensorError, match="control field 73 is no answer"):
        asked(5, frame)


def test_an_answer_that_drips_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now: Iterator[float] = map(float, count())
    monkeypatch.setattr(polled, "received", lambda _: b"x")
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    talk = Talk(Port(), threading.Event())
    with pytest.raises(SensorError, match="without an end, slower than 2400 Bd"):
        talk.until(lambda _: 0, silence=2.0, longest=500)
