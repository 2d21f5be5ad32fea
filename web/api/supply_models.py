"""Quality of supply and reliability, as the API gives them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel

from web.api.models import MeterId


class QualityWeek(BaseModel):
    """Quality of supply of a meter in a local week."""

    meter_id: MeterId
    week: str
    """Such as 2026-W48."""
    start: AwareDatetime
    end: AwareDatetime
    indicative: Literal[True]
    """The meters are not class A of IEC 61000-4-30."""
    quality: dict[str, Any]
    """The fields of docs/supply.md; null is not known."""


class OutageDocument(BaseModel):
    """An outage of a feeder, or what may be one."""

    feeder: str
    start: AwareDatetime
    end: AwareDatetime | None
    """Null: not all of its meters are back."""
    minutes: float | None
    sure: str
    """``high``, ``medium``, or ``doubtful``, which counts nowhere."""
    reason: str
    meters: list[MeterId]


class ReliabilityPage(BaseModel):
    """Reliability in a time."""

    start: AwareDatetime
    end: AwareDatetime
    indicative: Literal[True]
    feeders: list[dict[str, Any]]
    """``feeder``, ``customers``, ``outages``, ``momentary``, ``saidi`` and ``caidi`` in minutes, ``saifi``,
    ``doubtful``; the last one is ``total``."""
    outages: list[OutageDocument]
