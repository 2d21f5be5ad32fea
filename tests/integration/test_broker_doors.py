"""The broker's doors: who does not get in at all, and who cannot be somebody else."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from broker.contract.roles import Role
from broker.mqtt import packets
from broker.mqtt.identity import CA, CERTIFICATE, KEY, client_context
from broker.mqtt.settings import MqttSettings
from registrar import pki
from registrar.deployment import Deployment
from registrar.pki import Authority
from tests.support.brokers import DEADLINE
from tests.support.cli import run
from tests.support.deployments import Site, deployed

METER, NEIGHBOUR = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3f2504e0-4f89-41d3-9a0c-0305e82c3302"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with deployed(tmp_path, started=False) as made:
        made.add(METER, Role.METER)
        made.add(NEIGHBOUR, Role.METER)
        made.deployment.publish()
        made.start()
        yield made


def client(
    settings: MqttSettings, *, client_id: str | None = None, clean_session: bool = True
) -> aiomqtt.Client:
    """Not yet connected."""
    return aiomqtt.Client(
        settings.host,
        settings.port,
        identifier=client_id,
        tls_context=settings.tls(),
        timeout=DEADLINE,
        clean_session=clean_session,
    )


def is_let_in(
    settings: MqttSettings,
    tls: ssl.SSLContext | None,
    username: str | None = None,
    password: str | None = None,
) -> bool:
    """Whether the broker answers a CONNECT with success; it closes the connection otherwise."""
    connect = packets.connect(
        "x", version=4, keepalive=10, will=None, clean=True, username=username, password=password
    )
    try:
        with socket.create_connection((settings.host, settings.port), DEADLINE) as plain:
            door = tls.wrap_socket(plain, server_hostname=settings.host) if tls else plain
            door.sendall(connect)
            return door.recv(4) == b"\x20\x02\x00\x00"
    except OSError:
        return False


def at(site: Site, door: str) -> MqttSettings:
    """Where a door of the broker is."""
    return site.settings(METER).model_copy(update={"port": site.deployment.ports[door]})


def bare(site: Site) -> ssl.SSLContext:
    """TLS without a certificate of one's own."""
    return client_context(site.deployment.identity_folder("admin") / CA, None, None)


def stranger(
    site: Site, authority: Authority, folder: Path, name: str = METER, days: int = 10
) -> ssl.SSLContext:
    """A certificate for ``name`` from ``authority``, which the deployment need not know."""
    key = pki.new_key()
    folder.mkdir()
    (folder / CERTIFICATE).write_bytes(pki.pem(authority.issue(name, key.public_key(), days=days)))
    (folder / KEY).touch(0o600)
    (folder / KEY).write_bytes(pki.key_pem(key))
    ca = site.deployment.identity_folder("admin") / CA
    return client_context(ca, folder / CERTIFICATE, folder / KEY)


def test_a_meter_with_its_certificate_gets_in(site: Site) -> None:
    settings = site.settings(METER)
    assert is_let_in(settings, settings.tls())


@pytest.mark.parametrize("door", ["services", "certificates"])
def test_without_a_certificate_nobody_gets_in(site: Site, door: str) -> None:
    assert not is_let_in(at(site, door), bare(site), username="bridge")


def test_a_certificate_of_another_authority_does_not_get_in(site: Site, tmp_path: Path) -> None:
    forged = stranger(site, Authority.new("meter61850 localhost"), tmp_path / "forged")
    assert not is_let_in(site.settings(METER), forged)


def test_an_expired_certificate_does_not_get_in(site: Site, tmp_path: Path) -> None:
    assert is_let_in(site.settings(METER), stranger(site, site.deployment.authority(), tmp_path / "new"))
    expired = stranger(site, site.deployment.authority(), tmp_path / "expired", days=0)
    assert not is_let_in(site.settings(METER), expired)


