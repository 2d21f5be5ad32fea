"""Relay commands over a real broker: obeyed once, refused with a reason, answered always."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker.contract.relay import Position
from broker.contract.result import Result
from broker.mqtt.settings import MqttSettings
from meter_firmware.sensors import sml
from meter_firmware.settings import RelaySettings, SensorSettings
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig, command
from tests.support.telegrams import SML, Port


async def result(rig: Rig, command_id: str, *, since: int = 0) -> tuple[str, str]:
    answered = await rig.heard("result", lambda answer: answer["command_id"] == command_id, since=since)
    answer = Result.model_validate(answered)
    return str(answer.outcome), answer.reason.split(":")[0]


async def test_a_command_is_obeyed_once_and_told_in_order(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        async with rig.meter():
            await rig.heard("reading")
            await rig.command(command("c1"))
            assert await result(rig, "c1") == ("done", "")
            moved = await rig.heard("relay", lambda relay: relay["position"] == "open")
            assert (moved["command_id"], moved["operations"]) == ("c1", 1)
            kinds = [message.kind for message in rig.messages]
            assert kinds.index("result") > max(i for i, kind in enumerate(kinds) if kind == "relay")

            before = len(rig.messages)
            await rig.command(command("c1", Position.CLOSED))
            assert await result(rig, "c1", since=before) == ("refused", "repeated")
            await rig.command(command("c2", Position.OPEN))
            assert await result(rig, "c2") == ("refused", "position reached")
            await rig.command(command("c3", Position.CLOSED))
            assert await result(rig, "c3") == ("done", "")
            assert (await rig.retained())["relay"]["operations"] == 2

        before = len(rig.messages)
        async with rig.meter():
            relay = await rig.heard("relay", since=before)
            assert (relay["position"], relay["operations"], relay["command_id"]) == ("closed", 2, "c3")
            assert await result(rig, "c1", since=before) == ("done", "")  # again: a killed broker forgets
            before = len(rig.messages)
            await rig.command(command("c1"))
            assert await result(rig, "c1", since=before) == ("refused", "repeated")
        assert "result" not in await rig.retained()


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (lambda: command("c1", age=31, valid=30), ("expired", "expired 1.0 s ago")),
        (lambda: command("c1", age=-60), ("refused", "clock doubt")),
        (lambda: command("c1", valid=61), ("refused", "valid for 61 s")),
        (lambda: command("c1", Position.CLOSED), ("refused", "position reached")),
        (lambda: command("c1").replace(b'"open"', b'"ajar"'), ("refused", "malformed")),
        (lambda: b'{"command_id":"c1"}', ("refused", "malformed")),
    ],
    ids=["expired", "future", "too long valid", "reached", "unknown position", "bare"],
)
async def test_what_is_refused_is_answered_and_moves_nothing(
    broker: Broker, tmp_path: Path, payload: Any, answer: tuple[str, str]
) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        await rig.command(payload())
        outcome, reason = await result(rig, "c1")
        assert outcome == answer[0]
        assert reason.startswith(answer[1].split(" 1.0")[0])
        assert (await rig.retained())["relay"]["operations"] == 0


async def test_a_silent_sensor_holds_up_no_command(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A telegram of an optical port may be long in coming, or never come: the relay moves in time."""
    monkeypatch.setattr(sml, "PATIENCE", 3600.0)
    with Port(tmp_path) as port:
        sensor = SensorSettings(kind="sml", port=port.name)
        async with Rig.on(broker, tmp_path, sensor=sensor) as rig, rig.meter():
            while "reading" not in [message.kind for message in rig.messages]:
                port.send(SML)
                await asyncio.sleep(0.2)
            await rig.command(command("c1"))
            assert await result(rig, "c1") == ("done", "")


async def test_a_local_relay_refuses(broker: Broker, tmp_path: Path) -> None:
    relay = RelaySettings(kind="simulated", local=True)
    async with Rig.on(broker, tmp_path, relay=relay) as rig, rig.meter():
        assert (await rig.heard("relay"))["local"] is True
        await rig.heard("reading")
        await rig.command(command("c1"))
        assert await result(rig, "c1") == ("refused", "local")


