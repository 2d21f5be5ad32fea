"""A command that is killed at any step: the next one finishes it, and the audit has it exactly once.

There is no broker here: `tests/integration/test_killed_commands.py` shows that Mosquitto enforces it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter as Counts
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import select
from sqlmodel import col

from admin.pending import opened
from bridge.store import database
from bridge.store.tables import Audit
from broker.contract.birth import Hardware
from broker.contract.enrolment import Access, Ask, Verdict
from broker.contract.known import takes_access
from broker.contract.messages import utc_now
from broker.contract.roles import Role
from broker.mqtt.identity import client_context
from meter_firmware.enrolment import keys
from registrar import blocking, enrolment_codes, renewal, requests, rotation
from registrar.deployment import Deployment
from registrar.identities import SERVICES, Identity
from registrar.init_deployment import NewDeployment, new_deployment
from tests.support.brokers import free_port
from tests.support.killed import killed_at

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
CSR = keys.request(METER, keys.new_key())
ASK = Ask(meter_id=METER, hardware=Hardware(serial="S-1"), csr=CSR, ts=utc_now())


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """With a database for the audit, and ports on which nobody listens."""
    first = free_port(4)
    plan = NewDeployment(services_port=first, port=first + 1, password_port=first + 2, mms_tls_port=first + 3)
    made = new_deployment(tmp_path / "d", plan)
    engine = database.connect(made.environment["METER61850_DATABASE_URL"])
    database.migrate(engine)
    engine.dispose()
    for name in [name for name in os.environ if name.startswith("METER61850_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METER61850_DIR", str(made.folder))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a process dies here, not the machine
    return made


def waiting(deployment: Deployment, *, automatic: bool = False) -> str:
    """METER has asked with a new code; the code's id."""
    valid = timedelta(days=1)
    code = enrolment_codes.make(
        deployment.identity_store, count=2, valid=valid, automatic=automatic, who="test"
    )
    requests.take(deployment, f"{code.id}-1", ASK, serials={})
    return code.id


def enrolled(deployment: Deployment) -> None:
    """METER has a certificate, and was never blocked."""
    if deployment.identity_store.identity(METER) is None:
        deployment.enlist(Identity(METER, Role.METER), deployment.identity_folder(METER))
    with deployment.identity_store.change() as change:
        change.unblock(METER)


def revoked(deployment: Deployment) -> bool:
    """All that METER has is on the list that the broker reads."""
    crl = x509.load_pem_x509_crl((deployment.broker / "crl.pem").read_bytes())
    mine = deployment.identity_store.certificates(METER)
    return all(crl.get_revoked_certificate_by_serial_number(one.serial) for one in mine)


def denied(deployment: Deployment, name: str) -> bool:
    """The access list that the broker reads denies everything."""
    return f"user {name}\ntopic deny #\n" in (deployment.broker / "acl").read_text() + "\n"


# Each: what it needs, the command, whether it has begun, whether it is done, and what the audit must have.
Case = tuple[
    Callable[[Deployment], str],
    tuple[str, ...],
    Callable[[Deployment], bool],
    Callable[[Deployment], bool],
    dict[str, int],
]


def _anna(deployment: Deployment) -> str:
    deployment.enlist(Identity("anna", Role.ISSUER), deployment.identity_folder("anna"))
    return ""


def _meter(deployment: Deployment) -> str:
    enrolled(deployment)
    return ""


def _blocked(deployment: Deployment) -> str:
    enrolled(deployment)
    blocking.block(deployment, METER, reason="a test")
    return ""


def _asked(deployment: Deployment) -> str:
    waiting(deployment)
    return ""


def _code(deployment: Deployment) -> str:
    return waiting(deployment)


def _two_authorities(deployment: Deployment) -> str:
    rotation.rotate_authority(deployment)
    return ""


def _stranger(deployment: Deployment) -> str:
    waiting(deployment, automatic=True)
    renewal.revoke(deployment, METER)
    return ""


def _nothing(_: Deployment) -> str:
    return ""


def _identity(deployment: Deployment, name: str) -> Identity | None:
    return deployment.identity_store.identity(name)


