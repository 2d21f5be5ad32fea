"""The server's certificate, read again when its file changes: new connections get a renewed one at once.

Existing connections stay. An invalid file never replaces a good certificate.

>>> follow = Certificate(config.ssl, certificate, key)  # doctest: +SKIP
>>> follow.look()  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from broker.followed_files import Signature, signature
from broker.mqtt import keypair

log = logging.getLogger(__name__)


class Certificate:
    """What a TLS context shows, and the files that it comes from."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self._context = context
        self._certificate = certificate
        self._key = key
        self._seen = self._signature()

    def look(self) -> None:
        """Take the files if they have changed."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen = seen
        key = keypair.usable(self._key, self._certificate)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, key, password="")
            self._context.load_cert_chain(self._certificate, key, password="")
        except (OSError, ssl.SSLError) as error:
            log.error("%s and %s: %s; the previous certificate stays in use", self._certificate, key, error)
        else:
            log.info("the certificate in %s is used from now on", self._certificate)

    def _signature(self) -> Signature:
        return signature((self._certificate, self._key, keypair.following(self._key)))
