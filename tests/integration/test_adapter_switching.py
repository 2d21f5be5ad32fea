"""Commands through the adapter to a device on a real broker: only what the device confirms is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.contract.relay import Position
from tests.support.adapters import Message, rig
from tests.support.brokers import Broker

Answers = Callable[[dict[str, Any]], list[Message]]
KEY = "d1"


def confirmed(told: dict[str, Any]) -> list[Message]:
    return [("relay", {"position": told["position"], "token": told["token"]})]


def lost(_told: dict[str, Any]) -> list[Message]:
    return []


def refused(_told: dict[str, Any]) -> list[Message]:
    return [("refused", {"reason": "the button is locked"})]


def optimistic(told: dict[str, Any]) -> list[Message]:
    """What was wished comes back at once; the device itself has its old position."""
    return [("relay", {"position": told["position"], "confirmed": False}), ("relay", {"position": "closed"})]


def somebody_else(told: dict[str, Any]) -> list[Message]:
    return [("relay", {"position": told["position"], "token": "another request"})]


@pytest.mark.parametrize(
    ("answers", "outcome", "words", "position"),
    [
        (confirmed, "done", "", "open"),
        (refused, "failed", "the device refuses: the button is locked", "closed"),
        (optimistic, "failed", "it says that it is closed", "closed"),
        (lost, "failed", "did not confirm within", "closed"),
        (somebody_else, "failed", "did not confirm within", "open"),
    ],
)
async def test_only_the_devices_own_word_makes_a_command_done(
    broker: Broker, tmp_path: Path, answers: Answers, outcome: str, words: str, position: str
) -> None:
    async with rig(broker, tmp_path) as town:
        town.answers[f"{KEY}/set"] = answers
        await town.tell(KEY, "info", {"switch": True}, retain=True)
        await town.tell(KEY, "relay", {"position": "closed"})
        await town.meter(KEY, "relay", lambda relay: relay.get("position") == "closed")
        command_id = await town.command(KEY, Position.OPEN)
        result = await town.meter(KEY, "result", lambda result: result.get("command_id") == command_id)
        assert result["outcome"] == outcome
        assert words in result["reason"]
        relay = await town.meter(KEY, "relay", lambda relay: relay.get("position") == position)
        assert relay.get("command_id") == (command_id if outcome == "done" else None)


async def test_a_lost_answer_is_asked_for_and_a_late_one_moves_the_position(
    broker: Broker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path) as town:
        await town.tell(KEY, "info", {"switch": True}, retain=True)
        await town.tell(KEY, "relay", {"position": "closed"})
        await town.meter(KEY, "relay", lambda relay: relay.get("position") == "closed")
        await town.tell("d2", "info", {"switch": True}, retain=True)
        town.answers["d2/get"] = lambda _: [("relay", {"position": "open"})]
        await town.meter("d2", "relay", lambda relay: relay.get("position") == "open")
        town.answers["d2/get"] = lambda _: [("relay", {"position": "closed"})]
        asked, late = await town.command("d2", Position.CLOSED), await town.command(KEY, Position.OPEN)
        result = await town.meter("d2", "result", lambda result: result.get("command_id") == asked)
        assert result["outcome"] == "done"
        result = await town.meter(KEY, "result", lambda result: result.get("command_id") == late)
        assert result["outcome"] == "failed"
        await town.tell(KEY, "relay", {"position": "open", "token": late})
        relay = await town.meter(KEY, "relay", lambda relay: relay.get("position") == "open")
        assert "command_id" not in relay or relay["command_id"] is None


async def test_requests_are_not_retained_and_the_button_is_told(broker: Broker, tmp_path: Path) -> None:
    async with rig(broker, tmp_path) as town:
        town.answers[f"{KEY}/set"] = confirmed
        await town.tell(KEY, "info", {"switch": True}, retain=True)
        await town.tell(KEY, "relay", {"position": "closed"})
        await town.meter(KEY, "birth", lambda birth: birth.get("relay") is True)
        await town.meter(KEY, "relay", lambda relay: relay.get("position") == "closed")
        since = len(town.heard)
        await town.tell(KEY, "relay", {"position": "open"})  # by hand
        relay = await town.meter(KEY, "relay", lambda relay: relay.get("position") == "open", since=since)
        assert (relay["operations"], relay.get("command_id")) == (1, None)
        await town.command(KEY, Position.CLOSED)
        await town.meter(KEY, "relay", lambda relay: relay.get("operations") == 2)
    sets = [topic for topic, _ in town.heard if topic.endswith("/set")]
    assert len(sets) == 1
    async with rig(
        broker, tmp_path
    ) as again:  # a retained request would come now, and a start drives nothing
        again.answers[f"{KEY}/get"] = lambda _: [("relay", {"position": "closed"})]
        await again.meter(KEY, "relay", lambda relay: relay.get("operations") == 2)
        await again.said(f"made-up/{KEY}/get", lambda _: True)
        assert [topic for topic, _ in again.heard if topic.endswith("/set")] == []


async def test_a_relay_that_is_not_accepted_for_switching_is_none(broker: Broker, tmp_path: Path) -> None:
    async with rig(broker, tmp_path, accept=[{"family": "made-up"}]) as town:
        await town.tell(KEY, "info", {"switch": True}, retain=True)
        birth = await town.meter(KEY, "birth", lambda birth: "relay" in birth)
        assert birth["relay"] is False
        command_id = await town.command(KEY, Position.OPEN)
        result = await town.meter(KEY, "result", lambda result: result.get("command_id") == command_id)
        assert (result["outcome"], result["reason"]) == ("refused", "this meter has no relay")
        assert not any(topic.endswith("/set") for topic, _ in town.heard)
