"""Documents of ``/api/v1/meters/{id}/registers``."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from web.api.models import MeterId


class RegisterRow(BaseModel):
    """At one local midnight."""

    model_config = {"extra": "allow"}

    meter_id: MeterId
    name: str
    address_code: str
    date: str = Field(examples=["2026-12-01"])
    """Local, of the day that begins."""
    ts: AwareDatetime
    energy_import: float | None
    """Wh, corrected. The meter's other registers have the same four fields."""
    energy_import_mark: str | None = Field(examples=["measured"])
    energy_import_raw: float | None
    energy_import_raw_at: AwareDatetime | None
    version: int


class RegisterPage(BaseModel):
    """Registers of a meter, oldest first."""

    meter_id: MeterId
    start: AwareDatetime
    end: AwareDatetime
    registers: list[RegisterRow]
