"""The MMS bridge is killed while clients are at work: what comes back, and what does not."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path

from broker.contract.relay import Position
from broker.contract.result import Outcome
from tests.hostile.process import MmsProcess
from tests.integration.test_mms_values import GOOD, position, read
from tests.support.brokers import Broker
from tests.support.mms import eventually, scene
from tests.support.mms_control import Desk

VOLTS = ("MMXN1.Vol", "mag.f", "MX")


async def crash(process: MmsProcess) -> None:
    """Kill it as a crash would, and start it again as a supervisor would."""
    os.kill(process.pid, signal.SIGKILL)
    await eventually(lambda: process.ended is not None)
    process.start()


async def test_after_a_crash_values_are_back_and_no_select_or_command_is_left(
    broker: Broker, tmp_path: Path
) -> None:
    process = MmsProcess(tmp_path)
    async with scene(broker, bridge=process.running) as running:
        selected, operated = await running.add_meter(1), await running.add_meter(2)
        ts = await selected.read(voltage=231.5)
        await operated.read(voltage=229.0)
        operated.answer = None  # it hears the command, and answers when the bridge has died
        await running.publish_cid()
        with ExitStack() as clients:
            client = clients.enter_context(await running.associate())
            await eventually(lambda: position(client, operated, "CSWI1") == ("on", GOOD))
            assert await Desk(client, selected).select(False) is None
            desk = Desk(client, operated)
            assert await desk.select(False) is None
            assert await desk.operate(False) is None
            await eventually(lambda: len(operated.commands) == 1)
            await crash(process)
            await eventually(lambda: not client.is_connected)

        operated.answer = Outcome.DONE
        [command] = operated.commands
        operated.commands.clear()
        await operated.obey(command)  # late: the ledger has it from the topic
        with await running.associate() as client:
            await eventually(lambda: read(client, selected.domain, VOLTS).quality == GOOD)
            told = read(client, selected.domain, VOLTS)
            assert told.value == 231.5
            assert abs((told.ts - ts).total_seconds()) < 0.001
            await eventually(lambda: position(client, operated, "CSWI1") == ("off", GOOD))
            assert await Desk(client, selected).select(False) is None  # nobody has it selected any more
            desk = Desk(client, operated)
            assert await desk.select(True) is None
            assert await desk.operate(True) is None
            assert await desk.termination() is None
            assert operated.position is Position.CLOSED
            # the one that was under way was told once, and never again
            assert [told.position for told in operated.commands] == [Position.OPEN, Position.CLOSED]


async def test_a_reading_that_came_while_nobody_served_is_there_afterwards(
    broker: Broker, tmp_path: Path
) -> None:
    """The broker keeps it."""
    process = MmsProcess(tmp_path)
    async with scene(broker, bridge=process.running) as running:
        meter = await running.add_meter(1)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        (await running.associate()).close()
        for volts in (231.0, 232.0):
            os.kill(process.pid, signal.SIGKILL)
            await eventually(lambda: process.ended is not None)
            await meter.read(voltage=volts)
            process.start()
            with await running.associate() as client:
                await eventually(lambda: read(client, meter.domain, VOLTS).quality == GOOD)
                assert (await asyncio.to_thread(read, client, meter.domain, VOLTS)).value == volts