def _new_certificate(deployment: Deployment, name: str) -> bool:
    """Its folder has the newest of two."""
    certificates = deployment.identity_store.certificates(name)
    folder = deployment.identity_folder(name)
    there = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
    return len(certificates) == 2 and certificates[-1].serial == there.serial_number


def _first_code(deployment: Deployment) -> enrolment_codes.Code:
    return enrolment_codes.listed(deployment.identity_store)[0]


def _request(deployment: Deployment) -> requests.Request:
    return requests.listed(deployment)[0]


CASES: dict[str, Case] = {
    "block": (
        _meter,
        ("meters", "block", METER, "--reason", "stolen"),
        lambda d: bool(_identity(d, METER) and _identity(d, METER).blocked),  # type: ignore[union-attr]
        lambda d: denied(d, METER) and revoked(d),
        {"meter-blocked": 1},
    ),
    "block for good": (
        _meter,
        ("meters", "block", METER, "--reason", "stolen", "--for-good"),
        lambda d: bool(_identity(d, METER) and _identity(d, METER).blocked),  # type: ignore[union-attr]
        lambda d: denied(d, METER) and revoked(d),
        {"meter-blocked": 1},
    ),
    "unblock": (
        _blocked,
        ("meters", "unblock", METER),
        lambda d: not _identity(d, METER).blocked,  # type: ignore[union-attr]
        lambda d: not denied(d, METER) and not revoked(d),
        {"meter-unblocked": 1},
    ),
    "revoke a meter": (
        _meter,
        ("credentials", "revoke", METER),
        lambda d: d.identity_store.certificates(METER)[0].revoked is not None,
        revoked,
        {"credentials-revoked": 1},
    ),
    "revoke a person": (
        _anna,
        ("credentials", "revoke", "anna"),
        lambda d: d.identity_store.certificates("anna")[0].revoked is not None,
        lambda d: denied(d, "anna"),
        {"credentials-revoked": 1},
    ),
    "remove": (
        _anna,
        ("identity", "remove", "anna"),
        lambda d: _identity(d, "anna") is None or bool(_identity(d, "anna").blocked),  # type: ignore[union-attr]
        lambda d: _identity(d, "anna") is None or denied(d, "anna"),
        {"credentials-revoked": 1},
    ),
    "add": (
        _nothing,
        ("identity", "add", "anna", "--role", "issuer"),
        lambda d: _identity(d, "anna") is not None,
        lambda d: "user anna" in (d.broker / "acl").read_text(),
        {"credentials-issued": 1},
    ),
    "rotate": (
        _nothing,
        ("credentials", "rotate", "bridge", "--overlap", "0h"),
        lambda d: len(d.identity_store.certificates("bridge")) == 2,
        lambda d: _new_certificate(d, "bridge"),
        {"credentials-rotated": 1, "credentials-revoked": 1},
    ),
    "new code": (
        _nothing,
        ("enrol", "new"),
        lambda d: bool(enrolment_codes.listed(d.identity_store)),
        lambda d: (
            bool(enrolment_codes.listed(d.identity_store))
            and f"user {_first_code(d).id}-1" in (d.broker / "acl").read_text()
        ),
        {"enrolment-code-made": 1},
    ),
    "approve": (
        _asked,
        ("enrol", "approve", METER, "--key", ASK.question[:16]),
        lambda d: _request(d).verdict is Verdict.GRANTED,
        lambda d: len(d.identity_store.certificates(METER)) == 1,
        {"enrolment-approved": 1, "credentials-issued": 1},
    ),
    "refuse": (
        _asked,
        ("enrol", "refuse", METER),
        lambda d: _request(d).verdict is Verdict.REFUSED,
        lambda d: not d.identity_store.certificates(METER),
        {"enrolment-refused": 1},
    ),
    "withdraw": (
        _code,
        ("enrol", "withdraw"),
        lambda d: _first_code(d).withdrawn is not None,
        lambda d: f"user {_first_code(d).id}-2" not in (d.broker / "acl").read_text(),
        {"enrolment-refused": 1},
    ),
    "forget": (
        _stranger,
        ("devices", "forget", "S-1"),
        lambda d: not _devices(d),
        lambda d: not _devices(d),
        {"device-forgotten": 1},
    ),
    "rotate server": (
        _nothing,
        ("credentials", "rotate", "server"),
        lambda d: _events(d)["credentials-rotated"] == 1,
        lambda d: True,
        {"credentials-rotated": 1},
    ),
    "rotate-ca": (
        _nothing,
        ("credentials", "rotate-ca"),
        lambda d: len(d.authorities()) == 2 or bool(d.identity_store.marks()),
        lambda d: all(_new_certificate(d, name) for name in SERVICES),
        {"credentials-rotated": 1 + len(SERVICES)},
    ),
    "retire-ca": (
        _two_authorities,
        ("credentials", "retire-ca", "--force"),
        lambda d: len(d.authorities()) == 1 or bool(d.identity_store.marks()),
        lambda d: len(d.authorities()) == 1,
        {"credentials-revoked": 1},
    ),
}


