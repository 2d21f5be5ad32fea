"""Renewal of credentials: certificates before they end, and all of them when the authority changes.

A meter requests over its own connection, so the broker has authenticated it. Its old certificate is revoked
when the meter, connected with the new one, confirms this. Services and people get a new folder's content, and
an overlap.

>>> renew(deployment, "3f2504e0-4f89-41d3-9a0c-0305e82c3301", renewal)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from bridge.store.audit import Kind
from broker.contract.enrolment import Credential, Renewal
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.messages import utc_now
from broker.contract.roles import Role
from broker.contract.topics import Topics
from broker.mqtt.identity import IdentityFolder
from registrar import pki
from registrar.deployment import Deployment
from registrar.identities import Identity, NotRegisteredError, fingerprint
from registrar.parcels import certify
from registrar.transaction import Change

MAX_LIVING = 5
"""Certificates of one meter at a time: one in use, and some that it asked for and may not have got."""
MAX_UNEXPIRED = 100
"""Certificates of one meter that have not expired, revoked ones too: those are on the revocation list."""
OVERLAP = timedelta(hours=24)


def renew(deployment: Deployment, meter_id: str, renewal: Renewal) -> bool:
    """Handle a meter's confirmation; True if a certificate was revoked. ContractError has the reason."""
    with deployment.identity_store.change() as change:
        identity = change.identity(meter_id)
        if identity is None or identity.role is not Role.METER or identity.blocked:
            raise ContractError("the sender is not a known meter, or it is blocked")
        if not change.lives(meter_id):  # still connected with what was revoked
            raise ContractError("the credentials of this meter were revoked: it must enrol again")
        if renewal.csr is not None:
            _issue(deployment, change, meter_id, renewal.csr)
            change.note(Kind.CREDENTIALS_ROTATED, who=meter_id, meter_id=meter_id)
        if renewal.using is not None:
            return _confirm(deployment, change, meter_id, renewal.using)
    return False


def want_renewed(deployment: Deployment, meter_ids: Iterable[str]) -> None:
    """Request these meters to renew, and send them the trusted authorities."""
    told = Credential(authorities=deployment.bundle().decode(), renew=True, ts=utc_now())
    _send(deployment, meter_ids, told.payload())


def tell_authorities(deployment: Deployment, meter_ids: Iterable[str]) -> None:
    """Send these meters the trusted authorities, and nothing else."""
    told = Credential(authorities=deployment.bundle().decode(), ts=utc_now())
    _send(deployment, meter_ids, told.payload())


def rotate(
    deployment: Deployment,
    identity: Identity,
    folder: Path,
    *,
    overlap: timedelta = OVERLAP,
    who: str = "registrar",
) -> x509.Certificate:
    """A new key and certificate of a service or a person in ``folder``; the old ones end after ``overlap``.

    ConfigurationError if there is no such folder.
    """
    if not folder.exists():
        raise ConfigurationError(f"{folder} does not exist: name the folder of {identity.name} with --out")
    with deployment.identity_store.change() as change:
        authority = deployment.authority_of(identity.role)
        made = certify(identity, change, authority, folder, host=_known_host(folder))
        change.supersede(identity.name, but=fingerprint(made), at=datetime.now(UTC) + overlap)
        change.note(Kind.CREDENTIALS_ROTATED, who=who, identity=identity.name)
    deployment.unpack()
    return made


def revoke_superseded(deployment: Deployment) -> None:
    """Revoke what another certificate has taken the place of, when its overlap is over."""
    with deployment.identity_store.change() as change:
        for name in sorted(set(change.revoke_ended())):
            change.note(Kind.CREDENTIALS_REVOKED, who="registrar", identity=name, outcome="superseded")


def revoke(deployment: Deployment, name: str, *, who: str = "registrar") -> int:
    """Take every credential of ``name`` away for good; how many. NotRegisteredError if there is none such.

    `registrar.finishing` ends its connection.
    """
    with deployment.identity_store.change() as change:
        identity = change.identity(name)
        if identity is None:
            raise NotRegisteredError(f"no identity {name!r}: meter61850 credentials list shows all")
        count = change.revoke(name) + bool(identity.token)
        change.set_token(name, "")
        change.end_connection(name)
        change.note(Kind.CREDENTIALS_REVOKED, who=who, identity=name)
    return count


def _issue(deployment: Deployment, change: Change, meter_id: str, csr: str) -> None:
    key = pki.checked_request(csr.encode())
    if change.unexpired(meter_id) >= MAX_UNEXPIRED:
        raise ContractError(f"{MAX_UNEXPIRED} unexpired certificates exist for this meter already")
    if change.living(meter_id) >= MAX_LIVING:
        raise ContractError(
            f"{MAX_LIVING} certificates of this meter are valid: it uses none of the new ones"
        )
    authority = deployment.authority()
    certificate = authority.issue(meter_id, key)
    change.issued(meter_id, certificate, authority.certificate)
    told = Credential(
        authorities=deployment.bundle().decode(), certificate=pki.pem(certificate).decode(), ts=utc_now()
    )
    change.send(Topics(deployment.prefix).meter(meter_id, "credential"), told.payload())


def _confirm(deployment: Deployment, change: Change, meter_id: str, using: str) -> bool:
    """Revoke all others, once the meter has shown that it has the newest."""
    if change.newest(meter_id) != using:
        return False  # a newer one is on its way to it
    change.send(Topics(deployment.prefix).meter(meter_id, "credential"), b"")
    return change.revoke(meter_id, but=using) > 0


def _send(deployment: Deployment, meter_ids: Iterable[str], payload: bytes) -> None:
    topics = Topics(deployment.prefix)
    with deployment.identity_store.change() as change:
        for meter_id in meter_ids:
            change.send(topics.meter(meter_id, "credential"), payload)


def _known_host(folder: Path) -> str:
    """The broker as this identity reaches it."""
    return IdentityFolder.load(folder).host
