"""``/api/v1/scl``: the published SCD and CIDs, their revisions, and comparisons."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryFile
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from web.api.common import also, at, problems
from web.api.models import Difference, Revisions
from web.auth.guard import Observer
from web.comparison import compared
from web.parts import parts_of
from web.serving.answers import XML, answer, encoded, format_of
from web.serving.problem import ProblemError

router = APIRouter(prefix="/scl", tags=["scl"])

_FILE = {
    "required": True,
    "description": "An SCL file, such as the SCD that SCADA has.",
    "content": {XML: {"schema": {"type": "string", "format": "binary"}}},
}
MISSING = "no SCD is published: is the bridge running, and has a meter been born?"


class SclResponse(Response):
    """An SCL file."""

    media_type = XML


@router.get("/scd", response_class=SclResponse, responses={**problems(404), **also()})
def scd(request: Request, _caller: Observer) -> Response:
    """The current SCD (IEC 61850-6, 2007B4)."""
    document = parts_of(request).live.scd
    if document is None:
        raise ProblemError(404, MISSING)
    return encoded(request, document, XML, headers=_as_file("meter61850.scd"))


@router.get("/cid/{ied}", response_class=SclResponse, responses={**problems(404), **also()})
def cid(
    request: Request,
    _caller: Observer,
    ied: Annotated[str, Path(description="Such as SMGW001.", max_length=64)],
) -> Response:
    """The CID of one IED."""
    cids = parts_of(request).live.cids
    if ied not in cids:
        raise ProblemError(404, f"no IED {ied[:64]!r}: GET /api/v1/scl/revisions names them")
    return encoded(request, cids[ied], XML, headers=_as_file(f"{ied}.cid"))


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept-Encoding"}


@router.get("/revisions", response_model=Revisions, responses={**problems(406, 503), **also(XML)})
def revisions(
    request: Request, _caller: Observer, last: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """The newest revisions of the SCD, what changed in each, and the IEDs."""
    parts = parts_of(request)
    current = parts.live.revision
    rows = [
        {
            **{name: getattr(row, name) for name in ("revision", "sha256", "meters", "ieds", "what")},
            "ts": at(row.ts),
            "why": row.why or "",
        }
        for row in parts.archive.store.revisions(last=last)
    ]
    told = {"current": current.revision if current else None, "ieds": sorted(parts.live.cids)}
    return answer(request, {**told, "revisions": rows}, root="scl")


@router.post(
    "/diff",
    response_model=Difference,
    responses={**problems(404, 406, 408, 413, 429, 503), **also(XML)},
    openapi_extra={"requestBody": _FILE},
)
async def difference(
    request: Request,
    caller: Observer,
    condensed: Annotated[
        bool, Query(description="One line for what is the same in several devices.")
    ] = False,
) -> Response:
    """What differs, in words, between an SCL file and the current SCD.

    An account compares one file at a time. 413 for one that is too large, or needs too much memory or time.
    """
    parts = parts_of(request)
    format_of(request)  # 406 before anything is done
    with parts.budgets.comparisons.place(caller.name), TemporaryFile() as file, TemporaryFile() as current:
        async for piece in request.stream():
            file.write(piece)
        live = parts.live
        if live.scd is None:
            raise ProblemError(404, MISSING)
        if not file.tell():
            raise ProblemError(422, "body: no file; send an SCL file, such as the SCD that SCADA has")
        revision = live.revision.revision if live.revision else None
        current.write(live.scd)
        for one in (file, current):
            one.flush()
        async with parts.budgets.comparing:
            told = await compared(file, current, condensed=condensed)
    return await asyncio.to_thread(
        answer, request, {"revision": revision, "differences": told}, root="difference"
    )