def test_the_brokers_own_certificate_is_no_clients(site: Site) -> None:
    folder = site.deployment.broker
    context = client_context(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    assert not is_let_in(site.settings(METER), context)


@pytest.mark.parametrize("door", ["services", "certificates", "passwords"])
def test_plain_mqtt_is_not_spoken(site: Site, door: str) -> None:
    assert not is_let_in(at(site, door), None)


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Speaks TLS 1.0 and 1.1, and nothing newer."""
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def old_client() -> ssl.SSLContext:
    """Takes any server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return old(context)


OLD_TLS = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


@OLD_TLS
@pytest.mark.parametrize("door", ["services", "certificates", "passwords"])
def test_tls_1_1_is_not_spoken(site: Site, door: str) -> None:
    with (
        socket.create_connection(("127.0.0.1", site.deployment.ports[door]), DEADLINE) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old_client().wrap_socket(plain)


@OLD_TLS
def test_tls_1_1_is_spoken_where_the_server_takes_it(site: Site) -> None:
    """The control of the test before: the same client, and the same certificate of the broker."""
    server, folder = old(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)), site.deployment.broker
    server.load_cert_chain(folder / "server.crt", folder / "server.key")
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor() as pool:
        accepted = pool.submit(server.wrap_socket, theirs, server_side=True)
        with old_client().wrap_socket(ours) as connected, accepted.result(60):
            assert connected.version() == "TLSv1.1"


@pytest.mark.parametrize(
    ("name", "password"), [("bridge", ""), ("bridge", "bridge"), (METER, METER), ("", "")]
)
def test_guessed_passwords_open_nothing(site: Site, name: str, password: str) -> None:
    assert not is_let_in(at(site, "passwords"), bare(site), username=name, password=password)


async def test_nobody_takes_anothers_session_over(site: Site) -> None:
    """The client id is the user name at these doors: a neighbour who claims a meter's id is still itself."""
    async with client(site.settings(METER), client_id=METER) as meter:
        async with client(site.settings(NEIGHBOUR), client_id=METER):
            await meter.publish("sm/v1/x/reading", b"", qos=1)  # acknowledged: the meter is still there
        await meter.publish("sm/v1/x/reading", b"", qos=1)


async def test_a_queued_command_waits_for_its_meter_alone(site: Site) -> None:
    admin = site.settings("admin")
    async with client(site.settings(METER), client_id=METER, clean_session=False) as meter:
        await meter.subscribe(f"sm/v1/{METER}/command", qos=1)
    async with client(admin) as issuer:
        await issuer.publish(f"sm/v1/{METER}/command", b"for the meter", qos=1)
    async with client(site.settings(NEIGHBOUR), client_id=METER, clean_session=False) as thief:
        await thief.subscribe(f"sm/v1/{METER}/command", qos=1)
        await thief.subscribe("barrier", qos=1)
        assert len(thief.messages) == 0
    async with (
        client(site.settings(METER), client_id=METER, clean_session=False) as meter,
        asyncio.timeout(DEADLINE),
    ):
        message = await anext(meter.messages)
        assert message.payload == b"for the meter"


async def test_a_new_identity_is_known_within_a_second(site: Site) -> None:
    anna = site.add("anna", Role.OPERATOR)
    async with client(site.settings("admin")) as admin, client(anna) as operator:
        await operator.subscribe("sm/v1/+/status", qos=1)
        site.deployment.publish()
        async with asyncio.timeout(DEADLINE):
            while not len(operator.messages):
                await admin.publish(f"sm/v1/{METER}/status", b"{}", qos=1)
                await asyncio.sleep(0.05)


def test_a_revoked_certificate_does_not_get_in_again(site: Site) -> None:
    with site.deployment.identity_store.change() as change:
        assert change.revoke(METER) == 1
    site.deployment.publish()
    deadline = time.monotonic() + DEADLINE
    settings = site.settings(METER)
    while is_let_in(settings, settings.tls()):
        assert time.monotonic() < deadline, "the broker has not read the revocation list again"
    neighbour = site.settings(NEIGHBOUR)
    assert is_let_in(neighbour, neighbour.tls())


def test_a_secret_that_others_can_read_is_refused(site: Site) -> None:
    for path in (site.folder / "register.sqlite", site.folder / "ca" / "ca.key"):
        path.chmod(0o640)
        with pytest.raises(ValueError, match=f"chmod 600 {path}"):
            Deployment.open(site.folder).authority()
        path.chmod(0o600)


def test_the_broker_refuses_to_start_with_an_open_secret(tmp_path: Path) -> None:
    with deployed(tmp_path, started=False) as site:
        key = site.deployment.broker / "server.key"
        key.chmod(0o644)
        with pytest.raises(AssertionError, match=r"server\.key is open to others"):
            replace(site).start()


EAGER = """
from admin.main import main
from broker.daemon import reloader
reloader.LOOK_SECONDS = 0.001
main()
"""


def test_rights_that_change_while_the_broker_starts_do_not_end_it(tmp_path: Path) -> None:
    with deployed(tmp_path, started=False) as site:
        acl = site.deployment.broker / "acl"
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", EAGER, "broker", "run", "--broker", "mosquitto"],
            env={**os.environ, **site.deployment.environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with ThreadPoolExecutor(1) as threads:
                log = threads.submit(lambda: next(line for line in process.stderr or () if "running" in line))
                while process.poll() is None and not log.done():
                    os.utime(acl)
                    time.sleep(0.002)
                assert "running" in log.result(DEADLINE)
        finally:
            process.terminate()
            assert process.wait(DEADLINE) == 0


def test_a_broker_that_is_stopped_as_soon_as_it_runs_ends(tmp_path: Path) -> None:
    """Mosquitto 2.0 forgets every other SIGTERM that comes just after it has said that it runs."""
    with deployed(tmp_path, started=False) as site:
        for _ in range(4):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "admin", "broker", "run", "--broker", "mosquitto"],
                env={**os.environ, **site.deployment.environment},
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                assert any("running" in line for line in process.stderr or ())
                process.terminate()
                assert process.wait(DEADLINE) == 0
            finally:
                process.kill()


async def test_a_removed_identity_is_cut_off(site: Site) -> None:
    anna = site.add("anna", Role.OPERATOR)
    async with client(anna) as operator:
        await asyncio.to_thread(run, "--dir", str(site.folder), "identity", "remove", "anna")
        with pytest.raises(aiomqtt.MqttError):
            await asyncio.wait_for(anext(operator.messages), DEADLINE)  # nothing comes but the end
    assert site.deployment.identity_store.identity("anna") is None
    assert not is_let_in(anna, anna.tls())
