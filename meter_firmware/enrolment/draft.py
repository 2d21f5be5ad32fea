"""The files of a running enrolment, and the identity folder that they become.

``identity.asked`` in the data folder holds the key (or password), the signing request and the slot. After the
grant it gets the other files and is renamed to ``identity`` in one step, so the folder is complete or absent.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from broker import durable
from broker.contract.enrolment import Answer
from broker.contract.errors import ConfigurationError, ContractError
from broker.daemon.passwords import hashed, new_password
from broker.mqtt.identity import CA, CERTIFICATE, CONNECTION, KEY, TOKEN, client_context, read_secret
from meter_firmware.enrolment import keys
from meter_firmware.settings import IDENTITY

_REQUEST = "request.csr"
_HASH = "token.hash"
_SLOT = "slot"


class Draft:
    """One meter's; made again for each attempt."""

    def __init__(self, data_dir: Path, meter_id: str) -> None:
        self.meter_id = meter_id
        self._final = data_dir / IDENTITY
        self._folder = data_dir / f"{IDENTITY}.asked"

    def begin(self, *, token: bool) -> None:
        """Make the key, or go on with the one there is; ConfigurationError if we are enrolled already."""
        if self._final.exists():
            raise ConfigurationError(
                f"{self._final}: this meter is enrolled already; to enrol it again, move that folder away"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._kept(_HASH if token else _REQUEST) is None:
                self._make(token=token)
        except OSError as error:
            raise ConfigurationError(
                f"{self._folder}: {error.strerror}: this user must own data_dir"
            ) from error

    def _make(self, *, token: bool) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir(mode=0o700)
        if token:
            password = new_password()
            durable.replace(self._folder / TOKEN, password.encode(), mode=durable.SECRET)
            durable.replace(self._folder / _HASH, hashed(password).encode(), mode=durable.SECRET)
            return
        key = keys.new_key()
        durable.replace(self._folder / KEY, key.encode(), mode=durable.SECRET)
        durable.replace(
            self._folder / _REQUEST, keys.request(self.meter_id, key).encode(), mode=durable.PUBLIC
        )

    @property
    def request(self) -> str | None:
        """The signing request; None if we ask for a password."""
        return self._kept(_REQUEST)

    @property
    def password_hash(self) -> str | None:
        """The hash of the password; None if we ask for a certificate."""
        return self._kept(_HASH)

    @property
    def key(self) -> str:
        """What the administrator sees of it, too."""
        return hashlib.sha256((self.request or self.password_hash or "").encode()).hexdigest()[:16]

    @property
    def slot(self) -> str:
        """Where we have asked; empty if nowhere yet."""
        return self._kept(_SLOT) or ""

    def remember_slot(self, slot: str) -> None:
        """The answer will be there."""
        if self.slot != slot:
            durable.replace(self._folder / _SLOT, slot.encode(), mode=durable.PUBLIC)

    def forget_slot(self) -> None:
        """It is another meter's, or closed."""
        (self._folder / _SLOT).unlink(missing_ok=True)

    def finish(self, answer: Answer, *, host: str, prefix: str) -> Path:
        """The identity folder; ContractError if the answer is of no use."""
        told: dict[str, object] = {"host": host, "port": answer.port, "prefix": prefix}
        if answer.port is None:
            raise ContractError("the answer contains no port")
        durable.replace(self._folder / CA, answer.authorities.encode(), mode=durable.PUBLIC)
        client_context(self._folder / CA, None, None)
        if self.request is None:
            told["username"] = self.meter_id
        else:
            key = read_secret(self._folder / KEY).decode()
            keys.certificate(answer.certificate or "", meter_id=self.meter_id, key_pem=key)
            durable.replace(
                self._folder / CERTIFICATE, (answer.certificate or "").encode(), mode=durable.PUBLIC
            )
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
        durable.replace(self._folder / CONNECTION, text.encode(), mode=durable.PUBLIC)
        self._folder.rename(self._final)  # before anything is taken away: begin() makes a new key without it
        durable.sync_folder(self._final.parent)
        for name in (_REQUEST, _HASH, _SLOT):
            (self._final / name).unlink(missing_ok=True)
        return self._final

    def _kept(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
