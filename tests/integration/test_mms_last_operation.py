"""origin and ctlNum show the last accepted operate, and stSeld follows the selection without a periodic tick.

No test here measures time: the periodic tick of all IEDs is switched off, so that only what is done because
of the event itself can change stSeld.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from open61850.mms import MmsClient
from open61850.mms.control import Origin

from broker.contract.topics import Topic
from mms_bridge.gateway import Gateway
from mms_bridge.libiec61850.bindings import AddCause
from scl_builder.build.builder import build_cid
from scl_builder.build.project import ControlModel, Ied, Meter, Project
from tests.integration.test_mms_addcauses import INCONSISTENT
from tests.integration.test_mms_busy import METER, answer, sent, served
from tests.support.mms import eventually
from tests.support.mms_control import CLOSING, DENIED, OPENING, POS, Desk
from tests.support.scd import house

NOTHING = (0, b"", 0)
FIRST, SECOND = Origin(3, b"first"), Origin(2, b"second")
SELECTING: list[ControlModel] = ["sbo-with-enhanced-security", "sbo-with-normal-security"]


def shown(desk: Desk) -> tuple[int, bytes, int]:
    """orCat, orIdent and ctlNum as a client reads them."""
    path = f"{desk.meter.domain}/{desk.item.replace('$CO$', '.')}"
    values = (desk.client.read(f"{path}.{name}[ST]") for name in ("origin.orCat", "origin.orIdent", "ctlNum"))
    category, identifier, number = (getattr(value, "value", None) for value in values)
    assert isinstance(category, int)
    assert isinstance(identifier, bytes)
    assert isinstance(number, int)
    return category, identifier, number


def selected(desk: Desk) -> bool:
    """stSeld."""
    value = desk.client.read(f"{desk.meter.domain}/CSWI1.Pos.stSeld[ST]")
    return bool(getattr(value, "value", None))


async def choose(desk: Desk, model: ControlModel, value: bool) -> None:
    """Select as the model asks for it, if it does."""
    if model == "sbo-with-enhanced-security":
        assert await desk.select(value) is None
    elif model == "sbo-with-normal-security":
        assert await desk.select_plain()


async def carry_out(gateway: Gateway, desk: Desk, model: ControlModel, *, close: bool) -> None:
    """Select, operate, and the meter's answer; earlier refusals are taken from the outbox first."""
    while not gateway.outbox.empty():
        gateway.outbox.get_nowait()
    await choose(desk, model, close)
    operating = asyncio.create_task(desk.operate(close))
    answer(gateway, await sent(gateway))
    assert await operating is None
    if "enhanced" in model:
        assert await desk.termination() is None


@pytest.mark.parametrize(
    "model", [*SELECTING, "direct-with-enhanced-security", "direct-with-normal-security"]
)
async def test_only_an_accepted_operate_changes_them(model: ControlModel) -> None:
    async with served(model, limit=60, tick=0.1) as (gateway, desk):
        assert await asyncio.to_thread(shown, desk) == NOTHING
        desk.origin, desk.number = FIRST, 7
        await carry_out(gateway, desk, model, close=False)
        assert await asyncio.to_thread(shown, desk) == (3, b"first", 7)

        desk.origin, desk.number = SECOND, 8
        if model == "sbo-with-enhanced-security":
            assert await desk.select(False) == AddCause.POSITION_REACHED
            assert await desk.select(True, ctl_num=9) is None
            assert await asyncio.to_thread(shown, desk) == (3, b"first", 7), "a select changes nothing"
            assert await desk.cancel(True, ctl_num=9) is None
            assert await desk.operate(True) not in (None, DENIED)
        else:
            await choose(desk, model, False)
            assert await desk.operate(False) == AddCause.POSITION_REACHED
        assert await asyncio.to_thread(shown, desk) == (3, b"first", 7)
        await carry_out(gateway, desk, model, close=True)
        assert await asyncio.to_thread(shown, desk) == (2, b"second", 8)


async def test_an_operate_that_the_meter_refuses_was_not_accepted_where_it_is_the_response() -> None:
    async with served("direct-with-normal-security", limit=1.0, tick=0.1) as (gateway, desk):
        desk.origin = FIRST
        operating = asyncio.create_task(desk.operate(False))
        await sent(gateway)  # and no answer
        assert await operating == AddCause.TIME_LIMIT_OVER
        assert await asyncio.to_thread(shown, desk) == NOTHING


