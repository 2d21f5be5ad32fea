"""The telegrams of simulated meters, with right checksums: P1, IEC 62056-21, SML and M-Bus.

>>> p1({"voltage": 231.0})
b'/SIM5METER61850\\r\\n\\r\\n1-0:32.7.0(231.0*V)\\r\\n!4144\\r\\n'
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import reduce
from operator import xor

from smllib.crc import x25

from meter_firmware.sensors.sensor import Measurement
from meter_firmware.sensors.telegrams.simulated import codes
from meter_firmware.sensors.telegrams.text import crc16_arc

_DIGITS = {"V": 1, "A": 2, "Hz": 2}
"""Decimals of a text; energies and powers are given in thousands, and have three."""


def _lines(measured: Measurement, suffix: str = "") -> Iterator[str]:
    for code, (value, unit) in codes(measured, net=False).items():
        if unit in ("W", "var", "Wh", "varh"):
            text = f"{value / 1000:.3f}*k{unit}"
        else:
            text = f"{value:.{_DIGITS.get(unit, 3)}f}" + (f"*{unit}" if unit else "")
        yield f"1-0:{code}{suffix}({text})\r\n"


def p1(measured: Measurement, *, checksum: bool = True) -> bytes:
    """A telegram of a P1 port."""
    body = f"/SIM5METER61850\r\n\r\n{''.join(_lines(measured))}!".encode()
    return body + (f"{crc16_arc(body):04X}\r\n".encode() if checksum else b"\r\n")


IDENTIFICATION = b"/SIM5METER61850\r\n"
"""Of a meter of IEC 62056-21 mode C that can send at 9600 Bd."""


def iec62056_21(measured: Measurement) -> bytes:
    """A readout, from STX to the check character."""
    block = f"{''.join(_lines(measured, '*255'))}!\r\n".encode() + b"\x03"
    return b"\x02" + block + bytes((reduce(xor, block),))


_SML_UNITS = {"Wh": 30, "W": 27, "V": 35, "A": 33, "Hz": 44, "var": 29, "varh": 32}
_SML_SCALERS = {"Wh": -1, "W": -1, "V": -1, "A": -2, "Hz": -2, "var": -1, "varh": -1}
_NONE = b"\x01"
_ESCAPE = b"\x1b" * 4


def sml(measured: Measurement) -> bytes:
    """An SML file of one list of values."""
    values = [
        _list(_octets(_obis(code)), _NONE, _NONE, _number(_SML_UNITS[unit], signed=False),
              _number(_SML_SCALERS[unit]), _number(round(value.scaleb(-_SML_SCALERS[unit]))), _NONE)
        for code, (value, unit) in codes(measured, net=True).items()
        if unit in _SML_UNITS
    ]  # fmt: skip
    server = _octets(b"meter61850")
    opened = _list(_NONE, _NONE, _octets(b"1"), server, _NONE, _NONE)
    answer = _list(_NONE, server, _NONE, _NONE, _list(*values), _NONE, _NONE)
    parts = ((0x0101, opened), (0x0701, answer), (0x0201, _list(_NONE)))
    body = b"".join(_message(code, part) for code, part in parts).replace(_ESCAPE, 2 * _ESCAPE)
    padding = -len(body) % 4
    file = _ESCAPE + b"\x01" * 4 + body + bytes(padding) + _ESCAPE + bytes((0x1A, padding))
    return file + x25.get_crc(file).to_bytes(2, "big")


def _obis(code: str) -> bytes:
    return bytes((1, 0, *map(int, code.split(".")), 255))


def _message(code: int, part: bytes) -> bytes:
    choice = _list(_number(code, signed=False, size=2), part)
    zero = _number(0, signed=False, size=1)
    head = b"\x76" + _octets(b"m") + zero + zero + choice
    return head + b"\x63" + x25.get_crc(head).to_bytes(2, "big") + b"\x00"


def _head(kind: int, size: int) -> bytes:
    """Type and length; that of all but a list counts the head as well."""
    whole = size if kind == 7 else size + 1
    if whole < 16:
        return bytes((kind << 4 | whole,))
    whole = size if kind == 7 else size + 2
    return bytes((0x80 | kind << 4 | whole >> 4, whole & 0x0F))


def _octets(content: bytes) -> bytes:
    return _head(0, len(content)) + content


def _number(value: int, *, signed: bool = True, size: int = 0) -> bytes:
    size = size or next(size for size in (1, 2, 4, 8) if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)
    return _head(5 if signed else 6, size) + value.to_bytes(size, "big", signed=signed)


def _list(*parts: bytes) -> bytes:
    return _head(7, len(parts)) + b"".join(parts)


_PHASES = {"": b"", "_l1": b"\xff\x01", "_l2": b"\xff\x02", "_l3": b"\xff\x03"}
_MBUS = {
    "voltage": (b"\xfd", 0x48, Decimal("0.1")),
    "current": (b"\xfd", 0x5A, Decimal("0.01")),
    "power": (b"", 0x2B, Decimal(1)),
}
"""Head of the unit, unit, and what one stands for."""
_REGISTERS = {"energy": b"\x06\x03", "energy_import": b"\x06\x03", "energy_export": b"\x86\x40\x03"}
"""48 bits; what is fed in is that of subunit 1."""


def mbus(measured: Measurement, address: int) -> bytes:
    """An answer with variable data; the meter's number is 12345678."""
    records = b"".join(_records(measured))
    data = bytes((0x08, address, 0x72)) + bytes.fromhex("785634125863010200000000") + records
    return bytes((0x68, len(data), len(data), 0x68)) + data + bytes((sum(data) & 0xFF, 0x16))


def _records(measured: Measurement) -> Iterator[bytes]:
    for name, value in measured.items():
        base, phase = (name[:-3], name[-3:]) if name[-3:] in _PHASES else (name, "")
        if name in _REGISTERS:
            yield _REGISTERS[name] + round(value).to_bytes(6, "little", signed=True)
        elif base in _MBUS:
            head, unit, step = _MBUS[base]
            vif = head + bytes((unit | (0x80 if phase else 0),)) + _PHASES[phase]
            yield b"\x04" + vif + round(Decimal(str(value)) / step).to_bytes(4, "little", signed=True)
