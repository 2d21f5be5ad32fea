"""What a run of the tests was doing, on disk the moment it happens: for when pytest itself dies.

`.test-reports/latest/` holds, of the newest run:

- `gw0.txt`, `gw1.txt` (`main.txt` without workers): a line when a test begins and one for each phase that it
  ends, with the seconds that it took, and the CPU's of the worker and of programs that ended meanwhile.
  A test that has only begun is the one that was running.
- `workers.txt`: when a worker ended, and why.
- `failed/…txt`: for each failure its traceback and what was captured.

>>> Reports(tmp_path, "gw0").pytest_runtest_logstart("tests/unit/test_a.py::test_b")  # doctest: +SKIP
"""

from __future__ import annotations

import os
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import ROOT

FOLDER = ROOT / ".test-reports"
KEPT_RUNS = 10
LONGEST_NAME = 180


class Reports:
    """Hooks of one process: a worker, or the only one."""

    def __init__(self, run: Path, worker: str) -> None:
        self._failed = run / "failed"
        self._failed.mkdir(parents=True, exist_ok=True)
        self._cpu = sum(os.times()[:4])
        self._list = (run / f"{worker}.txt").open("a", encoding="utf-8", buffering=1)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._say("begins", nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of its phases has ended."""
        before, self._cpu = self._cpu, sum(os.times()[:4])
        told = f"{report.when} {report.outcome} {report.duration:.2f} {self._cpu - before:.2f}"
        self._say(told, report.nodeid)
        if report.failed:
            self._keep(f"{report.nodeid} {report.when}", _text(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be read is a failure, too."""
        if report.failed:
            self._keep(f"{report.nodeid} collect", _text(report))

    def _say(self, what: str, nodeid: str) -> None:
        self._list.write(f"{datetime.now(UTC):%H:%M:%S} {what} {nodeid}\n")

    def _keep(self, name: str, text: str) -> None:
        file = self._failed / (re.sub(r"[^\w.-]+", "_", name)[-LONGEST_NAME:] + ".txt")
        with file.open("a", encoding="utf-8") as failure:
            failure.write(text)


class Controller:
    """Hooks of the process that has workers: it names the run's folder, and a worker that died."""

    def __init__(self, run: Path) -> None:
        self._run = run

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A worker is about to start."""
        node.workerinput["reports"] = str(self._run)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker has ended."""
        self._say(f"{node.gateway.id} ended: {error or 'cleanly'}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """A worker died of a test."""
        self._say(f"died of {crashitem}")

    def _say(self, what: str) -> None:
        with (self._run / "workers.txt").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S} {what}\n")


def watch(config: pytest.Config) -> None:
    """Begin to write; called once in each process."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    if told:
        config.pluginmanager.register(Reports(Path(told["reports"]), told["workerid"]))
        return
    run = _new_run()
    alone = config.getoption("dist", "no") == "no"
    config.pluginmanager.register(Reports(run, "main") if alone else Controller(run))


def _new_run() -> Path:
    """A folder of this run's own, which `latest` points to; of older ones the newest stay."""
    FOLDER.mkdir(exist_ok=True)
    for old in sorted(path for path in FOLDER.iterdir() if not path.is_symlink())[: -KEPT_RUNS + 1]:
        shutil.rmtree(old, ignore_errors=True)
    run = FOLDER / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
    run.mkdir()
    link = FOLDER / f"latest-{os.getpid()}"
    link.symlink_to(run.name)
    link.replace(FOLDER / "latest")
    return run


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    captured = "".join(f"\n--- {title}\n{text}" for title, text in report.sections)
    return f"{report.nodeid}\n{report.longreprtext}\n{captured}\n"
