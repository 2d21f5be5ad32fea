"""``/api/v1/scl``: the SCD and the CIDs as they are published, their revisions, and what differs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from scl_builder.diff import diff
from scl_builder.outline import parse
from web.answers import XML, answer, encoded
from web.api.common import also, at, problems
from web.api.models import Difference, Revisions
from web.guard import Observer
from web.parts import parts_of
from web.problem import ProblemError

router = APIRouter(prefix="/scl", tags=["scl"])

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
        }
        for row in parts.archive.store.revisions(last=last)
    ]
    told = {"current": current.revision if current else None, "ieds": sorted(parts.live.cids)}
    return answer(request, {**told, "revisions": rows}, root="scl")


@router.post("/diff", response_model=Difference, responses={**problems(404, 406, 408, 413, 503), **also(XML)})
def difference(
    request: Request,
    _caller: Observer,
    file: Annotated[bytes, Body(media_type=XML, description="An SCL file, such as the SCD that SCADA has.")],
) -> Response:
    """What differs, in words, between an SCL file and the current SCD."""
    live = parts_of(request).live
    if live.scd is None:
        raise ProblemError(404, MISSING)
    try:
        changes = diff(parse(file), parse(live.scd))
    except ValueError as error:
        raise ProblemError(422, f"body: {error}"[:500]) from error
    told = [{"ied": change.ied, "device": change.device, "what": change.what} for change in changes]
    revision = live.revision.revision if live.revision else None
    return answer(request, {"revision": revision, "differences": told}, root="difference")
