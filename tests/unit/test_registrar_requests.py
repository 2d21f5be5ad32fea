"""What becomes of requests, without a broker: the counter is given topics and payloads."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import col

from bridge.store import database
from bridge.store.audit import Kind
from bridge.store.tables import Audit
from broker.contract.birth import Birth, Hardware
from broker.contract.enrolment import Answer, Credential, Renewal, Verdict
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.messages import utc_now
from broker.contract.roles import Role
from broker.daemon.passwords import hashed
from meter_firmware.enrolment import keys
from registrar import devices, enrolment_codes, init_deployment, renewal, requests, rotation
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment
from registrar.identities import Identity, NotRegisteredError
from registrar.init_deployment import NewDeployment, new_deployment
from registrar.pki import Authority, common_name
from registrar.refusals import Why
from registrar.requests_handler import RequestsHandler

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


class Desk:
    """A deployment, and its counter."""

    def __init__(self, folder: Path) -> None:
        self.deployment: Deployment = new_deployment(folder, NewDeployment())
        self.handler = RequestsHandler(self.deployment, AuditQueue(self.deployment))

    def code(self, *, count: int = 5, automatic: bool = False, valid: float = 3600) -> EnrolmentCode:
        """A new one."""
        span = timedelta(seconds=valid)
        return enrolment_codes.make(
            self.deployment.identity_store, count=count, valid=span, automatic=automatic, who="test"
        )

    def ask(self, slot: str, **changes: Any) -> Answer | None:
        """The refusal, or the answer that is to be retained; None if there is none at all."""
        payload = json.dumps(asked(**changes)).encode()
        reply = self.handler.hear(f"sm/v1/enrol/{slot}/ask", payload)
        letter = self.letter(f"sm/v1/enrol/{slot}/answer")
        told = reply[1] if reply else letter
        return Answer.model_validate_json(told) if told else None

    def letter(self, topic: str) -> bytes | None:
        """What waits to be retained."""
        with self.deployment.identity_store.connection() as connection:
            row = connection.execute("SELECT payload FROM letter WHERE topic = ?", (topic,)).fetchone()
        return bytes(row[0]) if row else None


KEY = keys.new_key()
CSR = keys.request(METER, KEY)


def asked(**changes: Any) -> dict[str, Any]:
    """An Ask of METER, with changes; None takes a field away."""
    told = {"meter_id": METER, "hardware": {"serial": "S-1"}, "csr": CSR, "ts": "2026-11-25T12:00:00.000Z"}
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    """Inside of a loop, as the service has it."""
    await asyncio.sleep(0)
    return Desk(tmp_path / "d")


async def test_the_certificate_is_for_the_meter_id_whatever_the_request_says(desk: Desk) -> None:
    code = desk.code(automatic=True)
    answer = desk.ask(f"{code.id}-1", csr=keys.request("admin", KEY))
    assert answer is not None
    assert answer.verdict is Verdict.GRANTED
    certificate = x509.load_pem_x509_certificate((answer.certificate or "").encode())
    assert common_name(certificate) == METER


async def test_who_asks_again_gets_the_same_certificate_once_more(desk: Desk) -> None:
    """The broker had the answer, was killed, and has forgotten it."""
    slot = f"{desk.code(automatic=True).id}-1"
    first = desk.ask(slot)
    with desk.deployment.identity_store.change() as change:
        change.connection.execute("DELETE FROM letter")
    again = desk.ask(slot)
    assert first is not None
    assert again is not None
    assert (again.verdict, again.certificate) == (Verdict.GRANTED, first.certificate)
    assert len(desk.deployment.identity_store.certificates(METER)) == 1


async def test_a_request_waits_for_an_administrator(desk: Desk) -> None:
    code = desk.code()
    answer = desk.ask(f"{code.id}-1")
    assert answer is not None
    assert (answer.verdict, answer.certificate) == (Verdict.PENDING, None)
    assert desk.deployment.identity_store.identity(METER) is None
    requests.approve(desk.deployment, METER, who="anna")
    told = Answer.model_validate_json(desk.letter(f"sm/v1/enrol/{code.id}-1/answer") or b"")
    assert told.verdict is Verdict.GRANTED
    with pytest.raises(NotRegisteredError):
        requests.approve(desk.deployment, METER, who="anna")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"csr": "rubbish"}, "not PKCS #10"),
        ({"csr": None}, "exactly one of csr and password"),
        ({"password": "plain"}, "password"),
        ({"hardware": {"serial": ""}}, "serial number"),
        ({"hardware": {}}, "serial"),
        ({"ts": "1999-01-01T00:00:00Z"}, "never set"),
    ],
)
async def test_a_bad_request_is_answered_with_the_reason(
    desk: Desk, changes: dict[str, Any], reason: str
) -> None:
    answer = desk.ask(f"{desk.code().id}-1", **changes)
    assert answer is not None
    assert answer.verdict is Verdict.REFUSED
    assert reason in answer.reason
    assert requests.listed(desk.deployment) == []
    assert desk.handler.counters["refused"] == 1


async def test_slots_of_no_code_and_of_an_expired_and_a_withdrawn_one(desk: Desk) -> None:
    old, gone = desk.code(valid=0.001), desk.code()
    enrolment_codes.withdraw(desk.deployment.identity_store, gone.id)
    for slot, reason in (("ABCD-1", "no such"), (f"{old.id}-1", "expired"), (f"{gone.id}-1", "withdrawn")):
        answer = desk.ask(slot)
        assert answer is not None
        assert reason in answer.reason
    answer = desk.ask(f"{desk.code(count=5).id}-6")
    assert answer is not None
    assert "no such" in answer.reason


async def test_the_first_request_of_a_slot_and_of_a_meter_stands(desk: Desk) -> None:
    code = desk.code()
    desk.ask(f"{code.id}-1")
    other = {"csr": keys.request(METER, keys.new_key())}
    again = desk.ask(f"{code.id}-1")
    assert again is not None
    assert again.verdict is Verdict.PENDING
    for slot, changes, reason in (
        (1, other, "taken by another"),  # another key into a request that waits
        (1, {"meter_id": str(uuid4())}, "taken by another"),
        (2, other, "asked with another slot"),
        (2, {"meter_id": str(uuid4())}, "this serial number"),
    ):
        answer = desk.ask(f"{code.id}-{slot}", **changes)
        assert answer is not None
        assert reason in answer.reason
    assert len(requests.listed(desk.deployment)) == 1


async def test_a_meter_that_was_heard_belongs_to_its_serial(desk: Desk) -> None:
    birth = Birth(
        name="m", hardware=Hardware(serial="S-0"), firmware="1", interval=1, session="a", ts=utc_now()
    )
    desk.handler.hear(f"sm/v1/{METER}/birth", birth.payload())
    answer = desk.ask(f"{desk.code().id}-1")
    assert answer is not None
    assert "another hardware serial" in answer.reason


async def test_too_many_do_not_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_PENDING", 2)
    code = desk.code()
    verdicts = []
    for number in (1, 2, 3):
        answer = desk.ask(f"{code.id}-{number}", meter_id=str(uuid4()), hardware={"serial": f"S-{number}"})
        verdicts.append(answer and answer.verdict)
    assert verdicts == [Verdict.PENDING, Verdict.PENDING, Verdict.REFUSED]


async def test_a_used_slot_closes_when_the_meter_is_heard_as_itself(desk: Desk) -> None:
    code = desk.code(count=1, automatic=True)
    assert [slot for slot, _ in enrolment_codes.open_slots(desk.deployment.identity_store)] == [
        f"{code.id}-1"
    ]
    desk.ask(f"{code.id}-1")
    assert enrolment_codes.open_slots(desk.deployment.identity_store)  # it may come back for the answer
    birth = Birth(
        name="m", hardware=Hardware(serial="S-1"), firmware="1", interval=1, session="a", ts=utc_now()
    )
    desk.handler.hear(f"sm/v1/{METER}/birth", birth.payload())
    desk.handler.tidy()
    assert enrolment_codes.open_slots(desk.deployment.identity_store) == []
    assert f"{code.id}-1" not in (desk.deployment.broker / "passwords").read_text()
    assert desk.letter(f"sm/v1/enrol/{code.id}-1/answer") == b""


async def test_a_line_break_in_a_password_hash_is_no_second_login(desk: Desk) -> None:
    good = hashed("secret")
    for bad in (good + "\nadmin:" + good, good + "\n", "$7$1$x$y"):
        answer = desk.ask(f"{desk.code(automatic=True).id}-1", csr=None, password=bad)
        assert answer is not None
        assert answer.verdict is Verdict.REFUSED
    answer = desk.ask(f"{desk.code(automatic=True).id}-1", csr=None, password=good)
    assert answer is not None
    assert answer.verdict is Verdict.GRANTED


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(
            st.sampled_from(["meter_id", "hardware", "csr", "password", "ts", "name"]),
            st.one_of(st.none(), st.text(), st.integers(), st.dictionaries(st.text(), st.text(), max_size=2)),
        ).map(lambda told: json.dumps({**asked(), **told}).encode()),
    )
)
async def test_no_payload_ends_the_counter(desk: Desk, payload: bytes) -> None:
    for topic in ("sm/v1/enrol/ABCD-1/ask", f"sm/v1/{METER}/renew", f"sm/v1/{METER}/birth", "sm/v1/x/y"):
        desk.handler.hear(topic, payload)


STRANGE = {"a curve": "06082a8648ce3d030107", "a kind of key": "06072a8648ce3d0201"}


@pytest.mark.parametrize("oid", STRANGE.values(), ids=STRANGE)
async def test_a_key_that_nobody_knows_is_refused(desk: Desk, oid: str) -> None:
    """An object identifier in the signing request that OpenSSL has no name for."""
    known = bytes.fromhex(oid)
    der = x509.load_pem_x509_csr(CSR.encode()).public_bytes(Encoding.DER)
    text = base64.encodebytes(der.replace(known, known[:-1] + b"\x77")).decode()
    csr = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
    answer = desk.ask(f"{desk.code().id}-1", csr=csr)
    assert answer is not None
    assert "unsupported key" in answer.reason


async def test_half_a_character_ends_nothing(desk: Desk) -> None:
    for field in ("csr", "password", "meter_id"):
        desk.handler.hear("sm/v1/enrol/ABCD-1/ask", json.dumps(asked(**{field: "\ud800"})).encode())
    assert desk.handler.counters["refused"] == 3


def renewed(desk: Desk, **told: str) -> None:
    """The meter says so over its own connection."""
    message = Renewal(ts=utc_now(), **told)
    desk.handler.hear(f"sm/v1/{METER}/renew", message.payload())


async def test_what_was_revoked_renews_nothing_over_the_connection_that_it_still_has(desk: Desk) -> None:
    desk.ask(f"{desk.code(automatic=True).id}-1")
    renewed(desk, csr=CSR)
    assert len(desk.deployment.identity_store.certificates(METER)) == 2
    renewal.revoke(desk.deployment, METER)
    renewed(desk, csr=CSR)
    assert [one.revoked is None for one in desk.deployment.identity_store.certificates(METER)] == [
        False,
        False,
    ]


async def test_a_meter_cannot_fill_the_revocation_list(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "MAX_UNEXPIRED", 4)
    desk.ask(f"{desk.code(automatic=True).id}-1")
    for _ in range(10):
        renewed(desk, csr=CSR)
        newest = desk.deployment.identity_store.certificates(METER)
        with desk.deployment.identity_store.change() as change:
            using = change.newest(METER)
        renewed(desk, using=using)
    assert len(newest) == 4
    assert [one.revoked is None for one in newest].count(True) == 1


async def test_a_shorter_overlap_holds_and_a_longer_one_does_not(desk: Desk) -> None:
    store = desk.deployment.identity_store
    bridge, folder = store.identity("bridge"), desk.deployment.identity_folder("bridge")
    assert bridge is not None
    leaked = store.certificates("bridge")[0].serial
    for hours in (24, 0, 48):
        renewal.rotate(desk.deployment, bridge, folder, overlap=timedelta(hours=hours))
        if hours == 0:
            with store.change() as change:
                assert change.revoke_ended() == ["bridge", "bridge"]
    assert [one.revoked is None for one in store.certificates("bridge") if one.serial == leaked] == [False]


async def test_who_has_only_what_was_revoked_has_no_rights(desk: Desk) -> None:
    """Its connection stays, in Mosquitto; a meter's is ended by the command."""
    desk.deployment.enlist(Identity("otto", Role.ISSUER), desk.deployment.identity_folder("otto"))
    desk.deployment.publish()
    rights = desk.deployment.broker / "acl"
    assert "user otto\ntopic deny sm/v1/otto/#\n" in rights.read_text()
    renewal.revoke(desk.deployment, "otto")
    desk.deployment.publish()
    assert "user otto\ntopic deny #\n\n" in rights.read_text() + "\n"


