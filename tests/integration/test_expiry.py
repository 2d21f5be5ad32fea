"""Certificates that end: what is renewed, when and how, and what somebody is warned of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509

from admin.commands.doctor import _certificates
from admin.doctor.findings import Verdict
from broker.contract.roles import Role
from broker.durable import PUBLIC, replace
from broker.mqtt.identity import client_context
from registrar import expiry, pki
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment
from registrar.expiry import CertificateWatch
from registrar.identities import SERVICES, Identity, fingerprint
from registrar.identity_store import IdentityStore
from registrar.init_deployment import NewDeployment, new_deployment
from registrar.pki import SERVER_DAYS
from registrar.transaction import Change

NOW = datetime.now(UTC)
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
LOCAL = [
    *(f"server {name}" for name in ("server", "mms", "mms-rsa", "web")),
    *(f"service {name}" for name in SERVICES),
]
DUE = NOW + timedelta(days=SERVER_DAYS * 2 / 3 + 1)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return new_deployment(tmp_path / "d", NewDeployment(hosts=("broker.example", "192.0.2.7")))


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def renew(deployment: Deployment, now: datetime) -> list[str]:
    return list(expiry.renew(deployment, now))


def certificates(deployment: Deployment) -> dict[str, x509.Certificate]:
    return {one.name: read(one.file) for one in expiry.renewable(deployment)}


def test_nothing_is_renewed_before_two_thirds_of_its_life(deployment: Deployment) -> None:
    before = certificates(deployment)
    assert list(before) == LOCAL
    assert renew(deployment, DUE - timedelta(days=2)) == []
    assert certificates(deployment) == before


@pytest.mark.parametrize("moment", [DUE, NOW + timedelta(days=SERVER_DAYS + 40)], ids=["in time", "too late"])
def test_what_is_due_is_renewed_with_its_key_its_names_and_its_purpose(
    deployment: Deployment, moment: datetime
) -> None:
    """Also what has ended already, because no registrar ran."""
    before = certificates(deployment)
    assert renew(deployment, moment) == LOCAL
    after = certificates(deployment)
    for name, old in before.items():
        new = after[name]
        assert new.not_valid_after_utc == (moment + timedelta(days=SERVER_DAYS)).replace(microsecond=0)
        assert (new.public_key(), new.subject, new.issuer) == (old.public_key(), old.subject, old.issuer)
        assert new.serial_number != old.serial_number
        mine = {extension.oid: extension.value for extension in old.extensions}
        assert {extension.oid: extension.value for extension in new.extensions} == mine
    for pair in deployment.server_pairs():
        client_context(deployment.broker / "ca.crt", pair.with_suffix(".crt"), pair.with_suffix(".key"))
    known = {one.fingerprint: one for one in deployment.identity_store.certificates()}
    for name in SERVICES:
        new, old = after[f"service {name}"], before[f"service {name}"]
        assert known[fingerprint(new)].revoked is None
        assert known[fingerprint(old)].revoked is None  # a copy on another machine keeps working
        assert known[fingerprint(old)].ends is None
    assert renew(deployment, moment) == []


def test_a_blocked_or_revoked_service_gets_nothing(deployment: Deployment) -> None:
    with deployment.identity_store.change() as change:
        change.block("web", "stolen")
        change.revoke("mms")
    renewed = renew(deployment, DUE)
    assert {"service web", "service mms"} & set(renewed) == set()
    assert len(renewed) == len(LOCAL) - 2


def test_a_certificate_of_somebody_else_is_left_alone_and_warned_of(deployment: Deployment) -> None:
    other = pki.Authority.new("somebody else")
    key = pki.new_key()
    made = other.issue("broker.example", key.public_key(), days=20, hosts=["broker.example"])
    replace(deployment.broker / "server.crt", pki.pem(made), mode=PUBLIC)
    replace(deployment.broker / "server.key", pki.key_pem(key), mode=0o600)
    assert renew(deployment, NOW + timedelta(days=15)) == []
    (one,) = expiry.ending(deployment, NOW)
    assert one.text.startswith("the certificate of server server ends on ")
    assert one.text.endswith(": meter61850 credentials rotate server")


def test_nothing_is_renewed_beyond_its_authority_which_is_warned_of(deployment: Deployment) -> None:
    """One warning for each, and no renewal in each round."""
    end = NOW + timedelta(days=pki.CA_DAYS)
    assert len(renew(deployment, end - timedelta(days=800))) == len(LOCAL)
    assert renew(deployment, end - timedelta(days=20)) == []
    told = {one.what: one.cure for one in expiry.ending(deployment, end - timedelta(days=20))}
    assert told.keys() == {"authority ca", "authority services", *LOCAL}
    assert told["authority ca"] == "meter61850 credentials rotate-ca"
    assert expiry.ending(deployment, end - timedelta(days=31)) == []


def test_people_and_meters_whose_certificate_nobody_renews_are_warned_of(
    deployment: Deployment, tmp_path: Path
) -> None:
    """30 days before, and not for ever after it."""
    deployment.enlist(Identity("anna", Role.OPERATOR), tmp_path / "anna")
    deployment.enlist(Identity("bert", Role.ISSUER), tmp_path / "bert")
    deployment.enlist(Identity(METER, Role.METER), tmp_path / "meter")
    with deployment.identity_store.change() as change:
        change.block("bert", "left")
    end = NOW + timedelta(days=pki.CLIENT_DAYS)
    renew(deployment, DUE)
    assert expiry.ending(deployment, end - timedelta(days=31)) == []
    for moment in (end - timedelta(days=29), end + timedelta(days=29)):
        told = sorted(one.what for one in expiry.ending(deployment, moment))
        assert told == [f"meter {METER}", "operator anna"]
    assert expiry.ending(deployment, end + timedelta(days=31)) == []


def test_it_is_logged_once_a_day_and_told_to_the_audit(
    deployment: Deployment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.enlist(Identity("anna", Role.OPERATOR), tmp_path / "anna")
    watch = CertificateWatch(deployment, AuditQueue(deployment))
    watch.look(DUE)
    assert watch.warnings == []
    end = NOW + timedelta(days=pki.CLIENT_DAYS)
    for hours in (0, 1, 25):
        watch.look((end - timedelta(days=20)).replace(hour=1) + timedelta(hours=hours))
    assert caplog.text.count("the certificate of operator anna ends on ") == 2
    assert len(watch.warnings) == 1
    assert watch.ends["authority ca"] > watch.ends["server server"] > NOW.timestamp()
    assert renewed(deployment) == [name.partition(" ")[2] for name in LOCAL]


def test_a_file_that_cannot_be_written_is_tried_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = CertificateWatch(deployment, AuditQueue(deployment))
    with monkeypatch.context() as full:
        full.setattr(expiry, "replace", _full)
        watch.try_look(DUE)
    for name in LOCAL:
        assert f"the certificate of {name} is not renewed: disk is full" in caplog.text
    watch.try_look(DUE)
    assert min(one.not_valid_after_utc for one in certificates(deployment).values()) > DUE


def test_one_file_that_cannot_be_written_keeps_no_other_from_being_renewed_and_recorded(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of one service is away: the rest is renewed, and the audit has each of it once."""
    bad = deployment.mms / "mms.crt"

    def put(file: Path, content: bytes, *, mode: int) -> None:
        if file == bad:
            raise OSError("read-only file system")
        replace(file, content, mode=mode)

    watch = CertificateWatch(deployment, AuditQueue(deployment))
    with monkeypatch.context() as away:
        away.setattr(expiry, "replace", put)
        watch.try_look(DUE)
    rest = [name for name in LOCAL if name != "server mms"]
    ends = {name: one.not_valid_after_utc for name, one in certificates(deployment).items()}
    latest = NOW + timedelta(days=SERVER_DAYS + 1)
    assert [name for name, end in ends.items() if end > latest] == rest
    assert renewed(deployment) == [name.partition(" ")[2] for name in rest]


