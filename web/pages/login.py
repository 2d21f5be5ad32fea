"""The login page: a form, a cookie, and a limit on wrong passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from web.audit import Event, audit
from web.auth.accounts import Account
from web.auth.guard import COOKIE, address_of, caller_of, check_csrf, check_origin
from web.auth.sessions import Limiter
from web.pages.views import views_of
from web.parts import Parts, parts_of, root_of
from web.serving.addresses import network_of
from web.serving.problem import ProblemError

router = APIRouter(include_in_schema=False)

LARGEST_FORM = 4096


@router.get("/login")
async def login_page(request: Request) -> Response:
    """The form."""
    onward = _local(request, request.query_params.get("next", ""))
    return views_of(request).page(request, "login.html", None, onward=onward, complaint="")


@router.post("/login")
async def login(request: Request) -> Response:
    """Check the form; a session, and on to the page that was asked for."""
    check_origin(request)
    form = await _form(request)
    name, onward = form.get("name", "")[:64], _local(request, form.get("next", ""))
    address = address_of(request)
    try:
        account = await _checked(parts_of(request), address, name, form.get("password", ""))
    except ProblemError as refusal:  # too many guesses, or too many at the same time
        audit(Event("login", name, address, outcome="denied", detail=str(refusal)))
        return _again(request, refusal.status, onward, f"{refusal}.", headers=refusal.headers)
    if account is None:
        audit(Event("login", name, address, outcome="denied", detail="wrong name or password"))
        return _again(request, 401, onward, "Name or password is wrong.")
    audit(Event("login", name, address))
    answer = RedirectResponse(onward, status_code=303)
    _set_cookie(answer, parts_of(request), parts_of(request).sessions.open(account))
    return answer


async def _checked(parts: Parts, address: str, name: str, password: str) -> Account | None:
    """The account if the password is right; 429 after too many attempts, 503 when too many wait."""
    network = network_of(address)
    counted = ((parts.limiter, f"{network} {name}"), (parts.crowd_limiter, network))
    _not_too_often(counted)
    async with parts.guesses.turn(network):
        _not_too_often(counted)  # others of the network may have guessed while we waited
        account = await asyncio.to_thread(parts.accounts.check, name, password)
        if account is None:
            for limiter, key in counted:
                limiter.note(key, now=monotonic())
        else:
            parts.guesses.succeeded(network)
    return account


def _not_too_often(counted: Sequence[tuple[Limiter, str]]) -> None:
    if wait := max(limiter.wait(key, now=monotonic()) for limiter, key in counted):
        headers = {"Retry-After": str(int(wait) + 1)}
        raise ProblemError(429, f"Too many attempts: try again in {wait:.0f} s", headers=headers)


def _again(
    request: Request, status: int, onward: str, complaint: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    page = views_of(request).page(
        request, "login.html", None, status=status, onward=onward, complaint=complaint
    )
    page.headers.update(headers or {})
    return page


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End the session."""
    caller = caller_of(request)
    if caller is not None and caller.session is not None:
        check_csrf(request, caller.session, (await _form(request)).get("csrf", ""))
        parts_of(request).sessions.close(request.cookies.get(COOKIE, ""))
        audit(Event("logout", caller.name, caller.address))
    root = root_of(request)
    answer = RedirectResponse(f"{root}/login", status_code=303)
    answer.delete_cookie(COOKIE, path=root or "/")
    return answer


def _set_cookie(answer: Response, parts: Parts, value: str) -> None:
    settings = parts.settings
    answer.set_cookie(
        COOKIE,
        value,
        max_age=round(3600 * settings.session_hours),
        path=settings.root_path or "/",
        httponly=True,
        samesite="strict",
        secure=settings.secure,
    )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; 413 for one that is none of ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise ProblemError(413, f"a form of more than {LARGEST_FORM} octets")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}


def _local(request: Request, path: str) -> str:
    """``path`` if it leads to a page of ours, else the first one."""
    root = root_of(request)
    inner = path.removeprefix(root)
    ours = path.startswith(f"{root}/") and not inner.startswith(("//", "/\\", "/login"))
    return path if ours and path.isprintable() else f"{root}/"
