"""A wrong clock is named where it hurts: in TLS, in enrolment, and when certificates are renewed."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from admin import mqtt
from admin.mms.tls_client import ClientCertificate, connect_tls
from broker.contract.birth import Hardware
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import UnavailableError
from broker.mqtt.identity import CERTIFICATE, KEY
from broker.mqtt.receiver import Receiver
from broker.mqtt.settings import MqttSettings
from meter_firmware.enrolment import enrol
from meter_firmware.enrolment.credentials import DOUBTED, Credentials
from meter_firmware.settings import Identity as House
from registrar import pki
from registrar.pki import Authority
from tests.support.mms import eventually

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
YEAR = timedelta(days=365)
WHEN = {"slow": (YEAR, 2 * YEAR), "fast": (-2 * YEAR, -YEAR)}
"""A clock that is wrong by more than a year, seen from here: the server's certificate begins or ends then."""
WORDS = {"slow": "is not valid yet", "fast": "has expired"}


@dataclass
class Server:
    """A TLS server with such a certificate, and whom to trust."""

    port: int
    ca: Path


def certificate(authority: Authority, begin: timedelta, end: timedelta, folder: Path) -> ssl.SSLContext:
    """A server's context."""
    key, now = pki.new_key(), datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    (folder / "server.crt").write_bytes(pki.pem(signed))
    (folder / "server.key").write_bytes(pki.key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


@asynccontextmanager
async def server(wrong: str, folder: Path) -> AsyncIterator[Server]:
    """Running; nobody gets as far as to say something."""
    authority = Authority.new("test")
    (folder / "ca.crt").write_bytes(pki.pem(authority.certificate))
    context = certificate(authority, *WHEN[wrong], folder)
    running = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with running:
        yield Server(running.sockets[0].getsockname()[1], folder / "ca.crt")


@pytest.mark.parametrize("wrong", WHEN)
async def test_every_connection_names_the_clock(
    wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(wrong, tmp_path) as there:
        settings = MqttSettings(host="localhost", port=there.port, ca=there.ca)
        with pytest.raises(UnavailableError) as command:
            async with mqtt.connected(settings):
                pass
        feed = Receiver(settings, lambda *_, **__: None, topics=["#"], connected=lambda _: None)
        running = asyncio.create_task(feed.run())
        await eventually(lambda: caplog.messages)
        running.cancel()
        plan = enrol.EnrolmentOptions(
            METER, House(name="m"), Hardware(serial="1"), tmp_path / "data", "localhost", there.ca,
            EnrolmentCode.new(count=1), port=there.port,
        )  # fmt: skip
        (tmp_path / "data").mkdir()
        with pytest.raises(UnavailableError) as enrolment:
            await enrol.enrol(plan)
    now = f"{datetime.now(UTC):%Y-%m-%d}"
    for said in (str(command.value), caplog.messages[0], str(enrolment.value)):
        assert f"localhost:{there.port}" in said
        assert f"certificate {WORDS[wrong]} at the time of this machine's clock, {now}" in said
        assert "--ca" not in said


@pytest.mark.parametrize("wrong", WHEN)
async def test_mms_over_tls_names_the_clock(wrong: str, tmp_path: Path) -> None:
    async with server(wrong, tmp_path) as there:
        key = pki.new_key()
        own = Authority.new("own")
        (tmp_path / "own.crt").write_bytes(pki.pem(own.issue("anna", key.public_key())))
        (tmp_path / "own.key").write_bytes(pki.key_pem(key))
        (tmp_path / "own.key").chmod(0o600)
        identity = ClientCertificate(tmp_path / "own.crt", tmp_path / "own.key", there.ca)
        with pytest.raises(ConnectionError, match=f"certificate {WORDS[wrong]} at the time of this machine"):
            await asyncio.to_thread(connect_tls, "localhost", there.port, identity, timeout=30.0)


def folder_with(certificate: x509.Certificate, folder: Path, *, came: datetime) -> Credentials:
    """A meter's identity whose certificate was written at ``came`` by its clock."""
    (folder / "ca.crt").touch()
    (folder / KEY).touch(mode=0o600)
    (folder / CERTIFICATE).write_bytes(pki.pem(certificate))
    os.utime(folder / CERTIFICATE, (came.timestamp(), came.timestamp()))
    return Credentials(folder, METER)


def test_a_clock_that_is_ahead_renews_once_and_is_named(tmp_path: Path) -> None:
    """It took five renewals in ten seconds: each new certificate was as due as the one before."""
    issued, now = Authority.new("x").issue(METER, pki.new_key().public_key(), days=90), datetime.now(UTC)
    ahead = now + timedelta(days=70)
    assert folder_with(issued, tmp_path, came=now).due(ahead), "its time has come"
    fresh = folder_with(issued, tmp_path, came=ahead)
    assert not fresh.due(ahead + timedelta(seconds=1))
    assert "which is new, would be due" in fresh.clock_doubt(ahead + timedelta(seconds=1))
    assert fresh.due(ahead + DOUBTED), "the clock was right: the card was restored, say"
    assert not fresh.due(now)
    assert fresh.clock_doubt(now) == ""
    right_again = fresh.due(now + timedelta(days=61))
    assert right_again, "the clock was set right meanwhile: its time comes as ever"


def test_a_clock_that_is_behind_is_named(tmp_path: Path) -> None:
    issued, now = Authority.new("x").issue(METER, pki.new_key().public_key(), days=90), datetime.now(UTC)
    credentials = folder_with(issued, tmp_path, came=now)
    assert "our certificate was made at" in credentials.clock_doubt(now - YEAR)
    assert not credentials.due(now - YEAR)
    assert credentials.clock_doubt(now) == ""
