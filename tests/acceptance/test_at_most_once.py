"""A meter that is killed between obeying and answering: the relay moved once, and never again."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from paho.mqtt import publish

from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position
from tests.support.brokers import Broker
from tests.support.chain import Chain, chain, until

METER = """
import os, signal, sys
from admin.main import main
from meter_firmware.sensors.simulated import SimulatedHardware

record, deadly, *arguments = sys.argv[1:]
drive = SimulatedHardware.drive

def watched(self, position):
    drive(self, position)
    with open(record, "a") as file:
        file.write(position + "\\n")
    if deadly == "deadly" and position == "open":
        os.kill(os.getpid(), signal.SIGKILL)

SimulatedHardware.drive = watched
main(arguments)
"""


def meter(running: Chain, *, deadly: bool) -> subprocess.Popen[bytes]:
    """The CLI's simulated meter; its relay's moves are recorded, and a deadly one ends it at once."""
    mood = "deadly" if deadly else "harmless"
    folder = str(running.folder / "meters")
    arguments = ["meter", "simulate", "-n", "1", "--interval", "0.5", "--data-dir", folder]
    command = [sys.executable, "-c", METER, str(running.folder / "moves"), mood, *arguments]
    with (running.folder / f"{mood}.log").open("ab") as log:
        process = subprocess.Popen([*command, "--mqtt", running.mqtt], stdout=log, stderr=log)
    running.processes[mood] = process
    return process


def test_killed_between_obeying_and_answering(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        killed = meter(running, deadly=True)
        (meter_id,) = running.wait_for_meters(1)
        now = utc_now()
        command = Command(
            command_id="c1",
            position=Position.OPEN,
            issued_at=now,
            expires_at=now + timedelta(seconds=60),
            origin=Origin(category=OriginCategory.MAINTENANCE, identifier="test"),
        )

        def send() -> None:
            topic = f"sm/v1/{meter_id}/command"
            publish.single(topic, command.payload(), qos=1, hostname=broker.host, port=broker.port)

        def outcome() -> str:
            rows = running.rows("SELECT outcome FROM command WHERE command_id = 'c1'")
            return rows[0][0] if rows else ""

        send()
        assert killed.wait(60) == -signal.SIGKILL
        meter(running, deadly=False)
        until(lambda: outcome() == "failed", why="the meter tells that it cannot know")
        send()
        send()
        query = "SELECT repeats FROM command WHERE command_id = 'c1'"
        until(lambda: running.rows(query) == [(2,)], why="repeated")
        until(lambda: _refusals(running) >= 2, why="both refused by the meter")
        assert (tmp_path / "moves").read_text().split() == ["closed", "open", "closed"]
        assert outcome() == "failed"


def _refusals(running: Chain) -> int:
    """How often the meter has logged that it refused the command as repeated."""
    return running.log("harmless").count("repeated")
