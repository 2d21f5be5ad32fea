"""Logins of browsers, in memory: a restart ends them. Also the limit on wrong passwords.

A session is 256 random bits in a cookie (HttpOnly, SameSite=Strict, Secure over TLS). A second secret, which
other sites cannot read, must be in every writing request (CSRF).

>>> limiter = Limiter(attempts=2, seconds=60.0)
>>> [limiter.wait("anna", now=0.0), limiter.note("anna", now=0.0), limiter.note("anna", now=1.0)]
[0.0, None, None]
>>> limiter.wait("anna", now=2.0)
58.0
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field

from web.auth.accounts import Account

MAX_SESSIONS = 10_000
MAX_OF_ACCOUNT = 100
"""Sessions of one account, so that it does not end those of others."""
MAX_NAMES = 10_000
"""Names and addresses that a limiter remembers."""


@dataclass(frozen=True)
class LoginSession:
    """One login."""

    account: str
    csrf: str = field(repr=False)
    secret: str = field(repr=False)
    """The account's hash at the login: another password ends the session."""
    ends: float
    """Monotonic seconds."""

    def allows(self, csrf: str) -> bool:
        """Whether a writing request with this second secret is its own."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode())


class Sessions:
    """The open sessions by the SHA-256 of their cookie."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._open: OrderedDict[str, LoginSession] = OrderedDict()

    def open(self, account: Account) -> str:
        """A new session; its cookie's value. An account's oldest one ends when it has too many."""
        own = [digest for digest, session in self._open.items() if session.account == account.name]
        for digest in own[: max(0, len(own) - MAX_OF_ACCOUNT + 1)]:
            del self._open[digest]
        cookie = secrets.token_urlsafe(32)
        ends = time.monotonic() + self._seconds
        self._open[_digest(cookie)] = LoginSession(
            account.name, secrets.token_urlsafe(24), account.secret, ends
        )
        if len(self._open) > MAX_SESSIONS:
            self._open.popitem(last=False)
        return cookie

    def find(self, cookie: str) -> LoginSession | None:
        """The session of a cookie; None when there is none, or it has ended."""
        session = self._open.get(_digest(cookie))
        if session is not None and time.monotonic() >= session.ends:
            self.close(cookie)
            return None
        return session

    def close(self, cookie: str) -> None:
        """End it."""
        self._open.pop(_digest(cookie), None)

    def counts(self) -> Counter[str]:
        """How many sessions each account has. Any thread may ask."""
        now, known = time.monotonic(), list(self._open.values())  # at once: the loop's thread changes it
        return Counter(session.account for session in known if now < session.ends)

    def end_all(self, account: str) -> int:
        """End every session of an account; how many those were."""
        own = [digest for digest, session in self._open.items() if session.account == account]
        for digest in own:
            del self._open[digest]
        return len(own)


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


class Limiter:
    """At most ``attempts`` of one key in ``seconds``; what is beyond has to wait."""

    def __init__(self, *, attempts: int, seconds: float) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._noted: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, key: str, *, now: float) -> float:
        """Seconds until ``key`` may try again; 0 if it may now. ``now`` is monotonic."""
        times = self._noted.get(key)
        if times is None or len(times) < self._attempts:
            return 0.0
        return max(0.0, times[0] + self._seconds - now)

    def note(self, key: str, *, now: float) -> None:
        """Note an attempt."""
        self._noted.setdefault(key, deque(maxlen=self._attempts)).append(now)
        self._noted.move_to_end(key)
        if len(self._noted) > MAX_NAMES:
            self._noted.popitem(last=False)
