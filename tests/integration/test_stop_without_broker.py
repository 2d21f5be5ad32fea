"""A service that is told to stop while its broker is going ends all the same, at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.chain import until
from tests.support.cli import STOP_SECONDS, environment


@pytest.mark.parametrize("late", [0, 1])
def test_mms_bridge_ends_when_the_broker_went_first(late: int, broker: Broker, tmp_path: Path) -> None:
    log = tmp_path / "mms.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "admin", "mms", "run", "--mqtt", f"127.0.0.1:{broker.port}"],
            env=environment(),
            stdout=output,
            stderr=output,
        )
    until(lambda: "connected to" in log.read_text(), why="connected")
    broker.kill() if late else process.terminate()
    process.terminate() if late else broker.kill()
    assert process.wait(STOP_SECONDS) == 0