def renewed(deployment: Deployment) -> list[str]:
    """Whose renewal waits for the audit."""
    with deployment.identity_store.connection() as connection:
        notes = [json.loads(row["event"]) for row in connection.execute("SELECT event FROM note")]
    return [note["identity"] for note in notes if note["outcome"] == "renewed"]


def _full(*_: object, **__: object) -> None:
    raise OSError("disk is full")


def test_a_power_cut_at_any_moment_leaves_every_pair_whole(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after each file that is put in its place; what was not renewed is at the next look."""
    put, moment = os.replace, DUE
    for step in range(2 * len(LOCAL)):
        left = step

        def cut(source: str, target: str) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            put(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", cut)
            with suppress(KeyboardInterrupt):
                renew(deployment, moment)
        again = Deployment.open(deployment.folder)
        for pair in again.server_pairs():
            client_context(again.broker / "ca.crt", pair.with_suffix(".crt"), pair.with_suffix(".key"))
        for name in SERVICES:
            folder = again.identity_folder(name)
            client_context(folder / "ca.crt", folder / "client.crt", folder / "client.key")
        renew(again, moment)
        assert renew(again, moment) == []
        moment += timedelta(days=SERVER_DAYS * 2 / 3 + 1)  # due again
        if step < 4 * len(LOCAL) and moment > NOW + timedelta(days=pki.CA_DAYS - SERVER_DAYS):
            deployment, moment = (
                new_deployment(deployment.folder.with_name(f"d{step}"), NewDeployment()),
                DUE,
            )


def test_a_process_that_dies_at_any_moment_leaves_each_renewal_once_in_the_audit(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after a file that is put in its place, or after a transaction of the identity store."""
    put, change, step, steps = os.replace, IdentityStore.change, 0, 0

    def happened() -> None:
        nonlocal steps
        steps += 1
        if steps > step:
            raise KeyboardInterrupt

    def replaced(source: str, target: str) -> None:
        put(source, target)
        happened()

    @contextmanager
    def changed(store: IdentityStore) -> Iterator[Change]:
        with change(store) as made:
            yield made
        happened()

    for step in count():
        steps, folder = 0, deployment.folder.with_name(f"d{step}")
        made = new_deployment(folder, NewDeployment())
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replaced)
            patched.setattr(IdentityStore, "change", changed)
            with suppress(KeyboardInterrupt):
                CertificateWatch(made, AuditQueue(made)).look(DUE)
        again = Deployment.open(folder)
        CertificateWatch(again, AuditQueue(again)).look(DUE)
        assert sorted(renewed(again)) == sorted(one.partition(" ")[2] for one in LOCAL), step
        assert not again.identity_store.marks()
        if steps <= step:
            break
    assert step >= 3 * len(LOCAL)


