"""A byte order mark at the start of a file that a person has edited (Windows' Notepad) changes nothing."""

from __future__ import annotations

import codecs
import shutil
from pathlib import Path

import pytest

from admin.deployments import enter_deployment
from broker.contract.errors import CredentialError
from broker.mqtt.identity import client_context
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import MeterSettings
from mms_bridge.access.client_rights import read_rights
from mms_bridge.access.tls_credentials import load
from mms_bridge.settings import TlsFiles
from registrar import pki
from registrar.deployment import Deployment
from registrar.init_deployment import NewDeployment, new_deployment
from registrar.pki import Authority
from scl_builder.check.checker import check
from scl_builder.check.outline import parse
from web.auth.accounts import Accounts, Role

ROOT = Path(__file__).parents[2]


def mark(file: Path) -> Path:
    """Put the mark at the start of ``file``."""
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    return file


def test_settings_of_a_meter(tmp_path: Path) -> None:
    file = tmp_path / "meter.toml"
    shutil.copy(ROOT / "meter_firmware" / "meter.example.toml", file)
    assert MeterSettings.load(mark(file)) == MeterSettings.load(ROOT / "meter_firmware/meter.example.toml")


def test_deployment_and_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_deployment(tmp_path / "d", NewDeployment())
    before = made.environment
    mark(made.folder / "meter61850.env")
    again = Deployment.open(made.folder)
    assert again.environment == before
    assert not any(key.startswith("\ufeff") for key in again.environment)
    monkeypatch.setattr("os.environ", {})
    enter_deployment(made.folder, "bridge")
    folder = made.identity_folder("admin")
    whole = MqttSettings.model_validate({"identity": folder})
    mark(folder / "connection.toml")
    mark(folder / "ca.crt")
    assert MqttSettings.model_validate({"identity": folder}) == whole
    context = whole.tls()
    assert context is not None
    assert context.cert_store_stats()["x509_ca"] == 1


def test_authorities(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes("# die Behörde\n".encode() + pki.pem(Authority.new("x").certificate))
    assert client_context(mark(file), None, None).cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("content", [b"", codecs.BOM_UTF8, b"no certificate"])
def test_file_without_an_authority_is_refused(content: bytes, tmp_path: Path) -> None:
    """Python would trust all authorities of the operating system instead of none."""
    file = tmp_path / "ca.crt"
    file.write_bytes(content)
    with pytest.raises(CredentialError, match=r"ca .*ca\.crt: .*PEM file"):
        client_context(file, None, None)


def test_accounts(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    Accounts(file).add("anna", Role.OBSERVER, password="correct horse")
    mark(file)
    assert [account.name for account in Accounts(file).all()] == ["anna"]


def test_scl(tmp_path: Path) -> None:
    clean = codecs.BOM_UTF8 + (ROOT / "tests/unit/scl_faults/clean.scd").read_bytes()
    assert list(check(clean)) == []
    assert parse(clean).ieds


def test_rights_of_mms_clients() -> None:
    text = 'clients.scada.rights = "control"'
    assert read_rights("\ufeff" + text) == read_rights(text)


def test_authorities_of_mms_clients(tmp_path: Path) -> None:
    authority, key = Authority.new("x"), pki.new_key()
    files = TlsFiles(tmp_path / "own.crt", tmp_path / "own.key", tmp_path / "ca.crt", None)
    files.cert.write_bytes(pki.pem(authority.issue("x", key.public_key(), hosts=["localhost"])))
    files.key.write_bytes(pki.key_pem(key))
    files.key.chmod(0o600)
    files.ca.write_bytes(pki.pem(authority.certificate))
    mark(files.ca)
    assert load(files).context.cert_store_stats()["x509_ca"] == 1