async def test_a_rotation_that_was_killed_at_its_beginning_locks_nobody_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(deployment: Deployment, name: str, authority: Authority) -> None:
        init_deployment.keep_authority(deployment, name, authority)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rotation, "keep_authority", killed)
        with pytest.raises(KeyboardInterrupt):
            rotation.rotate_authority(desk.deployment)
    with pytest.raises(ConfigurationError, match="no previous authority"):
        rotation.retire_authority(desk.deployment)
    assert all(one.revoked is None for one in desk.deployment.identity_store.certificates())
    rotation.rotate_authority(desk.deployment)
    assert rotation.retire_authority(desk.deployment) == 0  # only the services had certificates


async def test_a_new_authority_is_told_to_meters_with_a_token_too(desk: Desk) -> None:
    desk.ask(f"{desk.code(automatic=True).id}-1", csr=None, password=hashed("secret"))
    rotation.rotate_authority(desk.deployment)
    told = Credential.model_validate_json(desk.letter(f"sm/v1/{METER}/credential") or b"")
    assert told.authorities == desk.deployment.bundle().decode()
    assert told.authorities.count("BEGIN CERTIFICATE") == 2


async def test_two_meters_that_wait_with_a_withdrawn_code_are_refused(desk: Desk) -> None:
    code = desk.code()
    desk.ask(f"{code.id}-1")
    assert enrolment_codes.withdraw(desk.deployment.identity_store, code.id.lower()) == 1
    assert requests.listed(desk.deployment)[0].verdict is Verdict.REFUSED
    with pytest.raises(NotRegisteredError):
        enrolment_codes.withdraw(desk.deployment.identity_store, "ZZZZ")


