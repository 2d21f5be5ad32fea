"""A meter's renewal: when it is due, what it takes, and what a power cut leaves."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from broker.contract.enrolment import Answer, Credential, Verdict
from broker.contract.errors import ContractError
from broker.contract.messages import utc_now
from meter_firmware.enrolment import keys
from meter_firmware.enrolment.credentials import Credentials, settle
from meter_firmware.enrolment.draft import Draft
from registrar import pki
from registrar.pki import Authority

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
AUTHORITY = Authority.new("test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An identity folder with a certificate for 90 days."""
    key = keys.new_key()
    (tmp_path / "client.key").write_text(key)
    (tmp_path / "client.key").chmod(0o600)
    (tmp_path / "client.crt").write_bytes(
        pki.pem(AUTHORITY.issue(METER, keys.load(key).public_key(), days=90))
    )
    (tmp_path / "ca.crt").write_bytes(pki.pem(AUTHORITY.certificate))
    return tmp_path


def answered(csr: str | None, *, name: str = METER) -> Credential:
    """What the registrar would say."""
    key = pki.checked_request((csr or "").encode())
    certificate = pki.pem(AUTHORITY.issue(name, key)).decode()
    return Credential(
        authorities=pki.pem(AUTHORITY.certificate).decode(), certificate=certificate, ts=utc_now()
    )


def belongs(folder: Path) -> bool:
    """Whether key and certificate are a pair."""
    certificate = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
    return certificate.public_key() == keys.load((folder / "client.key").read_text()).public_key()


def test_it_is_due_at_two_thirds_of_its_life_or_when_wanted(folder: Path) -> None:
    credentials = Credentials(folder, METER)
    now = datetime.now(UTC)
    assert not credentials.due(now + timedelta(days=59))
    assert credentials.due(now + timedelta(days=61))
    wanted = Credential(authorities=pki.pem(AUTHORITY.certificate).decode(), renew=True, ts=utc_now())
    assert credentials.take(wanted) is False
    assert credentials.due(now)


def test_a_new_certificate_is_taken_and_told_until_the_broker_has_it(folder: Path) -> None:
    credentials = Credentials(folder, METER)
    asked = credentials.ask()
    assert credentials.untold is None
    assert credentials.take(answered(asked.csr))
    assert belongs(folder)
    assert (folder / "client.key").stat().st_mode & 0o777 == 0o600
    told = Credentials(folder, METER).untold
    assert told is not None
    assert told.using == keys.fingerprint(
        x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
    )
    credentials.was_told()
    assert credentials.untold is None
    assert credentials.ask().csr != asked.csr


def test_what_is_of_no_use_changes_nothing(folder: Path) -> None:
    credentials = Credentials(folder, METER)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ContractError, match="did not request"):
        credentials.take(answered(keys.request(METER, keys.new_key())))
    asked = credentials.ask()
    for bad in (
        answered(keys.request(METER, keys.new_key())),
        answered(asked.csr, name="admin"),
        answered(asked.csr).model_copy(update={"certificate": "rubbish"}),
        answered(asked.csr).model_copy(update={"authorities": "rubbish"}),
        answered(asked.csr).model_copy(update={"authorities": ""}),
    ):
        with pytest.raises(ContractError):
            credentials.take(bad)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_power_cut_between_certificate_and_key_is_mended(folder: Path) -> None:
    credentials = Credentials(folder, METER)
    asked = credentials.ask()
    old = (folder / "client.key").read_bytes()
    shutil.copy(folder / "client.key.next", folder / "kept")
    credentials.take(answered(asked.csr))
    (folder / "client.key").write_bytes(old)  # as if the last step had not come
    shutil.copy(folder / "kept", folder / "client.key.next")
    (folder / "client.key.next").chmod(0o600)
    assert not belongs(folder)
    settle(folder)
    assert belongs(folder)


def test_a_power_cut_before_the_answer_keeps_the_old_pair(folder: Path) -> None:
    Credentials(folder, METER).ask()
    settle(folder)
    assert belongs(folder)
    assert (folder / "client.key.next").exists()  # the answer may be on its way


def test_a_meter_without_certificate_has_nothing_to_renew(tmp_path: Path) -> None:
    for where in (None, tmp_path):
        credentials = Credentials(where, METER)
        assert not credentials.due(datetime.now(UTC))
        assert credentials.untold is None


def test_a_power_cut_at_the_end_of_an_enrolment_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power goes when the folder is renamed, or just before: then the same key asks again."""
    draft = Draft(tmp_path, METER)
    draft.begin(token=False)
    told = answered(draft.request)
    answer = Answer(
        meter_id=METER,
        question="0" * 64,
        verdict=Verdict.GRANTED,
        certificate=told.certificate,
        authorities=told.authorities,
        port=8883,
        ts=utc_now(),
    )
    before = draft.request

    def cut(_path: Path, _target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            draft.finish(answer, host="broker.example", prefix="sm/v1")
    again = Draft(tmp_path, METER)
    again.begin(token=False)
    assert again.request == before
    assert belongs(again.finish(answer, host="broker.example", prefix="sm/v1"))
    assert sorted(file.name for file in (tmp_path / "identity").iterdir()) == [
        "ca.crt",
        "client.crt",
        "client.key",
        "connection.toml",
    ]


def test_a_meter_with_a_token_hears_whom_to_trust(folder: Path) -> None:
    (folder / "client.crt").unlink()
    (folder / "client.key").unlink()
    credentials = Credentials(folder, METER)
    assert (credentials.kept, credentials.renewable) == (True, False)
    both = (folder / "ca.crt").read_text() + pki.pem(Authority.new("next").certificate).decode()
    assert not credentials.take(Credential(authorities=both, renew=True, ts=utc_now()))
    assert (folder / "ca.crt").read_text() == both
    assert not credentials.due(datetime.now(UTC))
    assert not Credentials(None, METER).kept
