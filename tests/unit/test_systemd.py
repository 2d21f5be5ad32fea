"""deploy/systemd: every unit is sandboxed, and starts a command that the CLI has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from registrar import layout
from tests.support.documents import unknown_commands

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
DEPLOYMENT = "/var/lib/meter61850"
PROGRAM = "/opt/meter61850/bin/meter61850"
ASKS_FOR_NTP = {"meter61850-meter", "meter61850-bridge", "meter61850-adapter"}
"""ProtectClock and @privileged forbid adjtimex(2) even to ask; to set the clock they lack the capability."""
BESIDE = {"adapter", "homeassistant", "sparkplug"}
"""They need no file of a deployment, and may run on another machine."""
EXPOSURE = {"meter61850-meter": 2.6}
"""At most, of 10, as systemd-analyze counts; 2.0 for all others. A meter needs its devices."""

REQUIRED = {
    "Restart": "on-failure",
    "UMask": "0077",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "NoNewPrivileges": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "LockPersonality": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "SystemCallArchitectures": "native",
    "LimitCORE": "0",
}


def lines(unit: Path) -> dict[str, list[str]]:
    """Key → values, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", unit.read_text(), re.M):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_is_one_for_each_service() -> None:
    names = {unit.stem.removeprefix("meter61850-") for unit in UNITS}
    assert names == {"broker", "bridge", "mms", "registrar", "web", "meter", *BESIDE}


def test_it_is_sandboxed(unit: Path) -> None:
    told = lines(unit)
    assert {key: told.get(key) for key in REQUIRED} == {key: [value] for key, value in REQUIRED.items()}
    asking = ["adjtimex clock_adjtime clock_adjtime64"] if unit.stem in ASKS_FOR_NTP else []
    assert told["SystemCallFilter"] == ["@system-service", "~@privileged @resources", *asking]
    assert ("ProtectClock" in told) is not bool(asking)
    assert re.fullmatch(r"\d+[MG]", told["MemoryMax"][0])


def test_each_service_has_its_own_user_and_folders(unit: Path) -> None:
    """As registrar/layout.py says; a meter is alone on its machine."""
    told, service = lines(unit), unit.stem.removeprefix("meter61850-")
    if service == "meter":
        assert told["User"] == told["Group"] == told["StateDirectory"] == ["meter61850"]
        assert "ReadWritePaths" not in told
        return
    assert told["User"] == told["Group"] == [unit.stem]
    if service in BESIDE:
        assert told["StateDirectory"] == [unit.stem]
        assert told["InaccessiblePaths"] == [f"-{DEPLOYMENT}"]
        assert not {"ReadWritePaths", "SupplementaryGroups"} & told.keys()
        return
    uses_database = layout.DATABASE in layout.NEEDS[service].writes
    groups = ["meter61850", *(["meter61850-database"] if uses_database else [])]
    assert told["SupplementaryGroups"] == [" ".join(groups)]
    assert "StateDirectory" not in told, "systemd would give the whole folder to the last service that starts"
    writes = [f"{DEPLOYMENT}/{name}" for name in layout.NEEDS[service].writes]
    if service == layout.REGISTRAR:
        assert told["ReadWritePaths"] == [DEPLOYMENT]
        assert "InaccessiblePaths" not in told
    else:
        assert " ".join(told.get("ReadWritePaths", ())).split() == writes
        assert told["InaccessiblePaths"] == [f"{DEPLOYMENT}/ca"]


def test_only_mms_has_a_capability(unit: Path) -> None:
    """Port 102 is below 1024; nothing else of ours is."""
    expected = "CAP_NET_BIND_SERVICE" if unit.stem == "meter61850-mms" else ""
    assert lines(unit)["CapabilityBoundingSet"] == lines(unit)["AmbientCapabilities"] == [expected]


def test_the_registrar_says_whom_it_let_in() -> None:
    """The other commands of its group log from warning on."""
    told = lines(FOLDER / "meter61850-registrar.service")
    assert "METER61850_LOG_LEVEL=info" in told["Environment"]


def test_it_starts_a_command_that_there_is(unit: Path) -> None:
    program, *words = lines(unit)["ExecStart"][0].split()
    assert program == PROGRAM
    assert unknown_commands(f"`meter61850 {' '.join(words)}`") == []


def test_systemd_finds_no_fault_and_little_exposure(unit: Path) -> None:
    assert shutil.which("systemd-analyze"), "systemd-analyze is not installed: make servers"
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    ).stderr
    faults = [line for line in verified.splitlines() if unit.name in line and "not executable" not in line]
    assert faults == []
    limit = EXPOSURE.get(unit.stem, 2.0)
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={limit * 10:.0f}", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-300:]
