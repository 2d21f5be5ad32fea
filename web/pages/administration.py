"""The pages of administration: dead letters, blocks, the audit, users, settings."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from bridge.store.audit import Kind
from web.api.audit import ALL, Filter, audit_rows
from web.api.blocks import block_rows
from web.api.dead_letters import letters_shown
from web.api.settings import setting_rows
from web.api.times import span_of
from web.api.users import user_rows
from web.auth.accounts import Role
from web.auth.guard import Caller
from web.pages.pages import Visitor
from web.pages.views import views_of
from web.parts import parts_of
from web.serving.problem import ProblemError

router = APIRouter(include_in_schema=False)

LETTER_ROWS, AUDIT_ROWS, BLOCK_ROWS = 100, 100, 200
KINDS = {kind.value: kind for kind in Kind}


async def _administrator(caller: Visitor) -> Caller:
    """The visitor; 403 for any other role."""
    if not caller.may(Role.ADMINISTRATOR):
        raise ProblemError(403, f"{caller.name} is {caller.account.role}; this page is for administrators")
    return caller


Administrator = Annotated[Caller, Depends(_administrator)]


@router.get("/dead-letters")
async def dead_letters(
    request: Request, caller: Visitor, cause: Annotated[str, Query(max_length=255)] = ""
) -> Response:
    """The dead letters, of all causes or of one."""
    parts = parts_of(request)
    told = await asyncio.to_thread(lambda: letters_shown(parts, last=LETTER_ROWS, cause=cause or None))
    letters, causes = told["dead_letters"], told["causes"]
    return views_of(request).page(
        request, "dead_letters.html", caller, letters=letters, causes=causes, cause=cause
    )


@dataclass(frozen=True)
class Form:
    """What the form of the audit asks for; a field that is empty asks for nothing."""

    start: Annotated[str, Query(max_length=32)] = ""
    end: Annotated[str, Query(max_length=32)] = ""
    time_zone: Annotated[str, Query(max_length=64)] = ""
    event: Annotated[str, Query(max_length=64)] = ""
    who: Annotated[str, Query(max_length=255)] = ""
    subject: Annotated[str, Query(max_length=255)] = ""

    @property
    def filled(self) -> dict[str, str]:
        """The fields that are not empty."""
        return {name: value for name, value in asdict(self).items() if value}


@router.get("/audit")
async def audit(
    request: Request,
    caller: Administrator,
    form: Annotated[Form, Depends()],
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """What was done and by whom, the newest first."""
    if form.event and form.event not in KINDS:
        raise ProblemError(422, f"event {form.event!r}: one of {', '.join(KINDS)}")
    span = span_of(request, form.start or None, form.end or None, form.time_zone or None, usual=ALL)
    wanted = Filter(span, KINDS.get(form.event), form.who or None, form.subject or None, after)
    told = await asyncio.to_thread(lambda: audit_rows(parts_of(request), wanted, limit=AUDIT_ROWS))
    older = told["next"] and urlencode({**form.filled, "after": told["next"]})
    return views_of(request).page(
        request,
        "audit.html",
        caller,
        rows=told["audit"],
        older=older,
        newest=after is None,
        form=form,
        kinds=KINDS,
    )


@router.get("/settings")
def settings(request: Request, caller: Administrator) -> Response:
    """What this service runs with."""
    rows = setting_rows(parts_of(request).settings, os.environ)
    return views_of(request).page(request, "settings.html", caller, rows=rows)


@router.get("/users")
def users(request: Request, caller: Administrator) -> Response:
    """The accounts, and how many logins each has."""
    return views_of(request).page(request, "users.html", caller, users=user_rows(parts_of(request)))


@router.get("/blocks")
async def blocks(request: Request, caller: Visitor) -> Response:
    """What is blocked now."""
    rows = block_rows(parts_of(request).live)
    some, more = rows[:BLOCK_ROWS], max(0, len(rows) - BLOCK_ROWS)
    return views_of(request).page(request, "blocks.html", caller, blocks=some, more=more)
