"""A block holds from the moment that the command line says so, whatever is killed afterwards."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.bridges import Client
from tests.support.brokers import Broker
from tests.support.chain import Chain, chain, until


def kill(running: Chain, name: str) -> None:
    """``kill -9``."""
    process = running.processes.pop(name)
    process.send_signal(signal.SIGKILL)
    process.wait(60)


def online(running: Chain, meter_id: str, expected: bool) -> bool:
    """Whether the registry has the meter so."""
    rows = running.rows("SELECT online FROM meter WHERE meter_id = ?", meter_id)
    return bool(rows) and bool(rows[0][0]) is expected


def test_a_block_survives_all_that_was_killed_after_it_was_set(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(1)
        (meter_id,) = running.wait_for_meters(1)
        where = ("--mqtt", running.mqtt)
        kill(running, "meters1")
        until(lambda: online(running, meter_id, False), seconds=60, why="the meter is offline")
        told = running.cli_json("relay", "block", meter_id, "--opening", *where)
        assert (told["blocked"], told["recorded"], told["meter_online"]) == ("opening", True, False)
        broker.kill()
        for name in ("bridge", "mms"):
            kill(running, name)
        for file in broker.config.parent.rglob("*.db"):  # it writes its state every five minutes
            file.unlink()
        broker.start()
        running.start_bridge()
        running.start_mms()
        running.simulate(1)
        until(lambda: online(running, meter_id, True), seconds=60, why="the meter is back")
        until(lambda: _blocked(running, meter_id) == "opening", seconds=60, why="the broker has it again")
        running.cli("relay", "open", meter_id, "--wait", *where, code=5)
        assert running.rows("SELECT relay FROM meter WHERE meter_id = ?", meter_id) == [("closed",)]


def _blocked(running: Chain, meter_id: str) -> str:
    return str(running.cli_json("relay", "block", meter_id, "--mqtt", running.mqtt)["blocked"])


def test_without_a_bridge_that_confirms_it_a_block_is_not_called_safe(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(1)
        (meter_id,) = running.wait_for_meters(1)
        kill(running, "bridge")
        where = ("--mqtt", running.mqtt)
        running.cli("relay", "block", meter_id, "--opening", *where, code=6)
        assert _blocked(running, meter_id) == "opening", "it is set all the same"
        running.start_bridge()
        with Client(broker) as client:
            until(client.online, why="the bridge is back")
        told = running.cli_json("relay", "block", meter_id, "--closing", *where)
        assert (told["blocked"], told["recorded"]) == ("opening and closing", True)
