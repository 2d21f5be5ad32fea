"""What is blocked now: the relays' blocks, and meters that the registrar does not let in.

The web releases none: its identity may not write on these topics, so each row names the command that does.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from broker.contract.fleet import MeterState
from broker.contract.messages import format_ts
from web.api.common import also, problems
from web.api.models import MeterId
from web.auth.guard import Observer
from web.live.state import Live
from web.parts import parts_of
from web.serving.answers import XML, answer

router = APIRouter(tags=["blocks"])


class BlockRow(BaseModel):
    """Something that is blocked."""

    meter_id: MeterId
    name: str
    what: Literal["opening", "closing", "connecting"]
    """Opening or closing of the relay, or connecting to the broker."""
    since: AwareDatetime
    by: str
    """Who changed the relay's block last; of connecting the audit knows it."""
    reason: str
    """Of connecting; a relay's block has none."""
    release: str
    """The command that releases it."""


class BlockList(BaseModel):
    """All that is blocked, the latest first."""

    blocks: list[BlockRow]


@router.get("/blocks", response_model=BlockList, responses={**problems(406), **also(XML)})
async def blocks(request: Request, _caller: Observer) -> Response:
    """What is blocked now, since when and by whom, and the command that releases it."""
    return answer(request, {"blocks": block_rows(parts_of(request).live)}, root="blocks")


def block_rows(live: Live) -> list[dict[str, Any]]:
    """What is blocked, the latest first."""
    rows = [row for meter in live.fleet.meters.values() for row in _of(meter)]
    return sorted(rows, key=lambda row: str(row["since"]), reverse=True)


def _of(meter: MeterState) -> Iterator[dict[str, Any]]:
    who = {"meter_id": meter.meter_id, "name": meter.name}
    named = shlex.quote(meter.name or meter.meter_id)
    if meter.access is not None and not meter.access.allowed:
        yield {
            **who,
            "what": "connecting",
            "since": format_ts(meter.access.ts),
            "by": "",
            "reason": meter.access.reason,
            "release": f"meter61850 meters unblock {named}",
        }
    block = meter.block
    if block is None:
        return
    for what, blocked, since in (
        ("opening", block.open, block.open_ts),
        ("closing", block.close, block.close_ts),
    ):
        if blocked:
            yield {
                **who,
                "what": what,
                "since": format_ts(since or block.ts),
                "by": f"{block.origin.category} {block.origin.identifier}",
                "reason": "",
                "release": f"meter61850 relay block {named} --{what} --release",
            }
