"""A command is obeyed at most once: what is saved, in which order, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from broker.contract.block import Block
from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Cause, Outcome, Result
from meter_firmware import clock
from meter_firmware.relay import rules, switch_log
from meter_firmware.relay.pin import RelayError, SimulatedPin
from meter_firmware.relay.rules import UnreadableCommandError
from meter_firmware.relay.switch import Switch
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.storage import Storage, StorageError


class WatchedPin(SimulatedPin):
    """A pin that tells when it is driven, and that can fail."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.driven: list[Position] = []
        self.broken = False
        self.before = before

    def drive(self, position: Position) -> None:
        self.before()
        self.driven.append(position)
        if self.broken:
            raise RelayError("the coil is torn")
        super().drive(position)


@contextmanager
def opened(
    folder: Path, pin: SimulatedPin, *, local: bool = False
) -> Iterator[tuple[Switch, SwitchLog, Storage]]:
    with Storage(folder / "meter.sqlite") as storage:
        log = SwitchLog(storage)
        switch = Switch(log, pin, local=local)
        switch.open(now=utc_now())
        yield switch, log, storage


def command(command_id: str = "c1", position: Position = Position.OPEN) -> bytes:
    now = utc_now()
    origin = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="test")
    expires_at = now + timedelta(seconds=30)
    return Command(
        command_id=command_id, position=position, issued_at=now, expires_at=expires_at, origin=origin
    ).payload()


def block(*, open: bool = False, close: bool = False, age: float = 0) -> Block:
    origin = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="test")
    ts = utc_now() - timedelta(seconds=age)
    return Block(open=open, close=close, ts=ts, open_ts=ts, close_ts=ts, origin=origin)


async def obey(switch: Switch, payload: bytes, *, retained: bool = False) -> tuple[str, str]:
    result = await switch.obey(payload, retained=retained)
    return result.outcome, result.reason.split(":")[0]


async def test_a_command_moves_the_relay_once_and_is_remembered(tmp_path: Path) -> None:
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        assert await obey(switch, command()) == (Outcome.DONE, "")
        assert await obey(switch, command(position=Position.CLOSED)) == (Outcome.REFUSED, "repeated")
        assert switch.relay.model_dump(exclude={"ts"}) == {
            "position": Position.OPEN,
            "operations": 1,
            "local": False,
            "command_id": "c1",
        }
    assert pin.energised
    assert pin.driven == [Position.CLOSED, Position.OPEN]  # at the start, and for the command


