"""A command to a device is done only when that device has confirmed it, whatever else was said before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import remote_switch
from adapters.confirmation import LIMIT, Request
from adapters.family import Refused, Switched
from adapters.remote_switch import RemoteSwitch
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Outcome, Result
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.storage import Storage

OPEN, CLOSED = Position.OPEN, Position.CLOSED
KEY = "a0"
events = st.one_of(
    st.builds(
        Switched,
        st.just(KEY),
        st.sampled_from(Position),
        st.booleans(),
        st.sampled_from([None, "c1", "someone else's"]),
    ),
    st.builds(Refused, st.just(KEY), st.just("locked"), st.sampled_from([None, "c1", "someone else's"])),
)


def confirms(event: Switched | Refused) -> bool:
    """Whether it shows that the device has opened for c1."""
    return (
        isinstance(event, Switched)
        and (event.position, event.confirmed) == (OPEN, True)
        and event.token in (None, "c1")
    )


@given(st.lists(events, max_size=8))
def test_never_done_without_a_confirmation(told: list[Switched | Refused]) -> None:
    request = Request(OPEN, token="c1")
    for event in told:
        request.switched(event) if isinstance(event, Switched) else request.refused(event)
    verdict = request.unanswered(5.0)
    firsts = [event for event in told if confirms(event) or refuses(event)]
    assert verdict.done == bool(firsts and confirms(firsts[0]))


def refuses(event: Switched | Refused) -> bool:
    return isinstance(event, Refused) and event.token in (None, "c1")


class FakeDevice:
    """Answers a request with these events, at once or one by one."""

    def __init__(self, answers: Sequence[Switched | Refused] = (), trouble: str = "") -> None:
        self.answers = answers
        self.trouble = trouble
        self.requests: list[tuple[Position, str]] = []
        self.asked = 0
        self.when_asked: Switched | None = None
        self.remote: RemoteSwitch

    def switch(self, position: Position, *, token: str) -> str:
        self.requests.append((position, token))
        for event in self.answers:
            self.tell(event)
        return self.trouble

    def ask(self) -> None:
        self.asked += 1
        if self.when_asked is not None:
            self.tell(self.when_asked)

    def tell(self, event: Switched | Refused) -> None:
        self.remote.switched(event) if isinstance(event, Switched) else self.remote.refused(event)


@asynccontextmanager
async def opened(folder: Path, device: FakeDevice, *, exists: bool = True) -> AsyncIterator[RemoteSwitch]:
    with Storage(folder / "meter.sqlite") as storage:
        remote = RemoteSwitch(SwitchLog(storage), device, exists=exists)
        device.remote = remote
        remote.open(now=utc_now())
        recording = asyncio.create_task(remote.record_moves())
        try:
            yield remote
        finally:
            recording.cancel()


def command(position: Position = OPEN, *, command_id: str = "c1", valid: float = 30) -> bytes:
    now = utc_now()
    origin = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="test")
    expires_at = now + timedelta(seconds=valid)
    return Command(
        command_id=command_id, position=position, issued_at=now, expires_at=expires_at, origin=origin
    ).payload()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the disk has no event
            await asyncio.sleep(0.005)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait 5 s for an answer that will not come."""
    monkeypatch.setattr(remote_switch, "LIMIT", 0.05)


