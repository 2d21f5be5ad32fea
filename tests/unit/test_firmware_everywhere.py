"""What a meter imports runs on every Raspberry Pi: little of it is compiled, and Debian has that."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from broker.contract.errors import ConfigurationError, ContractError
from meter_firmware.enrolment import credentials, keys
from meter_firmware.sensors.telegrams import pymeterbus
from meter_firmware.settings import EXAMPLE

COMPILED = {"pydantic_core", "cryptography", "_cffi_backend"}
"""Debian 13 has them for every machine; Debian 12 the last two (docs/install.md)."""
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
_LOADED = """
import sys
import admin.commands.meter, meter_firmware.enrolment.enrol
from meter_firmware.sensors.kinds import kind
kind("pzem004t"), kind("mbus"), kind("sml")
there = [(name, str(getattr(module, "__file__", ""))) for name, module in list(sys.modules.items())]
compiled = [name for name, file in there if "site-packages" in file and file.endswith(".so")]
print(*sorted({name.partition(".")[0] for name in compiled}))
needless = {"Crypto", "meterbus", "yaml", "jinja2", "RPi"}
print(*sorted({name.partition(".")[0] for name, _ in there} & needless))
"""
_MBUS = """
from meter_firmware.sensors.telegrams import pymeterbus
pymeterbus.find_spec = lambda name: None
print(pymeterbus.library().TelegramLong.__name__, pymeterbus.sys.modules["Crypto.Cipher"].AES)
"""


def said(code: str) -> list[str]:
    """What a fresh Python prints for it, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


def test_a_meter_loads_no_other_compiled_package_and_none_that_only_some_need() -> None:
    compiled, needless = said(_LOADED)
    assert set(compiled.split()) == COMPILED
    assert needless == ""


def test_m_bus_is_read_without_pycryptodome() -> None:
    """Only wireless M-Bus decrypts."""
    assert said(_MBUS) == ["TelegramLong None"]


def test_a_missing_pymeterbus_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meterbus", None)
    with pytest.raises(ConfigurationError, match=r"meter61850\[mbus\]"):
        pymeterbus.library.__wrapped__()


def test_certificates_are_understood_by_an_old_cryptography_too() -> None:
    """Debian 12 has version 38: its times name no zone."""
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    old = SimpleNamespace(
        not_valid_before=begin.replace(tzinfo=None), not_valid_after=end.replace(tzinfo=None)
    )
    assert keys.validity(cast("x509.Certificate", old)) == (begin, end)


def certificate(key_pem: str) -> str:
    """Of the meter, for its key, PEM."""
    key, now = keys.load(key_pem), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, METER)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_is_ours_only_with_our_key() -> None:
    mine, other = keys.new_key(), keys.new_key()
    assert keys.certificate(certificate(mine), meter_id=METER, key_pem=mine)
    with pytest.raises(ContractError, match="another key"):
        keys.certificate(certificate(mine), meter_id=METER, key_pem=other)


@pytest.mark.parametrize(
    "pem", ["", "no PEM", "é", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_authorities_that_tls_would_refuse_are_refused(pem: str) -> None:
    with pytest.raises(ContractError, match="authorities"):
        credentials._check_authorities(pem)
    credentials._check_authorities(certificate(keys.new_key()))


def test_the_example_is_printed_as_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "admin", "meter", "example"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == EXAMPLE.read_text()
