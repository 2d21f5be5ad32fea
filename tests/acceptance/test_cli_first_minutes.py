"""A new user's path, by the README alone: TLS, one enrolled meter, an operator's subscription.

Six commands at most. What is run is what the README shows, with free ports and the code that was printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.contract.topics import checked_meter_id
from meter_firmware.simulate import meter_id
from tests.acceptance.test_cli_readme import shown
from tests.support.cli import DEADLINE, Running, environment, up

IDENTITY = "METER61850_MQTT_IDENTITY="
NEW = checked_meter_id(meter_id(seed=7, number=1))


def path() -> list[str]:
    """The commands of the README from `make up` to the subscription, without what one may leave out."""
    found = [command for command, _ in shown()]
    first = next(number for number, command in enumerate(found) if "enrol new" in command)
    last = next(number for number, command in enumerate(found) if command.endswith("subscribe"))
    return ["make up", *found[first : last + 1]]


@contextmanager
def running(command: str, chain: Running) -> Iterator[subprocess.Popen[str]]:
    """One of the README's commands, beside the chain; ended at the end."""
    words = command.split()
    given = {"METER61850_MQTT_IDENTITY": words.pop(0).removeprefix(IDENTITY)} if IDENTITY in command else {}
    assert words.pop(0) == ".venv/bin/meter61850"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "admin", *words],
        cwd=chain.folder,
        env=environment() | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE)


def finished(command: str, chain: Running) -> str:
    """What it printed, when it has ended well."""
    with running(command, chain) as process:
        said, _ = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, said
        return said


def test_from_nothing_to_an_operators_subscription(tmp_path: Path) -> None:
    commands = path()
    assert len(commands) <= 6, commands
    _, new_code, enrol, add, subscribe = commands
    with up(tmp_path, "--interval", "0.5") as chain:
        chain.ready()
        code = finished(new_code, chain).splitlines()[0].split()[0]
        shown_code = next(words for words in enrol.split() if words.count("-") == 5)
        door = f"localhost:{chain.mqtt_port + 2}"
        enrol = f"{enrol.replace(shown_code, code)} --broker {door} --interval 0.5"
        with running(enrol, chain):
            finished(add, chain)
            with running(f"{subscribe} --json", chain) as operator:
                assert NEW in meters_heard(operator, NEW)


def meters_heard(operator: subprocess.Popen[str], wanted: str) -> set[str]:
    """Whose readings came, until ``wanted`` is among them."""
    heard: set[str] = set()
    assert operator.stdout is not None
    deadline = time.monotonic() + DEADLINE
    while wanted not in heard:
        assert time.monotonic() < deadline, heard
        told = json.loads(operator.stdout.readline())
        assert told["payload"]["seq"] >= 1
        heard.add(told["topic"].split("/")[2])
    return heard
