"""``meter61850 doctor`` and the programs beside the chain: what it says of each, and when it says nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest

from adapters.homeassistant import metrics
from adapters.homeassistant.service import Progress
from admin.doctor import beside
from admin.doctor.beside import PROGRAMS, look
from admin.doctor.findings import Finding, Verdict
from broker.metrics import MetricsServer, Sample
from tests.support.brokers import free_port

HOMEASSISTANT = PROGRAMS[1]


@pytest.fixture(autouse=True)
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine on which nothing is set up; the port of Home Assistant's program, which nobody has."""
    for name in [name for name in os.environ if name.startswith("METER61850_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(beside, "ETC", tmp_path / "etc")
    programs = [beside.Program(one.name, free_port(), one.counts, one.served, one.signs) for one in PROGRAMS]
    monkeypatch.setattr(beside, "PROGRAMS", programs)
    return programs[1].port


@pytest.fixture
def progress(port: int) -> Iterator[Progress]:
    """Home Assistant's program, which runs and is connected."""
    told = Progress(up=True, announced=7, heard_at=time() - 5)
    with MetricsServer(port, metrics.samples(told), healthy=lambda: metrics.healthy(told)):
        yield told


def found() -> list[Finding]:
    return list(look())


def test_nothing_is_said_of_a_program_that_is_not_set_up() -> None:
    assert found() == []


def test_one_that_runs_is_shown_with_when_it_was_heard_last(progress: Progress) -> None:
    (finding,) = found()
    assert (finding.verdict, finding.what) == (Verdict.OK, "homeassistant")
    assert finding.detail.startswith("is running and connected; 7 meters announced, last heard ")
    progress.heard_at = 0.0
    assert found()[0].detail.endswith("nothing heard yet")


def test_one_that_has_lost_its_broker_is_a_fault(progress: Progress) -> None:
    progress.up = False
    (finding,) = found()
    assert (finding.verdict, finding.detail) == (
        Verdict.FAIL,
        "is running, but: no connection to the broker",
    )


def test_one_whose_port_is_set_is_a_fault_when_it_does_not_answer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER61850_HOMEASSISTANT_METRICS_PORT", str(port))
    (finding,) = found()
    assert (finding.verdict, finding.what) == (Verdict.FAIL, "homeassistant")
    assert f"does not answer on 127.0.0.1:{port}" in finding.detail
    assert "meter61850 homeassistant run" in finding.cure


@pytest.mark.parametrize("where", ["etc", "here", "deployment"])
def test_one_that_is_set_up_otherwise_is_a_note(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"etc": beside.ETC, "here": tmp_path, "deployment": tmp_path / "deployment"}
    if where == "deployment":
        monkeypatch.setenv("METER61850_DIR", str(places[where]))
    places[where].mkdir(exist_ok=True)
    (places[where] / "adapters.toml").touch()
    (finding,) = found()
    assert (finding.verdict, finding.what) == (Verdict.NOTE, "adapter")


def test_something_else_at_its_port_is_not_it(port: int) -> None:
    sample = Sample("bridge_connected", "Ours, and another program.", "gauge", lambda: 1.0)
    with MetricsServer(port, [sample], healthy=lambda: ""):
        assert found() == []
