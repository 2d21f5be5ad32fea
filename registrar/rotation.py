"""Replaces the authority, without locking an identity out.

    rotate_authority    the new one signs; the broker and all identity folders trust both; services get new
                        certificates at once, meters request theirs when they are notified
    retire_authority    when no identity depends on the old one: the broker shows a certificate of the new
                        one, and the old one is no longer trusted

>>> rotate_authority(deployment)  # doctest: +SKIP
>>> retire_authority(deployment)  # doctest: +SKIP
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509

from bridge.store.audit import Kind
from broker.contract.errors import ConfigurationError
from broker.contract.roles import Role
from broker.durable import PUBLIC, replace
from broker.mqtt.identity import CA
from registrar import pki, renewal
from registrar.deployment import Deployment
from registrar.identities import SERVICES, Identity, fingerprint
from registrar.init_deployment import certify_server, keep_authority
from registrar.pki import Authority

ROTATE, RETIRE, SERVER = "rotate-ca", "retire-ca", "rotate-server"
"""Marks in the identity store of what was decided and is not finished; ROTATE has the overlap in seconds."""


def rotate_authority(
    deployment: Deployment, *, overlap: timedelta = renewal.OVERLAP, who: str = "registrar"
) -> x509.Certificate:
    """Let a new authority sign; its certificate. ConfigurationError while the one before is still trusted."""
    with deployment.alone():
        begun = ROTATE in deployment.identity_store.marks()
        resume(deployment)
        if not begun:
            if _previous(deployment) is not None:
                raise ConfigurationError(
                    "the previous authority is still trusted: run meter61850 credentials retire-ca first"
                )
            seconds = round(overlap.total_seconds())
            _decide(deployment, ROTATE, Kind.CREDENTIALS_ROTATED, "authority", who, seconds)
            resume(deployment)
    return deployment.authority().certificate


def rotate_server(deployment: Deployment, *, who: str = "registrar") -> None:
    """New keys and certificates of broker and MMS bridge."""
    with deployment.alone():
        _decide(deployment, SERVER, Kind.CREDENTIALS_ROTATED, "server", who)
        resume(deployment)


def _decide(deployment: Deployment, mark: str, kind: Kind, identity: str, who: str, value: int = 0) -> None:
    with deployment.identity_store.change() as change:
        if change.mark(mark, value):
            change.note(kind, who=who, identity=identity)


def resume(deployment: Deployment) -> None:
    """Complete a decided rotation, whichever process was killed; the caller is `alone`."""
    marks = deployment.identity_store.marks()
    if ROTATE in marks:
        _rotate(deployment, overlap=timedelta(seconds=marks[ROTATE]))
    if RETIRE in marks:
        _retire(deployment)
    if SERVER in marks:
        certify_server(deployment, deployment.authority())
        _done(deployment, SERVER)


def _rotate(deployment: Deployment, *, overlap: timedelta) -> None:
    if _previous(deployment) is None:
        old = deployment.authority()
        with deployment.identity_store.change() as change:
            number = change.next_number("authority") + 1
        hosts = deployment.environment["METER61850_BROKER_HOSTS"].split()
        keep_authority(deployment, "previous", old)
        keep_authority(deployment, "ca", Authority.new(f"meter61850 {hosts[0]} {number}"))
    name = f"{pki.common_name(deployment.authority().certificate)} services"
    if pki.common_name(deployment.authority("services").certificate) != name:
        keep_authority(deployment, "services", Authority.new(name))
    _spread(deployment)
    deployment.unpack()
    for identity in _services_of_before(deployment):
        renewal.rotate(deployment, identity, deployment.identity_folder(identity.name), overlap=overlap)
    deployment.publish()
    renewal.want_renewed(deployment, _meters(deployment))
    _done(deployment, ROTATE)


def _services_of_before(deployment: Deployment) -> list[Identity]:
    """Services without a certificate of the authority that signs for them now."""
    signs = fingerprint(deployment.authority("services").certificate)
    found = [identity for identity in deployment.identity_store.identities() if identity.name in SERVICES]
    return [
        one
        for one in found
        if signs not in {issued.authority for issued in deployment.identity_store.certificates(one.name)}
    ]


def _done(deployment: Deployment, mark: str) -> None:
    with deployment.identity_store.change() as change:
        change.unmark(mark)


def dependent(deployment: Deployment) -> list[str]:
    """Who has no good certificate of the authority that signs now, only of the one before."""
    current = {fingerprint(deployment.authority(name).certificate) for name in ("ca", "services")}
    now = datetime.now(UTC)
    issued = [one for one in deployment.identity_store.certificates() if one.not_after > now]
    good = [one for one in issued if one.revoked is None or one.held]
    new = {one.name for one in good if one.authority in current}
    return sorted({one.name for one in good} - new)


def retire_authority(deployment: Deployment, *, who: str = "registrar") -> int:
    """Trust the authority before no more; how many certificates of its were revoked with it.

    ConfigurationError if there is none. Identities that are :func:`dependent` on it are locked out.
    """
    with deployment.alone():
        previous = _previous(deployment)
        if previous is None:
            raise ConfigurationError(
                "there is no previous authority: meter61850 credentials rotate-ca makes a new one"
            )
        resume(deployment)
        with deployment.identity_store.change() as change:
            count = change.revoke_issued_by(previous)
            if change.mark(RETIRE):
                change.note(Kind.CREDENTIALS_REVOKED, who=who, identity="authority")
        resume(deployment)
    return count


def _retire(deployment: Deployment) -> None:
    if _previous(deployment) is not None:
        certify_server(deployment, deployment.authority())
        deployment.publish()  # once with the old one's last revocation list
    for name in ("previous.crt", "previous.key"):  # without its certificate it is trusted no more
        with suppress(FileNotFoundError):
            (deployment.folder / "ca" / name).unlink()
    deployment.publish()
    _spread(deployment)
    renewal.tell_authorities(deployment, _meters(deployment))
    _done(deployment, RETIRE)


def _previous(deployment: Deployment) -> str | None:
    """Fingerprint of the authority before; None if there is none, or it is the one that signs.

    It is that after a rotation that was killed at its beginning: to retire it would lock everybody out.
    """
    if not (deployment.folder / "ca" / "previous.crt").exists():
        return None
    previous, current = (fingerprint(deployment.authority(name).certificate) for name in ("previous", "ca"))
    return None if previous == current else previous


def _spread(deployment: Deployment) -> None:
    """Have every identity folder on this machine trust whom we trust."""
    for folder in (deployment.folder / "identities").iterdir():
        replace(folder / CA, deployment.bundle(), mode=PUBLIC)


def _meters(deployment: Deployment) -> list[str]:
    """All of them: one with a token has no certificate to renew, but must hear whom to trust."""
    return [one.name for one in deployment.identity_store.identities(Role.METER)]
