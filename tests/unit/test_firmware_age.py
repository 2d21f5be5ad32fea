"""How old a command can be: a loop that stood still, a clock that is behind, the sum of all tolerances."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import aiomqtt
import pytest

from broker.contract import commands
from broker.contract.messages import utc_now
from broker.contract.relay import Position
from broker.contract.result import Outcome
from meter_firmware.relay import age
from meter_firmware.relay.age import Arrivals, BridgeTime, Heartbeat, arrived_after
from meter_firmware.relay.rules import WAITED_SHARE, Circumstances, refusal
from tests.unit.test_firmware_commands import CLOSED, command


def message() -> aiomqtt.Message:
    return aiomqtt.Message("t", b"", 1, retain=False, mid=1, properties=None)


async def test_what_is_read_after_a_standstill_may_be_as_old_as_that() -> None:
    queue = Arrivals()
    Heartbeat.here()
    await fresh(queue)
    before = time.monotonic()
    time.sleep(1.5)  # noqa: ASYNC251 - the loop stands still
    for _ in range(50):  # all that waits is read over several turns of the loop, in which it beats again
        queue.put_nowait(message())
        await asyncio.sleep(0)
        assert arrived_after(queue.get_nowait()) <= before
    await fresh(queue)


async def fresh(queue: Arrivals) -> None:
    """Until what is read is known to be of this second."""
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(age.BEAT)
            queue.put_nowait(message())
            if time.monotonic() - arrived_after(queue.get_nowait()) < 1.0:
                break


def test_the_bridges_time_is_known_at_the_latest() -> None:
    clock, ts = BridgeTime(), utc_now()
    assert clock.latest(now=10.0) is None
    clock.told(ts, asked=10.0, heard=10.5)
    assert clock.latest(now=12.0) == ts + timedelta(seconds=2)
    clock.told(ts, asked=20.0, heard=20.0 + age.MOST_UNCERTAIN + 0.1)
    assert clock.latest(now=12.0) == ts + timedelta(seconds=2), "an answer that took long tells little"
    assert clock.latest(now=11.0 + age.TRUSTED) is None, "the monotonic clock drifts"


@pytest.mark.parametrize(
    ("behind", "stood", "known", "outcome"),
    [
        (0.0, 0.1, False, None),
        (4.5, 0.1, False, None),
        (4.5, 5.5, False, Outcome.EXPIRED),  # our own clock says that it is 1 s old
        (4.5, 5.5, True, Outcome.EXPIRED),
        (4.5, 0.1, True, None),
        (0.0, 2.9, True, None),
        (0.0, 3.0, True, Outcome.EXPIRED),
    ],
)
def test_a_command_that_may_be_too_old_expires_whatever_our_own_clock_says(
    behind: float, stood: float, known: bool, outcome: Outcome | None
) -> None:
    true_age = stood if stood > 1 else 0.1
    wall = command(valid=4).issued_at + timedelta(seconds=true_age - behind)
    bridge = command(valid=4).issued_at + timedelta(seconds=true_age) if known else None
    given = Circumstances(now=wall, relay=CLOSED, bridge_time=bridge, waited=stood)
    verdict = refusal(command(valid=4, position=Position.OPEN), given)
    assert (verdict and verdict.outcome) == outcome


def test_by_the_bridges_time_a_command_is_late_on_its_way_too() -> None:
    """It was held up before it came here: our clock is behind, and we have not stood still."""
    late = command(valid=4)
    given = Circumstances(
        now=late.issued_at + timedelta(seconds=0.5),
        bridge_time=late.issued_at + timedelta(seconds=4.1),
        relay=CLOSED,
        waited=0.3,
    )
    verdict = refusal(late, given)
    assert verdict is not None
    assert verdict.outcome is Outcome.EXPIRED


@pytest.mark.parametrize("limit", [0.6, 1.0, 2.0, 5.0, 20.0, 60.0])
def test_no_issuer_says_no_before_a_command_can_no_longer_be_obeyed(limit: float) -> None:
    """docs/architecture.md, "From an operator to the relay"."""
    valid, ends = commands.mms_validity(limit), commands.mms_end(limit)
    assert 0 < valid < ends < limit
    assert round(ends - valid, 6) >= round(min(commands.MARGIN, 0.1 * limit), 6)
    assert commands.ANSWER_SECONDS - commands.VALIDITY >= commands.MARGIN
    assert WAITED_SHARE * valid > 2 * age.BEAT or limit < 2.0
    assert WAITED_SHARE < 1
