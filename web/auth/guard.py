"""Authentication and roles of a request: sessions of browsers, bearer tokens of programs, roles, CSRF.

A route declares ``caller: Annotated[Caller, needs(Role.OPERATOR)]``. A request that writes and comes with a
session must carry the session's second secret (``X-CSRF-Token``), and must not come from another site.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from web.audit import Event, audit
from web.auth.accounts import Account, Role
from web.auth.sessions import LoginSession
from web.parts import Parts, parts_of
from web.serving.problem import ProblemError
from web.serving.proxy import PROXIED

COOKIE = "meter61850_session"
CSRF_HEADER = "X-CSRF-Token"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Caller:
    """An account, and the session that it came with, if it is a browser's."""

    account: Account
    address: str
    session: LoginSession | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Of the account."""
        return self.account.name

    def may(self, role: Role) -> bool:
        """Whether the account's role covers ``role``."""
        return self.account.role.covers(role)


def address_of(request: Request) -> str:
    """IP address of the client."""
    return request.client.host if request.client else ""


def caller_of(request: Request) -> Caller | None:
    """The caller; None if unknown. It reads a small file and must not hash: it may run in the
    loop."""
    parts: Parts = parts_of(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme:
        account = parts.accounts.of_token(token.strip()) if scheme.lower() == "bearer" else None
        return Caller(account, address_of(request)) if account else None
    session = parts.sessions.find(request.cookies.get(COOKIE, ""))
    account = parts.accounts.get(session.account) if session else None
    if session is None or account is None or account.secret != session.secret:
        return None
    return Caller(account, address_of(request), session)


def needs(role: Role) -> Any:
    """A dependency: the caller with ``role``; 401 without a login, 403 without the role."""
    return Depends(_CHECKS[role])


def _check(role: Role) -> Callable[[Request], Any]:
    async def check(request: Request) -> Caller:
        caller = caller_of(request)
        if caller is None:
            denied(request, "", "not logged in")
            raise ProblemError(
                401,
                "log in, or send Authorization: Bearer TOKEN (meter61850 web user add NAME --token)",
                headers={"WWW-Authenticate": 'Bearer realm="meter61850"'},
            )
        if not caller.may(role):
            denied(request, caller.name, f"is {caller.account.role}, and not {role}")
            raise ProblemError(403, f"{caller.name} is {caller.account.role}; this needs {role}")
        if request.method not in _READING:
            check_csrf(request, caller.session, request.headers.get(CSRF_HEADER, ""))
        return caller

    return check


_CHECKS = {role: _check(role) for role in Role}


def check_csrf(request: Request, session: LoginSession | None, csrf: str) -> None:
    """403 for a writing request that another site has sent in the name of our user."""
    if session is not None and not session.allows(csrf):
        denied(request, session.account, "wrong CSRF token")
        raise ProblemError(
            403, f"{CSRF_HEADER} is missing or belongs to another session: load the page again"
        )
    check_origin(request)


def check_origin(request: Request) -> None:
    """403 if the browser reports that the request comes from another site."""
    if _foreign(request):
        denied(request, "", "from another site")
        raise ProblemError(403, "this request came from another site: use our own page")


def _foreign(request: Request) -> bool:
    """A proxy of ours may call us otherwise than the browser does; then the browser's own word counts."""
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    if origin is None or (site == "same-origin" and PROXIED in request.scope):
        return False
    return _netloc(origin) != _netloc(f"{request.url.scheme}://{request.headers.get('host', '')}")


def _netloc(url: str) -> str:
    """Host and port; without the port that its scheme has anyway.

    >>> _netloc("https://Meters.example:443"), _netloc("https://meters.example:8443")
    ('meters.example', 'meters.example:8443')
    """
    parts = urlsplit(url)
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.netloc.lower().removesuffix(usual) if usual else parts.netloc.lower()


def denied(request: Request, actor: str, why: str) -> None:
    """Record a refused write; a refused look is not worth it."""
    if request.method not in _READING:
        audit(Event(request.method, actor, address_of(request), request.url.path, "denied", why))


Observer = Annotated[Caller, needs(Role.OBSERVER)]
Operator = Annotated[Caller, needs(Role.OPERATOR)]
Administrator = Annotated[Caller, needs(Role.ADMINISTRATOR)]
