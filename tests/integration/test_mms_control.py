"""Select and operate end to end: one command for one operate, the meter's answer is the termination."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import aiomqtt
import pytest
from open61850.mms import MmsClient, ObjectName, control, operate
from open61850.mms.control import ControlError, Origin
from open61850.mms.errors import MmsError

from broker.contract.relay import OriginCategory, Position
from broker.contract.result import Outcome, Refusal
from scl_builder.build.project import ControlModel
from tests.integration.test_mms_values import GOOD, position
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, DrivenMeter, Scene, eventually, scene

MODELS: list[ControlModel] = [
    "sbo-with-enhanced-security",
    "direct-with-enhanced-security",
    "sbo-with-normal-security",
    "direct-with-normal-security",
]


async def served(running: Scene) -> tuple[MmsClient, DrivenMeter]:
    """One meter with a closed relay, and an association."""
    meter = await running.add_meter(1)
    await running.publish_cid()
    client = await running.associate()
    await eventually(lambda: position(client, meter, "CSWI1") == ("on", GOOD))
    return client, meter


async def switch(client: MmsClient, meter: DrivenMeter, *, close: bool, **options: Any) -> Any:
    """Operate CSWI1.Pos as the ctlModel asks; ControlError when it is refused or ends negatively."""
    return await asyncio.to_thread(operate, client, f"{meter.domain}/CSWI1.Pos", close, **options)


def cause(refused: pytest.ExceptionInfo[ControlError]) -> int:
    """AddCause of a refusal."""
    assert refused.value.last_appl_error is not None, refused.value
    return refused.value.last_appl_error.add_cause


@pytest.mark.parametrize("model", MODELS)
async def test_operate_opens_and_closes(broker: Broker, model: ControlModel) -> None:
    async with scene(broker, control_model=model) as running:
        client, meter = await served(running)
        with client:
            origin = Origin(category=3, ident=b"desk 4")
            result = await switch(client, meter, close=False, origin=origin)
            assert result.terminated == ("enhanced" in model)
            assert meter.position is Position.OPEN
            for node in ("CSWI1", "XSWI1"):
                assert position(client, meter, node) == ("off", GOOD)
            await switch(client, meter, close=True)
            assert position(client, meter, "XSWI1") == ("on", GOOD)
        first, second = meter.commands
        assert (first.position, second.position) == (Position.OPEN, Position.CLOSED)
        assert (first.origin.category, first.origin.identifier) == (OriginCategory.REMOTE_CONTROL, "desk 4")
        assert second.origin.identifier.startswith("127.0.0.1:")  # no orIdent: its address
        assert first.command_id != second.command_id
        assert timedelta(0) < first.expires_at - first.issued_at <= timedelta(seconds=30)


@pytest.mark.parametrize(
    ("answer", "expected"), [(Outcome.REFUSED, 9), (Outcome.EXPIRED, 16), (Outcome.FAILED, 13), (None, 16)]
)
async def test_what_the_meter_does_not_do_terminates_negatively(
    broker: Broker, answer: Outcome | None, expected: int
) -> None:
    async with scene(broker, operate_limit=4.0 if answer is None else 30.0) as running:
        client, meter = await served(running)
        meter.answer = answer
        with client:
            with pytest.raises(ControlError) as refused:
                await switch(client, meter, close=False)
            assert refused.value.stage == "termination"
            assert cause(refused) == expected
            assert position(client, meter, "XSWI1") == ("on", GOOD)
            meter.answer = Outcome.DONE  # and the next one is obeyed
            await switch(client, meter, close=False)
            assert position(client, meter, "XSWI1") == ("off", GOOD)


@pytest.mark.parametrize("milliseconds", [12_000, 50_000])
async def test_the_limit_of_an_operate_is_the_files_oper_timeout(broker: Broker, milliseconds: int) -> None:
    """Whatever the bridge's own environment says: what a client reads is what holds."""

    def change(cid: bytes) -> bytes:
        assert cid.count(b"<Val>20000</Val>") == 1
        return cid.replace(b"<Val>20000</Val>", b"<Val>%d</Val>" % milliseconds)

    async with scene(broker, operate_limit=20.0) as running:
        meter = await running.add_meter(1)
        await running.publish_cid(change=change)
        with await running.associate() as client:
            await eventually(lambda: position(client, meter, "CSWI1") == ("on", GOOD))
            told: Any = client.read(f"{meter.domain}/CSWI1.Pos.operTimeout[CF]")
            assert told.value == milliseconds
            await switch(client, meter, close=False)
        [command] = meter.commands
        valid = (command.expires_at - command.issued_at) / timedelta(milliseconds=milliseconds)
        assert 0.5 < valid < 1