@settings(max_examples=60)
@given(st.lists(events, max_size=6))
def test_the_result_and_the_position_are_what_the_device_has_said(told: list[Switched | Refused]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(remote_switch, "LIMIT", 0.02)
        result, relay = asyncio.run(told_and_commanded(Path(folder), told))
    firsts = [event for event in told if confirms(event) or refuses(event)]
    assert (result.outcome is Outcome.DONE) == bool(firsts and confirms(firsts[0]))
    confirmed = [event.position for event in told if isinstance(event, Switched) and event.confirmed]
    assert relay.position is (confirmed[-1] if confirmed else CLOSED)


async def told_and_commanded(folder: Path, told: list[Switched | Refused]) -> tuple[Result, Relay]:
    device = FakeDevice(told)
    async with opened(folder, device) as remote:
        result = await remote.obey(command(), retained=False)
        await until(lambda: not remote._moves)
        return result, remote.relay


async def test_a_start_drives_nothing_and_knows_nothing(tmp_path: Path) -> None:
    device = FakeDevice()
    async with opened(tmp_path, device) as remote:
        assert not remote.known
        device.tell(Switched(KEY, OPEN, confirmed=False))
        device.tell(Switched(KEY, OPEN))
        await until(lambda: remote.known)
        assert (remote.relay.position, remote.relay.operations) == (OPEN, 0)
    async with opened(tmp_path, device) as remote:
        assert not remote.known
        device.tell(Switched(KEY, CLOSED))  # by hand, while we were away
        await until(lambda: remote.known)
        assert (remote.relay.position, remote.relay.operations, remote.relay.command_id) == (CLOSED, 1, None)
    assert device.requests == []


async def test_a_hand_at_the_device_is_told_and_counted(tmp_path: Path) -> None:
    device = FakeDevice()
    async with opened(tmp_path, device) as remote:
        for position in (CLOSED, OPEN, OPEN, CLOSED):
            device.tell(Switched(KEY, position))
        await until(lambda: remote.relay.operations == 2)
        assert remote.moved is not None
        assert remote.moved.is_set()
        assert (remote.relay.position, remote.relay.command_id) == (CLOSED, None)


async def test_done_has_the_commands_id(tmp_path: Path) -> None:
    device = FakeDevice([Switched(KEY, OPEN, token="c1")])
    async with opened(tmp_path, device) as remote:
        result = await remote.obey(command(), retained=False)
        assert (result.outcome, device.requests) == (Outcome.DONE, [(OPEN, "c1")])
        assert (remote.relay.command_id, remote.relay.operations) == ("c1", 1)
        again = await remote.obey(command(), retained=False)
        assert again.reason.startswith("repeated")
        reached = await remote.obey(command(command_id="c2"), retained=False)
        assert reached.reason.startswith("position reached")
        assert len(device.requests) == 1


@pytest.mark.usefixtures("soon")
async def test_an_unknown_position_is_none_that_is_reached(tmp_path: Path) -> None:
    device = FakeDevice([Switched(KEY, CLOSED)])
    async with opened(tmp_path, device) as remote:
        assert (await remote.obey(command(CLOSED), retained=False)).outcome is Outcome.DONE


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("answers", "trouble", "words"),
    [
        ([], "", "did not confirm within"),
        ([Switched(KEY, OPEN, confirmed=False), Switched(KEY, CLOSED)], "", "it says that it is closed"),
        ([Refused(KEY, "locked")], "", "the device refuses: locked"),
        ([], "the device is offline", "the device is offline"),
    ],
)
async def test_what_is_not_confirmed_has_failed(
    tmp_path: Path, answers: list[Switched | Refused], trouble: str, words: str
) -> None:
    device = FakeDevice(answers, trouble)
    async with opened(tmp_path, device) as remote:
        result = await remote.obey(command(), retained=False)
        assert result.outcome is Outcome.FAILED
        assert words in result.reason
        assert device.asked


@pytest.mark.usefixtures("soon")
async def test_a_late_confirmation_moves_the_position_and_not_the_result(tmp_path: Path) -> None:
    device = FakeDevice()
    async with opened(tmp_path, device) as remote:
        assert (await remote.obey(command(), retained=False)).outcome is Outcome.FAILED
        device.tell(Switched(KEY, OPEN, token="c1"))
        await until(lambda: remote.relay.position is OPEN)
        assert remote.relay.command_id is None
        (owed,) = (await remote.report())[1]
        assert owed.outcome is Outcome.FAILED


async def test_a_lost_answer_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_switch, "ASK_AFTER", 0.001)
    device = FakeDevice()
    device.when_asked = Switched(KEY, OPEN)
    async with opened(tmp_path, device) as remote:
        assert (await remote.obey(command(), retained=False)).outcome is Outcome.DONE


async def test_no_answer_is_awaited_beyond_the_commands_validity(tmp_path: Path) -> None:
    device = FakeDevice()
    async with opened(tmp_path, device) as remote:
        async with asyncio.timeout(LIMIT):
            result = await remote.obey(command(valid=0.3), retained=False)
        assert result.outcome in (Outcome.FAILED, Outcome.EXPIRED)


async def test_without_permission_there_is_no_relay(tmp_path: Path) -> None:
    device = FakeDevice()
    async with opened(tmp_path, device, exists=False) as remote:
        device.tell(Switched(KEY, OPEN))
        result = await remote.obey(command(), retained=False)
        assert result.reason == "this meter has no relay"
        assert device.requests == []


async def test_a_command_that_a_kill_interrupted_is_answered_without_a_claim(tmp_path: Path) -> None:
    device = FakeDevice()
    async with opened(tmp_path, device) as remote:
        obeying = asyncio.create_task(
            remote._alone(Command.model_validate_json(command()), retained=False, after=monotonic())
        )
        await until(lambda: bool(device.requests))
        obeying.cancel()
        await asyncio.wait([obeying])
    async with opened(tmp_path, device) as remote:
        (owed,) = (await remote.report())[1]
        assert (owed.outcome, owed.reason) == (Outcome.FAILED, remote_switch.INTERRUPTED)
        assert not remote.known


async def test_a_command_that_expires_before_the_device_is_asked_is_not_sent(tmp_path: Path) -> None:
    device = FakeDevice([Switched(KEY, OPEN)])
    async with opened(tmp_path, device) as remote:
        late = Command.model_validate_json(command())
        late = late.model_copy(update={"expires_at": utc_now() - timedelta(seconds=1)})
        verdict = await remote._word(late)
        assert verdict.reason == "it expired before the device was asked"
        assert device.requests == []
