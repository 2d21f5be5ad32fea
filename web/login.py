"""The login page: a form, a cookie, and patience with those who guess."""

from __future__ import annotations

import asyncio
from time import monotonic
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from web.accounts import Account
from web.audit import Event, audit
from web.guard import COOKIE, address_of, caller_of, check_csrf, check_origin
from web.parts import Parts, parts_of
from web.problem import ProblemError
from web.views import views_of

router = APIRouter(include_in_schema=False)

LARGEST_FORM = 4096
_hashing = asyncio.Semaphore(2)
"""scrypt takes 32 MiB and some 0.1 s of a core."""


@router.get("/login")
async def login_page(request: Request) -> Response:
    """The form."""
    onward = _local(request.query_params.get("next", "/"))
    return views_of(request).page(request, "login.html", None, onward=onward, complaint="")


@router.post("/login")
async def login(request: Request) -> Response:
    """Check the form; a session, and on to the page that was asked for."""
    check_origin(request)
    form = await _form(request)
    name, onward = form.get("name", "")[:64], _local(form.get("next", "/"))
    parts, address = parts_of(request), address_of(request)
    guesses = ((parts.limiter, f"{address} {name}"), (parts.crowd_limiter, address))
    async with _hashing:  # in here, so that guesses at the same time are counted too
        wait = max(limiter.wait(key, now=monotonic()) for limiter, key in guesses)
        account = None if wait else await _checked(parts, name, form)
        if account is None and not wait:
            for limiter, key in guesses:
                limiter.note(key, now=monotonic())
    if wait:
        audit(Event("login", name, address, outcome="denied", detail="too many attempts"))
        page = _again(request, 429, onward, f"Too many attempts: try again in {wait:.0f} s.")
        page.headers["Retry-After"] = str(int(wait) + 1)
        return page
    if account is None:
        audit(Event("login", name, address, outcome="denied", detail="wrong name or password"))
        return _again(request, 401, onward, "Name or password is wrong.")
    audit(Event("login", name, address))
    answer = RedirectResponse(onward, status_code=303)
    _set_cookie(answer, parts, parts.sessions.open(account))
    return answer


async def _checked(parts: Parts, name: str, form: dict[str, str]) -> Account | None:
    return await asyncio.to_thread(parts.accounts.check, name, form.get("password", ""))


def _again(request: Request, status: int, onward: str, complaint: str) -> Response:
    return views_of(request).page(
        request, "login.html", None, status=status, onward=onward, complaint=complaint
    )


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End the session."""
    caller = caller_of(request)
    if caller is not None and caller.session is not None:
        check_csrf(request, caller.session, (await _form(request)).get("csrf", ""))
        parts_of(request).sessions.close(request.cookies.get(COOKIE, ""))
        audit(Event("logout", caller.name, caller.address))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


def _set_cookie(answer: Response, parts: Parts, value: str) -> None:
    settings = parts.settings
    answer.set_cookie(
        COOKIE,
        value,
        max_age=round(3600 * settings.session_hours),
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


def _local(path: str) -> str:
    """``path`` if it leads to a page of ours, else the first one."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\", "/login")) and path.isprintable()
    return path if fine else "/"
