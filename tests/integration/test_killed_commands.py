"""A command that is killed at each third step, on a real Mosquitto: what it has begun is enforced.

The one it concerns is connected when the command begins.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter as Counts
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import aiomqtt
import pytest

from broker.contract.roles import Role
from broker.mqtt.settings import MqttSettings
from registrar.identities import Identity
from registrar.retained_outbox import connected
from tests.integration.test_broker_doors import is_let_in
from tests.support.chain import until
from tests.support.killed import killed_at, run
from tests.support.sites import Deployed, deployed

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
DEADLINE = 90.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A broker and a bridge; no registrar: each test says whether there is one."""
    with deployed(tmp_path_factory.mktemp("site"), "bridge") as running:
        until(lambda: _has_audit(database(running)), why="the audit is there")
        yield running


@pytest.fixture(autouse=True)
def _deployment(site: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("METER61850_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METER61850_DIR", str(site.folder / "d"))


def database(site: Deployed) -> Path:
    """The bridge's."""
    return Path(site.deployment.environment["METER61850_DATABASE_URL"].removeprefix("sqlite:///"))


def audited(site: Deployed) -> Counts[str]:
    """How often the audit has each event."""
    with closing(sqlite3.connect(database(site), timeout=DEADLINE)) as connection:
        return Counts(row[0] for row in connection.execute("SELECT event FROM audit"))


@asynccontextmanager
async def there(mqtt: MqttSettings) -> AsyncIterator[asyncio.Task[None]]:
    """Connected, in a task that is done when the broker has ended the connection."""

    async def stay(begun: asyncio.Event) -> None:
        with suppress(aiomqtt.MqttError):
            async with connected(mqtt) as client:
                begun.set()
                async for _ in client.messages:
                    pass

    begun = asyncio.Event()
    task = asyncio.create_task(stay(begun))
    try:
        async with asyncio.timeout(DEADLINE):
            await begun.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def _has_audit(file: Path) -> bool:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return bool(db.execute("SELECT count(*) FROM audit").fetchall())
    return False


def enlist(site: Deployed, name: str, role: Role) -> MqttSettings:
    """A new identity that the broker knows."""
    folder = site.deployment.identity_folder(name)
    site.deployment.enlist(Identity(name, role), folder)
    run("identity", "list", "--json")
    assert site.deployment.identity_store.unfinished() == []
    return MqttSettings(identity=folder)


CASES: dict[str, tuple[str, Role, tuple[str, ...], str]] = {
    "block": (METER, Role.METER, ("meters", "block", METER, "--reason", "stolen"), "meter-blocked"),
    "revoke": ("otto", Role.ISSUER, ("credentials", "revoke", "otto"), "credentials-revoked"),
    "remove": ("eve", Role.ISSUER, ("identity", "remove", "eve"), "credentials-revoked"),
}


def _restore(site: Deployed, name: str) -> None:
    """As before the command."""
    if name == METER:
        run("meters", "unblock", METER)
        return
    with site.deployment.identity_store.change() as change:
        change.remove(name)
    folder = site.deployment.identity_folder(name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    enlist(site, name, Role.ISSUER)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
async def test_the_next_command_finishes_it_and_the_broker_enforces_it(site: Deployed, case: str) -> None:
    name, role, command, event = CASES[case]
    mqtt, step, killed = await asyncio.to_thread(enlist, site, name, role), 0, True
    while killed:
        before = audited(site)[event]
        async with there(mqtt) as connection:
            killed = await asyncio.to_thread(killed_at, step, *command)
            begun = all(one.revoked for one in site.deployment.identity_store.certificates(name))
            await asyncio.to_thread(run, "identity", "list", "--json")
            assert site.deployment.identity_store.unfinished() == []
            assert audited(site)[event] - before == begun, step
            if begun:
                done, _ = await asyncio.wait([connection], timeout=DEADLINE)
                assert done, step
                assert not await asyncio.to_thread(is_let_in, mqtt, mqtt.tls()), step
        if begun:
            await asyncio.to_thread(_restore, site, name)
            mqtt = MqttSettings(identity=site.deployment.identity_folder(name))
        step += 3
    assert step > 6


async def test_it_is_pending_until_the_broker_has_it(site: Deployed) -> None:
    """And the registrar, when it runs, finishes it; it ends the connection that was there."""
    meter = METER.replace("3301", "3399")
    mqtt = await asyncio.to_thread(enlist, site, meter, Role.METER)
    before = audited(site)["meter-blocked"]
    async with there(mqtt) as connection:
        command = ("meters", "block", meter, "--reason", "stolen")
        for step in range(20):  # until it dies just after it has said what it wants
            assert await asyncio.to_thread(killed_at, step, *command)
            if site.deployment.identity_store.unfinished():
                break
        (one,) = site.deployment.identity_store.unfinished()
        assert one.name == meter
        assert f"user {meter}" not in (site.folder / "d/security/acl").read_text()
        assert not connection.done()
        await asyncio.to_thread(site.start_registrar)
        done, _ = await asyncio.wait([connection], timeout=DEADLINE)
        assert done
        await asyncio.to_thread(
            until, lambda: not site.deployment.identity_store.unfinished(), seconds=DEADLINE
        )
        assert not await asyncio.to_thread(is_let_in, mqtt, mqtt.tls())
        await asyncio.to_thread(until, lambda: audited(site)["meter-blocked"] == before + 1, seconds=DEADLINE)
    await asyncio.to_thread(site.stop, "enrol")


async def test_lists_say_pending_while_there_is_no_broker(site: Deployed) -> None:
    """Last of this file: it stops the broker."""
    await asyncio.to_thread(enlist, site, "paul", Role.ISSUER)
    await asyncio.to_thread(site.stop, "broker")
    await asyncio.to_thread(run, "credentials", "revoke", "paul")
    rows = await asyncio.to_thread(site.answer, "credentials", "list", "--all")
    assert {row["pending"] for row in rows if row["name"] == "paul"} == {True}
    assert {row["pending"] for row in rows if row["name"] == "bridge"} == {False}
    people = await asyncio.to_thread(site.answer, "identity", "list")
    assert [row["name"] for row in people if row["pending"]] == ["paul"]
    (site.folder / "broker.log").unlink()
    await asyncio.to_thread(site.start_broker)
    people = await asyncio.to_thread(site.answer, "identity", "list")
    assert [row["name"] for row in people if row["pending"]] == []
