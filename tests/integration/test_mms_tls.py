"""MMS over TLS (IEC 62351-3): who gets in, who does not, who is cut off, and what each may do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from open61850.data import BoolData
from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from broker.contract.relay import Position
from mms_bridge.access import handshake_limit
from tests.support.brokers import Broker
from tests.support.certificates import Authority
from tests.support.mms import DEADLINE, eventually
from tests.support.mms_control import OPENING, Desk
from tests.support.mms_tls import NO_ACCESS_AUTHORITY, fails, listens, site, voltage


async def test_a_client_reads_what_the_plain_port_tells(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        with (
            await there.associate(there.ca.issue("screen")) as client,
            await there.running.associate() as plain,
        ):
            assert voltage(client, there.meter) == voltage(plain, there.meter) == 230.0
            await there.meter.read(voltage=231.5)
            await eventually(lambda: voltage(client, there.meter) == 231.5)


@pytest.mark.parametrize("attempt", ["expired", "foreign", "revoked", "unknown", "elsewhere"])
async def test_who_does_not_belong_is_refused(broker: Broker, tmp_path: Path, attempt: str) -> None:
    async with site(broker, tmp_path) as there:
        good = there.ca.issue("desk")
        bad = {
            "expired": lambda: there.ca.issue("desk", days=-1),
            "foreign": lambda: Authority(tmp_path / "foreign").issue("desk"),
            "revoked": lambda: there.ca.issue("desk"),
            "unknown": lambda: there.ca.issue("nobody"),
            "elsewhere": lambda: there.ca.issue("elsewhere"),
        }[attempt]()
        if attempt == "revoked":
            there.ca.revoke(bad)
            await eventually(lambda: fails(there, bad))
        await there.refused(bad)
        (await there.associate(good)).close()


def handshake(port: int, change: Callable[[ssl.SSLContext], object]) -> bytes:
    """What comes back over TLS for a COTP connection request, if anything; ``change`` makes the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    change(context)
    with (
        suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(("127.0.0.1", port), DEADLINE) as raw,
        context.wrap_socket(raw) as connection,
    ):
        connection.sendall(bytes.fromhex("0300001611e00000000100c0010ac1020001c2020001"))
        return connection.recv(100)
    return b""


