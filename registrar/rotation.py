"""Another authority in the place of the one before, while nobody is locked out.

    rotate_authority    the new one signs; the broker and everybody's folder trust both; services get new
                        certificates at once, meters ask for theirs as soon as they hear of it
    retire_authority    once nobody depends on the old one: the broker shows a certificate of the new one,
                        and the old one is trusted no more

>>> rotate_authority(deployment)  # doctest: +SKIP
>>> retire_authority(deployment)  # doctest: +SKIP
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509

from broker.durable import PUBLIC, replace
from broker.errors import ConfigurationError
from broker.identity import CA
from registrar import pki, renewal
from registrar.deployment import Deployment
from registrar.founding import certify_server, keep_authority
from registrar.identities import SERVICES, Role, fingerprint
from registrar.pki import Authority


def rotate_authority(deployment: Deployment, *, overlap: timedelta = renewal.OVERLAP) -> x509.Certificate:
    """Let a new authority sign; its certificate. ConfigurationError while the one before is still trusted."""
    if _previous(deployment) is not None:
        raise ConfigurationError(
            "the authority before is still trusted: meter61850 credentials retire-ca first"
        )
    old = deployment.authority()
    with deployment.register.change() as change:
        number = change.next_number("authority") + 1
    hosts = deployment.environment["METER61850_BROKER_HOSTS"].split()
    new = Authority.new(f"meter61850 {hosts[0]} {number}")
    keep_authority(deployment, "previous", old)
    keep_authority(deployment, "ca", new)
    keep_authority(deployment, "services", Authority.new(f"{pki.common_name(new.certificate)} services"))
    _spread(deployment)
    for name in SERVICES:
        identity = deployment.register.identity(name)
        if identity is not None:
            renewal.rotate(deployment, identity, deployment.identity_folder(name), overlap=overlap)
    deployment.publish()
    renewal.want_renewed(deployment, _meters(deployment))
    return new.certificate


def dependent(deployment: Deployment) -> list[str]:
    """Who has no good certificate of the authority that signs now, only of the one before."""
    current = {fingerprint(deployment.authority(name).certificate) for name in ("ca", "services")}
    now = datetime.now(UTC)
    issued = [one for one in deployment.register.certificates() if one.not_after > now]
    good = [one for one in issued if one.revoked is None or one.held]
    new = {one.name for one in good if one.authority in current}
    return sorted({one.name for one in good} - new)


def retire_authority(deployment: Deployment) -> int:
    """Trust the authority before no more; how many certificates of its were revoked with it.

    ConfigurationError if there is none. Who is :func:`dependent` on it is locked out.
    """
    folder, previous = deployment.folder / "ca", _previous(deployment)
    if previous is None:
        raise ConfigurationError(
            "there is no authority before this one: meter61850 credentials rotate-ca makes one"
        )
    with deployment.register.change() as change:
        count = change.revoke_issued_by(previous)
    certify_server(deployment, deployment.authority())
    deployment.publish()  # once with the old one's last revocation list
    for name in ("previous.crt", "previous.key"):  # without its certificate it is trusted no more
        (folder / name).unlink()
    deployment.publish()
    _spread(deployment)
    renewal.tell_authorities(deployment, _meters(deployment))
    return count


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
    return [one.name for one in deployment.register.identities(Role.METER)]
