"""What a Modbus device is: its line, its table of registers, and what the registers mean.

Addresses are those on the wire, from 0. A value of several registers has its high word first, unless the
device has the low word first. A float32 is taken as the shortest decimal that it stands for: 229.4, not
229.39999.

>>> device = Device("a", "A", function=4, table=(Register("voltage", 0, "u16", over=10),))
>>> device.decode({0: 2310}), device.encode({"voltage": 231.0}), device.blocks
({'voltage': 231.0}, {0: 2310}, ((0, 1),))
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.sensor import Measurement

Type = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]
Words = Mapping[int, int]
"""Address → register: 16 bits, or 32 on a device with wide registers."""
LONGEST_BLOCK = 125
"""Registers in one request: Modbus Application Protocol V1.1b3, 6.3 and 6.4."""
LONGEST_WIDE_BLOCK = 62

ALL_ONES: Mapping[Type, int] = {
    "u16": 0xFFFF, "u32": 0xFFFF_FFFF, "u64": 0xFFFF_FFFF_FFFF_FFFF,
    "i16": 0x7FFF, "i32": 0x7FFF_FFFF, "i64": 0x7FFF_FFFF_FFFF_FFFF,
}  # fmt: skip
"""Codes for "does not exist" of makers that have them: all ones, or for a signed type the largest value."""


@dataclass(frozen=True)
class Register:
    """The registers from ``address`` on give ``quantity``: raw × ``times`` / ``over`` is in its unit."""

    quantity: str
    address: int
    type: Type
    over: int = 1
    times: int = 1
    largest: float = math.inf
    """Well above the measuring range, or the end of the counter: a larger value is damage."""

    @property
    def bits(self) -> int:
        """Of the raw value."""
        return int(self.type[1:])


@dataclass(frozen=True)
class Special:
    """Registers that are no quantity by themselves, such as the signs of powers, and what to do with them."""

    addresses: tuple[int, ...]
    decode: Callable[[Words, Measurement], Measurement]
    """The measurement, put right by these registers; empty if it is none."""
    encode: Callable[[Measurement], dict[int, int]]
    """The other way, for a simulated device."""
    measures: tuple[str, ...] = ()
    """Quantities that only ``decode`` gives."""


@dataclass(frozen=True)
class Device:
    """A kind of device: its line, its registers, and what they mean."""

    name: str
    """As ``sensor.kind`` in meter.toml."""
    title: str
    """Maker and models."""
    function: Literal[3, 4]
    """3 reads holding registers, 4 input registers."""
    table: tuple[Register, ...]
    baud_rate: int = 9600
    frame: str = "8N1"
    address: int = 1
    low_word_first: bool = False
    wide: bool = False
    """A register has 4 bytes."""
    gap: int = 0
    """Registers between two values that the device lets us read through."""
    absent: Mapping[Type, int] = field(default_factory=dict)
    """Raw value, without a sign, that says that there is no such value."""
    special: Special | None = None
    checked: bool = True
    """Its first values are checked by `meter_firmware.sensors.modbus.plausible`."""
    alternating: bool = True
    """It measures alternating current."""
    tcp: bool = True
    """It is also reached over TCP, directly or through a gateway."""
    answer_seconds: float = 0.5

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The quantities that it gives, in the order of the contract."""
        own = {row.quantity for row in self.table} | set(self.special.measures if self.special else ())
        return tuple(name for name in QUANTITIES if name in own)

    @cached_property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """First address and count of each request: one for each run of registers without a gap."""
        spans = {(row.address, self.words(row)) for row in self.table}
        spans |= {(address, 1) for address in (self.special.addresses if self.special else ())}
        longest = LONGEST_WIDE_BLOCK if self.wide else LONGEST_BLOCK
        found: list[tuple[int, int]] = []
        for address, count in sorted(spans):
            start, length = found[-1] if found else (address, 0)
            end = address + count
            if found and address <= start + length + self.gap and end - start <= longest:
                found[-1] = (start, max(length, end - start))
            else:
                found.append((address, count))
        return tuple(found)

    def words(self, row: Register) -> int:
        """How many registers the row has."""
        return max(1, row.bits // (32 if self.wide else 16))

    def decode(self, words: Words) -> Measurement:
        """What the registers tell; a value that does not exist, or cannot be, is absent."""
        told: Measurement = {}
        for row in self.table:
            addresses = range(row.address, row.address + self.words(row))
            if all(address in words for address in addresses):
                value = self._value(row, self._raw([words[address] for address in addresses]))
                if value is not None:
                    told[row.quantity] = value
        return self.special.decode(words, told) if self.special else told

    def encode(self, measured: Measurement) -> dict[int, int]:
        """The registers of a device that measures this; what it does not measure reads as absent, or as 0."""
        words = self.special.encode(measured) if self.special else {}
        for row in self.table:
            told = measured.get(row.quantity)
            raw = self.absent.get(row.type, 0) if told is None else _raw_of(row, float(told))
            words |= self._registers(row, raw)
        return words

    def _registers(self, row: Register, raw: int) -> dict[int, int]:
        count, bits = self.words(row), 32 if self.wide else 16
        parts = [raw >> bits * place & (1 << bits) - 1 for place in range(count)]
        return dict(zip(range(row.address, row.address + count), self._ordered(parts[::-1]), strict=True))

    def _raw(self, parts: list[int]) -> int:
        bits, raw = 32 if self.wide else 16, 0
        for part in self._ordered(parts):
            raw = raw << bits | part
        return raw

    def _ordered(self, parts: list[int]) -> list[int]:
        return parts[::-1] if self.low_word_first else parts

    def _value(self, row: Register, raw: int) -> float | None:
        if raw == self.absent.get(row.type):
            return None
        return scaled(row, number(row.type, raw))


def number(kind: Type, raw: int) -> float:
    """The number that ``raw`` stands for; a float may be NaN or infinite."""
    bits = int(kind[1:])
    if kind == "f32":
        return shortest(raw & 0xFFFF_FFFF)
    if kind == "f64":
        return float(struct.unpack(">d", raw.to_bytes(8, "big"))[0])
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if kind[0] == "i" and raw >> bits - 1 else raw


def shortest(raw: int) -> float:
    """The shortest decimal whose float32 has these bits."""
    packed = raw.to_bytes(4, "big")
    value = float(struct.unpack(">f", packed)[0])
    if not math.isfinite(value):
        return value
    for digits in range(6, 10):
        decimal = float(f"{value:.{digits}g}")
        if abs(decimal) < 3.4e38 and struct.pack(">f", decimal) == packed:
            return decimal
    return value


def scaled(row: Register, value: float) -> float | None:
    """The value in its quantity's unit; None if it is beyond the limits of row or quantity."""
    if not math.isfinite(value):
        return None
    measured = round(value * row.times / row.over, 6)
    quantity = QUANTITIES[row.quantity]
    fits = quantity.lowest <= measured <= min(quantity.highest, row.largest)
    return measured if fits else None


def _raw_of(row: Register, value: float) -> int:
    plain = value * row.over / row.times
    if row.type == "f32":
        return int.from_bytes(struct.pack(">f", plain), "big")
    if row.type == "f64":
        return int.from_bytes(struct.pack(">d", plain), "big")
    if row.type[0] == "u":  # the sign, if there is one, stands in another register
        plain = abs(plain)
    return round(plain) & (1 << row.bits) - 1
