"""Files of a deployment that are lost, empty or cut short: nobody starts as if nothing were."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from admin.deployments import enter_deployment
from admin.pending import opened
from bridge.store.backup import back_up
from broker.contract.errors import ConfigurationError
from broker.contract.roles import Role
from broker.daemon.mosquitto import BrokerSettings
from broker.daemon.reloader import _usable
from broker.daemon.security_files import check_files
from broker.environment import ESSENTIAL
from broker.mqtt.settings import MqttSettings
from meter_firmware.storage import Storage
from registrar.deployment import Deployment
from registrar.identities import Identity
from registrar.init_deployment import NewDeployment, new_deployment
from tests.support.databases import migrated
from web.auth.accounts import Accounts
from web.auth.accounts import Role as WebRole

HURT = ("empty", "half", "missing")
MADE_AGAIN = ("acl", "passwords", "crl.pem", "services-crl.pem", "ca.crt", "services-ca.crt")
"""In the broker's folder: the identity store says what is to be in them."""
SERVER = ("server.crt", "server.key")
SETTINGS = "meter61850.env"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with somebody who has lost his rights."""
    deployment = new_deployment(tmp_path_factory.mktemp("whole") / "d", NewDeployment())
    deployment.enlist(Identity("otto", Role.ISSUER), deployment.identity_folder("otto"))
    with deployment.identity_store.change() as change:
        change.block("otto", "a test")
    deployment.publish()
    return deployment.folder


@pytest.fixture
def folder(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same each time, at the same place."""
    for name in [name for name in os.environ if name.startswith("METER61850_")]:
        monkeypatch.delenv(name)
    copy = whole.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    settings = copy / SETTINGS
    settings.write_text(settings.read_text().replace(str(whole), str(copy)))
    return copy


def hurt(file: Path, how: str) -> None:
    """Make it ``empty``, ``half`` of what it was, or ``missing``."""
    content, mode = file.read_bytes(), file.stat().st_mode
    file.unlink()
    if how != "missing":
        file.write_bytes(b"" if how == "empty" else content[: len(content) // 2])
        file.chmod(mode)


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("name", ["register.sqlite", SETTINGS, "ca/ca.key", "ca/ca.crt", "ca/services.key"])
def test_what_nobody_can_write_again_is_asked_for(folder: Path, name: str, how: str) -> None:
    before = {file.name: file.read_bytes() for file in (folder / "security").iterdir()}
    hurt(folder / name, how)
    with pytest.raises((ConfigurationError, OSError)) as caught:
        opened(folder).publish()
    assert Path(name).name.partition(".")[0] in str(caught.value)
    assert how == "missing" or "restore" in str(caught.value)
    after = {file.name: file.read_bytes() for file in (folder / "security").iterdir()}
    for kept in ("acl", "passwords"):  # nobody is locked out, and nobody let in
        assert after[kept] == before[kept]


@pytest.mark.parametrize("how", HURT)
def test_a_folder_that_is_taken_by_itself_asks_for_its_settings(
    folder: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    shutil.rmtree("data", ignore_errors=True)
    folder.rename("data")
    hurt(Path("data") / SETTINGS, how)
    with pytest.raises(ConfigurationError, match=f"{SETTINGS}.*restore"):
        enter_deployment(None, "broker")
    assert not [name for name in os.environ if name.startswith("METER61850_")]


@pytest.mark.parametrize("key", ESSENTIAL)
def test_settings_without_one_that_counts_are_none(folder: Path, key: str) -> None:
    settings = folder / SETTINGS
    lines = [line for line in settings.read_text().splitlines() if not line.startswith(f"{key}=")]
    settings.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=f"{key} is not in it"):
        Deployment.open(folder)


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("name", [*MADE_AGAIN, *SERVER])
def test_mosquitto_is_not_started_on_half_a_file_nor_told_to_read_it(
    folder: Path, name: str, how: str
) -> None:
    """With an empty access list it would let everybody do everything."""
    if (name, how) in (("passwords", "empty"), ("passwords", "half")):
        return  # as it is when nobody has a password: who is not in it does not get in
    file = folder / "security" / name
    hurt(file, how)
    with pytest.raises((ConfigurationError, ValueError), match=name):
        BrokerSettings(security=folder / "security")
    assert not _usable(folder / "security")


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("name", MADE_AGAIN)
def test_what_follows_from_the_register_is_written_again_by_the_next_command(
    folder: Path, name: str, how: str
) -> None:
    file = folder / "security" / name
    before = file.read_bytes()
    hurt(file, how)
    if name.endswith((".pem", ".crt")) and how == "half":
        with pytest.raises(ConfigurationError, match=name):
            check_files(folder / "security")
    opened(folder)
    check_files(folder / "security")
    if name in ("acl", "passwords"):
        assert file.read_bytes() == before


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("name", ["connection.toml", "ca.crt", "client.crt", "client.key"])
def test_a_service_without_its_identity_says_so(folder: Path, name: str, how: str) -> None:
    file = folder / "identities" / "bridge" / name
    hurt(file, how)
    with pytest.raises((ConfigurationError, ValueError), match=name.partition(".")[0]):
        MqttSettings(identity=file.parent)


@pytest.mark.parametrize("how", ["empty", "half"])
def test_accounts_that_cannot_be_read_are_not_taken_as_none(tmp_path: Path, how: str) -> None:
    accounts = Accounts(tmp_path / "web-users.json")
    accounts.add("anna", WebRole.ADMINISTRATOR, password="a long password")
    hurt(accounts.file, how)
    with pytest.raises(ConfigurationError, match=r"web-users.json.*restore"):
        Accounts(accounts.file).all()


def mode(path: Path) -> int:
    """Who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_deployment_is_its_owners_alone_whatever_folder_and_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    folder.chmod(0o755)
    before = os.umask(umask)
    try:
        deployment = new_deployment(folder, NewDeployment())
        deployment.enlist(Identity("anna", Role.OPERATOR), tmp_path / "anna")
        url = deployment.environment["METER61850_DATABASE_URL"]
        engine = migrated(url)
        engine.dispose()
        back_up(url, tmp_path / "copy.sqlite")
        with Storage(tmp_path / "meter" / "meter.sqlite"):
            pass
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    for secret in (SETTINGS, "register.sqlite", "ca/ca.key", "security/server.key", "security/acl"):
        assert mode(folder / secret) == 0o600, secret
    files = [Path(url.removeprefix("sqlite:///")), tmp_path / "copy.sqlite", tmp_path / "meter/meter.sqlite"]
    assert {mode(file) for file in files} == {0o600}
    assert {mode(one) for one in folder.rglob("*") if one.is_dir()} == {0o700}
    assert mode(tmp_path / "anna") == 0o700
    assert mode(tmp_path / "anna" / "client.key") == 0o600


def test_an_open_folder_with_something_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o755)
    (tmp_path / "d" / "holiday.jpg").touch()
    with pytest.raises(ConfigurationError, match="chmod 700"):
        new_deployment(tmp_path / "d", NewDeployment())
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["holiday.jpg"]
