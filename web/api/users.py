"""The accounts of the page and the API, without their secrets; an administrator ends their sessions.

Accounts are made, changed and removed by ``meter61850 web user``: a page that could do it would give each
administrator's browser the power to make another one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from web.api.common import also, problems
from web.audit import Event, audit
from web.auth.accounts import Role
from web.auth.guard import Administrator
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer, format_of
from web.serving.problem import ProblemError

router = APIRouter(prefix="/users", tags=["users"])

Name = Annotated[str, Path(description="Of an account.", pattern=r"^[0-9A-Za-z][0-9A-Za-z._@-]{0,47}$")]


class UserRow(BaseModel):
    """An account."""

    name: str
    role: Role
    kind: Literal["password", "token"]
    """A person's, or a program's."""
    since: AwareDatetime
    """When it was made, or its password or token last changed."""
    sessions: int
    """Logins that are open; a program has none."""


class UserList(BaseModel):
    """All accounts, by name."""

    users: list[UserRow]


class Ended(BaseModel):
    """How many sessions were ended."""

    ended: int


@router.get("", response_model=UserList, responses={**problems(406, 503), **also(XML)})
def users(request: Request, _caller: Administrator) -> Response:
    """The accounts with their roles, and how many logins each has."""
    return answer(request, {"users": user_rows(parts_of(request))}, root="users")


def user_rows(parts: Parts) -> list[dict[str, Any]]:
    """The accounts by name. It reads a small file."""
    counts = parts.sessions.counts()
    return [
        {
            "name": account.name,
            "role": account.role.value,
            "kind": account.kind,
            "since": account.since,
            "sessions": counts[account.name],
        }
        for account in parts.accounts.all()
    ]


@router.post("/{name}/sessions/end", response_model=Ended, responses=problems(404, 406, 503))
async def end_sessions(request: Request, caller: Administrator, name: Name) -> Response:
    """End every login of an account, also your own: who knows the password may log in again."""
    format_of(request)  # 406 before anything is done
    parts = parts_of(request)
    if parts.accounts.get(name) is None:
        raise ProblemError(404, f"no account {name}: GET /api/v1/users lists all")
    ended = parts.sessions.end_all(name)
    audit(Event("sessions-end", caller.name, caller.address, name, detail=f"{ended} sessions"))
    return answer(request, {"ended": ended}, root="ended")
