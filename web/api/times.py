"""Ranges of time in queries: RFC 3339, local times and dates, local months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError
from broker.contract.messages import EARLIEST, LATEST, format_ts
from web.parts import parts_of
from web.serving.problem import ProblemError

MOST = 32
"""Characters of a time."""


@dataclass(frozen=True)
class Span:
    """start <= time < end, in UTC, and the calendar of the request."""

    start: datetime
    end: datetime
    calendar: Calendar


def _point(text: str, name: str, calendar: Calendar) -> datetime:
    """422 for what is no time, or in no year of ours."""
    try:
        moment = calendar.time(text)
    except ValueError as error:
        raise ProblemError(
            422, f"{name} {text!r}: use 2026-11-23T12:00:00Z, a date, or a local time"
        ) from error
    if not EARLIEST <= moment <= LATEST:
        raise ProblemError(
            422, f"{name}: no meter has readings of this time: {EARLIEST.year} to {LATEST.year}"
        )
    return moment


def calendar_of(request: Request, zone: str | None) -> Calendar:
    """Of the query's zone, or of the settings; 422 for an unknown one."""
    try:
        return Calendar.named(zone) if zone else parts_of(request).settings.calendar.calendar
    except ConfigurationError as error:
        raise ProblemError(422, str(error)) from error


def _month(text: str, calendar: Calendar) -> tuple[datetime, datetime]:
    try:
        start, end = calendar.month(text)
    except ValueError as error:
        raise ProblemError(422, f"month {error}") from error
    if not EARLIEST - timedelta(days=1) <= start < LATEST:
        raise ProblemError(422, f"month {text}: {EARLIEST.year} to {LATEST.year}")
    return start, end


Start = Annotated[
    str | None,
    Query(
        description="Begin: RFC 3339, or a date or local time of `time_zone`. Default: a day before `end`; "
        "of energy, 32 days; of the audit, its begin.",
        max_length=MOST,
    ),
]
End = Annotated[
    str | None, Query(description="End, exclusive, of the same form; default: now.", max_length=MOST)
]
Month = Annotated[
    str | None,
    Query(description="A local month such as 2026-11, instead of both.", pattern=r"^\d{4}-\d{2}$"),
]
TimeZone = Annotated[
    str | None, Query(description="Such as Europe/Zurich; default: METER61850_TIME_ZONE.", max_length=64)
]


def asked(usual: timedelta) -> Any:
    """A dependency: the range of a query; ``usual`` before its end without a begin."""

    def span(
        request: Request,
        start: Start = None,
        end: End = None,
        month: Month = None,
        time_zone: TimeZone = None,
    ) -> Span:
        if month is None:
            return span_of(request, start, end, time_zone, usual=usual)
        if start is not None or end is not None:
            raise ProblemError(422, "month, or start and end: choose one")
        calendar = calendar_of(request, time_zone)
        return Span(*_month(month, calendar), calendar)

    return Depends(span)


def span_of(
    request: Request, start: str | None, end: str | None, time_zone: str | None, *, usual: timedelta
) -> Span:
    """From ``start``, or ``usual`` before the end, to ``end``, or to now; 422 for what is no range."""
    calendar = calendar_of(request, time_zone)
    until = _point(end, "end", calendar) if end is not None else datetime.now(UTC)
    begin = _point(start, "start", calendar) if start is not None else until - usual
    if begin >= until:
        raise ProblemError(422, f"start {format_ts(begin)} is not before end {format_ts(until)}")
    return Span(begin, until, calendar)
