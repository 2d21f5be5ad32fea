"""What the tests of MMS over TLS share: a bridge with certificates of a test authority, and its clients.

>>> async with site(broker, tmp_path) as there:        # doctest: +SKIP
...     client = await there.associate(there.ca.issue("desk"))
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from open61850.mms import MmsClient, ObjectName
from open61850.mms.errors import MmsConnectionError

from admin.mms.tls_client import ClientCertificate, connect_tls
from tests.support.brokers import Broker
from tests.support.certificates import Authority, Issued
from tests.support.mms import DrivenMeter, Scene, eventually, scene

NO_ACCESS_AUTHORITY = 20
RIGHTS = """
[clients.desk]
rights = "control"
[clients.screen]
rights = "observe"
[clients.elsewhere]
rights = "control"
addresses = ["192.0.2.0/24"]
"""


@dataclass
class Site:
    """A bridge with TLS, a meter, and the authority behind the certificates."""

    running: Scene
    ca: Authority
    rights: Path
    meter: DrivenMeter

    def identity(self, issued: Issued) -> ClientCertificate:
        """Of a client."""
        return ClientCertificate(issued.cert, issued.key, self.ca.cert)

    def connect(self, issued: Issued) -> MmsClient:
        """An association over TLS; blocks."""
        assert self.running.tls_port is not None
        return connect_tls("127.0.0.1", self.running.tls_port, self.identity(issued), timeout=60.0)

    async def associate(self, issued: Issued) -> MmsClient:
        """An association over TLS."""
        return await asyncio.to_thread(self.connect, issued)

    async def refused(self, issued: Issued) -> str:
        """Nothing comes of an attempt; what the client was told."""
        with pytest.raises(MmsConnectionError) as error:
            await self.associate(issued)
        return str(error.value)


@asynccontextmanager
async def site(broker: Broker, folder: Path, **settings: Any) -> AsyncIterator[Site]:
    """One meter behind a bridge that serves it plain and over TLS."""
    ca = Authority(folder / "ca")
    server = ca.issue("gateway")
    rights = folder / "clients.toml"
    rights.write_text(RIGHTS)
    files: dict[str, Any] = {"tls_cert": server.cert, "tls_key": server.key, "tls_ca": ca.cert}
    files |= {"tls_crl": ca.crl, "clients": rights}
    async with scene(broker, tls=True, **(files | settings)) as running:
        meter = await running.add_meter(1)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        await eventually(lambda: listens(running.tls_port or 0))
        yield Site(running, ca, rights, meter)


def listens(port: int) -> bool:
    """Whether somebody does."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def voltage(client: MmsClient, meter: DrivenMeter) -> float:
    """A read that only an association answers."""
    return float(getattr(client.read(ObjectName("MMXN1$MX$Vol$mag$f", meter.domain)), "value", 0.0))


async def ended(client: MmsClient) -> None:
    """Waits for the end that the server makes."""
    await eventually(lambda: not client.is_connected)


def fails(there: Site, issued: Issued) -> bool:
    """Whether an attempt to associate fails."""
    try:
        there.connect(issued).close()
    except MmsConnectionError:
        return True
    return False