async def test_a_blocked_meter_is_not_enrolled_again(desk: Desk) -> None:
    desk.ask(f"{desk.code(automatic=True).id}-1")
    with desk.deployment.identity_store.change() as change:
        change.revoke(METER)
        change.block(METER, "stolen")
    answer = desk.ask(f"{desk.code(automatic=True).id}-1")
    assert answer is not None
    assert "blocked" in answer.reason


async def test_events_wait_for_the_audit_and_a_flood_of_requests_is_told_once(desk: Desk) -> None:
    slot = f"{desk.code().id}-1"
    for _ in range(20):
        desk.ask(slot, csr="rubbish")
    audit_queue = AuditQueue(desk.deployment)
    assert audit_queue.move() == 1  # there is no database yet
    engine = database.connect(desk.deployment.environment["METER61850_DATABASE_URL"])
    database.migrate(engine)
    audit_queue.note(Kind.METER_BLOCKED, who="anna", meter_id=METER, reason="stolen")
    assert audit_queue.move() == 0
    with engine.connect() as connection:
        rows = connection.execute(select(col(Audit.event), col(Audit.who)).order_by(col(Audit.no))).all()
    engine.dispose()
    assert [tuple(row) for row in rows] == [("enrolment-refused", "registrar"), ("meter-blocked", "anna")]


