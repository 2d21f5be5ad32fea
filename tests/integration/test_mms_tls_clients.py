"""Other clients over TLS: libiec61850's own, with mbedtls, and the commands of `meter61850 mms`."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.certificates import Issued
from tests.support.cli import run
from tests.support.iec61850_client import LibIec61850, RefusedError, libiec61850
from tests.support.mms_tls import Site, site, voltage


def files(there: Site, issued: Issued) -> dict[str, str]:
    """For libiec61850's client."""
    return {"cert": str(issued.cert), "key": str(issued.key), "ca": str(there.ca.cert)}


async def test_libiec61850_reads_has_reports_and_operates(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        assert there.running.tls_port is not None

        def work(client: LibIec61850) -> None:
            domain = there.meter.domain
            assert client.read(f"{domain}/MMXN1.Vol.mag.f", "MX") == 230.0
            client.enable("SMGW001GW/LLN0.RP.urcbVol01", interrogate=True)
            client.operate(f"{domain}/CSWI1.Pos", close=False)
            assert client.reports()

        with libiec61850(there.running.tls_port, files(there, there.ca.issue("desk"))) as client:
            await asyncio.to_thread(work, client)
        assert (there.meter.commands[0].origin.via or "").startswith("mms desk sha256:")


async def test_what_an_observer_makes_ends_with_its_association(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        assert there.running.tls_port is not None

        def work(client: LibIec61850) -> None:
            domain = there.meter.domain
            client.create("@mine", [f"{domain}/MMXN1.Vol[MX]"])
            assert len(client.values("@mine")) == 1
            with pytest.raises(RefusedError):
                client.create(f"{domain}/LLN0.stays", [f"{domain}/MMXN1.Vol[MX]"])

        with libiec61850(there.running.tls_port, files(there, there.ca.issue("screen"))) as client:
            await asyncio.to_thread(work, client)


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
        watching = ("watch", server, "--rcb", "urcbVol01", "--count", "1", "--for", "10")
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
            longest, end = 0.0, loop.time() + 4.0
            while loop.time() < end:
                begin = loop.time()
                assert await asyncio.to_thread(voltage, client, there.meter) == 230.0
                longest = max(longest, loop.time() - begin)
            stop.set()
            await asyncio.gather(*floods)
        assert shaken > 20
        assert longest < 3.0
