"""Revocation and changes of rights while the bridge runs: who is cut off, and which files change nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.certificates import Authority, replace
from tests.support.mms import eventually
from tests.support.mms_control import Desk
from tests.support.mms_tls import NO_ACCESS_AUTHORITY, RIGHTS, ended, fails, site, voltage


async def test_a_revoked_client_is_cut_off_and_others_stay(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        thief, good = there.ca.issue("desk"), there.ca.issue("desk")
        with await there.associate(thief) as stolen, await there.associate(good) as client:
            desk = Desk(stolen, there.meter)
            assert await desk.select(False) is None
            there.ca.revoke(thief)
            await ended(stolen)
            assert voltage(client, there.meter) == 230.0
            other = Desk(client, there.meter)
            await eventually(lambda: client.is_connected)
            await _selects(other)  # the selection has gone with its client
        await there.refused(thief)


async def _selects(desk: Desk) -> None:
    for _ in range(3000):
        if await desk.select(False) is None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("still selected by who was cut off")


async def test_rights_change_while_a_client_is_there(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        with await there.associate(there.ca.issue("desk")) as client:
            desk = Desk(client, there.meter)
            replace(there.rights, RIGHTS.replace('"control"', '"observe"').encode())
            for _ in range(3000):
                if await desk.select(False) == NO_ACCESS_AUTHORITY:
                    break
                await desk.cancel(False)
                await asyncio.sleep(0.02)
            assert await desk.select(False) == NO_ACCESS_AUTHORITY
            replace(there.rights, b'[clients.screen]\nrights = "observe"\n')
            await ended(client)


async def test_broken_files_replace_nothing(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(broker, tmp_path) as there:
        desk, revoked = there.ca.issue("desk"), there.ca.issue("desk")
        forger = Authority(tmp_path / "forger")  # the same name, another key
        forger.revoke(desk)
        there.ca.revoke(revoked)
        with await there.associate(desk) as client:
            await eventually(lambda: fails(there, revoked))
            replace(there.rights, b'[clients.desk]\nrights = "everything"\n')
            await eventually(lambda: "Input should be 'observe'" in caplog.text)
            broken = (
                (b"rubbish", "no revocation list"),
                (forger.crl.read_bytes(), "not signed by a CA of ours"),
            )
            for content, complaint in broken:
                replace(there.ca.crl, content)
                await eventually(lambda complaint=complaint: complaint in caplog.text)  # type: ignore[misc]
                assert voltage(client, there.meter) == 230.0
                await there.refused(revoked)
            (await there.associate(desk)).close()


async def test_an_outdated_list_lets_no_new_client_in(broker: Broker, tmp_path: Path) -> None:
    async with site(broker, tmp_path) as there:
        desk = there.ca.issue("desk")
        with await there.associate(desk) as client:
            there.ca.write_crl(days=-1)
            await eventually(lambda: fails(there, desk))
            assert voltage(client, there.meter) == 230.0