async def test_a_restart_keeps_position_count_and_ids(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        await switch.obey(command(), retained=False)
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        assert pin.driven == [Position.OPEN]
        assert (switch.relay.operations, switch.relay.command_id) == (1, "c1")
        assert await obey(switch, command(position=Position.CLOSED)) == (Outcome.REFUSED, "repeated")


async def test_the_id_is_on_the_disk_before_the_pin_moves(tmp_path: Path) -> None:
    pin = WatchedPin()
    seen: list[bool] = []
    with opened(tmp_path, pin) as (switch, log, _):
        pin.before = lambda: seen.append(log.knows("c1"))
        await switch.obey(command(), retained=False)
    assert seen == [True]


async def test_a_command_cut_short_by_a_restart_is_answered_and_not_repeated(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (_, log, _):
        assert log.record("c1", now=utc_now())  # killed right after this
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        relay, (owed,) = await switch.report()
        assert (owed.command_id, owed.outcome) == ("c1", Outcome.FAILED)
        assert owed.reason == "interrupted by a restart of the meter: relay is closed"
        assert relay.operations == 0
        assert await obey(switch, command()) == (Outcome.REFUSED, "repeated")
    assert pin.driven == [Position.CLOSED]


async def test_a_result_is_owed_until_the_broker_took_it(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, log, _):
        done = await switch.obey(command(), retained=False)
        repeated = await switch.obey(command(), retained=False)
        await switch.answered(repeated)  # the answer to the repetition is not the answer
        assert log.owed(now=utc_now() + switch_log.FORGOTTEN) == [done]
        await switch.answered(done)
        assert log.owed(now=utc_now() + switch_log.FORGOTTEN) == []


async def test_results_of_the_last_minutes_are_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = count()  # no two in one millisecond
    monkeypatch.setattr(clock, "now", lambda: utc_now() + timedelta(milliseconds=next(later)))
    with opened(tmp_path, WatchedPin()) as (switch, log, _):
        for number in range(switch_log.MAX_FORGOTTEN + 5):
            await switch.answered(await switch.obey(command(f"c{number}"), retained=False))
        told = [result.command_id for result in (await switch.report())[1]]
        assert sorted(told) == sorted(f"c{number}" for number in range(5, switch_log.MAX_FORGOTTEN + 5))
        assert log.owed(now=utc_now() + timedelta(minutes=11)) == []


async def test_a_disk_that_was_slow_does_not_make_a_late_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is written first, and that may take longer than the command is valid."""
    pin, ahead = WatchedPin(), timedelta(0)
    with opened(tmp_path, pin) as (switch, log, _):
        record = log.record

        def slowly(command_id: str, *, now: datetime) -> bool:
            nonlocal ahead
            ahead = timedelta(seconds=31)
            return record(command_id, now=now)

        monkeypatch.setattr(log, "record", slowly)
        monkeypatch.setattr(clock, "now", lambda: utc_now() + ahead)
        result = await switch.obey(command(), retained=False)
        assert (result.outcome, log.knows("c1")) == (Outcome.EXPIRED, True)
        assert result.ts > utc_now() + timedelta(seconds=30)
    assert pin.driven == [Position.CLOSED]


async def test_a_pin_that_fails_is_a_failed_command(tmp_path: Path) -> None:
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        pin.broken = True
        assert await obey(switch, command()) == (Outcome.FAILED, "the relay was not driven")
        assert (switch.relay.position, switch.relay.operations) == (Position.CLOSED, 0)
        pin.broken = False
        assert await obey(switch, command()) == (Outcome.REFUSED, "repeated")
        assert await obey(switch, command("c2")) == (Outcome.DONE, "")


async def test_a_disk_that_refuses_leaves_the_relay_alone(tmp_path: Path) -> None:
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, storage):
        storage.all("PRAGMA query_only=1")
        assert await obey(switch, command()) == (Outcome.FAILED, "the meter's disk refuses")
    assert pin.driven == [Position.CLOSED]


async def test_a_position_that_cannot_be_saved_is_taken_back(tmp_path: Path) -> None:
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, storage):

        def refuse_from_now_on() -> None:
            storage.all("PRAGMA query_only=1")

        pin.before = refuse_from_now_on
        assert await obey(switch, command()) == (Outcome.FAILED, "the meter's disk refuses")
        assert switch.relay.position is Position.CLOSED
    assert pin.driven == [Position.CLOSED, Position.OPEN, Position.CLOSED]
    assert not pin.energised


@pytest.mark.parametrize("retained", [True, False])
async def test_a_refused_command_never_runs_later(tmp_path: Path, retained: bool) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        first = await obey(switch, command("c1", Position.CLOSED), retained=retained)
        assert first == (Outcome.REFUSED, "retained" if retained else "position reached")
        await switch.obey(command("c2", Position.OPEN), retained=False)
        again = await obey(switch, command("c1", Position.CLOSED), retained=retained)
        assert again == (Outcome.REFUSED, "retained" if retained else "repeated")
        assert switch.relay.position is Position.OPEN


async def test_a_local_relay_is_told_and_refuses(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin(), local=True) as (switch, _, _):
        assert switch.relay.local
        assert await obey(switch, command()) == (Outcome.REFUSED, "local")


async def test_malformed_commands_are_answered_if_there_is_an_id(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        assert await obey(switch, b'{"command_id":"c1","position":"ajar"}') == (Outcome.REFUSED, "malformed")
        with pytest.raises(UnreadableCommandError):
            await switch.obey(b"rubbish", retained=False)


async def test_the_memory_for_commands_is_bounded_and_forgets_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch_log, "MAX_REMEMBERED", 2)
    with opened(tmp_path, WatchedPin()) as (switch, log, _):
        for age in (timedelta(days=1, minutes=1), timedelta(days=-2), timedelta(hours=23)):
            assert log.record(f"age-{age.days}-{age.seconds}", now=utc_now() - age)
        assert await obey(switch, command("c1")) == (Outcome.DONE, "")
        assert await obey(switch, command("c2", Position.CLOSED)) == (
            Outcome.REFUSED,
            "too many commands in one day",
        )
        assert switch.relay.position is Position.OPEN
        assert log.knows("age-0-82800")
        assert not log.knows("age--2-0")


async def test_two_commands_at_once_take_turns(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        results: list[Result] = await asyncio.gather(
            *(switch.obey(command(f"c{n}"), retained=False) for n in range(5))
        )
        assert sorted(result.outcome for result in results) == [Outcome.DONE] + [Outcome.REFUSED] * 4
        assert switch.relay.operations == 1


async def test_who_stops_waiting_does_not_stop_the_command(tmp_path: Path) -> None:
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        moving, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            moving.set()
            go_on.wait(60)

        pin.before = hold
        waiting = asyncio.create_task(switch.obey(command(), retained=False))
        await asyncio.to_thread(moving.wait, 5)
        waiting.cancel()
        reporting = asyncio.create_task(switch.report())
        await asyncio.sleep(0)
        assert not reporting.done()
        go_on.set()
        relay, (owed,) = await reporting
        assert (relay.position, owed.outcome) == (Position.OPEN, Outcome.DONE)


def test_a_damaged_relay_state_is_told_with_the_cure(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()):
        pass
    with closing(sqlite3.connect(tmp_path / "meter.sqlite")) as connection, connection:
        connection.execute("UPDATE relay SET payload = '{}'")
    with pytest.raises(ConfigurationError, match="relay state is damaged"), opened(tmp_path, WatchedPin()):
        pass


def test_the_first_position_is_closed_and_saved(tmp_path: Path) -> None:
    with opened(tmp_path, SimulatedPin()) as (switch, log, _):
        first = switch.relay
    with opened(tmp_path, SimulatedPin()) as (switch, log, _):
        assert log.relay == first
        assert isinstance(first, Relay)
        assert (first.position, first.command_id) == (Position.CLOSED, None)


async def test_a_block_is_enforced_and_kept_through_a_restart(tmp_path: Path) -> None:
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        await switch.take_block(block(open=True))
        result = await switch.obey(command("c1"), retained=False)
        assert (result.reason, result.cause) == ("opening is blocked", Cause.BLOCKED)
    with opened(tmp_path, pin) as (switch, _, _):
        assert await obey(switch, command("c2")) == (Outcome.REFUSED, "opening is blocked")
        await switch.take_block(block())
        assert await obey(switch, command("c1")) == (Outcome.REFUSED, "repeated"), "released is not obeyed"
        assert await obey(switch, command("c3")) == (Outcome.DONE, "")
    assert pin.driven == [Position.CLOSED, Position.CLOSED, Position.OPEN]


async def test_the_newest_block_counts_in_whatever_order_they_come(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        newest = block(open=True)
        await switch.take_block(newest)
        await switch.take_block(block(age=10))
        assert switch.block == newest


async def test_at_the_same_time_the_one_that_blocks_more_counts(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        both = block(open=True, close=True)
        for other in ({"open": False}, {"close": False}):
            await switch.take_block(both.model_copy(update=other))
            await switch.take_block(both)
            await switch.take_block(both.model_copy(update=other))
            assert switch.block == both


async def test_a_block_that_the_disk_does_not_keep_is_enforced_but_a_release_is_not(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, storage):
        storage.all("PRAGMA query_only=1")
        with pytest.raises(StorageError):
            await switch.take_block(block(open=True, age=1))
        storage.all("PRAGMA query_only=1")  # the file was opened anew: the disk still refuses
        with pytest.raises(StorageError):
            await switch.take_block(block())
        storage.all("PRAGMA query_only=0")
        assert await obey(switch, command("c1")) == (Outcome.REFUSED, "opening is blocked")


@pytest.mark.parametrize("released", ["open", "close"])
async def test_a_disk_that_refuses_releases_neither_direction(tmp_path: Path, released: str) -> None:
    """Also when the same change blocks, or goes on blocking, the other one."""
    with opened(tmp_path, WatchedPin()) as (switch, log, storage):
        both = block(open=True, close=True, age=2)
        await switch.take_block(both)
        ts = utc_now()
        release = both.model_copy(update={released: False, f"{released}_ts": ts, "ts": ts})
        storage.all("PRAGMA query_only=1")
        with pytest.raises(StorageError):
            await switch.take_block(release)
        assert switch.block is not None
        assert (switch.block.open, switch.block.close) == (True, True)
        storage.all("PRAGMA query_only=0")
        await switch.take_block(release)
        assert switch.block == log.kept_block == release
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        assert switch.block == release


async def test_a_block_that_the_disk_refused_is_kept_when_it_is_told_again(tmp_path: Path) -> None:
    blocking = block(open=True)
    with opened(tmp_path, WatchedPin()) as (switch, _, storage):
        storage.all("PRAGMA query_only=1")
        with pytest.raises(StorageError):
            await switch.take_block(blocking)
        storage.all("PRAGMA query_only=0")
        await switch.take_block(blocking)
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        assert switch.block == blocking


def test_a_damaged_block_is_told_with_the_cure_and_not_taken_for_none(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (_, log, _):
        log.keep_block(block(open=True))
    with closing(sqlite3.connect(tmp_path / "meter.sqlite")) as connection, connection:
        connection.execute("UPDATE block SET payload = '{}'")
    with pytest.raises(ConfigurationError, match="saved block"), opened(tmp_path, WatchedPin()):
        pass


async def test_contacts_switch_ten_times_and_then_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "PERIOD", 60.0)
    pin = WatchedPin()
    with opened(tmp_path, pin) as (switch, _, _):
        positions = [Position.OPEN, Position.CLOSED]
        for number in range(rules.OPERATIONS):
            assert await obey(switch, command(f"c{number}", positions[number % 2])) == (Outcome.DONE, "")
        outcome, reason = await obey(switch, command("more", Position.OPEN))
        assert outcome is Outcome.REFUSED
        assert reason.startswith("too often")
        assert len(pin.driven) == rules.OPERATIONS + 1, "and once at the start"
        assert switch.relay.position is Position.CLOSED
        monkeypatch.setattr(rules, "PERIOD", 0.0)
        assert await obey(switch, command("later", Position.OPEN)) == (Outcome.DONE, "")


async def test_a_refused_command_wears_nothing_out(tmp_path: Path) -> None:
    with opened(tmp_path, WatchedPin()) as (switch, _, _):
        for number in range(3 * rules.OPERATIONS):
            assert (await obey(switch, command(f"c{number}", Position.CLOSED)))[0] is Outcome.REFUSED
        assert await obey(switch, command("real", Position.OPEN)) == (Outcome.DONE, "")


async def test_what_has_no_contacts_is_not_spared(tmp_path: Path) -> None:
    with Storage(tmp_path / "meter.sqlite") as storage:
        switch = Switch(SwitchLog(storage), SimulatedPin(), spared=False)
        switch.open(now=utc_now())
        positions = [Position.OPEN, Position.CLOSED]
        for number in range(2 * rules.OPERATIONS):
            assert await obey(switch, command(f"c{number}", positions[number % 2])) == (Outcome.DONE, "")
