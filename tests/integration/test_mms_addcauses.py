"""What leads to which AddCause: one test for each row of the table in docs/architecture.md.

The client is open61850's; the meter answers as the test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from open61850.mms import MmsClient
from open61850.mms.control import Origin

from broker.contract.messages import utc_now
from broker.contract.relay import Position
from broker.contract.result import Cause, Outcome, Refusal, Result
from scl_builder.build.project import ControlModel
from tests.integration.test_mms_values import GOOD, position
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, OPERATE_LIMIT, DrivenMeter, Scene, eventually, scene
from tests.support.mms_control import OPENING, Desk

(NOT_SUPPORTED, HIERARCHY, SELECT_FAILED, INVALID_POSITION, REACHED, MODE, PROCESS, INTERLOCKING) = (
    1, 2, 3, 4, 5, 8, 9, 10
)  # fmt: skip
(IN_EXECUTION, HEALTH, TIME_LIMIT, NOT_SELECTED, ALREADY_SELECTED, COMMUNICATION, INCONSISTENT, LOCKED) = (
    12, 13, 16, 18, 19, 23, 26, 27
)  # fmt: skip
SBO: ControlModel = "sbo-with-enhanced-security"
DIRECT: ControlModel = "direct-with-enhanced-security"
SBO_NORMAL: ControlModel = "sbo-with-normal-security"
DIRECT_NORMAL: ControlModel = "direct-with-normal-security"
MODELS: list[ControlModel] = [SBO, DIRECT, SBO_NORMAL, DIRECT_NORMAL]


@asynccontextmanager
async def at_desk(
    broker: Broker,
    model: ControlModel = SBO,
    *,
    prefix: str | None = None,
    operate_limit: float = OPERATE_LIMIT,
) -> AsyncIterator[tuple[Scene, Desk, DrivenMeter]]:
    """A meter with a closed relay, and a desk at it."""
    async with scene(broker, control_model=model, prefix=prefix, operate_limit=operate_limit) as running:
        meter = await running.add_meter(1)
        await running.publish_cid()
        with await running.associate() as client:
            await eventually(lambda: position(client, meter, "CSWI1") == ("on", GOOD))
            yield running, Desk(client, meter), meter


async def tried(desk: Desk, model: ControlModel, value: bool, **changes: Any) -> int | None:
    """The AddCause of the first step that fails, whatever the model; None when all went well."""
    if model == SBO_NORMAL and not await desk.select_plain():
        return -1
    if model == SBO and (cause := await desk.select(value, **changes)) is not None:
        return cause
    if (cause := await desk.operate(value, **changes)) is not None:
        return cause
    return await desk.termination() if "enhanced" in model else None


def stands(client: MmsClient, meter: DrivenMeter, reference: str) -> Any:
    """The value of an attribute."""
    return getattr(client.read(f"{meter.domain}/{reference}"), "value", None)


@pytest.mark.parametrize("model", MODELS)
async def test_every_model_tells_the_add_cause_of_a_refusal(broker: Broker, model: ControlModel) -> None:
    """Also those with normal security, for which the library itself sends none."""
    async with at_desk(broker, model) as (_, desk, meter):
        assert await tried(desk, model, True) == REACHED
        assert await tried(desk, model, False, test=True) == MODE
        assert await tried(desk, model, False) is None
        assert meter.position is Position.OPEN
        assert len(meter.commands) == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("outcome", "cause", "expected"),
    [
        (Outcome.REFUSED, None, PROCESS),
        (Outcome.REFUSED, Cause.BLOCKED, INTERLOCKING),
        (Outcome.REFUSED, Cause.LOCAL, HIERARCHY),
        (Outcome.REFUSED, Cause.POSITION_REACHED, REACHED),
        (Outcome.REFUSED, "a-newer-one", PROCESS),
        (Outcome.EXPIRED, None, TIME_LIMIT),
        (Outcome.FAILED, None, HEALTH),
        (None, None, TIME_LIMIT),
    ],
)
async def test_the_meters_answer(
    broker: Broker, model: ControlModel, outcome: Outcome | None, cause: str | None, expected: int
) -> None:
    limit = 0.6 if outcome is None else OPERATE_LIMIT
    async with at_desk(broker, model, operate_limit=limit) as (_, desk, meter):
        meter.answer, meter.cause = outcome, cause
        assert await tried(desk, model, False) == expected
        assert position(desk.client, meter, "XSWI1") == ("on", GOOD)


async def test_test_flag_and_retirement_are_blocked_by_mode(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        assert await desk.select(False, test=True) == MODE
        await meter.publish("birth", b"")
        await eventually(lambda: stands(desk.client, meter, "CSWI1.Beh.stVal[ST]") == 5)
        assert await desk.select(False) == MODE
        assert await Desk(desk.client, meter, OPENING).operate(True) == MODE
        assert meter.commands == []


async def test_local_is_blocked_by_switching_hierarchy(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        await meter.relay(None, local=True)
        await eventually(lambda: stands(desk.client, meter, "CSWI1.Loc.stVal[ST]"))
        assert await desk.select(False) == HIERARCHY
        await meter.relay(None, local=False)
        await eventually(lambda: not stands(desk.client, meter, "CSWI1.Loc.stVal[ST]"))
        assert stands(desk.client, meter, "CSWI1.LocSta.stVal[ST]") is False
        assert stands(desk.client, meter, "CSWI1.LocSta.ctlModel[CF]") == 0, "status-only"
        assert await desk.select(False) is None


async def test_an_unknown_position_is_invalid(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        await meter.publish("relay", b"")
        await eventually(lambda: position(desk.client, meter, "XSWI1")[1] != GOOD)
        assert await desk.select(False) == INVALID_POSITION


async def test_offline_is_blocked_by_health(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        await meter.status(online=False)
        await eventually(lambda: position(desk.client, meter, "XSWI1")[1] != GOOD)
        assert await desk.select(False) == HEALTH


async def test_without_the_broker_all_is_blocked_by_health(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        broker.kill()
        await eventually(lambda: position(desk.client, meter, "XSWI1")[1] != GOOD)
        assert await desk.select(False) == HEALTH
        assert await Desk(desk.client, meter, OPENING).operate(True) == HEALTH


async def test_a_broker_that_goes_meanwhile_is_communication_loss(broker: Broker) -> None:
    async with at_desk(broker, DIRECT) as (_, desk, meter):
        meter.answer = None
        assert await desk.operate(False) is None
        await eventually(lambda: len(meter.commands) == 1)
        broker.kill()
        assert await desk.termination() == COMMUNICATION


async def test_a_meter_that_goes_meanwhile_is_communication_loss(broker: Broker) -> None:
    async with at_desk(broker, DIRECT) as (_, desk, meter):
        meter.answer = None
        assert await desk.operate(False) is None
        await meter.status(online=False)
        assert await desk.termination() == COMMUNICATION


@pytest.mark.parametrize("check", [True, False])
async def test_blocked_by_interlocking_whatever_check_says(broker: Broker, check: bool) -> None:
    async with at_desk(broker) as (_, desk, meter):
        await meter.block(open=True)
        await eventually(lambda: stands(desk.client, meter, "XSWI1.BlkOpn.stVal[ST]"))
        assert await desk.select(False, interlock_check=check) == INTERLOCKING
        await meter.block(close=True)
        await eventually(lambda: stands(desk.client, meter, "XSWI1.BlkCls.stVal[ST]"))
        assert await tried(desk, SBO, False, interlock_check=check) is None
        assert await desk.select(True, interlock_check=check) == INTERLOCKING


async def test_a_block_between_select_and_operate_counts(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        assert await desk.select(False) is None
        await meter.block(open=True)
        await eventually(lambda: stands(desk.client, meter, "XSWI1.BlkOpn.stVal[ST]"))
        assert await desk.operate(False) == INTERLOCKING
        assert meter.commands == []


async def test_command_already_in_execution(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        meter.answer = None
        assert await desk.select(False) is None
        assert await desk.operate(False) is None
        with await running.associate() as other:
            assert await Desk(other, meter).select(False) == IN_EXECUTION
        assert await desk.cancel(False) == IN_EXECUTION
        await eventually(lambda: meter.commands)
        meter.answer = Outcome.DONE
        await meter.obey(meter.commands.pop())
        assert await desk.termination() is None
        assert len(meter.commands) == 1


async def test_the_first_answer_stands(broker: Broker) -> None:
    """QoS 1 may deliver a command twice; the meter refuses the second, which is no answer to the first."""
    async with at_desk(broker, DIRECT) as (_, desk, meter):
        meter.answer = None
        assert await desk.operate(False) is None
        await eventually(lambda: meter.commands)
        (command,) = meter.commands
        for outcome in (Outcome.DONE, Outcome.REFUSED):
            answer = Result(command_id=command.command_id, outcome=outcome, reason="r", ts=utc_now())
            await meter.publish("result", answer, retain=False)
        meter.position = Position.OPEN
        await meter.relay(command.command_id)
        assert await desk.termination() is None


async def test_object_not_selected(broker: Broker) -> None:
    async with at_desk(broker) as (_, desk, meter):
        assert await desk.operate(False) == NOT_SELECTED
        assert await desk.select(False) is None
        assert await desk.cancel(False) is None
        assert await desk.operate(False) == NOT_SELECTED
        assert meter.commands == []


async def test_object_already_selected_and_another_clients_operate_and_cancel(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        assert await desk.select(False) is None
        with await running.associate() as client:
            other = Desk(client, meter)
            assert await other.select(False) == ALREADY_SELECTED
            # another server of the IED, or the same one
            assert await other.operate(False) in (NOT_SELECTED, LOCKED)
            await other.cancel(False)
        assert await desk.operate(False) is None
        assert await desk.termination() is None
        assert len(meter.commands) == 1


async def test_an_operate_that_is_not_what_was_selected_is_inconsistent(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        refusals = await running.refusals()
        assert await desk.select(False) is None
        assert await desk.operate(False, ctl_num=2) == INCONSISTENT
        assert await desk.operate(False) == NOT_SELECTED, "the selection is gone"
        told = await asyncio.wait_for(refusals.get(), DEADLINE)
        assert (told.reason, meter.commands) == ("select: selected, then operated with other parameters", [])


@pytest.mark.parametrize("origin", [Origin(9, b"desk"), Origin(3, b"x" * 65)])
async def test_an_origin_that_is_none(broker: Broker, origin: Origin) -> None:
    async with at_desk(broker) as (_, desk, meter):
        assert await desk.select(False, origin=origin) == SELECT_FAILED
    async with at_desk(broker, DIRECT) as (_, desk, meter):
        assert await desk.operate(False, origin=origin) == INCONSISTENT
        assert meter.commands == []


def _with_more_to_operate(cid: bytes) -> bytes:
    mark = b'<DO name="BlkOpn" '
    return cid.replace(mark, b'<DO name="ChaMotEna" type="SPC_direct"/>\n' + mark)


async def test_what_is_not_ours_to_move_is_not_supported(broker: Broker) -> None:
    """A CID of somebody else's may say that more can be operated."""
    async with at_desk(broker) as (running, _, meter):
        await running.publish_cid(change=_with_more_to_operate)
        name = "XSWI1$CO$ChaMotEna"

        async def cause() -> int | None:
            with await running.associate() as client:
                return await Desk(client, meter, name).operate(True)

        for _ in range(1000):
            if (found := await cause()) == NOT_SUPPORTED:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(found)


