"""Whatever comes over a line: no decoder fails, hangs or grows, and a wrong checksum never gives a value."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smllib.crc import x25

from meter_firmware.sensors import iec62056_21, mbus
from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.sml import SmlDecoder
from meter_firmware.sensors.telegrams.data_lines import DATA_LINE, values
from meter_firmware.sensors.telegrams.decoder import Damaged, Decoder
from meter_firmware.sensors.telegrams.encoders import iec62056_21 as readout
from meter_firmware.sensors.telegrams.encoders import mbus as mbus_frame
from meter_firmware.sensors.telegrams.encoders import p1, sml
from meter_firmware.sensors.telegrams.text import TextDecoder
from tests.support.telegrams import BLOCK, EXPECTED, MBUS, P1, SML

DECODERS: dict[str, Callable[[], Decoder]] = {
    "p1": lambda: TextDecoder(checksum=True),
    "p1_v2": lambda: TextDecoder(checksum=False),
    "sml": SmlDecoder,
}
decoders = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
PARTS = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([P1, SML, P1[:200], SML[:90], SML[90:], b"\n!", P1[:25], SML[:8], SML[:4] + b"\x1a"]),
)  # fmt: skip
ENDLESS = (b"\x00" * 1024, P1[:500], SML[:100], SML[:8] + b"\x71" * 1016, b"/ABC5X\r\n\r\n" * 90)


def fed(decoder: Decoder, data: bytes) -> list[Measurement | Damaged]:
    return list(decoder.feed(data))


def held(decoder: Decoder) -> int:
    """Bytes that it remembers."""
    return len(decoder._buffer) if isinstance(decoder, TextDecoder) else len(decoder._reader.bytes)  # type: ignore[attr-defined]


@decoders
@given(parts=st.lists(PARTS, max_size=12))
def test_any_bytes_give_the_telegrams_in_them_or_complaints(
    decoder: Callable[[], Decoder], parts: list[bytes]
) -> None:
    ours = decoder()
    goods = [found for part in parts for found in fed(ours, part) if not isinstance(found, Damaged)]
    whole = {repr(fed(decoder(), telegram)) for telegram in (P1, SML)}
    assert {repr([found]) for found in goods} <= whole


@decoders
@pytest.mark.parametrize("piece", ENDLESS)
def test_a_telegram_without_end_takes_no_memory(decoder: Callable[[], Decoder], piece: bytes) -> None:
    ours = decoder()
    for _ in range(300):
        for found in ours.feed(piece):
            assert isinstance(found, Damaged)
        assert held(ours) <= 20 * 1024
    telegram = SML if isinstance(ours, SmlDecoder) else P1
    if telegram is SML or decoder is DECODERS["p1"]:
        assert not isinstance(fed(ours, telegram + telegram)[-1], Damaged)  # and it finds its way again


@given(at=st.integers(0, len(P1) - 3), bit=st.integers(0, 7))
def test_one_wrong_bit_never_gives_a_value_of_p1(at: int, bit: int) -> None:
    spoiled = P1[:at] + bytes((P1[at] ^ 1 << bit,)) + P1[at + 1 :]
    whole = fed(TextDecoder(checksum=True), P1)  # one bit makes a small letter of a capital in the checksum
    for found in fed(TextDecoder(checksum=True), spoiled):
        assert isinstance(found, Damaged) or [found] == whole


@given(at=st.integers(0, len(SML) - 1), bit=st.integers(0, 7))
def test_one_wrong_bit_never_gives_a_value_of_sml(at: int, bit: int) -> None:
    spoiled = SML[:at] + bytes((SML[at] ^ 1 << bit,)) + SML[at + 1 :]
    assert all(isinstance(found, Damaged) for found in fed(SmlDecoder(), spoiled))


def checked(content: bytes) -> bytes:
    """An SML file with any content, and a right checksum."""
    padding = -len(content) % 4
    escaped = content.replace(SML[:4], 2 * SML[:4])
    file = SML[:8] + escaped + bytes(padding) + SML[:4] + bytes((0x1A, padding))
    return file + x25.get_crc(file).to_bytes(2, "big")


SML_PARTS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"\x77\x07\x01\0\x10\x07\0\xff", b"\x01" * 4, b"\x62\x1b\x52", b"\x71", b"\x72", b"\x50",
                     b"\x60", b"\xff\xff\xff\x0f", b"\x59" + b"\xff" * 8, b"\x00"]),
)  # fmt: skip


@given(parts=st.lists(SML_PARTS, max_size=40))
@example(parts=[b"\x77\x07\x01" + b"\x71" * 7000])
@example(parts=[b"\x77\x07\x01\0\x10\x07\0\xff\x01\x01\x62\x1b\x52\x00\xdf\x0f" + b"\x7f" * 253 + b"\x01"])
@example(parts=[b"\x77\x07\x01", b"\xff\xff\xff\xff\xff\x0f" * 20])
@example(parts=[b"\x77\x07\x01\x00\x10\x07\x00\xff\x01\x01\x62\x1b\x59" + b"\x7f" * 8 + b"\x52\x01\x01"])
def test_nonsense_with_a_right_checksum_is_a_complaint_or_a_measurement(parts: list[bytes]) -> None:
    for found in fed(SmlDecoder(), checked(b"".join(parts))):
        assert isinstance(found, Damaged) or all(math.isfinite(value) for value in found.values())


@given(block=st.one_of(st.binary(max_size=200), st.integers(0, len(BLOCK) - 1).map(lambda end: BLOCK[:end])))
def test_any_readout_but_a_whole_one_is_refused(block: bytes) -> None:
    with pytest.raises(SensorError):
        iec62056_21.decoded(block)


@given(data=st.binary(max_size=80))
@example(data=MBUS[:-1])
@example(data=b"\x68\x00\x00\x68\x00\x16")
def test_any_m_bus_answer_is_refused_unless_its_checksum_is_right(data: bytes) -> None:
    with pytest.raises(SensorError):
        mbus.decoded(data)


@given(records=st.binary(max_size=120))
@example(records=b"\x0d\x03\xff")
@example(records=b"\x04\xfc")
@example(records=b"\x84" * 100)
@example(records=b"\x05\x2b\x00\x00\xc0\x7f")
@example(records=b"\x05\x2b\x00\x00\x80\x7f")
def test_any_m_bus_records_give_numbers_or_a_cause(records: bytes) -> None:
    data = MBUS[4:19] + records
    frame = bytes((0x68, len(data), len(data), 0x68)) + data + bytes((sum(data) & 0xFF, 0x16))
    with suppress(SensorError):
        found, _ = mbus.decoded(frame)
        assert all(value.is_finite() for value in found.values())


@pytest.mark.parametrize("line", ["(1)" * 5000 + "x", "1" * 16_000, "1-" * 8000, "1." * 8000, "(" * 16_000])
def test_no_line_takes_long_to_read(line: str) -> None:
    begun = time.process_time()
    assert values(line) == {}
    assert not DATA_LINE.fullmatch(line)
    assert time.process_time() - begun < 5


WATTS = st.integers(-90_000, 90_000).map(float)
WH = st.integers(0, 10**11).map(float)
HOUSES = st.fixed_dictionaries(
    {"energy_import": WH, "energy_export": WH}
    | {f"power_l{phase}": WATTS for phase in (1, 2, 3)}
    | {f"voltage_l{phase}": st.integers(0, 4000).map(lambda tenths: tenths / 10) for phase in (1, 2, 3)}
)


@given(house=HOUSES)
def test_what_a_simulated_meter_sends_is_what_is_read(house: Measurement) -> None:
    told = house | {"power": sum(house[f"power_l{phase}"] for phase in (1, 2, 3))}
    found, _ = mbus.decoded(mbus_frame(told, 5))
    for measured in (
        *fed(TextDecoder(checksum=True), p1(told)),
        *fed(TextDecoder(checksum=False), p1(told, checksum=False)),
        *fed(SmlDecoder(), sml(told)),
        iec62056_21.decoded(readout(told)),
        {name: float(value) for name, value in found.items()},
    ):
        assert measured == told


def test_the_expected_instant_is_read_back_too() -> None:
    assert fed(SmlDecoder(), sml(EXPECTED)) == [EXPECTED]
