"""Each thing that `doctor` looks at: well, to look at, or to mend with a cure."""

from __future__ import annotations

import socket
from collections import namedtuple
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from admin.commands.doctor import _tell
from admin.doctor import machine, services, stored
from admin.doctor.findings import Finding, Verdict
from broker.contract.messages import utc_now
from broker.contract.status import ServiceStatus

OURS = version("meter61850")
Usage = namedtuple("Usage", "total used free")


Told = dict[str, Any] | None


def status(*, age: float = 1, online: bool = True, program: str = OURS) -> ServiceStatus:
    """As a service told it ``age`` seconds ago."""
    ts = utc_now() - timedelta(seconds=age)
    return ServiceStatus(online=online, version=program, session="0" * 16, ts=ts)


@pytest.mark.parametrize(
    ("name", "told", "verdict", "detail"),
    [
        ("bridge", {}, "ok", f"{OURS} is running"),
        ("bridge", {"age": 120}, "fail", "was last heard 12"),
        ("bridge", {"age": -60}, "fail", " s ahead"),
        ("bridge", {"program": "0.0.9"}, "note", "0.0.9 is running"),
        ("mms", {"online": False}, "fail", "is not running"),
        ("mms", None, "fail", "is not running"),
        ("web", None, "note", "is not running"),
        ("registrar", None, "note", "is not running"),
    ],
)
def test_a_service(name: str, told: Told, verdict: str, detail: str) -> None:
    finding = services.service(name, None if told is None else status(**told))
    assert (finding.verdict, detail in finding.detail) == (verdict, True), finding
    assert bool(finding.cure) is (verdict != "ok")


@pytest.mark.parametrize(("kept", "verdict"), [("true", "ok"), ("false", "note")])
def test_the_clock(kept: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_CLOCK_SYNCHRONIZED", kept)
    (finding,) = machine.clock()
    assert (finding.verdict, bool(finding.cure)) == (verdict, verdict != "ok")


@pytest.mark.parametrize(("free", "verdict"), [(5e9, "ok"), (5e8, "note"), (1e7, "fail")])
def test_a_disk(free: float, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _place: Usage(0, 0, free))
    database = f"sqlite:///{tmp_path}/x.sqlite"
    (finding,) = machine.disks(database, tmp_path)  # all on one file system
    assert (finding.verdict, bool(finding.cure)) == (verdict, verdict != "ok")
    assert [one.what for one in machine.disks("postgresql://x/y", Path("/nowhere"))] == ["disk"]


@pytest.fixture
def listeners() -> Iterator[dict[str, socket.socket]]:
    """Three ports as a broker has them, open; closing one is its end; the services have their own address."""
    found = {
        name: socket.create_server(("127.0.0.2" if name == "services" else "127.0.0.1", 0))
        for name in machine.LISTENERS
    }
    yield found
    for one in found.values():
        one.close()


def test_ports(listeners: dict[str, socket.socket]) -> None:
    told = {machine.LISTENERS[name][1]: str(one.getsockname()[1]) for name, one in listeners.items()}
    told |= {"METER61850_BROKER_BIND": "0.0.0.0", "METER61850_BROKER_SERVICES_BIND": "127.0.0.2"}
    assert [one.verdict for one in machine.ports(told, broker=True)] == ["ok"]
    (taken,) = machine.ports(told, broker=False)
    assert (
        taken.verdict,
        "although the broker does not answer" in taken.detail,
        "ss -ltnp" in taken.cure,
    ) == (
        "fail",
        True,
        True,
    )
    port = told["METER61850_BROKER_PASSWORD_PORT"]
    listeners["passwords"].close()
    (missing,) = machine.ports(told, broker=True)
    assert (missing.verdict, missing.detail) == ("fail", f"the broker does not listen on: passwords {port}")
    assert list(machine.ports({}, broker=True)) == []


class Stored:
    """A database with one meter."""

    def __init__(self, *, clock: bool = True, letters: tuple[int, int] = (0, 0)) -> None:
        meter = SimpleNamespace(name="House 1", meter_id="x", online=True, firmware="0.1.0")
        self._state = SimpleNamespace(meter=meter, latest=SimpleNamespace(clock_synchronized=clock))
        self._letters = letters
        self.lasting: list[Any] = []

    def meters(self) -> list[Any]:
        return [self._state]

    def alarms(self) -> list[Any]:
        return self.lasting

    def dead_letter_causes(self, *, since: int) -> list[tuple[str, int]]:
        count = self._letters[0] if since else sum(self._letters)
        return [("no JSON", count)] if count else []


def test_meters_without_ntp_are_named() -> None:
    assert stored._clocks(Stored().meters()).verdict is Verdict.OK
    finding = stored._clocks(Stored(clock=False).meters())
    assert (finding.verdict, finding.detail) == (Verdict.NOTE, "not kept by NTP: House 1")


def test_dead_letters_of_today_are_to_look_at_and_older_ones_are_counted() -> None:
    assert stored._dead_letters(Stored()).detail == "none in the last 24 hours"
    older = stored._dead_letters(Stored(letters=(0, 7)))
    assert (older.verdict, older.detail) == (Verdict.OK, "none in the last 24 hours; 7 older ones")
    today = stored._dead_letters(Stored(letters=(3, 7)))
    assert (today.verdict, "3 in the last 24 hours, 10 in all; most: no JSON (3)") == (
        Verdict.NOTE,
        today.detail,
    )
    assert "meter61850 dead-letters" in today.cure


def test_twins_are_faults_with_their_cure() -> None:
    store = Stored()
    assert [one.verdict for one in stored._alarms(store)] == [Verdict.OK]
    twin = {"name": "House 1", "meter_id": "x", "kind": "twin", "detail": "two", "cure": "one off"}
    store.lasting = [SimpleNamespace(**twin, severity="alarm", acknowledged_at=None)]
    (finding,) = stored._alarms(store)
    assert (finding.verdict, finding.what, finding.cure) == (Verdict.FAIL, "alarm twin", "one off")


def test_it_ends_with_what_to_do_faults_first(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(
        [
            Finding(Verdict.OK, "python", "3.11"),
            Finding(Verdict.NOTE, "clock", "no NTP", "timedatectl set-ntp true"),
            Finding(Verdict.FAIL, "bridge", "is not running", "systemctl start meter61850-bridge"),
            Finding(Verdict.FAIL, "scd", "none", "systemctl start meter61850-bridge"),
        ]
    )
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "2 to mend, 1 to look at",
        "1. bridge, scd: systemctl start meter61850-bridge",
        "2. clock: timedatectl set-ntp true",
    ]
    _tell([Finding(Verdict.OK, "python", "3.11")])
    assert capsys.readouterr().out.splitlines()[-1] == "no fault"