async def end(reason: str, refusals: asyncio.Queue[Refusal]) -> None:
    """The ledger hears how a selection ended, and who had it."""
    told = await asyncio.wait_for(refusals.get(), DEADLINE)
    assert told.reason == f"select: selected, {reason}"
    assert told.command is not None
    assert (told.command.position, told.command.origin.identifier) == (Position.OPEN, "desk")


async def test_a_selection_ends_by_cancel_timeout_and_disconnection(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        refusals = await running.refusals()
        with await running.associate() as client:
            other = Desk(client, meter)
            assert await other.select(False) is None
            assert await other.cancel(False) is None
            await end("then cancelled by its client", refusals)
            assert await other.select(False) is None
        await end("but its client has gone", refusals)
        await running.publish_cid(change=lambda cid: cid.replace(b"<Val>30000</Val>", b"<Val>300</Val>"))

        def quick() -> bool:
            with running.connect() as client:
                return bool(stands(client, meter, "CSWI1.Pos.sboTimeout[CF]") == 300)

        await eventually(quick)
        with await running.associate() as client:
            other = Desk(client, meter)
            assert await other.select(False) is None
            await end("but not operated in time", refusals)
            assert await other.operate(False) == NOT_SELECTED
        assert await tried(desk, SBO, False) is None, "and it is free"
        assert refusals.empty()
