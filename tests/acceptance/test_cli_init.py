"""``meter61850 init``: once, again, and with what is needed for trying out."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.contract.roles import Role
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from registrar.deployment import Deployment
from registrar.init_deployment import NewDeployment, new_deployment
from tests.support.cli import answer, error, run


def content(folder: Path) -> dict[str, bytes]:
    """Every file in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_deployment_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    told = run("init", "d", "--if-missing", "--host", "broker.example", folder=tmp_path).stderr
    assert any(line.startswith("made ") for line in told.splitlines()), told
    before = content(tmp_path / "d")
    told = run("init", "d", "--if-missing", "--host", "other.example", folder=tmp_path).stderr
    assert (
        told == f"{tmp_path / 'd'} is a deployment already, for the broker at broker.example: left as it is\n"
    )
    assert content(tmp_path / "d") == before
    assert "is a deployment already" in error("init", "d", folder=tmp_path, code=2)


def test_simulated_meters_have_an_identity_on_this_machine(tmp_path: Path) -> None:
    """The broker's name need not lead there; a second time, only those who have none get one."""
    run("init", "d", "--host", "broker.example", "--simulated", "2", folder=tmp_path)
    first = content(tmp_path / "d" / "identities")
    run("init", "d", "--if-missing", "--simulated", "3", folder=tmp_path)
    deployment = Deployment.open(tmp_path / "d")
    meters = meter_ids(SimulateSettings(n=3))
    assert [one.name for one in deployment.identity_store.identities(Role.METER)] == sorted(meters)
    for name in meters:
        connection = (deployment.identity_folder(name) / "connection.toml").read_text()
        assert 'host = "127.0.0.1"\nport = 8883' in connection
    assert first.items() <= content(tmp_path / "d" / "identities").items()
    listed = answer("--dir", "d", "credentials", "list", folder=tmp_path)
    assert set(meters) <= {one["name"] for one in listed}


def test_simulated_meters_find_a_broker_that_listens_elsewhere_by_its_name(tmp_path: Path) -> None:
    run("init", "d", "--host", "broker.example", "--bind", "192.0.2.7", "--simulated", "1", folder=tmp_path)
    (name,) = meter_ids(SimulateSettings(n=1))
    connection = (tmp_path / "d" / "identities" / name / "connection.toml").read_text()
    assert 'host = "broker.example"' in connection


@pytest.mark.parametrize("lost", ["ca/ca.key", "register.sqlite"])
def test_an_authority_whose_settings_were_lost_is_not_replaced(lost: str, tmp_path: Path) -> None:
    run("init", "d", folder=tmp_path)
    folder = tmp_path / "d"
    (folder / "meter61850.env").unlink()
    for other in {"ca/ca.key", "register.sqlite"} - {lost}:
        (folder / other).unlink()
    before = content(folder)
    assert f"holds {lost} but no meter61850.env" in error(
        "init", "d", "--if-missing", folder=tmp_path, code=2
    )
    assert content(folder) == before


def test_it_is_no_deployment_before_all_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was killed half-way must not pass for whole: the next `--if-missing` would go on with it."""
    seen: list[bool] = []
    monkeypatch.setattr(Deployment, "publish", lambda made: seen.append(Deployment(made.folder).exists))
    assert new_deployment(tmp_path / "d", NewDeployment()).exists
    assert seen == [False]


def test_the_settings_name_files_of_the_deployment(tmp_path: Path) -> None:
    """Not of the folder in which a command happens to be started."""
    run("init", "d", folder=tmp_path)
    settings = Deployment.open(tmp_path / "d").environment
    assert settings["METER61850_AUDIT_HEAD_FILE"] == str(tmp_path / "d" / "bridge" / "audit.head")
    assert settings["METER61850_WEB_USERS"] == str(tmp_path / "d" / "web" / "web-users.json")
