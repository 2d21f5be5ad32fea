"""Other clients over TLS: libiec61850's own (mbedtls), iec61850 (rustls), and `meter61850 mms`."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.certificates import Issued
from tests.support.cli import run
from tests.support.clients import CLIENTS, collect
from tests.support.iec61850_client import RefusedError, libiec61850
from tests.support.mms_tls import Site, site, voltage
from tests.support.scada import Client


def files(there: Site, issued: Issued) -> dict[str, str]:
    """For the clients that are no commands of ours."""
    return {"cert": str(issued.cert), "key": str(issued.key), "ca": str(there.ca.cert)}


@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "open61850"])
async def test_other_clients_read_have_reports_and_operate(broker: Broker, tmp_path: Path, name: str) -> None:
    client: Callable[..., AbstractContextManager[Client]] = CLIENTS[name]
    async with site(broker, tmp_path) as there:
        given = files(there, there.ca.issue("desk"))

        def work() -> None:
            domain = there.meter.domain
            with client(there.running.tls_port, given) as associated:
                assert associated.read(f"{domain}/MMXN1.Vol.mag.f", "MX") == 230.0
                associated.enable("SMGW001GW/LLN0.RP.urcbVol01", interrogate=True)
                associated.operate(f"{domain}/CSWI1.Pos", close=False)
                assert collect(associated, 1)

        await asyncio.to_thread(work)
        assert (there.meter.commands[0].origin.via or "").startswith("mms desk sha256:")


async def test_what_an_observer_makes_ends_with_its_association(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        given = files(there, there.ca.issue("screen"))
        domain = there.meter.domain
        members = [f"{domain}/MMXN1.Vol[MX]"]

        def work() -> None:
            with libiec61850(there.running.tls_port or 0, given) as client:
                client.create("@mine", members)
                assert len(client.values("@mine")) == 1
                with libiec61850(there.running.tls_port or 0, given) as other, pytest.raises(RefusedError):
                    other.members("@mine")
                with pytest.raises(RefusedError):
                    client.create(f"{domain}/LLN0.stays", members)
            with libiec61850(there.running.tls_port or 0, given) as client:
                with pytest.raises(RefusedError):
                    client.members("@mine")
                client.create("@mine", members)

        await asyncio.to_thread(work)


def over_tls(there: Site, issued: Issued, *arguments: str, code: int = 0) -> str:
    """What a command of ours says over TLS; AssertionError unless it ends with ``code``."""
    tls = ("--tls-cert", str(issued.cert), "--tls-key", str(issued.key), "--tls-ca", str(there.ca.cert))
    done = run("mms", *arguments, *tls, code=code)
    return done.stdout + done.stderr


async def test_commands_associate_over_tls(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        server = f"127.0.0.1:{there.running.tls_port}"
        cid = tmp_path / "town.cid"
        cid.write_bytes(await there.running.publish_cid())
        desk, screen, stranger = (there.ca.issue(name) for name in ("desk", "screen", "nobody"))
        item, switch = f"{there.meter.domain}/MMXN1.Vol.mag.f[MX]", f"{there.meter.domain}/CSWI1.Pos"
        told = await asyncio.to_thread(over_tls, there, screen, "read", server, item, "--json")
        assert json.loads(told)[0]["value"] == 230.0
        await asyncio.to_thread(over_tls, there, screen, "compare", str(cid), "--all")
        watching = ("watch", server, "--rcb", "urcbVol01", "--count", "1", "--for", "60")
        assert "230" in await asyncio.to_thread(over_tls, there, screen, *watching)
        refused = await asyncio.to_thread(over_tls, there, screen, "operate", server, switch, "open", code=5)
        assert "AddCause 20" in refused
        await asyncio.to_thread(over_tls, there, desk, "operate", server, switch, "open")
        await asyncio.to_thread(over_tls, there, stranger, "browse", server, code=4)


async def test_a_flood_of_handshakes_leaves_a_reader_its_turn(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path, associations_per_address=10_000) as there:
        port = there.running.tls_port
        assert port is not None
        stop, shaken = asyncio.Event(), 0

        def handshake() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            nonlocal shaken
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 2.0) as raw:
                context.wrap_socket(raw).close()
                shaken += 1

        async def flood() -> None:
            while not stop.is_set():
                await asyncio.to_thread(handshake)

        with await there.associate(there.ca.issue("desk")) as client:
            floods = [asyncio.create_task(flood()) for _ in range(4)]
            loop = asyncio.get_running_loop()
            reads, end = 0, loop.time() + 4.0
            while loop.time() < end:
                assert await asyncio.to_thread(voltage, client, there.meter) == 230.0
                reads += 1
            stop.set()
            await asyncio.gather(*floods)
        assert shaken > 5
        assert reads > shaken / 20, "whatever the speed of the machine"