def test_doctor_tells_what_ends(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METER61850_DIR", str(deployment.folder))
    (good,) = _certificates()
    assert (good.verdict, good.detail) == (Verdict.OK, "none ends within 30 days")
    for name, days in (("anna", 20), ("carl", 40)):
        issued(deployment, Identity(name, Role.OPERATOR), timedelta(days=days))
    issued(deployment, Identity("dora", Role.ISSUER), timedelta(hours=-1))
    found = {one.detail.partition(":")[0]: one for one in _certificates()}
    assert {what: one.verdict for what, one in found.items()} == {
        "of operator anna": Verdict.NOTE, "of issuer dora": Verdict.FAIL,
    }  # fmt: skip
    assert "ended on" in found["of issuer dora"].detail
    assert found["of operator anna"].cure == "meter61850 credentials rotate anna --out FOLDER"


def issued(deployment: Deployment, identity: Identity, left: timedelta) -> None:
    """An identity whose certificate has so long to live."""
    authority = deployment.authority_of(identity.role)
    with deployment.identity_store.change() as change:
        change.add(identity)
        certificate = authority.issue(identity.name, pki.new_key().public_key())
        change.issued(identity.name, certificate, authority.certificate)
        ends = int((datetime.now(UTC) + left).timestamp())
        change.connection.execute(
            "UPDATE certificate SET not_after = ? WHERE name = ?", (ends, identity.name)
        )
