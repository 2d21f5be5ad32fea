"""Every service of the server by three independent clients, and by name what one of them has not.

| service                               | libiec61850's client | open61850            | iec61850 (Rust) |
|---------------------------------------|----------------------|----------------------|-----------------|
| directory, read                       | yes                  | yes                  | yes             |
| data set: members                     | yes                  | yes                  | yes             |
| data set: values in one read          | yes                  | lacks it             | yes             |
| data set of the association (@name)   | yes                  | lacks it             | lacks it        |
| URCB, BRCB, resynchronisation         | yes                  | yes                  | yes             |
| four control models, cancel           | yes                  | yes                  | yes             |
| Identify                              | yes                  | lacks it             | lacks it        |

The table is :data:`tests.support.scada.LACKS`; what is in it must be missing in the client, else the test
fails.
"""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import open61850.mms
import pytest
from open61850.mms.rcb import RcbError

from broker.contract.relay import Position
from scl_builder.build.project import ControlModel
from tests.support.brokers import Broker
from tests.support.clients import CLIENTS, collect
from tests.support.iec61850_client import RefusedError
from tests.support.scada import LACKS, Client, CommandRefusedError, Told
from tests.support.served import lacking, served

MODELS: tuple[ControlModel, ...] = (
    "direct-with-normal-security",
    "sbo-with-normal-security",
    "direct-with-enhanced-security",
    "sbo-with-enhanced-security",
)

every_client = pytest.mark.parametrize("name", CLIENTS)


def functions(client: str) -> set[str]:
    """Names of all that a client's package offers."""
    if client != "open61850":
        connection = import_module("iec61850").IedConnection
        return {name for name, _ in inspect.getmembers(connection, callable)}
    return {
        attribute
        for module in pkgutil.iter_modules(open61850.mms.__path__)
        if module.name != "__main__"
        for holder in (import_module(f"open61850.mms.{module.name}"), open61850.mms.MmsClient)
        for attribute, value in inspect.getmembers(holder)
        if callable(value) and not attribute.startswith("__")
    }


NO_FUNCTION = [(name, service) for (name, service), (parts, _) in LACKS.items() if parts and name in CLIENTS]


@pytest.mark.parametrize(("name", "service"), NO_FUNCTION)
def test_a_client_really_lacks_what_the_table_says(name: str, service: str) -> None:
    parts, reason = LACKS[name, service]
    assert reason
    names = functions(name)
    assert len(names) > 30
    assert [n for n in names if any(part in n.lower() for part in parts)] == []


@every_client
async def test_directory_and_read(broker: Broker, tmp_path: Path, name: str) -> None:
    async with served(broker, tmp_path) as there:
        directory = await there.use(name, lambda client: client.directory())
        assert there.meter.domain in directory
        assert len(directory) == 2  # and the gateway's own
        assert "MMXN1$MX$Vol$mag$f" in directory[there.meter.domain]
        value = await there.use(name, lambda client: client.read(f"{there.meter.domain}/MMXN1.Vol", "MX"))
        assert value[0] == [pytest.approx(230.0)]
        assert value[1] == "0" * 13


@every_client
async def test_data_sets(broker: Broker, tmp_path: Path, name: str) -> None:
    async with served(broker, tmp_path) as there:
        assert there.ied.data_sets

        def session(client: Client) -> None:
            for data_set in there.ied.data_sets:
                reference = f"{data_set.object_name.domain}/{data_set.object_name.item.replace('$', '.')}"
                expected = [str(member).replace(" [", "[") for member in data_set.references()]
                assert client.members(reference) == expected
                values = lacking(name, "values", lambda r=reference: client.values(r))  # type: ignore[misc]
                assert values is None or len(values) == len(expected)

        await there.use(name, session)


@every_client
async def test_dynamic_data_sets(broker: Broker, tmp_path: Path, name: str) -> None:
    """Of the association; in a logical device there are none."""
    async with served(broker, tmp_path) as there:
        reference, lasting = "@mine", f"{there.meter.domain}/LLN0.ours"
        members = [f"{there.meter.domain}/MMXN1.Vol[MX]", f"{there.meter.domain}/XSWI1.Pos[ST]"]

        def session(client: Client) -> None:
            lacking(name, "create", lambda: client.create(reference, members))
            if (name, "create") in LACKS:
                lacking(name, "delete", lambda: client.delete(reference))
                return
            with pytest.raises(RefusedError):
                client.create(lasting, members)
            assert client.members(reference) == members
            voltage, position = client.values(reference)
            assert voltage[0] == [pytest.approx(230.0)]
            assert position[0] == "10"
            client.delete(reference)
            with pytest.raises(RefusedError):
                client.members(reference)

        await there.use(name, session)