async def test_each_control_object_has_its_own_in_every_generation() -> None:
    async with served("sbo-with-enhanced-security", limit=60, tick=0.1) as (gateway, desk):
        opening, closing = Desk(desk.client, desk.meter, OPENING), Desk(desk.client, desk.meter, CLOSING)
        opening.origin, opening.number = FIRST, 3
        operating = asyncio.create_task(opening.operate(True))
        message = await asyncio.wait_for(gateway.outbox.get(), 60)
        assert isinstance(message, tuple)
        gateway.take(Topic("block", METER), message[1].payload(), retained=False)
        assert await operating is None
        assert await asyncio.to_thread(shown, opening) == (3, b"first", 3)
        for other in (closing, Desk(desk.client, desk.meter, POS)):
            assert await asyncio.to_thread(shown, other) == NOTHING
        ied = gateway.ieds["SMGW001"]
        assert ied.endpoint is not None
        gateway.take(Topic("cid", "SMGW001"), changed(ied.endpoint[1]), retained=True)
        with await asyncio.to_thread(MmsClient.connect, *ied.endpoint, timeout=60.0) as client:
            assert len(ied.generations) == 2
            newer = Desk(client, desk.meter, OPENING)
            assert await asyncio.to_thread(shown, newer) == (3, b"first", 3)


def changed(port: int) -> bytes:
    """The CID of the same meter once more, as the next generation."""
    meters = (Meter(METER, "M1"), house(2))
    return build_cid(Project("test", 2, (Ied("SMGW001", "127.0.0.1", port, meters),)), "SMGW001")


@asynccontextmanager
async def only_prompted(
    monkeypatch: pytest.MonkeyPatch, model: ControlModel, change: Callable[[bytes], bytes] = lambda cid: cid
) -> AsyncIterator[tuple[Gateway, Desk, Desk]]:
    """A gateway whose periodic tick does nothing, a desk, and another client that only looks."""
    async with served(model, limit=60, tick=3600, change=change) as (gateway, desk):
        endpoint = gateway.ieds["SMGW001"].endpoint
        assert endpoint is not None
        with await asyncio.to_thread(MmsClient.connect, *endpoint, timeout=60.0) as client:
            monkeypatch.setattr(gateway, "tick", lambda: None)
            yield gateway, desk, Desk(client, desk.meter)


@pytest.mark.parametrize("model", SELECTING)
async def test_select_cancel_and_operate_are_shown_at_once(
    monkeypatch: pytest.MonkeyPatch, model: ControlModel
) -> None:
    async with only_prompted(monkeypatch, model) as (gateway, desk, other):
        assert not await asyncio.to_thread(selected, other)
        await choose(desk, model, False)
        await eventually(lambda: selected(other))
        assert await desk.cancel(False) is None
        await eventually(lambda: not selected(other))
        await carry_out(gateway, desk, model, close=False)
        await eventually(lambda: not selected(other))
        await eventually(lambda: not gateway.control.busy)


@pytest.mark.parametrize("model", SELECTING)
async def test_a_selection_whose_client_has_gone_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch, model: ControlModel
) -> None:
    async with only_prompted(monkeypatch, model) as (gateway, desk, other):
        await choose(desk, model, False)
        await eventually(lambda: selected(other))
        await asyncio.to_thread(desk.client.close)
        await eventually(lambda: not selected(other))
        await eventually(lambda: not gateway.control.busy)


@pytest.mark.parametrize("model", SELECTING)
async def test_a_selection_that_was_not_operated_in_time_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch, model: ControlModel
) -> None:
    def shorter(cid: bytes) -> bytes:
        assert cid.count(b"<Val>30000</Val>") == 1
        return cid.replace(b"<Val>30000</Val>", b"<Val>3000</Val>")

    async with only_prompted(monkeypatch, model, shorter) as (gateway, desk, other):
        await choose(desk, model, False)
        await eventually(lambda: not gateway.control.busy)
        assert 0 < gateway.control.asked_in() <= 3.002
        await eventually(lambda: not selected(other))
        assert gateway.control.asked_in() == math.inf


async def test_a_time_and_a_cancel_of_another_operation_are_refused_with_their_cause() -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    async with served("sbo-with-enhanced-security", limit=60, tick=0.1) as (_, desk):
        assert await desk.select(False, oper_tm=later) == AddCause.NOT_SUPPORTED
        assert await desk.operate(False, oper_tm=later) == AddCause.NOT_SUPPORTED
        assert not await asyncio.to_thread(selected, desk)
        assert await desk.select(False) is None
        for other in ({"ctl_num": 9}, {"origin": SECOND}, {"test": True}):
            assert await desk.cancel(False, **other) == INCONSISTENT
        await eventually(lambda: selected(desk))
        assert await desk.cancel(False) is None
        await eventually(lambda: not selected(desk))
        assert await asyncio.to_thread(shown, desk) == NOTHING
