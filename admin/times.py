"""Times and ranges as the command line takes them: ago, dates, local times, RFC 3339, local months.

>>> point("2026-11-23T12:00+02:00", option="--from").isoformat()
'2026-11-23T10:00:00+00:00'
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from broker.calendar import Calendar, CalendarSettings
from broker.contract.errors import ConfigurationError
from broker.durations import UNITS

POINT = "15m, 24h, 7d ago, a date, a local time (2026-11-23T12:00), or one with its zone."
From = Annotated[
    str | None,
    typer.Option("--from", "--since", metavar="TIME", show_default=False, help=f"Begin: {POINT}"),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", show_default=False, help="End, exclusive: of the same form. Default: now."
    ),
]
Month = Annotated[
    str | None,
    typer.Option(metavar="YYYY-MM", show_default=False, help="A local month, instead of --from and --until."),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        envvar="METER61850_TIME_ZONE",
        metavar="ZONE",
        show_default=False,
        help="Of dates, months and times without a zone, such as Europe/Zurich; default: of this machine.",
    ),
]


def calendar_of(zone: str | None = None) -> Calendar:
    """The calendar of ``zone``, or of the settings; ConfigurationError for an unknown one."""
    return Calendar.named(zone) if zone else CalendarSettings().calendar


def point(text: str, *, option: str, calendar: Calendar | None = None) -> datetime:
    """``90s``, ``15m``, ``24h``, ``7d`` ago, a date, or a time, local without a zone; in UTC.

    ConfigurationError names ``option``.
    """
    number, unit = text[:-1], text[-1:]
    try:
        if unit in UNITS and number:
            return datetime.now(UTC) - timedelta(**{UNITS[unit]: float(number)})
        return (calendar or calendar_of()).time(text)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{option} {text!r}: use 15m, 24h, 7d, a date, or a time such as 2026-11-23T12:00"
        ) from error


def span(
    from_: str | None, until: str | None, month: str | None, *, calendar: Calendar
) -> tuple[datetime | None, datetime | None]:
    """Begin and end (exclusive) of what was asked for; ConfigurationError if that is no range."""
    if month is not None:
        if from_ or until:
            raise ConfigurationError("--month, or --from and --until: choose one")
        try:
            return calendar.month(month)
        except ValueError as error:
            raise ConfigurationError(f"--month: {error}") from error
    begin = point(from_, option="--from", calendar=calendar) if from_ else None
    end = point(until, option="--until", calendar=calendar) if until else None
    if begin is not None and end is not None and begin >= end:
        raise ConfigurationError(f"--from {from_} is not before --until {until}")
    return begin, end
