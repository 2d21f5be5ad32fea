"""Fixtures for every test: a real broker, and an environment without settings of the developer's."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.brokers import Broker, mosquitto
from tests.support.cli import KEPT, SPARE
from tests.support.project import ROOT
from tests.support.reports import watch

MEMORY, ROOM = Path("/dev/shm"), 4 << 30

# Temporary files are in memory where there is room: no test cuts the power, so an fsync of a busy disk costs
# time and shows nothing.
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# CI must not depend on luck: there hypothesis draws the same examples every time. A developer's runs
# draw new ones, and what they find becomes an @example. A busy machine is no fault: nothing has a deadline.
settings.register_profile(
    "ours",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ours")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `nohup make test &`: programs would not hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The tests of MMS pass with the wait hook and without: ``make mms``."""
    parser.addoption("--wait-hook", choices=("on", "off"), default="on", help="of the MMS bridge")


def pytest_configure(config: pytest.Config) -> None:
    """Keep failures and what is running in `.test-reports/`; programs get the wait hook's state."""
    watch(config)
    os.environ[SPARE] = "0"
    if config.getoption("--wait-hook") == "off":
        os.environ[KEPT] = "false"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A METER61850_… variable of the developer's shell must not change what a test sees."""
    for name in os.environ:
        if name.startswith("METER61850_") and name not in (KEPT, SPARE):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _no_deployment_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`make up` leaves a deployment in ./data, where commands look for one: tests run where there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # of programs that are part of the tests
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Mosquitto with our configuration on a free port."""
    with mosquitto(tmp_path) as running:
        yield running
