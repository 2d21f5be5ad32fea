"""The access files: certificates, revocation lists, client rights; read again while the bridge runs.

A changed file is read at the next check. An invalid file never replaces a good one: it is counted and logged
once, and the previous file stays in force until a valid one comes. Clients without rights are then
disconnected at once.

>>> files = AccessFiles(settings, associations)      # doctest: +SKIP
>>> files.start(); files.look(now=0.0)     # doctest: +SKIP
"""

from __future__ import annotations

import logging

from broker.contract.errors import ConfigurationError
from broker.followed_files import Followed
from mms_bridge.access.associations import Associations, TlsAssociation
from mms_bridge.access.client_rights import Rights, read_rights
from mms_bridge.access.tls_credentials import Certificate, Credentials, load, outdated
from mms_bridge.settings import MmsSettings, Right

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at the files."""


class AccessFiles:
    """The credentials and rights that hold now; nothing without TLS settings."""

    def __init__(self, settings: MmsSettings, associations: Associations) -> None:
        self.credentials: Credentials | None = None
        self.rights = Rights()
        self._settings = settings
        self._associations = associations
        self._followed: tuple[Followed, ...] = ()
        self._next_look = 0.0
        self._outdated = False

    def start(self) -> None:
        """Read all files, if there are any; ConfigurationError names the one that cannot be used."""
        files, clients = self._settings.tls_files, self._settings.clients
        if files is None or clients is None:
            return
        roots = [file for file in (files.ca, files.crl) if file is not None]
        pem = (*(file for pair in files.pairs for file in pair), *roots)
        self._followed = (Followed(pem, self._read_pem), Followed((clients,), self._read_rights))
        for followed in self._followed:
            followed.start()
        if files.crl is None:
            log.warning("METER61850_MMS_TLS_CRL is not set: a client's certificate cannot be revoked")

    def _read_pem(self) -> None:
        files = self._settings.tls_files
        assert files is not None
        self.credentials = load(files, ciphers=self._settings.tls_ciphers)

    def _read_rights(self) -> None:
        file = self._settings.clients
        assert file is not None
        try:
            text = file.read_text(encoding="utf-8")
            if not text.strip():
                raise ConfigurationError(
                    "it is empty: restore it, or run `meter61850 credentials list`, which writes it again"
                )
            self.rights = read_rights(text)
        except (OSError, ValueError) as error:  # a ConfigurationError is a ValueError
            raise ConfigurationError(f"{file} (clients and their rights): {error}") from error

    def look(self, now: float) -> None:
        """At most once a second: read changed files, and disconnect clients that lost their rights."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        results = [result for followed in self._followed if (result := followed.look()) is not None]
        self._associations.counters["files rejected"] += sum(map(bool, results))
        if "" in results:
            self._associations.counters["files reloaded"] += results.count("")
            self._review()
        if self.credentials is not None and outdated(self.credentials) != self._outdated:
            self._outdated = not self._outdated
            if self._outdated:
                log.error("%s is past its nextUpdate: no new client is accepted", self._settings.tls_crl)

    def judge(self, certificate: Certificate, ip: str) -> tuple[Right | None, str]:
        """What the client may; None, and why, when it may not be here."""
        assert self.credentials is not None
        if reason := self.credentials.refuses(certificate):
            return None, reason
        if not certificate.name:
            return None, "its certificate has no common name, or several"
        right = self.rights.of(certificate.name, ip)
        return right, "" if right else f"{self._settings.clients} lets no {certificate.name!r} in from {ip}"

    def _review(self) -> None:
        for session in self._associations.sessions:
            self._review_one(session)

    def _review_one(self, session: TlsAssociation) -> None:
        right, reason = self.judge(session.certificate, session.ip)
        if right is not None:
            session.right = right
            return
        self._associations.counters["cut off"] += 1
        log.warning("%s is disconnected: %s", session.client, reason)
        session.connection.cut()
