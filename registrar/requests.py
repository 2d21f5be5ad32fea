"""Enrolment requests: which are refused at once, which wait, and the effect of a decision.

A person with an enrolment code can send any request, so a request never changes a known meter: a meter_id
with a valid credential, or with another serial number, is refused, and so is the serial number of another
meter. The first request of a slot and of a meter stays until it is decided.

>>> take(deployment, "K7QM-3", ask, serials={})  # doctest: +SKIP
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.store.audit import Kind
from broker.contract.enrolment import Answer, Ask, Verdict
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.messages import utc_now
from broker.contract.roles import Role
from broker.contract.topics import Topics, checked_meter_id
from registrar import devices, pki
from registrar.deployment import Deployment
from registrar.identities import Identity, NotRegisteredError, at
from registrar.refusals import RequestRefusedError, Why
from registrar.transaction import Change

MAX_PENDING = 500
"""Requests that may wait for an administrator."""
KEY_LENGTH = 16
"""Hex digits of a key that are shown, and that an administrator repeats."""


@dataclass(frozen=True)
class Request:
    """One meter that asked."""

    slot: str
    meter_id: str
    ask: Ask
    asked: datetime
    verdict: Verdict
    reason: str
    who: str
    """Decided it."""
    collected: datetime | None
    """When the meter was first heard as itself."""

    @property
    def key(self) -> str:
        """Begin of the SHA-256 of what it wants signed: the meter shows the same."""
        return self.ask.question[:KEY_LENGTH]


def take(deployment: Deployment, slot: str, ask: Ask, *, serials: Mapping[str, str]) -> Answer:
    """Store a request, or answer it again; RequestRefusedError has the reason of a refusal.

    ``serials``: meter_id → serial number of every meter that was heard as itself.
    """
    with deployment.identity_store.change() as change:
        known = _find(change.connection, slot)
        if known is not None:
            if (known.meter_id, known.ask.question) != (ask.meter_id, ask.question):
                raise RequestRefusedError(Why.SLOT_TAKEN, "use the next one")
            return _tell(deployment, change, known)
        code = _usable_code(change.connection, slot)
        _check(change, ask, serials)
        request = _insert(change, slot, ask)
        verdict = Verdict.GRANTED if code["automatic"] else Verdict.PENDING
        _note(change, Kind.ENROLMENT_ASKED, request, who=ask.meter_id, outcome=verdict)
        if code["automatic"]:
            return _grant(deployment, change, request, who=f"code {code['id']}")
        return _tell(deployment, change, request)


def approve(deployment: Deployment, meter_id: str, *, who: str, key: str | None = None) -> Request:
    """Let in the meter that waits; NotRegisteredError if none does, ContractError if it may not be.

    ``key``: what the administrator has seen; ContractError if another request has come in its place.
    """
    with deployment.identity_store.change() as change:
        request = _waiting(change.connection, meter_id)
        if key is not None:
            _check_key(request, key)
        _check_identity(change, request.ask)
        _note(change, Kind.ENROLMENT_APPROVED, request, who=who, outcome=Verdict.GRANTED)
        _grant(deployment, change, request, who=who)
        return request


def _check_key(request: Request, key: str) -> None:
    said = "".join(key.split()).lower()
    compare = "compare what the meter shows with `meter61850 enrol list`"
    if len(said) < KEY_LENGTH:
        raise ConfigurationError(f"--key: {compare}, and give all {KEY_LENGTH} digits")
    if not request.ask.question.startswith(said):
        raise ContractError(f"{key[:64]!r} is not the key that meter {request.meter_id} has now: {compare}")


def refuse(deployment: Deployment, meter_id: str, *, reason: str, who: str) -> Request:
    """Keep out the meter that waits; NotRegisteredError if none does."""
    with deployment.identity_store.change() as change:
        request = _waiting(change.connection, meter_id)
        decided = _decide(change, request, Verdict.REFUSED, reason, who)
        _note(change, Kind.ENROLMENT_REFUSED, decided, who=who, outcome=Verdict.REFUSED)
        _tell(deployment, change, decided)
        return decided


def collected(deployment: Deployment, meter_id: str, *, since: datetime) -> bool:
    """The meter was heard as itself at ``since``: its slot is closed; whether that is news."""
    now = int(datetime.now(UTC).timestamp())
    with deployment.identity_store.change() as change:
        done = change.connection.execute(
            "UPDATE request SET collected = ? WHERE meter_id = ? AND verdict = 'granted' "
            "AND collected IS NULL AND decided <= ? RETURNING slot",
            (now, meter_id, int(since.timestamp()) + 1),
        ).fetchall()
        for row in done:
            change.connection.execute("DELETE FROM granted WHERE slot = ?", (row["slot"],))
            change.send(Topics(deployment.prefix).enrol(row["slot"], "answer"), b"")
    return bool(done)


def listed(deployment: Deployment) -> list[Request]:
    """All requests, oldest first."""
    with deployment.identity_store.connection() as connection:
        return [_request(row) for row in connection.execute("SELECT * FROM request ORDER BY asked, slot")]


def awaited(deployment: Deployment) -> set[str]:
    """Meters that were let in and not heard as themselves since."""
    query = "SELECT meter_id FROM request WHERE verdict = 'granted' AND collected IS NULL"
    with deployment.identity_store.connection() as connection:
        return {str(row["meter_id"]) for row in connection.execute(query)}


def _usable_code(connection: sqlite3.Connection, slot: str) -> sqlite3.Row:
    code_id, _, number = slot.partition("-")
    row: sqlite3.Row | None = connection.execute("SELECT * FROM code WHERE id = ?", (code_id,)).fetchone()
    if row is None or not 1 <= int(number) <= row["count"]:
        raise RequestRefusedError(Why.NO_CODE)
    if row["withdrawn"] is not None:
        raise RequestRefusedError(Why.WITHDRAWN)
    if row["expires"] <= datetime.now(UTC).timestamp():
        raise RequestRefusedError(Why.EXPIRED)
    return row


def _check(change: Change, ask: Ask, serials: Mapping[str, str]) -> None:
    """RequestRefusedError if this request may not wait."""
    _check_identity(change, ask)
    if serials.get(ask.meter_id, ask.hardware.serial) != ask.hardware.serial:
        raise RequestRefusedError(Why.OTHER_SERIAL)
    devices.check(change.connection, ask.meter_id, ask.hardware.serial)
    connection = change.connection
    if _pending(connection, "WHERE meter_id = ? AND verdict = 'pending'", ask.meter_id):
        raise RequestRefusedError(Why.ASKED, "`meter61850 enrol refuse` ends that")
    if _pending(
        connection,
        "WHERE json_extract(ask, '$.hardware.serial') = ? AND verdict = 'pending'",
        ask.hardware.serial,
    ):
        raise RequestRefusedError(Why.SERIAL_ASKED)
    if _pending(connection, "WHERE verdict = 'pending'") >= MAX_PENDING:
        raise RequestRefusedError(Why.TOO_MANY, "try again later")


def _check_identity(change: Change, ask: Ask) -> None:
    """RequestRefusedError if the meter is known, or its signing request is not valid."""
    checked_meter_id(ask.meter_id)
    if not ask.hardware.serial:
        raise RequestRefusedError(Why.NO_SERIAL)
    if ask.csr is not None:
        try:
            pki.checked_request(ask.csr.encode())
        except ContractError as error:
            raise RequestRefusedError(Why.KEY, str(error)) from error
    known = change.identity(ask.meter_id)
    if known is not None and known.blocked:
        raise RequestRefusedError(Why.BLOCKED)
    if change.lives(ask.meter_id):
        raise RequestRefusedError(
            Why.ENROLLED,
            "to replace it, an administrator revokes that first (meter61850 credentials revoke)",
        )


def _pending(connection: sqlite3.Connection, where: str, *values: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM request {where}", values).fetchone()[0])


def _insert(change: Change, slot: str, ask: Ask) -> Request:
    now = int(datetime.now(UTC).timestamp())
    row = (slot, slot.partition("-")[0], ask.meter_id, ask.payload().decode(), now)
    change.connection.execute(
        "INSERT INTO request (slot, code, meter_id, ask, asked, verdict, reason, who, decided, collected)"
        " VALUES (?, ?, ?, ?, ?, 'pending', '', '', NULL, NULL)",
        row,
    )
    found = _find(change.connection, slot)
    assert found is not None
    return found


def _grant(deployment: Deployment, change: Change, request: Request, *, who: str) -> Answer:
    """The meter becomes an identity with the credential that it asked for."""
    ask = request.ask
    devices.bind(change.connection, ask.meter_id, ask.hardware.serial)
    if change.identity(ask.meter_id) is None:
        change.add(Identity(ask.meter_id, Role.METER, address_code=ask.address_code))
    if ask.csr is not None:
        authority = deployment.authority()
        certificate = authority.issue(ask.meter_id, pki.checked_request(ask.csr.encode()))
        change.issued(ask.meter_id, certificate, authority.certificate)
        row = (request.slot, pki.pem(certificate).decode())
        change.connection.execute("INSERT INTO granted (slot, certificate) VALUES (?, ?)", row)
    else:
        change.set_token(ask.meter_id, ask.password or "")
    _note(change, Kind.CREDENTIALS_ISSUED, request, who=who)
    return _tell(deployment, change, _decide(change, request, Verdict.GRANTED, "", who))


def _note(change: Change, kind: Kind, request: Request, *, who: str, outcome: str = "") -> None:
    """For the audit, in the transaction that does it: no request that changes something goes without."""
    change.note(
        kind,
        who=who,
        meter_id=request.meter_id,
        outcome=str(outcome),
        reason=request.reason,
        slot=request.slot,
        serial=request.ask.hardware.serial,
        key=request.key,
    )


def _decide(change: Change, request: Request, verdict: Verdict, reason: str, who: str) -> Request:
    change.connection.execute(
        "UPDATE request SET verdict = ?, reason = ?, who = ?, decided = ? WHERE slot = ?",
        (verdict, reason, who, int(datetime.now(UTC).timestamp()), request.slot),
    )
    found = _find(change.connection, request.slot)
    assert found is not None
    return found


def _tell(deployment: Deployment, change: Change, request: Request) -> Answer:
    """The answer for the slot as the request stands, on its way to be retained.

    Also one that was retained before: a broker that was killed has forgotten it.
    """
    row = change.connection.execute(
        "SELECT certificate FROM granted WHERE slot = ?", (request.slot,)
    ).fetchone()
    role_port = deployment.connection(Role.METER, token=request.ask.csr is None)["port"]
    answer = Answer(
        meter_id=request.meter_id,
        question=request.ask.question,
        verdict=request.verdict,
        reason=request.reason,
        certificate=str(row["certificate"]) if row else None,
        authorities=deployment.bundle().decode(),
        port=int(role_port),
        ts=utc_now(),
    )
    if row or request.verdict is not Verdict.GRANTED or request.ask.csr is None:
        change.send(Topics(deployment.prefix).enrol(request.slot, "answer"), answer.payload())
    return answer


def _waiting(connection: sqlite3.Connection, meter_id: str) -> Request:
    row = connection.execute(
        "SELECT * FROM request WHERE meter_id = ? AND verdict = 'pending'", (meter_id,)
    ).fetchone()
    if row is None:
        raise NotRegisteredError(
            f"no request of meter {meter_id} waits: meter61850 enrol list shows those that do"
        )
    return _request(row)


def _find(connection: sqlite3.Connection, slot: str) -> Request | None:
    return next(map(_request, connection.execute("SELECT * FROM request WHERE slot = ?", (slot,))), None)


def _request(row: sqlite3.Row) -> Request:
    asked = at(row["asked"])
    assert asked is not None
    return Request(
        slot=row["slot"],
        meter_id=row["meter_id"],
        ask=Ask.model_validate_json(row["ask"]),
        asked=asked,
        verdict=Verdict(row["verdict"]),
        reason=row["reason"],
        who=row["who"],
        collected=at(row["collected"]),
    )
