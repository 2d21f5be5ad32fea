"""The documents of the API, for its description (OpenAPI); quantities and units are the contract's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from broker.contract.messages import Moment
from broker.contract.quantities import QUANTITIES, Quantity
from broker.contract.relay import Position
from web.commands import STATES
from web.live.summary import ShownState

MeterId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
CommandState = Annotated[
    str, Field(examples=[*STATES], description=f"{', '.join(STATES)}, or what a newer meter has answered.")
]


class ProblemDocument(BaseModel):
    """ProblemError details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def _quantity(row: Quantity) -> Any:
    """The annotation of a quantity."""
    return Annotated[float | None, Field(default=None, description=row.description)]


class Latest(BaseModel):
    """A meter as it last told; a quantity that its sensor does not give is absent."""

    meter_id: MeterId
    name: str
    address_code: str
    ied: str | None
    state: ShownState
    """online: good; stale: no reading for three intervals, or no broker; offline: it said so, or its will."""
    interval: float
    """s between readings."""
    ts: AwareDatetime | None = None
    """When the sensor was read, UTC."""
    __annotations__.update({name: _quantity(row) for name, row in QUANTITIES.items()})
    alarm: bool | None = None
    has_relay: bool = True
    """False: the meter only measures; there is nothing to switch. Absent: it has one."""
    relay: Position | None = None
    """closed: the house has power."""
    relay_ts: AwareDatetime | None = None
    relay_local: bool | None = None
    blocked: str | None = None
    """``opening``, ``closing``, ``opening and closing``; absent: nothing."""
    other: dict[str, float | str] | None = None
    """Numbers under names that this version does not know; absent without any."""
    clock_synchronized: bool | None = None
    """false: the meter did not know the time when it read, ``ts`` may be wrong; absent: it did."""
    alarms: list[str] | None = None
    """What is wrong with it: ``twin``, ``epoch-conflict``; absent: nothing."""


class LatestOfAll(BaseModel):
    """The latest of every meter in service."""

    broker: bool
    """False: the broker is away, and every meter stale."""
    meters: list[Latest]


class MeterPage(BaseModel):
    """Some meters, by name; ``next`` is the cursor of those that follow."""

    meters: list[Latest]
    total: int
    next: str | None


class MeterDocument(Latest):
    """All that is known of a meter."""

    scl_name: str
    """MMS domain of its logical device, such as SMGW001M17."""
    feeder: str | None = None  # such as Mill/LV/T1_F1, by the published SCD; null where no topology names one
    owner: str = ""
    address: str = ""
    ip: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    quantities: list[str] = []
    first_seen: AwareDatetime | None = None
    last_seen: AwareDatetime | None = None
    born_at: AwareDatetime | None = None
    retired_at: AwareDatetime | None = None
    outbox: int = 0
    """Readings that wait in the meter."""
    dropped: int = 0
    """Readings that its full outbox has dropped."""
    relay_operations: int = 0


class ReadingsPage(BaseModel):
    """Readings, hours or days of a meter, oldest first."""

    meter_id: MeterId
    resolution: Literal["raw", "hour", "day"]
    start: AwareDatetime
    end: AwareDatetime
    units: dict[str, str]
    next: str | None
    """Cursor of those that follow; absent in the layout ``columns``, which has all."""
    readings: list[dict[str, Any]] | None = None
    columns: dict[str, list[Any]] | None = None
    """With ``layout=columns``: times in ms since 1970."""


class ProfilePage(BaseModel):
    """Interval values of a meter, oldest first."""

    meter_id: MeterId
    start: AwareDatetime
    end: AwareDatetime
    intervals: list[dict[str, Any]]


class Energy(BaseModel):
    """What all meters together, or those of a feeder, used in each hour of UTC."""

    start: AwareDatetime
    end: AwareDatetime
    columns: dict[str, list[Any]]
    """``start`` in ms since 1970, ``energy_used`` in Wh, ``power`` in W, ``meters``: of how many."""


class Order(BaseModel):
    """Meters in the order that was asked for."""

    meter_ids: list[MeterId]


class Today(BaseModel):
    """What a meter used in the day that runs."""

    meter_id: MeterId
    start: AwareDatetime
    """Of the day."""
    energy_used: float | None
    """Wh until now; null when its counter told nothing."""


class RelayOrder(BaseModel):
    """Where the relay shall go."""

    model_config = ConfigDict(extra="forbid")

    position: Position
    expires_at: Moment | None = None
    """When it comes later than this, by our clock (an answer's Date), it is refused; 5 s count at most."""


class CommandDocument(BaseModel):
    """A relay command and what became of it; null is what the ledger does not know, as of a result alone."""

    command_id: str
    meter_id: str
    position: Position | None
    state: CommandState
    reason: str
    final: bool
    """Nothing more is expected."""
    issued_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    origin: str | None


class LedgerRow(BaseModel):
    """A row of the ledger: a relay command, or a change of what is blocked."""

    received_at: AwareDatetime
    meter: str
    meter_id: str
    what: str
    origin: str
    outcome: str
    """Empty while it is under way."""
    reason: str
    command_id: str | None


class Ledger(BaseModel):
    """The newest rows of the ledger, the newest first."""

    commands: list[LedgerRow]


class RevisionRow(BaseModel):
    """One revision of the SCD: what changed, in words, and what caused it (empty: not known)."""

    revision: int
    sha256: str
    meters: int
    ieds: int
    ts: AwareDatetime
    what: str
    why: str


class Revisions(BaseModel):
    """The newest revisions, the newest first."""

    current: int | None
    ieds: list[str]
    revisions: list[RevisionRow]


class ChangeRow(BaseModel):
    """One thing that differs."""

    ied: str
    device: str
    what: str


class Difference(BaseModel):
    """What differs between an SCL file and the current SCD."""

    revision: int | None
    differences: list[ChangeRow]


class ServiceRow(BaseModel):
    """A service as it last told."""

    name: str
    online: bool
    version: str
    ts: AwareDatetime
    counters: dict[str, int]
    warnings: list[str]
    """What somebody should look at: certificates that end within 30 days and were not renewed."""


class AlarmDocument(BaseModel):
    """Something is wrong with a meter, or with the server."""

    id: int
    meter_id: MeterId | None
    """null: it is the server's own."""
    name: str
    kind: str
    """One of docs/alarms.md."""
    severity: str
    subject: str
    meaning: str
    detail: str
    cure: str
    count: int
    """How often it was seen, of what is an event."""
    since: AwareDatetime
    acknowledged_by: str
    """Identity and person; empty: nobody has."""
    acknowledged_at: AwareDatetime | None
    cleared_at: AwareDatetime | None
    """null: it is in force."""


class AlarmList(BaseModel):
    """Alarms: those in force, or the newest."""

    alarms: list[AlarmDocument]


class FindingRow(BaseModel):
    """Something to look at."""

    part: str
    """``broker``, ``database``, or the name of a service."""
    what: str
    cure: str
    """What to do; empty when ``what`` says it."""


class Health(BaseModel):
    """Broker, services, database, what to look at, alarms, and how many meters are in which state."""

    broker: bool
    database: str
    """``ok``, or why it does not answer."""
    services: list[ServiceRow]
    findings: list[FindingRow]
    """What to look at, beside the alarms; empty: all is well."""
    alarms: list[AlarmDocument]
    summary: dict[str, Any]
