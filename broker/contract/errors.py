"""The project's base error, and the errors of the MQTT contract.

Whether something may be retried is decided by type: :class:`UnavailableError` may be, everything
else may not. ``scl_builder`` is pure and stands alone: its errors derive from ``ValueError``.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime


class Meter61850Error(Exception):
    """Base of every error that meter61850 raises on purpose; ``str()`` is one line with the cure."""


class ConfigurationError(Meter61850Error, ValueError):
    """A setting is impossible or unknown; the message names the key and what would be right."""


class CredentialError(ConfigurationError, OSError):
    """A certificate, key or token is missing, broken or open to others; once running, tried again."""


class ContractError(Meter61850Error, ValueError):
    """A topic or payload is not of the contract (docs/topics.md); never retried."""


class NotAuthorizedError(Meter61850Error, PermissionError):
    """The broker says that our identity may not do this; another one may (docs/security.md)."""


class UnavailableError(Meter61850Error, ConnectionError):
    """A peer (broker, database, meter) does not answer now; may be retried."""


class PortTakenError(UnavailableError):
    """A TCP port that we were told to listen on is in use."""

    def __init__(self, port: int, option: str) -> None:
        super().__init__(f"port {port} is in use: stop what holds it, or choose another with {option} PORT")
        self.port = port
        self.option = option


def reason(error: BaseException) -> str:
    """What ``error`` says, in one line that is never empty.

    Some errors have no text (a timeout has none), and libraries make theirs of it: then what caused it, and
    at the end the kind of the error in words.

    >>> reason(TimeoutError()), reason(ConnectionResetError())
    ('no answer in time', 'connection reset')
    """
    if isinstance(error, BaseExceptionGroup):
        return reason(error.exceptions[0])
    if doubt := clock_doubt(error):
        return doubt
    cause: BaseException | None = getattr(error, "orig", None) or error  # SQLAlchemy's repeats the statement
    while cause is not None:
        if text := _text(cause):
            return text
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        inner = cause.__cause__ or cause.__context__
        if inner is None:
            return _words(type(cause).__name__)
        cause = inner
    return _words(type(error).__name__)


_OUT_OF_TIME = {9: "is not valid yet", 10: "has expired"}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""


def clock_doubt(error: BaseException) -> str:
    """What to say of a peer's certificate that is not valid at our time; empty for any other error.

    The certificate is right far more often than the clock of a machine that has no battery for it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _OUT_OF_TIME:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            return (
                f"the other end's certificate {_OUT_OF_TIME[cause.verify_code]} at the time of this "
                f"machine's clock, {now}: is the clock right? (timedatectl set-ntp on)"
            )
        cause = cause.__cause__ or cause.__context__
    return ""


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror}"
    return " ".join(str(error).split())


def _words(name: str) -> str:
    """``ConnectionResetError`` → ``connection reset``."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]+", name.removesuffix("Error"))).lower() or name