async def test_a_retained_command_is_refused_whenever_it_was_published(
    broker: Broker, tmp_path: Path
) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        await rig.command(command("before"), retain=True)
        async with rig.meter():
            assert await result(rig, "before") == ("refused", "retained")
            # MQTT 5 and "retain as published": it is seen as such while we listen, too
            await rig.command(command("during"), retain=True)
            assert await result(rig, "during") == ("refused", "retained")
            assert (await rig.retained())["relay"]["operations"] == 0


async def test_a_retained_command_is_refused_on_mqtt_3_too(broker: Broker, tmp_path: Path) -> None:
    mqtt = MqttSettings(host=broker.host, port=broker.port, prefix="t", version=4)
    async with Rig.on(broker, tmp_path, mqtt=mqtt) as rig:
        await rig.command(command("before"), retain=True)
        async with rig.meter():
            assert await result(rig, "before") == ("refused", "retained")


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"rubbish", b"\xff" * 100, b"{}", b"[" * 100_000, b"x" * 1_000_000, b'{"command_id":{"a":1}}'],
    ids=lambda rubbish: f"{len(rubbish)} bytes {rubbish[:8]!r}",
)
async def test_rubbish_is_survived(
    broker: Broker, tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        for _ in range(3):
            await rig.command(rubbish)
            await rig.client.publish(rig.topic("stored"), rubbish)
        await rig.command(command("c1"))
        assert await result(rig, "c1") == ("done", "")
        assert len(rig.so_far("result")) == 1
        assert len(rig.so_far("birth")) == 1, "the session went on"
        told = [record.getMessage() for record in caplog.records if "malformed" in record.getMessage()]
        assert len([line for line in told if "command" in line]) == 1


async def test_a_result_that_the_broker_never_took_is_told_at_the_next_connection(
    broker: Broker, tmp_path: Path
) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        async with rig.meter():
            await rig.heard("reading")
            await rig.command(command("c1"))
            await rig.heard("result")
        owe(rig.settings.data_dir / "meter.sqlite", "c1")
        before = len(rig.messages)
        async with rig.meter():
            assert await result(rig, "c1", since=before) == ("done", "")
        before = len(rig.messages)
        async with rig.meter():
            await rig.heard("reading", since=before)
        assert "result" not in [message.kind for message in rig.messages[before:]]


def owe(path: Path, command_id: str) -> None:
    """As if the connection had gone between obeying and answering, half an hour ago."""
    with closing(sqlite3.connect(path)) as connection, connection:
        changed = connection.execute(
            "UPDATE command SET answered = 0, seen_ms = seen_ms - 1800000 WHERE command_id = ?", (command_id,)
        )
        assert changed.rowcount == 1


async def test_a_burst_of_commands_is_obeyed_in_turn(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        positions = [Position.OPEN, Position.CLOSED] * 5
        await asyncio.gather(*(rig.command(command(f"c{n}", to)) for n, to in enumerate(positions)))
        for n in range(len(positions)):
            await result(rig, f"c{n}")
        done = [answer for answer in rig.so_far("result") if answer["outcome"] == "done"]
        assert (await rig.retained())["relay"]["operations"] == len(done)


async def test_a_meter_without_a_relay_shows_none_and_refuses(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        async with rig.meter():
            await rig.heard("relay")
        assert "relay" in await rig.retained()
        rig.settings = rig.settings.model_copy(update={"relay": RelaySettings(kind="none")})
        before = len(rig.messages)
        async with rig.meter():
            assert (await rig.heard("birth", since=before))["relay"] is False
            await rig.heard("reading", since=len(rig.messages))
            assert "relay" not in await rig.retained(), "that of before is gone"
            for position in Position:
                await rig.command(command(f"c {position}".replace(" ", "-"), position))
                assert await result(rig, f"c-{position}") == ("refused", "this meter has no relay")
            assert "relay" not in await rig.retained()
