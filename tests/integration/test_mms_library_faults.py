"""Faults of libiec61850 are kept from the network: services that it does not serve safely are off.

- FileOpen with a position beyond the end of the file, then FileRead, was answered with memory of the process.
- Where a data set access handler is installed, the library frees the name of an association's data set
  (@name) at its first directory or read; then nobody can delete it. So there is none, in any deployment.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from mms_bridge.settings import MmsSettings
from tests.hostile.capture import load
from tests.integration.test_mms_hostile import _message, _pdu
from tests.support.brokers import Broker
from tests.support.iec61850_client import RefusedError, libiec61850
from tests.support.mms import scene
from tests.support.mms_tls import site

NAME = b"\xa0\x11\x19\x0f/SCL/SMGW001.cid"
FILE_REQUESTS = {
    "FileOpen at 10,000,000": b"\xbf\x48" + bytes([len(NAME) + 6]) + NAME + b"\x81\x04\x00\x98\x96\x80",
    "FileOpen": b"\xbf\x48" + bytes([len(NAME) + 3]) + NAME + b"\x81\x01\x00",
    "FileRead": b"\x9f\x49\x01\x01",
    "FileClose": b"\x9f\x4a\x01\x01",
    "FileRename": b"\xbf\x4b" + bytes([2 * len(NAME)]) + NAME + b"\xa1" + NAME[1:],
    "FileDelete": b"\xbf\x4c\x11\x19\x0f/SCL/SMGW001.cid",
    "FileDirectory": b"\xbf\x4d\x00",
    "ObtainFile": b"\xbf\x2e" + bytes([2 * len(NAME)]) + b"\xa1" + NAME[1:] + b"\xa2" + NAME[1:],
}
"""Confirmed service requests of ISO 9506-2 by their tags."""


def asked(port: int, service: bytes, times: int) -> list[bytes]:
    """The tags of the MMS PDUs that answer ``service``, asked again and again on one association."""
    opening = load()[0].opening
    with socket.create_connection(("127.0.0.1", port), timeout=30.0) as connection:
        stream = connection.makefile("rb")
        for packet in opening:
            connection.sendall(packet)
            _message(stream)
        told = []
        for invoke in range(1, times + 1):
            pdu = b"\xa0" + bytes([len(service) + 3]) + b"\x02\x01" + bytes([invoke]) + service
            user = b"\x02\x01\x03\xa0" + bytes([len(pdu)]) + pdu
            data = b"\x01\x00\x01\x00\x61" + bytes([len(user) + 2, 0x30, len(user)]) + user
            connection.sendall(b"\x03\x00" + (len(data) + 7).to_bytes(2, "big") + b"\x02\xf0\x80" + data)
            told.append(_pdu(_message(stream)))
        return told


@pytest.mark.parametrize("service", FILE_REQUESTS, ids=lambda name: name.replace(" ", "_"))
async def test_no_file_service_is_served(broker: Broker, service: str) -> None:
    async with scene(broker) as running:
        await running.add_meter(1)
        await running.publish_cid()
        (await running.associate()).close()
        told = await asyncio.to_thread(asked, running.port, FILE_REQUESTS[service], 3)
        assert set(told) <= {b"\xa2", b"\xa4"}, told  # error or reject, never a response


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


def test_observers_are_possible_unless_only_loopback_is_served() -> None:
    assert not MmsSettings().observers
    assert MmsSettings(plain_bind="192.0.2.1").observers
