"""Renewed certificates in a running deployment: taken by broker, registrar and web, no connection is lost."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import httpx
import pytest
from cryptography import x509

from broker.contract.errors import ContractError
from broker.contract.roles import Role
from broker.contract.status import ServiceStatus
from broker.durable import PUBLIC, replace
from broker.mqtt.settings import MqttSettings
from registrar import expiry, pki
from registrar.deployment import Deployment
from registrar.identities import Identity
from registrar.pki import SERVER_DAYS
from tests.integration.test_expiry import issued, read
from tests.integration.test_mms_observe import metrics
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.sites import Deployed, deployed
from tests.support.web import API, PASSWORD, log_in
from web.auth.accounts import Accounts
from web.auth.accounts import Role as WebRole

PATIENCE = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A deployment whose broker runs."""
    with deployed(tmp_path_factory.mktemp("site")) as running:
        yield running


def shown(port: int) -> int:
    """Serial number of the certificate that a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        closing(context.wrap_socket(plain)) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).serial_number


def shorten(deployment: Deployment) -> None:
    """Certificates as if most of their life were over: they are due at once."""
    for one in expiry.renewable(deployment):
        own = one.load()
        assert own is not None
        with deployment.identity_store.change() as change:
            authority = expiry._issuer(deployment, own)
            assert authority is not None
            made = authority.renewed(own, days=0, now=datetime.now(UTC) + timedelta(minutes=20))
            change.issued(pki.common_name(own), made, authority.certificate)
        replace(one.file, pki.pem(made), mode=PUBLIC)


async def test_broker_and_registrar_take_renewed_certificates_and_connections_stay(site: Deployed) -> None:
    """The registrar as a process; its own certificate, too, and what it tells of it."""
    deployment, port = site.deployment, free_port()
    shorten(deployment)
    old = read(deployment.broker / "server.crt").serial_number
    until(lambda: shown(site.ports[1]) == old, seconds=PATIENCE, why="the broker shows the short-lived one")
    issued(deployment, Identity("anna", Role.OPERATOR), timedelta(days=3))
    mqtt = MqttSettings(identity=deployment.identity_folder("admin"))
    async with aiomqtt.Client(mqtt.host, mqtt.port, identifier="stays", tls_context=mqtt.tls()) as client:
        await client.subscribe(mqtt.topics.service_status("registrar"))
        site.start("enrol", "run", "--metrics-port", str(port))
        async with asyncio.timeout(PATIENCE):
            told_status = (await anext(aiter(client.messages))).payload
        assert isinstance(told_status, bytes)
        status = ServiceStatus.model_validate_json(told_status)
        new = read(deployment.broker / "server.crt")
        assert new.serial_number != old
        assert new.not_valid_after_utc > datetime.now(UTC) + timedelta(days=SERVER_DAYS - 1)
        for door in site.ports:
            until(lambda door=door: shown(door) == new.serial_number, seconds=PATIENCE, why="the new one")  # type: ignore[misc]
        await client.subscribe(mqtt.topics.revision)  # answered over the connection that was there before
    assert len(status.warnings) == 1
    assert status.warnings[0].startswith("the certificate of operator anna ends on ")
    told = metrics(port)
    assert told["meter61850_certificates_ending"] == 1
    assert told["meter61850_certificate_end_seconds[server server]"] == new.not_valid_after_utc.timestamp()
    assert "the certificate of server server is renewed" in site.log("enrol")
    assert "certificate of operator anna ends on" in site.log("enrol")
    site.stop("enrol")


def test_the_web_shows_a_renewed_certificate_and_the_warnings(site: Deployed) -> None:
    """A connection that was there before stays; a broken file changes nothing."""
    deployment, port, metrics_port = site.deployment, free_port(), free_port()
    with suppress(ContractError):
        issued(deployment, Identity("anna", Role.OPERATOR), timedelta(days=3))
    users = Accounts(Path(deployment.environment["METER61850_WEB_USERS"]))
    users.add("olga", WebRole.OBSERVER, password=PASSWORD)
    pair = deployment.folder / "web" / "web"
    files = (f"--certificate={pair}.crt", f"--key={pair}.key")
    site.start("web", "run", "--port", str(port), *files)
    until(lambda: answers(port), seconds=PATIENCE, why="the web answers")
    trusted = ssl.create_default_context(cafile=deployment.broker / "ca.crt")
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, timeout=PATIENCE) as client:
        assert log_in(client, "olga").status_code == 303
        old = read(pair.with_suffix(".crt"))
        pair.with_suffix(".crt").write_text("rubbish")
        until(lambda: "the previous certificate stays in use" in site.log("web"), seconds=PATIENCE)
        assert shown(port) == old.serial_number
        made = deployment.authority().renewed(old, days=0, now=datetime.now(UTC) + timedelta(minutes=20))
        replace(pair.with_suffix(".crt"), pki.pem(made), mode=PUBLIC)
        until(lambda: shown(port) == made.serial_number, seconds=PATIENCE, why="the new one")
        site.start("enrol", "run", "--metrics-port", str(metrics_port))  # 20 minutes are little
        until(lambda: shown(port) not in (old.serial_number, made.serial_number), seconds=PATIENCE)
        page = until(
            lambda: text if "operator anna ends on" in (text := client.get("/health").text) else "",
            seconds=PATIENCE,
            why="the warning on the page",
        )
        assert "meter61850 credentials rotate anna --out FOLDER" in page
        told = client.get(f"{API}/health").json()["services"]
        (row,) = [row for row in told if row["name"] == "registrar"]
        assert [text[:29] for text in row["warnings"]] == ["the certificate of operator a"]
    site.stop("enrol")
    site.stop("web")


def answers(port: int) -> bool:
    try:
        return shown(port) > 0
    except OSError:
        return False