async def test_refused_before_it_is_sent_and_told_to_the_ledger(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        refusals = await running.refusals()
        with client:
            with pytest.raises(ControlError) as refused:
                await switch(client, meter, close=True)
            assert cause(refused) == 5  # position-reached
            with pytest.raises(ControlError) as refused:
                await switch(client, meter, close=False, test=True)
            assert cause(refused) == 8  # blocked-by-mode
            await meter.relay(None, local=True)
            await eventually(lambda: getattr(client.read(f"{meter.domain}/XSWI1.Loc.stVal[ST]"), "value", 0))
            with pytest.raises(ControlError) as refused:
                await switch(client, meter, close=False)
            assert cause(refused) == 2  # blocked-by-switching-hierarchy
            await meter.status(online=False)
            await eventually(lambda: position(client, meter, "XSWI1")[1] != GOOD)
            with pytest.raises(ControlError) as refused:
                await switch(client, meter, close=False)
            assert cause(refused) == 13  # blocked-by-health
        assert meter.commands == []
        told = [await asyncio.wait_for(refusals.get(), DEADLINE) for _ in range(4)]
        assert [refusal.meter_id for refusal in told] == [meter.meter_id] * 4
        words = ["closed already", "test command", "locally", "offline"]
        assert all(word in refusal.reason for word, refusal in zip(words, told, strict=True))


async def test_without_the_broker_nothing_is_sent(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            broker.kill()
            await eventually(lambda: position(client, meter, "XSWI1")[1] != GOOD)
            with pytest.raises(ControlError) as refused:
                await switch(client, meter, close=False)
            assert cause(refused) == 13


async def test_one_owner_at_a_time_over_all_generations(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        name = ObjectName("CSWI1$CO$Pos$SBOw", meter.domain)
        with client:
            value = control.oper_value(False, origin=Origin(3, b"first"), ctl_num=1)
            await asyncio.to_thread(client.write, name, value)
            await running.add_meter(2)
            await running.publish_cid()  # the second client meets another generation
            await eventually(lambda: _devices(running) == 3)
            with await running.associate() as other:
                with pytest.raises(ControlError) as refused:
                    await switch(other, meter, close=False)
                assert cause(refused) == 19  # object-already-selected
                await asyncio.to_thread(client.write, ObjectName("CSWI1$CO$Pos$Oper", meter.domain), value)
                await eventually(lambda: position(other, meter, "CSWI1") == ("off", GOOD))
        assert len(meter.commands) == 1


def _devices(running: Scene) -> int:
    with running.connect() as client:
        return len(client.get_name_list(9))


async def test_operate_without_select_is_refused(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            name = ObjectName("CSWI1$CO$Pos$Oper", meter.domain)
            value = control.oper_value(False, origin=Origin(3, b"x"), ctl_num=1)
            with pytest.raises(MmsError):
                await asyncio.to_thread(client.write, name, value)
        assert meter.commands == []


async def test_a_client_that_leaves_in_the_middle_harms_nobody(broker: Broker) -> None:
    async with scene(broker, operate_limit=5.0) as running:
        client, meter = await served(running)
        meter.answer = None
        value = control.oper_value(False, origin=Origin(3, b"gone"), ctl_num=1)
        await asyncio.to_thread(client.write, ObjectName("CSWI1$CO$Pos$SBOw", meter.domain), value)
        await asyncio.to_thread(client.write, ObjectName("CSWI1$CO$Pos$Oper", meter.domain), value)
        await eventually(lambda: len(meter.commands) == 1)
        client.close()
        meter.answer = Outcome.DONE
        with await running.associate() as other:

            def free() -> bool:
                try:
                    operate(other, f"{meter.domain}/CSWI1.Pos", False)
                except ControlError:
                    return False
                return True

            await eventually(free)
            assert position(other, meter, "CSWI1") == ("off", GOOD)
        assert len(meter.commands) == 2


async def test_only_controls_can_be_written(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            for reference in ("XSWI1.Pos.stVal[ST]", "CSWI1.Pos.ctlModel[CF]", "LLN0.NamPlt.d[DC]"):
                value = client.read(f"{meter.domain}/{reference}")
                with pytest.raises(MmsError):
                    await asyncio.to_thread(client.write, f"{meter.domain}/{reference}", value)


async def test_what_was_refused_while_the_broker_was_away_is_told_when_it_is_back(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        v311 = aiomqtt.ProtocolVersion.V311
        options: dict[str, Any] = {"protocol": v311, "identifier": "audit", "clean_session": False}
        async with aiomqtt.Client(broker.host, broker.port, **options) as audit:
            await audit.subscribe(running.topics.refused("mms"), qos=1)
        with client:
            broker.stop()  # saves the session: what is told without us waits for us
            await eventually(lambda: position(client, meter, "XSWI1")[1] != GOOD)
            with pytest.raises(ControlError):
                await switch(client, meter, close=False)
            broker.start()
            async with aiomqtt.Client(broker.host, broker.port, **options) as audit:
                told = await asyncio.wait_for(anext(audit.messages), DEADLINE)
        assert isinstance(told.payload, bytes)
        refusal = Refusal.model_validate_json(told.payload)
        assert (refusal.meter_id, refusal.reason) == (meter.meter_id, "select: the broker is away")
        assert refusal.command is not None
        assert refusal.command.position is Position.OPEN