def noted(desk: Desk) -> list[dict[str, Any]]:
    """What waits for the audit."""
    with desk.deployment.identity_store.connection() as connection:
        return [json.loads(row[0]) for row in connection.execute("SELECT event FROM note ORDER BY no")]


async def test_no_flood_of_refusals_silences_a_grant(desk: Desk) -> None:
    """Whatever was refused before, and however often, in as many words as there are."""
    code = desk.code(count=100, automatic=True)
    for number in range(50):
        serial = {"serial": f"S-{number}" * 5}
        desk.ask(f"{code.id}-1", csr=f"rubbish {number}", meter_id=str(uuid4()), hardware=serial)
        desk.ask(f"{code.id}-1", ts=f"{number}")
        desk.ask("ABCD-1", meter_id=str(uuid4()), hardware=serial)
    refused = [event for event in noted(desk) if event["kind"] == Kind.ENROLMENT_REFUSED]
    assert len(refused) == 3
    assert {event["detail"]["reason"] for event in refused} <= set(Why)
    desk.handler._noted.update((f"slot {number}", "a reason") for number in range(20_000))
    desk.ask(f"{code.id}-2")
    desk.ask(f"{code.id}-2")  # again: the same answer, and no event
    told = [event["kind"] for event in noted(desk) if event["kind"] != Kind.ENROLMENT_REFUSED]
    assert told == [Kind.ENROLMENT_ASKED, Kind.CREDENTIALS_ISSUED]


