"""The audit: what was done, by whom, from where, with which outcome; as ``meter61850 audit show``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from bridge.store.audit import Kind, detail_of
from bridge.store.meter_names import meter_or_identity
from broker.contract.messages import MAX_SEQ
from web.api.common import Cursor, also, at, cursor, not_ours, position, problems
from web.api.times import Span, asked
from web.auth.guard import Administrator
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer

router = APIRouter(tags=["audit"])

ALL = timedelta(days=36_500)
"""Before the end of the range: the audit has no older rows."""
Who = Annotated[str | None, Query(max_length=255, description="Only rows whose author contains this.")]
Subject = Annotated[
    str | None,
    Query(max_length=255, description="Only rows about this meter (meter_id or name), or this identity."),
]


class AuditRow(BaseModel):
    """One event."""

    no: int
    ts: AwareDatetime
    event: str
    who: str
    origin: str
    """From where."""
    meter_id: str
    """Empty: it is about no meter."""
    meter: str
    """Its name, while it is in service."""
    identity: str
    outcome: str
    detail: dict[str, Any]
    hash: str
    """Of this row and all before it."""


class AuditPage(BaseModel):
    """Rows, the newest first; ``next`` is the cursor of older ones."""

    audit: list[AuditRow]
    next: str | None


@dataclass(frozen=True)
class Filter:
    """What is asked for."""

    span: Span
    event: Kind | None = None
    who: str | None = None
    subject: str | None = None
    after: str | None = None


@router.get("/audit", response_model=AuditPage, responses={**problems(404, 406, 503), **also(XML)})
def audit(
    request: Request,
    _caller: Administrator,
    span: Annotated[Span, asked(ALL)],
    event: Kind | None = None,
    who: Who = None,
    subject: Subject = None,
    after: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Commands, blocks, enrolments, rights, logins, writes at the web and refusals, the newest first.

    `meter61850 audit verify` checks that no row was changed. 404: several meters have this name.
    """
    wanted = Filter(span, event, who, subject, after)
    return answer(request, audit_rows(parts_of(request), wanted, limit=limit), root="page")


def audit_rows(parts: Parts, wanted: Filter, *, limit: int) -> dict[str, Any]:
    """The newest rows of what is asked for, and the cursor of older ones. It blocks."""
    store = parts.archive.store
    before = _place(wanted.after) if wanted.after else None
    found = store.audit(
        since=wanted.span.start,
        until=wanted.span.end,
        event=wanted.event,
        who=wanted.who,
        subject=wanted.subject and meter_or_identity(wanted.subject, lambda name: store.meter(name).meter),
        before=before,
        last=limit + 1,
    )
    rows = [_row(parts, row) for row in found][::-1]
    more = cursor(rows[limit - 1]["no"]) if len(rows) > limit else None
    return {"audit": rows[:limit], "next": more}


def _place(after: str) -> int:
    """The row's number that a cursor names."""
    (no,) = position(after, int)
    if not 0 < no <= MAX_SEQ:
        raise not_ours()
    return int(no)


def _row(parts: Parts, row: Any) -> dict[str, Any]:
    names = ("no", "event", "who", "origin", "meter_id", "identity", "outcome", "hash")
    return {
        **{name: getattr(row, name) for name in names},
        "ts": at(row.ts),
        "meter": parts.live.known(row.meter_id).name if row.meter_id else "",
        "detail": detail_of(row.detail),
    }
