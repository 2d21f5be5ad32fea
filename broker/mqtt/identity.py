"""An identity folder: all that a program needs to reach the broker as itself.

    connection.toml   host, port and prefix of the broker; user name of a meter with a token
    ca.crt            the authorities that the broker's certificate must come from
    client.crt, client.key      this identity's certificate and private key, or
    token             its password

What is secret has mode 0600; a file that others could read is refused, since they may have.

>>> IdentityFolder.load(Path("deployment/identities/anna")).port  # doctest: +SKIP
8883
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from broker.contract.errors import CredentialError, reason

CONNECTION = "connection.toml"
CA = "ca.crt"
CERTIFICATE = "client.crt"
KEY = "client.key"
TOKEN = "token"
# fmt: off
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
)
# fmt: on
"""Of TLS 1.2: forward secrecy and authenticated encryption, nothing else. TLS 1.3 has only such."""


@dataclass(frozen=True)
class IdentityFolder:
    """What an identity folder says."""

    folder: Path
    host: str
    port: int
    prefix: str
    username: str | None
    """With ``token``; a certificate says who we are otherwise."""
    token: str | None

    @classmethod
    def load(cls, folder: Path) -> IdentityFolder:
        """CredentialError names what is missing, wrong, or readable by others."""
        try:
            told = tomllib.loads((folder / CONNECTION).read_text(encoding="utf-8-sig"))
            host, port, prefix = str(told["host"]), int(told["port"]), str(told.get("prefix", "sm/v1"))
        except OSError as error:
            raise CredentialError(
                f"identity {folder}: {error.strerror} ({CONNECTION}); an identity folder is made by "
                "`meter61850 init`, `meter61850 identity add` or `meter61850 meter enrol`"
            ) from error
        except (tomllib.TOMLDecodeError, KeyError, ValueError, UnicodeDecodeError) as error:
            raise CredentialError(
                f"identity {folder / CONNECTION} is empty or damaged ({error!r}): restore it from a "
                "copy, or have it made anew (meter61850 credentials rotate NAME)"
            ) from error
        token = read_secret(folder / TOKEN).decode().strip() if (folder / TOKEN).exists() else None
        if token is None:
            check_secret(folder / KEY)
        return cls(folder, host, port, prefix, told.get("username"), token)

    def settings(self) -> dict[str, object]:
        """As keyword arguments of MqttSettings."""
        own: dict[str, object] = {"username": self.username, "password": self.token}
        if self.token is None:
            own = {"cert": self.folder / CERTIFICATE, "key": self.folder / KEY}
        return {"host": self.host, "port": self.port, "prefix": self.prefix, "ca": self.folder / CA, **own}


def check_secret(path: Path) -> None:
    """CredentialError if ``path`` is missing, or others than its owner may read or write it.

    Its group may, where its folder is handed to that group (`broker.durable`; only mode 2710 to 2770).
    """
    try:
        told, folder = path.stat(), path.parent.stat()
    except OSError as error:
        raise CredentialError(f"secret {path}: {error.strerror}") from error
    mode, around = told.st_mode & 0o777, folder.st_mode
    handed = around & stat.S_ISGID and around & stat.S_IXGRP and not around & stat.S_IRWXO
    allowed = 0o060 if handed and told.st_gid == folder.st_gid else 0
    if mode & 0o077 & ~allowed:
        raise CredentialError(
            f"secret {path} is open to others (mode {mode:04o}): chmod 600 {path}, and replace the secret "
            "(meter61850 credentials rotate) if anyone else uses this machine"
        )


def read_secret(path: Path) -> bytes:
    """The content of a file that is ours alone; CredentialError otherwise."""
    check_secret(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"secret {path}: {error.strerror}") from error


def common_name(certificate: Path) -> str:
    """Whose it is: with it, the broker calls us so; CredentialError if it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - most who use this module have no need of it

    try:
        subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    except (OSError, ValueError) as error:
        raise CredentialError(f"certificate {certificate}: {error}") from error
    names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if not names:
        raise CredentialError(f"certificate {certificate}: its subject has no common name")
    return str(names[0].value)


def unguessable(name: str, key: Path) -> str:
    """``name`` with a suffix that only the owner of the private key can compute; CredentialError as above."""
    return f"{name}-{hmac.new(read_secret(key), name.encode(), hashlib.sha256).hexdigest()[:20]}"


def client_context(ca: Path, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later to a server whose name and certificate are checked; CredentialError names a bad file.

    Made anew for each connection, so that a rotated certificate is taken without a restart.
    """
    try:
        text = pem_text(ca)
        context = ssl.create_default_context(cadata=text)
    except (OSError, ssl.SSLError) as error:
        raise CredentialError(
            f"ca {ca}: {reason(error)}; a PEM file with the authority's certificate"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    if cert is not None:
        if key is not None:
            check_secret(key)
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise CredentialError(f"certificate {cert} and key {key}: {error}") from error
    return context


def pem_text(file: Path) -> str:
    """A PEM file for OpenSSL, which finds no certificate behind the mark that some editors put at the start.

    Never empty: with empty text Python would take the authorities of the operating system.
    """
    text = file.read_bytes().decode("utf-8-sig", "replace")
    return text.encode("ascii", "replace").decode() or "nothing"