async def test_without_a_certificate_nobody_gets_in(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        port, desk = there.running.tls_port or 0, there.ca.issue("desk")

        def bring(context: ssl.SSLContext) -> None:
            context.load_cert_chain(desk.cert, desk.key)

        answer = await asyncio.to_thread(handshake, port, bring)
        assert answer[5] == 0xD0  # so what is refused below is the missing certificate
        assert await asyncio.to_thread(handshake, port, lambda _: None) == b""


async def test_old_tls_and_weak_ciphers_are_refused(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        port, desk = there.running.tls_port or 0, there.ca.issue("desk")

        def old(context: ssl.SSLContext) -> None:
            context.load_cert_chain(desk.cert, desk.key)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

        def weak(context: ssl.SSLContext) -> None:
            context.load_cert_chain(desk.cert, desk.key)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")

        def twelve(context: ssl.SSLContext) -> None:
            context.load_cert_chain(desk.cert, desk.key)
            context.maximum_version = ssl.TLSVersion.TLSv1_2

        assert (await asyncio.to_thread(handshake, port, twelve))[5] == 0xD0
        for change in (old, weak):
            assert await asyncio.to_thread(handshake, port, change) == b""


async def test_plain_octets_at_the_tls_port_get_nothing(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        port = there.running.tls_port or 0
        with pytest.raises(MmsError):
            await asyncio.to_thread(MmsClient.connect, "127.0.0.1", port, timeout=60.0)
        (await there.associate(there.ca.issue("desk"))).close()


async def test_an_observer_reads_and_has_reports_and_moves_nothing(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        refusals = await there.running.refusals()
        screen = there.ca.issue("screen")
        with await there.associate(screen) as client:
            desk = Desk(client, there.meter)
            assert await desk.select(False) == NO_ACCESS_AUTHORITY
            assert await desk.operate(False) == 18  # object-not-selected: the library's own
            assert await desk.cancel(False) is None  # of nothing, for nothing was selected
            refusal = await asyncio.wait_for(refusals.get(), DEADLINE)
            assert "may only observe" in refusal.reason
            assert refusal.command is not None
            assert refusal.command.origin.identifier == "desk"  # what it called itself
            told = refusal.command.origin.via or ""
            assert told.startswith(f"mms screen sha256:{screen.fingerprint} from 127.0.0.1:")
            assert await Desk(client, there.meter, OPENING).operate(True) == NO_ACCESS_AUTHORITY
            refusal = await asyncio.wait_for(refusals.get(), DEADLINE)
            assert refusal.block is not None
            await asyncio.to_thread(_enable_and_leave, client)
        assert there.meter.commands == []
        assert await there.running.retained_block(there.meter) == b""


def _enable_and_leave(client: MmsClient) -> None:
    block = "SMGW001GW/LLN0$RP$urcbVol01"
    for attribute, value in (("Resv", True), ("RptEna", True), ("RptEna", False), ("Resv", False)):
        client.write(f"{block}${attribute}", BoolData(value))


async def test_a_controller_operates_and_the_command_says_who(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        issued = there.ca.issue("desk")
        with await there.associate(issued) as client:
            desk = Desk(client, there.meter)
            assert await desk.select(False) is None
            assert await desk.operate(False) is None
            assert await desk.termination() is None
        assert there.meter.position is Position.OPEN
        origin = there.meter.commands[0].origin
        assert (origin.identifier, (origin.via or "").split(" from ")[0]) == (
            "desk", f"mms desk sha256:{issued.fingerprint}",
        )  # fmt: skip


async def test_plain_clients_have_the_right_that_is_set(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path, plain_rights="observe") as there:
        with await there.running.associate() as client:
            assert await Desk(client, there.meter).select(False) == NO_ACCESS_AUTHORITY


async def test_addresses_that_are_not_allowed_get_nothing(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path, allow="192.0.2.0/24,10.0.0.1") as there:
        await there.refused(there.ca.issue("desk"))
        with pytest.raises(MmsError):
            await asyncio.to_thread(there.running.connect)


async def test_one_address_has_so_many_associations_and_no_more(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path, associations_per_address=1) as there:  # and two for the IED
        desk = there.ca.issue("desk")
        clients: list[Any] = [await there.associate(desk), await there.running.associate()]
        clients.append(await there.associate(desk))
        with pytest.raises(MmsError):
            await asyncio.to_thread(there.running.connect)
        await there.refused(desk)
        assert voltage(clients[0], there.meter) == 230.0
        for client in clients:
            client.close()
        await eventually(lambda: not fails(there, desk))


async def test_floods_and_slow_handshakes_leave_the_others_served(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake_limit, "SECONDS", 3.0)
    async with site(broker, tmp_path, associations_per_address=1000) as there:
        port, desk = there.running.tls_port or 0, there.ca.issue("desk")
        with await there.associate(desk) as client:
            slow = [socket.create_connection(("127.0.0.1", port), timeout=5.0) for _ in range(100)]
            for number, connection in enumerate(slow):
                with suppress(OSError):
                    connection.sendall((b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n")[number % 3])
            for _ in range(50):  # each read has 5 s
                assert await asyncio.to_thread(voltage, client, there.meter) == 230.0
            for connection in slow:
                await asyncio.to_thread(_to_the_end, connection)
            (await there.associate(desk)).close()


def _to_the_end(connection: socket.socket) -> None:
    with connection, suppress(ConnectionResetError):
        while connection.recv(1000):
            pass


async def test_without_the_plain_port_there_is_tls_alone(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path, plain=False) as there:
        assert not listens(there.running.port)
        (await there.associate(there.ca.issue("desk"))).close()
