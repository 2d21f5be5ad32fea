"""A meter that joins drops nobody; connections beyond the limit are refused, the others stay."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from open61850.mms import MmsClient, ObjectName, rcb
from open61850.mms.errors import MmsError

from scl_builder.model.logical_devices import MAX_ASSOCIATIONS
from tests.births.run import run
from tests.support.brokers import Broker
from tests.support.cli import KEPT
from tests.support.mms import BRIDGE_THREAD, DrivenMeter, Scene, eventually, scene

DOMAINS = 9  # object class of GetNameList


@dataclass
class Reader:
    """What a client that reads in a loop has seen."""

    reads: int = 0
    failures: list[Exception] = field(default_factory=list)

    def has_read(self, times: int) -> bool:
        """Whether it has read that often."""
        return self.reads >= times


@contextmanager
def reading(running: Scene, meter: DrivenMeter) -> Iterator[Reader]:
    """A client that holds one association and reads until the block ends."""
    seen, stop = Reader(), threading.Event()

    def loop() -> None:
        with running.connect() as client:
            while not stop.is_set():
                try:
                    client.read(f"{meter.domain}/MMXN1.Vol[MX]")
                    seen.reads += 1
                except (MmsError, OSError) as error:
                    seen.failures.append(error)
                    return

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


async def test_births_drop_nobody(broker: Broker) -> None:
    async with scene(broker) as running:
        first = await running.add_meter(0)
        await running.publish_cid()
        (await running.associate()).close()
        with reading(running, first) as seen:
            for number in range(1, 6):
                before = seen.reads
                born = await running.add_meter(number)
                await running.publish_cid()

                def has_joined(domain: str = born.domain) -> bool:
                    with running.connect() as client:
                        return domain in client.get_name_list(DOMAINS)

                await eventually(has_joined)
                await eventually(partial(seen.has_read, before + 10))
            await first.read(voltage=233.0)
            with await running.associate() as client:
                await eventually(partial(_shows, client, first, 233.0))
        assert seen.failures == []


async def test_an_old_generation_is_fed_until_its_last_association_ends(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(0)
        await running.publish_cid()
        with await running.associate() as old:
            await running.add_meter(1)
            await running.publish_cid()
            await eventually(partial(_serves, running, 3))
            assert len(old.get_name_list(DOMAINS)) == 2
            await meter.read(voltage=229.5)
            await eventually(
                lambda: (
                    getattr(old.read(f"{meter.domain}/MMXN1.Vol.mag.f[MX]"), "value", 0)
                    == pytest.approx(229.5)
                )
            )


def _shows(client: MmsClient, meter: DrivenMeter, voltage: float) -> bool:
    value: Any = client.read(f"{meter.domain}/MMXN1.Vol.mag.f[MX]")
    return bool(value.value == pytest.approx(voltage))


def _serves(running: Scene, domains: int) -> bool:
    with running.connect() as client:
        return len(client.get_name_list(DOMAINS)) == domains


async def test_five_associations_share_one_server_and_a_sixth_is_refused(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(0)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        (await running.associate()).close()
        with ExitStack() as clients:
            joined = [clients.enter_context(await running.associate()) for _ in range(MAX_ASSOCIATIONS)]
            for client in joined:
                assert len(client.get_name_list(DOMAINS)) == 2
            with pytest.raises((MmsError, OSError)):
                await asyncio.to_thread(running.connect)
            block = ObjectName("LLN0$BR$brcbPos01", "SMGW001GW")
            rcb.enable(joined[0], block, rcb.RcbSettings())
            for client in joined[1:]:  # one block with one owner, whoever asks
                assert rcb.read_status(client, block).rpt_ena
                with pytest.raises(MmsError):
                    rcb.enable(client, block, rcb.RcbSettings())
            await meter.read(voltage=231.0)
            for client in joined:
                await eventually(partial(_shows, client, meter, 231.0))
        (await running.associate()).close()  # room again


async def test_the_associations_of_an_older_configuration_take_no_place(broker: Broker) -> None:
    """Five clients keep what was replaced; five more can have what replaced it."""
    async with scene(broker) as running:
        await running.add_meter(0)
        await running.publish_cid()
        with ExitStack() as clients:
            old = [clients.enter_context(await running.associate()) for _ in range(MAX_ASSOCIATIONS)]
            await running.add_meter(1)
            await running.publish_cid()
            new = [clients.enter_context(await running.associate()) for _ in range(MAX_ASSOCIATIONS)]
            with pytest.raises((MmsError, OSError)):
                await asyncio.to_thread(running.connect)
            assert [len(client.get_name_list(DOMAINS)) for client in [*old, *new]] == [2] * 5 + [3] * 5


async def test_an_ied_without_cid_is_gone(broker: Broker) -> None:
    async with scene(broker) as running:
        await running.add_meter(0)
        await running.publish_cid()
        client = await running.associate()
        await running.client.publish(running.topics.cid("SMGW001"), b"", qos=1, retain=True)

        def refused() -> bool:
            with suppress(MmsError, OSError), MmsClient.connect("127.0.0.1", running.port, timeout=2.0):
                return False
            return True

        await eventually(refused)
        assert client.wait_closed(60.0) is not None
        client.close()


async def test_idle_associations_hold_up_nobody(broker: Broker) -> None:
    """The library waits for each of them at each call; with the hook the bridge waits for requests alone."""
    most = 2 if os.environ.get(KEPT) != "false" else 10
    async with scene(broker) as running:
        meter = await running.add_meter(0)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        with ExitStack() as clients:
            reader = clients.enter_context(await running.associate())
            alone = await _waits_of_reads(reader, meter)
            idle = [clients.enter_context(await running.associate()) for _ in range(4)]
            assert await _waits_of_reads(reader, meter) < alone * most
            assert all(_shows(client, meter, 230.0) for client in idle)


async def _waits_of_reads(reader: MmsClient, meter: DrivenMeter) -> int:
    """How often the bridge's thread gave up its core to wait during 400 reads; the kernel counts it."""

    def waits() -> int:
        (thread,) = [one for one in threading.enumerate() if one.name.startswith(BRIDGE_THREAD)]
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1])  # type: ignore[index]

    await eventually(partial(_shows, reader, meter, 230.0))
    before = waits()
    for _ in range(400):
        assert _shows(reader, meter, 230.0)
    return waits() - before


async def test_clients_at_work_through_births(broker: Broker) -> None:
    """Reads, reports and commands over associations that live through births; 200 births in ``make soak``."""

    async def born(running: Scene, number: int) -> None:
        await running.add_meter(100 + number)
        await running.publish_cid()

    async with scene(broker) as running:
        for number in (1, 2):
            meter = await running.add_meter(number)
            await meter.read(voltage=230.0)
        await running.publish_cid()
        (await running.associate()).close()
        verdict = await run(running, births=20, seconds=6.0, born=born)
        assert verdict.problems == []
        assert verdict.work.reads > 50
        assert verdict.work.operations > 0
        assert len(verdict.published.positions) > 5
