"""The file of accounts, each with a role and a scrypt hash, or the hash of a bearer token.

The file is JSON with mode 0600 and is refused when others can read it. It is read again when it changes, so a
removed account has no access from its next request on. Passwords: scrypt (RFC 7914) with N = 2^15, r = 8, p =
1 and 16 octets of salt. Tokens are 256 random bits, so one SHA-256 is enough for them.

>>> accounts = Accounts(Path("web-users.json"))                            # doctest: +SKIP
>>> accounts.add("anna", Role.OPERATOR, password="correct horse")          # doctest: +SKIP
>>> accounts.check("anna", "correct horse")                                # doctest: +SKIP
Account(name='anna', role=<Role.OPERATOR: 'operator'>, kind='password', ...)
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from broker import durable
from broker.contract.errors import ConfigurationError, Meter61850Error, UnavailableError, reason
from broker.contract.messages import format_ts, utc_now
from broker.mqtt.identity import check_secret

_N, _R, _P, _SALT = 2**15, 8, 1, 16
_MEMORY = 64 * 1024 * 1024
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._@-]{0,47}")
SHORTEST_PASSWORD = 10
TOKEN_PREFIX = "m61850_"


class Role(StrEnum):
    """What an account may do; each may do what the one before may."""

    OBSERVER = "observer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def covers(self, needed: Role) -> bool:
        """Whether it may do what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class UnknownAccountError(Meter61850Error, LookupError):
    """There is no account of that name."""


@dataclass(frozen=True)
class Account:
    """One person, or one program."""

    name: str
    role: Role
    kind: Literal["password", "token"]
    secret: str = field(repr=False)
    """``salt$hash`` of a password, or the SHA-256 of a token, in hex."""
    since: str
    """When it was made, or its secret last changed."""


class Accounts:
    """The accounts of one file; ConfigurationError when it is readable by others, or no JSON of ours."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, Account] = {}
        self._nobody = _hashed(secrets.token_hex(16))

    def all(self) -> list[Account]:
        """Every account by name."""
        return [account for _, account in sorted(self._read().items())]

    def get(self, name: str) -> Account | None:
        """The account with this name in the file."""
        return self._read().get(name)

    def check(self, name: str, password: str) -> Account | None:
        """The account if ``password`` is its own; it takes as long when there is no such account."""
        account = self.get(name)
        known = account is not None and account.kind == "password"
        right = _matches(password, account.secret if account and known else self._nobody)
        return account if known and right else None

    def of_token(self, token: str) -> Account | None:
        """The account that this bearer token is of."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        for account in self._read().values():
            if account.kind == "token" and hmac.compare_digest(account.secret, digest):
                return account
        return None

    def add(self, name: str, role: Role, *, password: str) -> None:
        """Make or change an account with a password; ConfigurationError names what is wrong with either."""
        if len(password) < SHORTEST_PASSWORD:
            raise ConfigurationError(f"a password needs at least {SHORTEST_PASSWORD} characters")
        self._put(Account(_checked(name), role, "password", _hashed(password), format_ts(utc_now())))

    def add_token(self, name: str, role: Role) -> str:
        """Make or change a program's account; returns its bearer token, which is not kept."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        self._put(Account(_checked(name), role, "token", digest, format_ts(utc_now())))
        return token

    def remove(self, name: str) -> None:
        """Remove an account; UnknownAccountError without one."""
        if self.get(name) is None:
            raise UnknownAccountError(f"no account {name[:64]!r}: `meter61850 web user list` shows all")
        with self._changing() as known:
            known.pop(name, None)

    def _put(self, account: Account) -> None:
        with self._changing() as known:
            known[account.name] = account

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        """The accounts, to be changed and then written; one program at a time: none undoes another's."""
        try:
            durable.make_folder(self.file.parent)
            folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigurationError(f"cannot write {self.file}: {error.strerror}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            known = dict(self._read())
            yield known
            self._write(known)
        finally:
            os.close(folder)

    def _read(self) -> dict[str, Account]:
        """The file's content; read again only when it has changed."""
        with self._lock:
            try:
                status = self.file.stat()
            except FileNotFoundError:
                self._known, self._stamp = {}, None
                return self._known
            check_secret(self.file)
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._known, self._stamp = _parsed(self.file), stamp
            return self._known

    def _write(self, known: dict[str, Account]) -> None:
        """In place of the old file, at once and never open to others."""
        rows = [asdict(account) for account in known.values()]
        try:
            durable.replace(self.file, json.dumps({"accounts": rows}, indent=1).encode(), mode=durable.SECRET)
        except OSError as error:
            raise ConfigurationError(f"cannot write {self.file}: {error.strerror}") from error


def _parsed(file: Path) -> dict[str, Account]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8-sig"))["accounts"]
        accounts = [Account(**{**row, "role": Role(row["role"])}) for row in rows]
    except OSError as error:
        raise UnavailableError(f"{file} cannot be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} is not a file of accounts ({error}): restore it from a copy; without a "
            "copy move it away, and add every account again (meter61850 web user add)"
        ) from error
    return {account.name: account for account in accounts}


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"account name {name[:64]!r}: letters, digits and . _ @ -, at most 48, such as anna"
        )
    return name


def _hashed(password: str, salt: bytes | None = None) -> str:
    salt = salt or secrets.token_bytes(_SALT)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY)
    return f"{salt.hex()}${digest.hex()}"


def _matches(password: str, secret: str) -> bool:
    salt, _, _ = secret.partition("$")
    return hmac.compare_digest(_hashed(password, bytes.fromhex(salt)), secret)
