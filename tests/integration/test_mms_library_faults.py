"""Faults of libiec61850 are kept from the network: services that it does not serve safely are off.

- FileOpen with a position beyond the end of the file, then FileRead, was answered with memory of the process.
- Where a data set access handler is installed, the library frees the name of an association's data set
  (@name) at its first directory or read; then nobody can delete it. So there is none, in any deployment.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.iec61850_client import RefusedError, libiec61850
from tests.support.mms import scene
from tests.support.mms_pdus import ERROR, REJECT, number, raw_client, tlv
from tests.support.mms_tls import site

PATH = tlv(0x19, b"/SCL/SMGW001.cid")
NAME = tlv(0xA0, PATH)
FILE_REQUESTS = {
    "FileOpen at 10,000,000": tlv(0xBF48, NAME, number(10_000_000, 0x81)),
    "FileOpen": tlv(0xBF48, NAME, number(0, 0x81)),
    "FileRead": tlv(0x9F49, b"\x01"),
    "FileClose": tlv(0x9F4A, b"\x01"),
    "FileRename": tlv(0xBF4B, NAME, tlv(0xA1, PATH)),
    "FileDelete": tlv(0xBF4C, PATH),
    "FileDirectory": tlv(0xBF4D),
    "ObtainFile": tlv(0xBF2E, tlv(0xA1, PATH), tlv(0xA2, PATH)),
}
"""Confirmed service requests of ISO 9506-2 by their tags."""


def asked(port: int, service: bytes, times: int) -> list[int]:
    """The tags of the MMS PDUs that answer ``service``, asked again and again on one association."""
    with raw_client(port) as client:
        return [client.ask(service)[0] for _ in range(times)]


@pytest.mark.parametrize("service", FILE_REQUESTS, ids=lambda name: name.replace(" ", "_"))
async def test_no_file_service_is_served(broker: Broker, service: str) -> None:
    async with scene(broker) as running:
        await running.add_meter(1)
        await running.publish_cid()
        (await running.associate()).close()
        told = await asyncio.to_thread(asked, running.port, FILE_REQUESTS[service], 3)
        assert set(told) <= {ERROR, REJECT}, told  # never a response


@pytest.mark.parametrize("who", ["screen", "desk"])
async def test_a_data_set_of_an_association_keeps_its_name(broker: Broker, tmp_path: Path, who: str) -> None:
    """Over TLS, where clients may be observers: read, listed, read again, deleted, and made again."""
    async with site(broker, tmp_path) as there:
        issued = there.ca.issue(who)
        files = {"cert": str(issued.cert), "key": str(issued.key), "ca": str(there.ca.cert)}
        assert there.running.tls_port is not None
        members = [f"{there.meter.domain}/MMXN1.Vol[MX]"]

        def work() -> None:
            with libiec61850(there.running.tls_port or 0, files) as client:
                for _ in range(3):
                    client.create("@mine", members)
                    for _ in range(3):
                        assert client.members("@mine") == members
                        assert len(client.values("@mine")) == 1
                    client.delete("@mine")
                    with pytest.raises(RefusedError):
                        client.members("@mine")

        await asyncio.to_thread(work)


@pytest.mark.parametrize("name", ["{}/LLN0.stays", "SMGW001GW/LLN0.stays"])
@pytest.mark.parametrize("who", ["screen", "desk"])
async def test_where_clients_may_observe_nobody_makes_a_data_set_in_a_device(
    broker: Broker, tmp_path: Path, who: str, name: str
) -> None:
    async with site(broker, tmp_path) as there:
        issued = there.ca.issue(who)
        files = {"cert": str(issued.cert), "key": str(issued.key), "ca": str(there.ca.cert)}
        assert there.running.tls_port is not None
        domain = there.meter.domain

        def work() -> None:
            with libiec61850(there.running.tls_port or 0, files) as client:
                with pytest.raises(RefusedError):
                    client.create(name.format(domain), [f"{domain}/MMXN1.Vol[MX]"])
                with pytest.raises(RefusedError):
                    client.delete("SMGW001GW/LLN0.dsVol")  # the configured ones stay, too
                assert client.members("SMGW001GW/LLN0.dsVol")

        await asyncio.to_thread(work)
