"""Dead letters: messages that the bridge could not use; an administrator sends them again, or deletes them.

The rules are those of ``meter61850 dead-letters`` (`bridge.store.dead_letters`), with one less right: the
broker lets the web publish readings, and no history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError
from starlette.responses import Response

from bridge.store import database
from bridge.store import dead_letters as kept
from bridge.store.tables import DeadLetter
from broker.contract.messages import MAX_SEQ
from broker.contract.roles import Role
from broker.contract.specs import SPECS
from web.api.common import also, at, problems
from web.audit import Event, audit
from web.auth.guard import Administrator, Caller, Observer
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer, format_of
from web.serving.problem import ProblemError

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

SHOWN_OCTETS = 512
MOST = 500
"""That one request sends again or deletes: each may have 64 KiB."""
CAUSES = 100
"""That are listed; a flood may make as many as there are letters."""
NAMED = 20
"""Keys that an entry of the audit names."""
NEVER = "incomplete, or not about readings: it is never sent again"
ELSEWHERE = "the web may not publish it: meter61850 dead-letters retry"
Key = Annotated[int, Field(ge=1, le=MAX_SEQ)]
Cause = Annotated[str | None, Query(max_length=255, description="Only those with exactly this cause.")]
T = TypeVar("T")


class DeadLetterRow(BaseModel):
    """A message that could not be taken as good."""

    key: int
    topic: str
    cause: str
    count: int
    size: int
    """Octets."""
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    payload: str
    """Its first 512 octets as text."""
    left_alone: str
    """Why it is not sent again from here; empty: it can be."""


class CauseRow(BaseModel):
    """A cause, and how many messages had it."""

    cause: str
    count: int


class DeadLetters(BaseModel):
    """The dead letters that were seen last, the latest first; the 100 most frequent causes of all."""

    dead_letters: list[DeadLetterRow]
    causes: list[CauseRow]


class LetterChoice(BaseModel):
    """Which dead letters: these, or the latest with this cause, at most 500 at a time."""

    model_config = ConfigDict(extra="forbid")

    keys: Annotated[list[Key] | None, Field(min_length=1, max_length=MOST)] = None
    cause: Annotated[str | None, Field(min_length=1, max_length=255)] = None

    @model_validator(mode="after")
    def _one_way(self) -> LetterChoice:
        if (self.keys is None) == (self.cause is None):
            raise ValueError("name keys, or a cause: one of the two")
        return self


class LeftAlone(BaseModel):
    """A dead letter that was not sent again, and why."""

    key: int
    why: str


class Retried(BaseModel):
    """What was sent again, and is no dead letter now unless it was found bad again."""

    sent: list[int]
    left_alone: list[LeftAlone]


class Purged(BaseModel):
    """How many were deleted."""

    deleted: int


@router.get("", response_model=DeadLetters, responses={**problems(406, 503), **also(XML)})
def dead_letters(
    request: Request,
    _caller: Observer,
    last: Annotated[int, Query(ge=1, le=1000)] = 100,
    cause: Cause = None,
) -> Response:
    """Messages that the bridge could not use, the latest first, and the most frequent causes."""
    return answer(request, letters_shown(parts_of(request), last=last, cause=cause), root="page")


def letters_shown(parts: Parts, *, last: int, cause: str | None = None) -> dict[str, Any]:
    """The dead letters that were seen last, and the most frequent causes of all. It blocks."""
    store = parts.archive.store
    causes = store.dead_letter_causes(most=CAUSES)
    return {
        "dead_letters": [_row(letter) for letter in store.dead_letters(last=last, cause=cause)],
        "causes": [{"cause": told, "count": count} for told, count in causes],
    }


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        **{name: getattr(letter, name) for name in ("key", "topic", "cause", "count", "size")},
        "first_seen": at(letter.first_seen),
        "last_seen": at(letter.last_seen),
        "payload": letter.payload[:SHOWN_OCTETS].decode(errors="replace"),
        "left_alone": _left_alone(letter),
    }


def _left_alone(letter: DeadLetter) -> str:
    """Why it is not sent again from here; empty if it may be."""
    if not kept.may_be_repeated(letter):
        return NEVER
    kind = letter.topic.rpartition("/")[2]
    return "" if SPECS[kind].may("write", Role.WEB) else ELSEWHERE


@router.post("/retry", response_model=Retried, responses=problems(404, 406, 408, 413, 503))
async def retry(request: Request, caller: Administrator, which: LetterChoice) -> Response:
    """Publish dead letters again on their topics, after their cause is removed.

    A message that is now good is stored; a bad one becomes a dead letter again. Only complete readings are
    sent: a command is never repeated, and history only by `meter61850 dead-letters retry`. After 503 some may
    have been sent; those that are still dead letters may be sent again.
    """
    parts = parts_of(request)
    format_of(request)  # 406 before anything is done
    letters = await asyncio.to_thread(_in_store, parts, lambda engine: _chosen(engine, which))
    fit = [letter for letter in letters if not _left_alone(letter)]
    sent: list[DeadLetter] = []
    try:
        for letter in fit:
            await parts.sender.publish(letter.topic, letter.payload)
            sent.append(letter)
    finally:
        counts = {letter.key: letter.count for letter in sent if letter.key is not None}
        _note(caller, "dead-letters-retry", counts, "sent" if len(sent) == len(fit) else "failed")
        await asyncio.to_thread(_in_store, parts, lambda engine: kept.purge_repeated(engine, counts))
    others = ((letter.key, _left_alone(letter)) for letter in letters)
    left = [{"key": key, "why": why} for key, why in others if why]
    return answer(request, {"sent": list(counts), "left_alone": left}, root="retried")


@router.post("/purge", response_model=Purged, responses=problems(404, 406, 408, 413, 503))
def purge(request: Request, caller: Administrator, which: LetterChoice) -> Response:
    """Delete dead letters for good. A reading of which its meter was told that it is kept is nowhere else."""
    format_of(request)
    parts = parts_of(request)
    keys = [letter.key for letter in _in_store(parts, lambda engine: _chosen(engine, which)) if letter.key]
    deleted = _in_store(parts, lambda engine: kept.purge(engine, keys=keys))
    _note(caller, "dead-letters-purge", keys, "done")
    return answer(request, {"deleted": deleted}, root="purged")


def _chosen(engine: Engine, which: LetterChoice) -> list[DeadLetter]:
    """The chosen ones; 404 for a key that is not there.

    A role that may not delete is refused here: what is sent again and cannot be deleted would be sent twice.
    """
    kept.purge(engine, keys=())
    if which.keys is None:
        return kept.newest(engine, last=MOST, cause=which.cause)
    found = kept.found(engine, which.keys)
    if missing := set(which.keys) - {letter.key for letter in found}:
        raise ProblemError(404, f"no dead letter {min(missing)}: GET /api/v1/dead-letters lists them")
    return found


def _in_store(parts: Parts, work: Callable[[Engine], T]) -> T:
    """What ``work`` makes of the database, opened to write; 503 for a role that may not delete. It blocks."""
    with database.opened(parts.settings.database_url) as engine:
        try:
            return work(engine)
        except ProgrammingError as error:
            raise ProblemError(503, _NO_RIGHT) from error


_NO_RIGHT = (
    "the web's role of the database may not delete dead letters: GRANT DELETE ON dead_letter "
    "(docs/operations-store.md), or use meter61850 dead-letters"
)


def _note(caller: Caller, action: str, keys: Iterable[int], outcome: str) -> None:
    """Into the audit."""
    told = list(keys)
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    detail = f"keys {', '.join(map(str, told[:NAMED]))}{more}" if told else "none"
    audit(Event(action, caller.name, caller.address, "dead letters", outcome, detail))