@every_client
async def test_unbuffered_reports(broker: Broker, tmp_path: Path, name: str) -> None:
    async with served(broker, tmp_path) as there:
        block, index = there.block(buffered=False, node="MMXN1.Vol")
        loop = asyncio.get_running_loop()

        def session(client: Client) -> None:
            client.enable(block, interrogate=True)
            [told] = collect(client, 1)
            assert told.entries[index][0] == [pytest.approx(230.0)]
            for voltage in (231.5, 232.5):
                asyncio.run_coroutine_threadsafe(there.meter.read(voltage=voltage, power=200.0), loop).result(
                    5
                )
                [told] = collect(client, 1)
                assert told.entries[index][0] == [pytest.approx(voltage)]

        await there.use(name, session)


@every_client
async def test_buffered_reports_resynchronise_after_a_reconnect(
    broker: Broker, tmp_path: Path, name: str
) -> None:
    async with served(broker, tmp_path) as there:
        block, index = there.block(buffered=True, node="XSWI1.Pos")
        loop = asyncio.get_running_loop()

        def switch(times: int) -> list[str]:
            return asyncio.run_coroutine_threadsafe(there.switch(times), loop).result(60)

        def first(client: Client) -> tuple[list[str], list[Told]]:
            client.enable(block)
            return switch(3), collect(client, 3)

        positions, told = await there.use(name, first)
        assert [report.entries[index][0] for report in told] == positions
        assert not any(report.overflow for report in told[1:])  # the first: what was before it is not known
        missed = await there.switch(4)
        again = await there.use(name, lambda client: _resumed(client, block, told[1].entry_id, 5))
        # from the entry after the one that was named: the third of before, and all that was missed
        assert [report.entries[index][0] for report in again] == [positions[2], *missed]
        assert again[0].entry_id == told[2].entry_id
        assert len({report.entry_id for report in again}) == 5
        assert not any(report.overflow for report in again)


def _resumed(client: Client, block: str, entry_id: str | None, count: int) -> list[Told]:
    client.enable(block, entry_id=entry_id)
    return [*collect(client, count), *collect(client, 1, seconds=0.5)]  # and nothing after them


MORE_THAN_FIT = 1200
"""Positions of one meter; the buffer has room for 200 entries with all points of the gateway."""


@every_client
async def test_buffer_overflow_is_told(broker: Broker, tmp_path: Path, name: str) -> None:
    async with served(broker, tmp_path) as there:
        block, index = there.block(buffered=True, node="XSWI1.Pos")
        loop = asyncio.get_running_loop()

        def first(client: Client) -> list[Told]:
            client.enable(block)
            asyncio.run_coroutine_threadsafe(there.switch(1), loop).result(60)
            return collect(client, 1)

        [before] = await there.use(name, first)
        positions = await there.switch(MORE_THAN_FIT)

        def second(client: Client) -> list[Told]:
            with pytest.raises((RcbError, RefusedError)):  # the entry is not there any more
                client.enable(block, entry_id=before.entry_id)
            client.enable(block)
            return collect(client, MORE_THAN_FIT, seconds=3)  # how many are left nobody knows

        told = await there.use(name, second)
        assert told[0].overflow
        assert not any(report.overflow for report in told[1:])
        kept = [report.entries[index][0] for report in told]
        assert 200 < len(kept) < MORE_THAN_FIT
        assert kept == positions[-len(kept) :]


@every_client
@pytest.mark.parametrize("model", MODELS)
async def test_control(broker: Broker, tmp_path: Path, name: str, model: ControlModel) -> None:
    async with served(broker, tmp_path, control_model=model) as there:
        reference = f"{there.meter.domain}/CSWI1.Pos"

        def session(client: Client) -> None:
            client.operate(reference, close=False)
            assert client.read(f"{there.meter.domain}/XSWI1.Pos.stVal", "ST") == "01"
            client.operate(reference, close=True)
            assert client.read(f"{there.meter.domain}/CSWI1.Pos.stVal", "ST") == "10"
            with pytest.raises(CommandRefusedError):  # position-reached
                client.operate(reference, close=True)

        await there.use(name, session)
        assert [command.position for command in there.meter.commands] == [Position.OPEN, Position.CLOSED]
        assert {command.origin.identifier for command in there.meter.commands} == {name}


@every_client
@pytest.mark.parametrize("model", [model for model in MODELS if model.startswith("sbo")])
async def test_cancel(broker: Broker, tmp_path: Path, name: str, model: ControlModel) -> None:
    async with served(broker, tmp_path, control_model=model) as there:
        reference = f"{there.meter.domain}/CSWI1.Pos"

        def session(client: Client) -> None:
            client.select(reference, close=False)
            client.cancel(reference, close=False)
            with pytest.raises(CommandRefusedError):
                client.operate(reference, close=False, select=False)
            client.operate(reference, close=False)

        await there.use(name, session)
        assert [command.position for command in there.meter.commands] == [Position.OPEN]


@every_client
async def test_identify(broker: Broker, tmp_path: Path, name: str) -> None:
    async with served(broker, tmp_path) as there:
        told = await there.use(name, lambda client: lacking(name, "identify", client.identify))
        assert told is None or told[:2] == ["meter61850", "MQTT meter gateway"]
