"""A deployment's folder: made by ``meter61850 init DIR``, written again when the identity store changes.

    meter61850.env      settings of every service, explained
    register.sqlite     the identity store (`registrar.identity_store`)
    ca/                 ca.crt and ca.key of the authority; previous.crt and .key while it is replaced
    security/           Mosquitto's files: certificate and key, crl.pem, acl, passwords
    mms/                the MMS bridge's files: certificate and key, crl.pem, mms-clients.toml
    web/                the web's files: certificate and key, accounts
    identities/<name>/  an identity folder for each service (`broker.mqtt.identity`)
    broker/, bridge/, database/, spool/   files that broker, bridge and web write

Folders have mode 0700, secrets 0600. Where each service has its own user, `registrar.layout` lists the rights
of each. Only ``ca/`` can make identities: keep a copy of it elsewhere.

>>> deployment = Deployment.open(Path("/var/lib/meter61850"))  # doctest: +SKIP
>>> deployment.enlist(Identity("anna", Role.OPERATOR), Path("anna"))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from bridge.store.audit import Kind
from broker.contract.errors import ConfigurationError
from broker.contract.roles import PEOPLE, Role
from broker.contract.topics import Topics
from broker.daemon.passwords import hashed, new_password
from broker.daemon.security_files import check_lists
from broker.durable import PUBLIC, SECRET, locked, make_folder, replace
from broker.environment import ENV, check_whole, read
from broker.mqtt import keypair
from broker.mqtt.identity import CA, CERTIFICATE, CONNECTION, KEY, TOKEN, check_secret, read_secret
from broker.no_deployment import no_deployment
from registrar import acl, mms_rights, parcels, pki
from registrar.enrolment_codes import open_slots
from registrar.identities import Identity
from registrar.identity_store import IdentityStore
from registrar.pki import Authority
from registrar.transaction import Change


@dataclass(frozen=True)
class Deployment:
    """Opened with :meth:`open`, made by `registrar.init_deployment`."""

    folder: Path
    settings: str = ENV
    """Name of its settings file; another one only while it is being made."""

    @classmethod
    def open(cls, folder: Path) -> Deployment:
        """ConfigurationError if ``folder`` is none, or a secret in it is open to others."""
        deployment = cls(folder)
        check_whole(folder)
        if not deployment.exists:
            raise no_deployment(folder)
        deployment.check()
        return deployment

    def check(self) -> None:
        """ConfigurationError if a lost or exposed file cannot be made again; complete the rest."""
        for name in (ENV, "register.sqlite"):
            check_secret(self.folder / name)
        read(self.folder / ENV)
        _ = self.identity_store
        self.settle()
        for name in ("ca", "services"):  # without it no certificate would be accepted
            file = self.folder / "ca" / f"{name}.crt"
            if not file.exists() or not file.read_bytes().rstrip().endswith(b"-----"):
                raise ConfigurationError(f"{file} is missing or truncated: restore it from the copy of ca/")

    def settle(self) -> None:
        """Finish what a power cut has interrupted between a key and its certificate."""
        pairs = [self.folder / "ca" / name for name in ("ca", "previous", "services")]
        for pair in [*pairs, *self.server_pairs()]:
            keypair.settle(pair.with_suffix(".key"), pair.with_suffix(".crt"))
        for folder in (self.folder / "identities").glob("*"):
            keypair.settle(folder / KEY, folder / CERTIFICATE)

    @property
    def exists(self) -> bool:
        """Whether ``init`` has been here."""
        return (self.folder / ENV).exists()

    @property
    def broker(self) -> Path:
        """What Mosquitto reads."""
        return self.folder / "security"

    @property
    def mms(self) -> Path:
        """What the MMS bridge reads; deployments of before have it beside what Mosquitto reads."""
        return folder if (folder := self.folder / "mms").is_dir() else self.broker

    def server_pairs(self) -> list[Path]:
        """The servers' certificates and keys, without their suffixes ``.crt`` and ``.key``."""
        web = self.folder / "web"
        both = self.environment.get("METER61850_MMS_TLS_CERT", "").endswith(f"{pki.MMS_RSA}.crt")
        mms = [self.mms / "mms", *([self.mms / pki.MMS_RSA] if both else [])]
        return [self.broker / "server", *mms, *([web / "web"] if web.is_dir() else [])]

    def identity_folder(self, name: str) -> Path:
        """Where the services' identities are, and by default everybody else's."""
        return self.folder / "identities" / name

    @cached_property
    def identity_store(self) -> IdentityStore:
        """Who there is."""
        return IdentityStore(self.folder / "register.sqlite", new=self.settings != ENV)

    @cached_property
    def environment(self) -> dict[str, str]:
        """The settings of ``meter61850.env``."""
        return read(self.folder / self.settings)

    @property
    def prefix(self) -> str:
        """Of the topics."""
        return Topics(self.environment.get("METER61850_MQTT_PREFIX", "sm/v1")).prefix

    @property
    def ports(self) -> dict[str, int]:
        """The broker's: of services, of certificates, and of passwords."""
        doors = {"services": "SERVICES_PORT", "certificates": "PORT", "passwords": "PASSWORD_PORT"}
        return {name: int(self.environment[f"METER61850_BROKER_{door}"]) for name, door in doors.items()}

    def authority(self, name: str = "ca") -> Authority:
        """``ca`` signs now, ``previous`` before; ``services`` for our services alone. Reads the key."""
        folder = self.folder / "ca"
        try:
            certificate, key = (folder / f"{name}.crt").read_bytes(), read_secret(folder / f"{name}.key")
            return Authority.load(certificate, key)
        except (OSError, ConfigurationError) as error:
            raise ConfigurationError(
                f"{folder}/{name}.crt and {name}.key: {error}: restore both from the copy of ca/"
            ) from error

    def authority_of(self, role: Role) -> Authority:
        """Who signs for ``role``. Our services have an authority of their own: at their door the client id
        is free, so that nobody else's certificate may open it."""
        return self.authority("ca" if role in (Role.METER, *PEOPLE) else "services")

    def authorities(self) -> list[Authority]:
        """All that are trusted: the one that signs, then the one before while it is being replaced."""
        before = ["previous"] if (self.folder / "ca" / "previous.crt").exists() else []
        return [self.authority(name) for name in ("ca", *before)]

    def enlist(
        self,
        identity: Identity,
        folder: Path,
        *,
        host: str = "",
        authority: Authority | None = None,
        who: str = "",
    ) -> None:
        """Add ``identity`` and write its folder; ``publish`` also informs the broker.

        ``host``: the broker as this identity reaches it. ``who`` did it, for the audit; empty: that is not
        told. Raises ContractError if the name is taken.
        """
        authority = authority or self.authority_of(identity.role)
        with self.identity_store.change() as change:
            change.add(identity)
            parcels.certify(identity, change, authority, folder, host=host)
            if who:
                codes = list(identity.scope)
                change.note(
                    Kind.CREDENTIALS_ISSUED,
                    who=who,
                    identity=identity.name,
                    role=str(identity.role),
                    address_codes=codes,
                )
        self.unpack()

    def unpack(self) -> None:
        """Put certificates that the identity store knows into their folders (`registrar.parcels`)."""
        parcels.unpack(self.identity_store, self.write_connection)

    def give_token(self, identity: Identity, folder: Path, change: Change, *, host: str = "") -> None:
        """A new password for a meter without a certificate, in ``folder``."""
        token = new_password()
        change.set_token(identity.name, hashed(token))
        self.write_connection(identity, folder, host=host, token=True)
        replace(folder / TOKEN, token.encode(), mode=SECRET)

    def write_connection(
        self, identity: Identity, folder: Path, *, host: str = "", token: bool = False
    ) -> None:
        """The part of an identity folder that is no secret."""
        make_folder(folder)
        replace(folder / CA, self.bundle(), mode=PUBLIC)
        told = self.connection(identity.role, host=host, token=token)
        told |= {"username": identity.name} if token else {}
        lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
        replace(folder / CONNECTION, ("\n".join(lines) + "\n").encode(), mode=PUBLIC)

    def connection(self, role: Role, *, host: str = "", token: bool = False) -> dict[str, str | int]:
        """Where ``role`` finds the broker: host, port and topic prefix."""
        if role in (Role.METER, *PEOPLE):
            port = self.ports["passwords" if token else "certificates"]
            host = host or self.environment["METER61850_BROKER_HOSTS"].split()[0]
        else:
            port = self.ports["services"]
            host = host or self.environment["METER61850_SERVICES_HOST"]
        return {"host": host, "port": port, "prefix": self.prefix}

    def bundle(self) -> bytes:
        """The certificates of all trusted authorities, PEM."""
        return b"".join(pki.pem(authority.certificate) for authority in self.authorities())

    def publish(self) -> None:
        """Write what the broker reads, from the identity store: identities, enrolment slots, what is revoked.

        Each file is replaced in one step; the broker's guardian sees it within a second. One process does
        it at a time, and the last one sees what all have changed.
        """
        with locked(self.folder / "publish.lock"):
            self._publish(self.edition)  # as it was before all else is read: what comes later is the next one

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While keys and certificates of authority or services are replaced, by one process at a time."""
        with locked(self.folder / "change.lock"):
            yield

    @property
    def edition(self) -> str:
        """Names what the broker is to read now: it changes with the identity store's generation, the trusted
        authorities and the prefix. What time alone changes is not in it (slots that have expired)."""
        certificates = [self.folder / "ca" / f"{name}.crt" for name in ("ca", "previous", "services")]
        told = [one.read_bytes() if one.exists() else b"" for one in certificates]
        digest = hashlib.sha256(b"\0".join((self.prefix.encode(), *told))).hexdigest()
        return f"{self.identity_store.generation()}-{digest[:16]}"

    @property
    def is_published(self) -> bool:
        """Whether the broker's files are of this edition; not when one of them is lost or empty."""
        try:
            check_lists(self.broker)
            mms = ("mms-clients.toml", "crl.pem", "ca.crt")
            there = all((self.mms / name).stat().st_size for name in mms)
        except (ConfigurationError, FileNotFoundError):
            return False
        begin = acl.head(self.edition).encode()
        with (self.broker / "acl").open("rb") as file:
            return there and file.read(len(begin)) == begin

    def _publish(self, edition: str) -> None:
        slots = open_slots(self.identity_store)
        identities = self._with_rights()
        tokens = [(one.name, one.token) for one in identities if one.token and not one.blocked]
        codes = {one.name: one.address_code for one in identities if one.role is Role.METER}
        logins = [*tokens, *slots]
        names = [name for name, _ in slots]
        rights = acl.render(identities, prefix=self.prefix, slots=names, codes=codes, edition=edition)
        replace(self.broker / "passwords", "".join(f"{n}:{h}\n" for n, h in logins).encode(), mode=SECRET)
        own = self.authority("services")
        revoked = self._revocation_lists(self.authorities())
        for folder in (self.broker, self.mms):
            replace(folder / "crl.pem", revoked, mode=PUBLIC)
            replace(folder / "ca.crt", self.bundle(), mode=PUBLIC)
        replace(self.broker / "services-crl.pem", self._revocation_lists([own]), mode=PUBLIC)
        replace(self.broker / "services-ca.crt", pki.pem(own.certificate), mode=PUBLIC)
        replace(self.mms / "mms-clients.toml", mms_rights.render(identities).encode(), mode=PUBLIC)
        replace(self.broker / "acl", rights.encode(), mode=SECRET)  # last: it contains the generation

    def _with_rights(self) -> list[Identity]:
        """All identities; a person or service with nothing but revoked certificates is as good as blocked.

        The broker keeps a connection that was there before, so its rights must go. A meter's is ended instead
        (`registrar.blocking`): it may be enrolled anew, and then has its rights at once.
        """
        left = {one.name for one in self.identity_store.certificates() if one.revoked is None}
        return [
            one
            if one.role is Role.METER or one.name in left
            else changed(one, blocked=one.blocked or "revoked")
            for one in self.identity_store.identities()
        ]

    def _revocation_lists(self, authorities: list[Authority]) -> bytes:
        """One for each authority: a broker that has none for it would refuse all of its certificates."""
        now = datetime.now(UTC)  # what has expired need not be on the list any more
        certificates = [one for one in self.identity_store.certificates() if one.not_after > now]
        revoked = [(one.serial, one.revoked) for one in certificates if one.revoked]
        with self.identity_store.change() as change:
            number = change.next_number("crl")
        return b"".join(pki.pem(one.revocation_list(revoked, number=number)) for one in authorities)
