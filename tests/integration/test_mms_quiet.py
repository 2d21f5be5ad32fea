"""Only what some report control block can want passes the blocks of the library: the others are set."""

from __future__ import annotations

import asyncio

from open61850.mms import MmsClient, ObjectName, decode_report, is_report, rcb
from open61850.mms.report import Report

from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.topics import Topic
from mms_bridge.settings import MmsSettings
from tests.integration.test_mms_buffers import METER, served, ticking
from tests.integration.test_mms_reports import POSITIONS, VOLTAGES
from tests.support.brokers import free_port
from tests.support.mms import DEADLINE

KEYS = (("MMXN1", "Vol"), ("MMXN1", "VolAmp"), ("XSWI1", "Pos"))
"""In the data set of an unbuffered block, in none, in that of a buffered one."""


def reading(seq: int, voltage: float) -> bytes:
    """With a voltage and nothing else."""
    return Reading(epoch=1, seq=seq, ts=utc_now(), voltage=voltage).payload()


async def test_what_an_unbuffered_block_has_is_quiet_until_one_is_enabled() -> None:
    port = free_port()
    gateway = served(MmsSettings(plain_bind="127.0.0.1"), port)
    arrived: list[Report] = []
    settings = rcb.RcbSettings(trg_ops=None, opt_flds=None, intg_pd_ms=None, general_interrogation=False)

    def enable(*blocks: ObjectName) -> MmsClient:
        def take(message: object) -> None:
            if is_report(message):  # type: ignore[arg-type]
                arrived.append(decode_report(message))  # type: ignore[arg-type]

        client = MmsClient.connect("127.0.0.1", port, timeout=DEADLINE, on_information_report=take)
        for block in blocks:
            client.read(ObjectName(f"{block.item}$DatSet", block.domain))  # to read it changes nothing
            rcb.enable(client, block, settings)
        return client

    async def with_blocks(*blocks: ObjectName) -> MmsClient:
        task = asyncio.create_task(asyncio.to_thread(enable, *blocks))
        await ticking(gateway, task.done)
        return task.result()

    async def ended(client: MmsClient) -> None:
        task = asyncio.create_task(asyncio.to_thread(client.close))
        await ticking(gateway, task.done)

    try:
        ied = gateway.ieds["SMGW001"]
        await ticking(gateway, lambda: len(ied.generations) == 1)
        points = ied.generations[0].points("SMGW001M1")
        assert points is not None

        def quiet() -> list[int]:
            return [points.quiet[points.shape.places[key]] for key in KEYS]

        assert quiet() == [1, 1, 0]
        gateway.take(Topic("reading", METER), reading(1, 230.0), retained=False)
        first = await with_blocks(POSITIONS)
        assert quiet() == [1, 1, 0], "a buffered block wants no voltage"
        second = await with_blocks(VOLTAGES)
        assert quiet() == [0, 1, 0]
        gateway.take(Topic("reading", METER), reading(2, 240.0), retained=False)
        await ticking(gateway, lambda: any("urcbVol" in report.rpt_id for report in arrived))
        for client in (first, second):
            await ended(client)
    finally:
        gateway.close()
