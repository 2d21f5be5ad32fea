"""Each refusal in a TLS handshake is told by its alert; RSA and ECDSA clients are served at once.

The client is OpenSSL by Python's ssl; its error names the alert that came. A reset or an end has none.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from mms_bridge.access import associations, handshake_limit
from tests.support.brokers import Broker
from tests.support.certificates import Authority, Issued
from tests.support.mms import eventually
from tests.support.mms_tls import Site, fails, site

Change = Callable[[ssl.SSLContext], object]
CONNECT = bytes.fromhex("0300001611e00000000100c0010ac1020001c2020001")
"""A COTP connection request."""
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def told(there: Site, issued: Issued | None, change: Change = lambda _: None) -> str:
    """What a client learns: the reason of its SSLError, ``end``, ``reset``, or ``served``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    change(context)
    if issued is not None:
        context.load_cert_chain(issued.cert, issued.key)
    raw = socket.create_connection(("127.0.0.1", there.running.tls_port or 0), 60.0)
    try:
        with raw, context.wrap_socket(raw, suppress_ragged_eofs=False) as connection:
            connection.sendall(CONNECT)
            return "served" if connection.recv(100)[5:6] == b"\xd0" else "close_notify"
    except ssl.SSLEOFError:
        return "end"
    except ssl.SSLError as error:
        return str(error.reason)
    except ConnectionError:
        return "reset"


async def tell(there: Site, issued: Issued | None, change: Change = lambda _: None) -> str:
    """The same, in a thread."""
    return await asyncio.to_thread(told, there, issued, change)


def only(version: ssl.TLSVersion) -> Change:
    """A client of one version."""

    def change(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = version

    return change


def old(context: ssl.SSLContext) -> None:
    """A client that has only TLS 1.1."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1


def ciphers(names: str) -> Change:
    """A client of TLS 1.2 with these cipher suites."""

    def change(context: ssl.SSLContext) -> None:
        only(ssl.TLSVersion.TLSv1_2)(context)
        context.set_ciphers(names)

    return change


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_certificate_that_does_not_count_is_told_why(
    broker: Broker, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with site(broker, tmp_path) as there:
        change, revoked = only(version), there.ca.issue("desk")
        there.ca.revoke(revoked)
        await eventually(lambda: fails(there, revoked))
        assert await tell(there, revoked, change) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
        expired = there.ca.issue("desk", days=-1)
        foreign = Authority(tmp_path / "foreign", "another CA").issue("desk")
        assert await tell(there, expired, change) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"
        assert await tell(there, foreign, change) == "TLSV1_ALERT_UNKNOWN_CA"
        none = await tell(there, None, change)
        assert none in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
        assert await tell(there, there.ca.issue("desk"), change) == "served"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_good_certificate_without_rights_is_ended_with_close_notify(
    broker: Broker, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with site(broker, tmp_path) as there:
        for name in ("nobody", "elsewhere"):
            assert await tell(there, there.ca.issue(name), only(version)) == "close_notify"


async def test_what_the_server_does_not_speak_is_told(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        desk = there.ca.issue("desk")
        assert await tell(there, desk, old) == "TLSV1_ALERT_PROTOCOL_VERSION"
        weak = ciphers("ECDHE-ECDSA-AES128-SHA256")
        assert await tell(there, desk, weak) == "SSLV3_ALERT_HANDSHAKE_FAILURE"
        rsa_alone = ciphers("ECDHE-RSA-AES256-GCM-SHA384")  # and the server has no RSA certificate
        assert await tell(there, desk, rsa_alone) == "SSLV3_ALERT_HANDSHAKE_FAILURE"


async def test_too_many_are_told(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(broker, tmp_path) as there:
        desk = there.ca.issue("desk")
        with monkeypatch.context() as patched:
            patched.setattr(handshake_limit, "PER_ADDRESS", 0)
            assert await tell(there, desk) == "TLSV1_ALERT_INTERNAL_ERROR"
        with monkeypatch.context() as patched:
            patched.setattr(associations, "PER_IED", -20)  # and the setting's 20
            assert await tell(there, desk) == "TLSV1_ALERT_ACCESS_DENIED"
        assert await tell(there, desk) == "served"


async def test_an_address_that_is_not_allowed_is_told(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path, allow="192.0.2.0/24") as there:
        assert await tell(there, there.ca.issue("desk")) == "TLSV1_ALERT_ACCESS_DENIED"


@pytest.mark.parametrize("first", ["ecdsa", "rsa"])
async def test_clients_of_rsa_and_of_ecdsa_are_served_at_once(
    broker: Broker, tmp_path: Path, first: str
) -> None:
    ca = Authority(tmp_path / "servers")
    pairs = [ca.issue("gateway", rsa_key=rsa_key) for rsa_key in (first == "rsa", first != "rsa")]
    files = {
        "tls_cert": ",".join(str(pair.cert) for pair in pairs),
        "tls_key": ",".join(str(pair.key) for pair in pairs),
    }
    async with site(broker, tmp_path, **files) as there:
        desk = there.ca.issue("desk")
        for names in ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"):
            assert await tell(there, desk, ciphers(names)) == "served"
        assert await tell(there, there.ca.issue("desk", rsa_key=True)) == "served"
