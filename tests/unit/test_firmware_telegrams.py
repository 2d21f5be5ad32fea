"""Telegrams become quantities: every sample tells the same instant, and what is damaged is noticed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from smllib.crc import kermit

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors import iec62056_21, mbus
from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.sml import SmlDecoder
from meter_firmware.sensors.telegrams.data_lines import values
from meter_firmware.sensors.telegrams.decoder import Damaged, Decoder
from meter_firmware.sensors.telegrams.obis import MEASURES, completed, measured
from meter_firmware.sensors.telegrams.text import TextDecoder, crc16_arc
from tests.support.telegrams import BLOCK, EXPECTED, FLUVIUS, MBUS, P1, SML

STEPS = {
    "p1": {"current_l1": 1.0, "current_l2": 1.0, "current_l3": 1.0},
    "mbus": {name: 10.0 if name.startswith("power") else 1.0 for name in EXPECTED},
}
"""What a sample tells less finely, and in which steps."""
STREAMS: dict[str, tuple[Callable[[], Decoder], bytes]] = {
    "p1": (lambda: TextDecoder(checksum=True), P1),
    "sml": (SmlDecoder, SML),
}

streams = pytest.mark.parametrize(("decoder", "telegram"), STREAMS.values(), ids=STREAMS)


def mbus_sample() -> Measurement:
    found, more = mbus.decoded(MBUS)
    assert not more
    return completed(found)


def one(decoder: Decoder, data: bytes) -> Measurement | Damaged:
    (found,) = decoder.feed(data)
    return found


def good(found: list[Measurement | Damaged]) -> list[Measurement]:
    return [item for item in found if not isinstance(item, Damaged)]


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("p1", lambda: one(TextDecoder(checksum=True), P1)),
        ("sml", lambda: one(SmlDecoder(), SML)),
        ("iec62056_21", lambda: iec62056_21.decoded(BLOCK)),
        ("mbus", mbus_sample),
    ],
)
def test_a_sample_tells_the_one_instant(kind: str, read: Callable[[], Measurement]) -> None:
    told = read()
    missing = {"power", "power_l1", "power_l2", "power_l3"} if kind == "iec62056_21" else set[str]()
    assert set(EXPECTED) - set(told) == missing  # absent stays absent
    for name in set(EXPECTED) & set(told):
        assert abs(told[name] - EXPECTED[name]) <= STEPS.get(kind, {}).get(name, 0.0), name
    assert list(told) == [name for name in QUANTITIES if name in told]


def test_registers_of_tariffs_and_reactive_energy_are_told() -> None:
    assert one(TextDecoder(checksum=True), P1) == EXPECTED | {
        "current_l1": 2.0, "current_l2": 0.0, "current_l3": 4.0,
        "energy_import_t1": 2_414_426.0, "energy_import_t2": 1_802_399.0,
        "energy_export_t1": 302_444.0, "energy_export_t2": 711_010.0,
    }  # fmt: skip
    told = iec62056_21.decoded(BLOCK)
    assert (told["reactive_import"], told["reactive_export"], told["demand_max"]) == (310_110, 120_004, 4589)


def test_a_meter_with_one_phase_has_no_suffix_and_tells_its_demand() -> None:
    assert one(TextDecoder(checksum=True), FLUVIUS) == {
        "voltage": 234.7, "current": 3.91, "power": 911.0,
        "energy_import": 2_549_792.0, "energy_export": 12_011.0,
        "energy_import_t1": 1_034_034.0, "energy_import_t2": 1_515_758.0,
        "energy_export_t1": 10_000.0, "energy_export_t2": 2_011.0,
        "demand": 2351.0, "demand_max": 4589.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1-0:1.8.0*255(001.5*kWh)", {"1.8.0": Decimal("1500.0")}),
        ("1.8.0(001.5*kWh)", {"1.8.0": Decimal("1500.0")}),
        ("1-0:1.8.0(006545766*Wh)", {"1.8.0": Decimal(6545766)}),
        ("1-0:1.8.0*03(001.5*kWh)", {}),  # of a past period
        ("0-1:1.8.0(001.5*kWh)", {}),  # not electricity
        ("1-0:1.8.0(001.5*m3)", {}),
        ("1-0:1.8.0(001.5)", {}),  # no unit, so it may be Wh or kWh
        ("1-0:1.8.0(1e5*kWh)", {}),
        ("1-0:1.6.0(261109134500W)(04.589*kW)", {"1.6.0": Decimal("4589.000")}),
        ("1-0:13.7.0(0.95)", {"13.7.0": Decimal("0.95")}),
        ("1-0:1.8.0(1*kWh)1-0:2.8.0(2*kWh)", {"1.8.0": Decimal(1000), "2.8.0": Decimal(2000)}),
        ("1-0:1.8.0(1*kWh)\r\n1-0:1.8.0(9*kWh)", {"1.8.0": Decimal(1000)}),
        ("1-0:98.1.0(2)(1-0:1.6.0)(1-0:1.6.0)(261101000000W)(261023193000S)(03.695*kW)", {}),
    ],
)
def test_a_data_line(text: str, told: dict[str, Decimal]) -> None:
    assert values(text) == told


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({"1.7.0": 300, "2.7.0": 0}, {"power": 300.0}),
        ({"1.7.0": 0, "2.7.0": 300}, {"power": -300.0}),
        ({"16.7.0": -7, "1.7.0": 300}, {"power": -7.0}),
        ({"3.7.0": 0, "4.7.0": 166}, {"reactive_power": -166.0}),
        ({"1.7.0": 0, "2.7.0": 5, "13.7.0": 1}, {"power": -5.0, "power_factor": -1.0}),
        ({"1.8.0": 5}, {"energy": 5.0}),
        ({"1.8.0": 10**600, "32.7.0": -1, "13.7.0": 7, "14.7.0": 50}, {"frequency": 50.0}),
        ({"1.8.0": 5, "2.8.0": 0}, {"energy_import": 5.0, "energy_export": 0.0}),
        ({"1.8.0": 5, "52.7.0": 230}, {"voltage_l2": 230.0, "energy_import": 5.0}),
        (
            {"1.8.1": 1, "1.8.7": 2, "2.8.0": 0},
            {"energy_import": 3.0, "energy_export": 0.0, "energy_import_t1": 1.0},
        ),
        ({"36.7.0": 1, "56.7.0": 2}, {"power_l1": 1.0, "power_l2": 2.0}),
        (
            {"36.7.0": 1, "56.7.0": 2, "76.7.0": -4},
            {"power": -1.0, "power_l1": 1.0, "power_l2": 2.0, "power_l3": -4.0},
        ),
    ],
)  # fmt: skip
def test_codes_become_quantities(codes: dict[str, int], told: Measurement) -> None:
    found = measured({code: Decimal(value) for code, value in codes.items()})
    assert found == told
    assert set(found) <= set(MEASURES)


@streams
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_telegrams_joined_and_with_garbage_around_are_found(
    decoder: Callable[[], Decoder], telegram: bytes, size: int
) -> None:
    data = b"\x00\xffsome/thing!\r\n" + telegram + telegram + b"rubbish" + telegram + telegram[:40]
    ours, found = decoder(), list[Measurement | Damaged]()
    for at in range(0, len(data), size):
        found += ours.feed(data[at : at + size])
    assert len(found) == 3
    assert all(item == one(decoder(), telegram) for item in found)


@streams
def test_a_damaged_telegram_is_told_and_the_next_one_is_taken(
    decoder: Callable[[], Decoder], telegram: bytes
) -> None:
    spoiled = telegram.replace(b"1.8.1(0024", b"1.8.1(0025").replace(b"\x09\x06", b"\x09\x07")
    assert spoiled != telegram
    ours = decoder()
    complaint = one(ours, spoiled)
    assert isinstance(complaint, Damaged)
    assert "checksum" in complaint.why
    assert one(ours, telegram) == one(decoder(), telegram)


@streams
def test_a_telegram_without_its_end_does_not_cost_the_next_one(
    decoder: Callable[[], Decoder], telegram: bytes
) -> None:
    complaint, whole = decoder().feed(telegram[: len(telegram) * 2 // 3] + b"\r\n" + telegram)
    assert complaint == Damaged("a telegram begins before the end of the one before")
    assert whole == one(decoder(), telegram)


def with_kermit(telegram: bytes) -> bytes:
    """As a Holley DTZ541 sends it."""
    return telegram[:-2] + kermit.get_crc(telegram[:-2]).to_bytes(2, "big")


def test_the_checksum_of_the_first_good_telegram_is_that_of_the_line() -> None:
    holley, other = SmlDecoder(), SmlDecoder()
    assert one(holley, with_kermit(SML)) == one(other, SML)
    assert one(holley, with_kermit(SML)) == one(SmlDecoder(), SML)
    assert isinstance(one(holley, SML), Damaged)
    assert isinstance(one(other, with_kermit(SML)), Damaged)


def without_checksum(*lines: str) -> bytes:
    return "\r\n".join(("/ESY5Q3DA1004 V3.04", "", *lines, "!", "")).encode("latin-1")


def test_a_telegram_without_checksum_is_taken_only_if_every_line_is_one_of_data() -> None:
    lines = ("1-0:1.8.0*255(00032549.5061662*kWh)", "0-1:24.3.0(090212160000)(00)(m3)", "(00001.001)")
    assert one(TextDecoder(checksum=False), without_checksum(*lines)) == {"energy": 32_549_506.1662}
    for bad in ("1-0:2.8.0(1.0*kWh", "1-0:2.8.0\xff(1.0*kWh)", "x", ""):
        assert isinstance(one(TextDecoder(checksum=False), without_checksum(*lines, bad)), Damaged)
    assert isinstance(one(TextDecoder(checksum=False), P1), Damaged)
    assert isinstance(one(TextDecoder(checksum=True), without_checksum(*lines)), Damaged)


def test_a_good_telegram_without_anything_that_we_know_is_no_measurement() -> None:
    body = b"/ABC5X\r\n\r\n0-0:96.13.0()\r\n!"
    assert one(TextDecoder(checksum=True), body + f"{crc16_arc(body):04X}\r\n".encode()) == Damaged(
        "no quantity that we know"
    )


@pytest.mark.parametrize("at", [1, 60, len(BLOCK) - 2, len(BLOCK) - 1])
def test_a_damaged_readout_is_no_measurement(at: int) -> None:
    spoiled = BLOCK[:at] + bytes((BLOCK[at] ^ 1,)) + BLOCK[at + 1 :]
    with pytest.raises(SensorError, match="sensor answer is damaged: check character"):
        iec62056_21.decoded(spoiled)


@pytest.mark.parametrize("at", [*range(4, 40), len(MBUS) - 2, len(MBUS) - 1])
def test_a_damaged_m_bus_frame_is_no_measurement(at: int) -> None:
    with pytest.raises(SensorError, match="sensor answer is damaged"):
        mbus.decoded(MBUS[:at] + bytes((MBUS[at] ^ 1,)) + MBUS[at + 1 :])


def framed(records: str) -> bytes:
    data = bytes.fromhex("080572" + "785634125863010200000000" + records)
    return bytes((0x68, len(data), len(data), 0x68)) + data + bytes((sum(data) & 0xFF, 0x16))


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ("0403e8030000", {"energy_import": 1000}),
        ("0483 3b e8030000", {"energy_import": 1000}),  # only positive contributions
        ("0483 3c e8030000", {"energy_export": 1000}),  # only negative ones
        ("844003e8030000", {"energy_export": 1000}),  # subunit 1, as in the sample
        ("841003e8030000", {"energy_import_t1": 1000}),
        ("4403e8030000", {}),  # storage 1: of the past
        ("1403e8030000", {}),  # a maximum
        ("042be8030000", {"power": 1000}),
        ("04abff01e8030000", {"power_l1": 1000}),
        ("04abff04e8030000", {}),  # no phase
        ("0413e8030000", {}),  # a volume
        ("0f0102", {}),
    ],
)
def test_an_m_bus_record(records: str, told: dict[str, int]) -> None:
    found, more = mbus.decoded(framed(records))
    assert ({name: int(value) for name, value in found.items()}, more) == (told, False)


def test_an_m_bus_answer_in_parts_says_that_more_follows() -> None:
    assert mbus.decoded(framed("0403e80300001f")) == ({"energy_import": Decimal(1000)}, True)
