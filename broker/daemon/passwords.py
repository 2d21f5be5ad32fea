"""Passwords as Mosquitto 2.0 keeps them: PBKDF2 with SHA-512, as ``mosquitto_passwd(1)`` writes them.

They are made by us from 160 random bits, never chosen by people, so that few iterations are enough: the
broker computes them in its only thread, at every connection.

>>> hashed("secret", salt=bytes(12))[:8]
'$7$101$A'
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode

ITERATIONS = 101
"""Mosquitto's own default."""
SALT_BYTES = 12


def new_password() -> str:
    """160 random bits as 27 characters that need no quoting."""
    return secrets.token_urlsafe(20)


def hashed(password: str, *, salt: bytes | None = None) -> str:
    """The entry behind the colon of Mosquitto's password file."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${b64encode(salt).decode()}${b64encode(digest).decode()}"