def _devices(deployment: Deployment) -> list[str]:
    with deployment.identity_store.connection() as connection:
        return [row[0] for row in connection.execute("SELECT serial FROM device")]


def _events(deployment: Deployment) -> Counts[str]:
    engine = database.connect(deployment.environment["METER61850_DATABASE_URL"])
    try:
        with engine.connect() as connection:
            return Counts(connection.scalars(select(col(Audit.event))).all())
    finally:
        engine.dispose()


def again(deployment: Deployment) -> Deployment:
    """As it was found, as another process would."""
    return Deployment.open(deployment.folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_step_it_is_not_begun_or_finished_by_the_next_command(
    name: str, deployment: Deployment, tmp_path: Path
) -> None:
    need, command, is_begun, is_done, events = CASES[name]
    extra = need(deployment)
    opened(deployment.folder)
    before = _events(deployment)
    copy, step = tmp_path / "copy", 0
    shutil.copytree(deployment.folder, copy)
    while killed_at(step, *command, *filter(None, [extra])):
        left = again(deployment)
        opened(deployment.folder)  # as every command does
        assert left.is_published
        assert not left.identity_store.parcels()
        assert not left.identity_store.marks()
        told = Counts({kind: _events(left)[kind] - before[kind] for kind in events})
        assert told == (Counts(events) if is_begun(left) else Counts(dict.fromkeys(events, 0))), step
        assert is_done(left) or not is_begun(left), step
        _check_folders(left)
        shutil.rmtree(deployment.folder)
        shutil.copytree(copy, deployment.folder)
        step += 1 if step < 12 else 3  # rotations have some sixty, one folder after the other
    assert step >= (2 if name == "forget" else 5)
    assert is_done(again(deployment))


def _check_folders(deployment: Deployment) -> None:
    """Every service can still connect."""
    for name in SERVICES:
        folder = deployment.identity_folder(name)
        client_context(folder / "ca.crt", folder / "client.crt", folder / "client.key")
        there = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
        there.verify_directly_issued_by(deployment.authority("services").certificate)
        (row,) = [
            one for one in deployment.identity_store.certificates(name) if one.serial == there.serial_number
        ]
        assert row.revoked is None
        assert row.ends is None or row.ends > datetime.now(UTC)


@pytest.mark.parametrize("ahead", [0, 240, 86_400])
def test_a_meter_is_blocked_for_all_also_by_a_clock_that_was_set_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    enrolled(deployment)

    def decision() -> Access:
        with deployment.identity_store.change() as change:
            return Access.model_validate_json(change.kept(f"sm/v1/{METER}/access") or b"")

    now = utc_now()
    monkeypatch.setattr(blocking, "utc_now", lambda: now + timedelta(seconds=ahead))
    blocking.unblock(deployment, METER)
    before = decision()
    monkeypatch.setattr(blocking, "utc_now", lambda: now)
    blocking.block(deployment, METER, reason="stolen")
    assert [before.allowed, decision().allowed] == [True, False]
    assert takes_access(before.ts, decision(), now=now), "every reader takes it"
