"""The project's base error, and the errors of the MQTT contract.

Whether something may be retried is decided by type: :class:`UnavailableError` may be, everything
else may not. ``scl_builder`` is pure and stands alone: its errors derive from ``ValueError``.
"""

from __future__ import annotations


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