async def test_every_reason_of_a_refusal_is_one_of_a_fixed_set(desk: Desk) -> None:
    """Also where the request chooses the words: a serial number, a time, a signing request."""
    first = desk.code(automatic=True, count=9)
    desk.ask(f"{first.id}-1")
    bad: list[dict[str, Any]] = [
        {"meter_id": str(uuid4())},  # the serial number is METER's
        {"hardware": {"serial": "another"}},
        {"csr": "rubbish \u202e"},
        {"hardware": {"serial": ""}, "meter_id": str(uuid4())},
        {},
    ]
    for number, changes in enumerate(bad, start=2):
        answer = desk.ask(f"{first.id}-{number}", **changes)
        assert answer is not None
        assert answer.verdict is Verdict.REFUSED
    reasons = {e["detail"]["reason"] for e in noted(desk) if e["kind"] == Kind.ENROLMENT_REFUSED}
    assert reasons == {Why.OTHER_METER, Why.ENROLLED, Why.KEY, Why.NO_SERIAL}


async def test_an_approval_is_of_the_key_that_was_shown(desk: Desk) -> None:
    """Another request has come in the place of the one that the administrator has looked at."""
    desk.ask(f"{desk.code().id}-1")
    (seen,) = requests.listed(desk.deployment)
    requests.refuse(desk.deployment, METER, reason="no", who="another administrator")
    desk.ask(f"{desk.code().id}-1", csr=keys.request(METER, keys.new_key()))
    for wrong in (seen.key, "", "0", seen.key[:4]):
        with pytest.raises((ContractError, ConfigurationError), match="compare what the meter shows"):
            requests.approve(desk.deployment, METER, who="anna", key=wrong)
    assert desk.deployment.identity_store.identity(METER) is None
    (shown,) = (one.key for one in requests.listed(desk.deployment) if one.verdict == Verdict.PENDING)
    requests.approve(desk.deployment, METER, who="anna", key=shown.upper())
    assert desk.deployment.identity_store.identity(METER) is not None


async def test_a_serial_number_that_a_thief_has_taken_can_be_freed(desk: Desk) -> None:
    thief, true = str(uuid4()), METER
    desk.ask(f"{desk.code(automatic=True).id}-1", meter_id=thief, csr=keys.request(thief, keys.new_key()))
    answer = desk.ask(f"{desk.code(automatic=True).id}-1", meter_id=true)
    assert answer is not None
    assert "another meter" in answer.reason
    store = desk.deployment.identity_store
    with pytest.raises(ContractError, match="has a credential"):
        devices.forget(store, "S-1", who="anna")
    renewal.revoke(desk.deployment, thief)
    assert devices.forget(store, "S-1", who="anna") == thief
    with pytest.raises(NotRegisteredError):
        devices.forget(store, "S-1", who="anna")
    answer = desk.ask(f"{desk.code(automatic=True).id}-1", meter_id=true)
    assert answer is not None
    assert answer.verdict is Verdict.GRANTED
    (event,) = [event for event in noted(desk) if event["kind"] == Kind.DEVICE_FORGOTTEN]
    assert (event["who"], event["meter_id"], event["detail"]["serial"]) == ("anna", thief, "S-1")
