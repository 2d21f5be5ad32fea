"""A Raspberry Pi with the [firmware] extra alone runs a meter; a command without its part says so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import aiomqtt

from broker.contract.birth import Birth
from broker.contract.reading import Reading
from broker.contract.status import Status
from tests.support.brokers import Broker
from tests.support.cli import STOP_SECONDS, environment

SERVER_PACKAGES = (
    "alembic", "amqtt", "lxml", "open61850", "orjson", "prometheus_client", "psycopg", "pyiec61850",
    "scl_loader", "sqlalchemy", "sqlmodel",
)  # fmt: skip
WITHOUT_SERVER = (
    f"import sys; sys.modules.update(dict.fromkeys({SERVER_PACKAGES!r}))\n"
    "from admin.main import main; main(sys.argv[1:])"
)
CONFIG = """
interval = 0.2
data_dir = "{folder}"
[identity]
name = "House on a Pi"
[hardware]
serial = "PZ-1"
[sensor]
port = "/dev/nonexistent"
[relay]
kind = "simulated"
[mqtt]
port = {port}
"""


def without_server(*arguments: str) -> list[str]:
    """The command line of a ``meter61850`` that has the base and [firmware] packages only."""
    return [sys.executable, "-P", "-c", WITHOUT_SERVER, *arguments]


async def test_meter_runs_with_the_firmware_part_alone(broker: Broker, tmp_path: Path) -> None:
    config = tmp_path / "meter.toml"
    config.write_text(CONFIG.format(folder=tmp_path / "meter", port=broker.port))
    command = without_server("meter", "run", "--config", str(config))
    with (tmp_path / "meter.log").open("w") as log:
        meter = await asyncio.create_subprocess_exec(*command, env=environment(), stderr=log)
    try:
        async with asyncio.timeout(60), aiomqtt.Client(broker.host, broker.port) as client:
            await client.subscribe("sm/v1/+/+", qos=1)
            heard: dict[str, bytes] = {}
            while not {"birth", "status", "reading", "relay"} <= heard.keys():
                message = await anext(client.messages)
                assert isinstance(message.payload, bytes)
                heard[message.topic.value.rpartition("/")[2]] = message.payload
        assert Birth.model_validate_json(heard["birth"]).name == "House on a Pi"
        assert Status.model_validate_json(heard["status"]).online
        assert Reading.model_validate_json(heard["reading"]).voltage is None  # no sensor, no value
    finally:
        meter.terminate()
        code = await asyncio.wait_for(meter.wait(), STOP_SECONDS)
        assert code == 0, (tmp_path / "meter.log").read_text()


def test_command_without_its_part_says_what_to_install() -> None:
    done = subprocess.run(
        without_server("meters", "list", "--retired"),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "pip install 'meter61850[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_works_without_any_part() -> None:
    done = subprocess.run(
        without_server("--help"), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("up", "meters", "meter", "relay"):
        assert f"\n  {command}  " in done.stdout


def test_doctor_works_without_any_part() -> None:
    command = without_server("doctor", "--mqtt", ":1")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not looked at" in done.stdout
    assert "Traceback" not in done.stderr
