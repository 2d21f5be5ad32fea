"""The database: SQLModel tables of the registry, the readings, the ledger, dead letters, revisions.

Every timestamp is an integer, milliseconds since 1970 UTC: eight bytes at most, the same on SQLite
and PostgreSQL, and exact. Quantities are those of
`broker.contract.quantities`, in its units; NULL means that the sensor did not give it. A change here needs a
migration in `bridge/migrations`, a row there none (`bridge.store.quantity_columns`).

>>> at_ms(datetime(2026, 11, 23, 12, tzinfo=UTC))
1795435200000
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from broker.contract.messages import EARLIEST, LATEST
from broker.contract.quantities import HOUSEHOLD, QUANTITIES
from broker.contract.texts import MAX_HEX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOTED_MS = 60_000
"""ms between two updates of a meter's ``last_seen`` and ``read_at`` by its readings."""

metadata: MetaData = SQLModel.metadata
metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def at_ms(moment: datetime) -> int:
    """``moment`` in ms since 1970 UTC, rounded down."""
    return (moment - _EPOCH) // _MS


def moment(ms: int) -> datetime:
    """The UTC datetime of ``ms`` since 1970."""
    return _EPOCH + ms * _MS


def sayable(ms: int) -> datetime:
    """``moment`` within the limits of the contract: a clock that was never set must not cost the message."""
    return min(max(moment(ms), EARLIEST), LATEST - _MS)


def _ms(*, nullable: bool = False) -> Any:
    """A column of milliseconds since 1970 UTC."""
    return Field(default=None, sa_type=BigInteger, nullable=nullable)


class Meter(SQLModel, table=True):
    """A meter that was ever heard of; its birth, its place in the SCD, and its last status."""

    key: int | None = Field(default=None, primary_key=True)
    """Names the meter inside the database; readings refer to it."""
    meter_id: str = Field(max_length=36, unique=True)
    name: str = ""
    owner: str = ""
    address: str = ""
    address_code: str = ""
    ip: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    """Hardware serial number: the meter_id belongs to it for ever."""
    firmware: str = ""
    quantities: str = ""
    """Names of the measured quantities, comma between."""
    interval: float = 0.0
    """Seconds between readings; 0 while unknown."""
    clock_synchronized: bool = True
    ied: str | None = Field(default=None, max_length=64, index=True)
    """The IED it belongs to for life; NULL before its first birth."""
    number: int | None = None
    """Of its logical device, as M17, for life and no other meter's; NULL before its first birth."""
    first_seen: int = _ms()
    last_seen: int = _ms()
    """Last message; kept to about a minute for readings."""
    read_at: int | None = _ms(nullable=True)
    """When a reading came last, to about a minute; NULL: none since this is noted."""
    born_at: int | None = _ms(nullable=True)
    """``ts`` of the latest birth; NULL for a meter of which only readings or a status were seen."""
    retired_at: int | None = _ms(nullable=True)
    changes: int = 0
    """How often it has joined or left its IED; confRev of the IED's data sets is made of these."""
    online: bool = False
    """Its session stands, and nothing keeps it out of service."""
    session: str = Field(default="", max_length=64)
    """This and the next three: `broker.contract.session.Session`."""
    session_at: int | None = _ms(nullable=True)
    session_before: str = Field(default="", max_length=64)
    standing: str = Field(default="", max_length=8)
    outbox: int = Field(default=0, sa_type=BigInteger)
    """Readings that waited in the meter when it last told."""
    dropped: int = Field(default=0, sa_type=BigInteger)
    """Readings that the meter's full outbox has dropped."""
    relay: str = Field(default="", max_length=8)
    """``open``, ``closed``, or empty while unknown."""
    has_relay: bool = True
    """False: its birth says that there is none."""
    relay_operations: int = 0
    relay_local: bool = False
    relay_at: int | None = _ms(nullable=True)
    relay_session: str = Field(default="", max_length=64)
    """The session in which the relay was told."""
    blocked: str = Field(default="", max_length=255)
    """Why the registrar keeps it out; empty: it does not."""
    access_at: int | None = _ms(nullable=True)
    """``ts`` of the registrar's latest decision."""


class Spare(SQLModel, table=True):
    """A logical device that an IED has or had for a meter to come; what becomes of it is in ``use``."""

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """Of the logical device, as M17: no meter's until one takes it, and then that meter's for life."""
    ied: str = Field(max_length=64, index=True)
    quantities: str
    """Of a meter that fits, comma between."""
    has_relay: bool
    use: str = Field(default="free", max_length=8)
    """``free``; ``taken`` by a meter; or ``dropped``: it was taken out of the IED, and no meter gets it."""


class Reading(SQLModel, table=True):
    """One reading; (meter, epoch, seq) is its name, so that a repeated one is ignored.

    No foreign key: the meter's key comes from the registry alone, and PostgreSQL would lock the
    meter's row for each reading.
    """

    __table_args__ = (Index(None, "meter", "ts"),)

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """`Meter.key`."""
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    ts: int = _ms()
    __annotations__.update(dict.fromkeys(QUANTITIES, float | None))
    alarm: bool | None = None
    other: str | None = None
    """JSON object: numbers under names that this version does not know, and what was told for a quantity
    that is absent because it was bad; NULL without any."""
    clock_synchronized: bool | None = None
    """False: the meter did not know the time, ``ts`` may be wrong. NULL: stored by a version that did not
    note this, nor ``other``."""


class Pack(SQLModel, table=True):
    """Old readings of one meter, ``first_seq`` … ``seq`` of ``epoch`` without a hole; see
    `bridge.store.pack_format`.

    What is in a pack is not in `Reading`, and is never stored there again. PostgreSQL looks in the
    statement that inserts (`bridge.ingest.bulk_insert`), SQLite in the trigger ``reading_once`` (migration
    0002).
    """

    __tablename__ = "reading_pack"
    __table_args__ = (Index(None, "meter", "last_ts"),)

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    """Of the last reading: where in the key's order a seq could be is found with one look."""
    first_seq: int = Field(sa_type=BigInteger)
    first_ts: int = _ms()
    """The earliest ts in it."""
    last_ts: int = _ms()
    """The latest ts in it."""
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Due(SQLModel, table=True):
    """What upkeep has to do: written with the readings, deleted with what was made of them."""

    work: str = Field(primary_key=True, max_length=8)
    """``hour``, ``day``: to be summed up, ``again``: once more; ``pack``: the day is to be packed,
    ``pack1``: an hour of it; ``credit``: the day's intervals are to be booked."""
    start: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Of the hour or day, ms since 1970 UTC."""
    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})


def rollup_columns() -> Iterator[Column[Any]]:
    """The columns of `ROLLUP`, new for each table that has them."""
    yield Column("span", Integer, primary_key=True, autoincrement=False)
    yield Column("meter", Integer, primary_key=True, autoincrement=False)
    yield Column("start", BigInteger, primary_key=True, autoincrement=False)
    yield Column("readings", Integer, nullable=False)
    yield Column("energy_used", Float)
    yield Column("energy_doubtful", Integer)
    yield Column("more", Text)
    for name in HOUSEHOLD:
        yield from statistics(name)


STATISTICS = ("count", "min", "max", "mean")


def statistics(name: str) -> Iterator[Column[Any]]:
    """Of one quantity in `ROLLUP`; the count is 0 where the column is newer than the row."""
    yield Column(f"{name}_count", Integer, nullable=False)
    for what in STATISTICS[1:]:
        yield Column(f"{name}_{what}", Float)


ROLLUP = Table("rollup", metadata, *rollup_columns())
"""An hour (``span`` 3600) or UTC day (86400) of a meter: Wh used, how many of the counter's steps are left
out of it (NULL: summed up before there was the rule), and count, min, max, mean by quantity: in columns of
what a plain meter measures, in ``more`` of the others (`bridge.store.statistics`)."""


class SupplyQuality(SQLModel, table=True):
    """Quality of supply of one meter and UTC day, kept for ever; see `bridge.store.supply_format`."""

    __tablename__ = "supply_quality"

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    start: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Of the day, ms since 1970 UTC."""
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LoadProfile(SQLModel, table=True):
    """The interval values of one meter and UTC day, kept for ever; see `bridge.store.profile_format`."""

    __tablename__ = "load_profile"

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    start: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Of the day, ms since 1970 UTC."""
    minutes: int
    """Of an interval."""
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ProfileSum(SQLModel, table=True):
    """What the intervals of a meter and UTC day come to; written with them (`bridge.store.profiles`).

    Energy in thousandths of a Wh; NULL: nothing is known of it.
    """

    __tablename__ = "profile_sum"

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    start: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Of the day, ms since 1970 UTC."""
    energy_import: int | None = Field(default=None, sa_type=BigInteger)
    energy_export: int | None = Field(default=None, sa_type=BigInteger)
    reactive_import: int | None = Field(default=None, sa_type=BigInteger)
    reactive_export: int | None = Field(default=None, sa_type=BigInteger)
    versions: int
    """The versions of all intervals, added up: it grows with each change."""


class ProfileCorrection(SQLModel, table=True):
    """A new version of an interval value, and what stood there before."""

    __tablename__ = "profile_correction"
    __table_args__ = (Index(None, "meter", "start"),)

    key: int | None = Field(default=None, primary_key=True)
    meter: int
    start: int = _ms()
    """Of the interval."""
    version: int
    """Of the new value; the first one, which is no correction, is 1."""
    ts: int = _ms()
    """When it was computed."""
    why: str = Field(max_length=64)
    before: str = Field(sa_type=Text)
    """JSON object: the fields that were changed, as they were."""


class Command(SQLModel, table=True):
    """The ledger: a relay command, who wanted it, and the one outcome that it had."""

    key: int | None = Field(default=None, primary_key=True)
    command_id: str = Field(max_length=64, unique=True)
    meter_id: str = Field(max_length=36, index=True)
    position: str = Field(default="", max_length=8)
    """``open`` or ``closed``; empty when only the result was seen, or when it was neither."""
    issued_at: int | None = _ms(nullable=True)
    expires_at: int | None = _ms(nullable=True)
    origin_category: str = Field(default="", max_length=32)
    origin_identifier: str = Field(default="", max_length=MAX_HEX)
    retained: bool = False
    """It was published retained, which the contract forbids."""
    repeats: int = 0
    """How often the same command_id was published again."""
    received_at: int = _ms()
    """When the bridge first heard of it."""
    outcome: str = Field(default="", max_length=64)
    """``done``, ``refused``, ``expired``, ``failed``, ``timed out``, or one that a newer meter knows; empty
    while there is none. It changes when a service said ``refused`` and then the meter what it did, when the
    meter says ``done`` after all, and when ``done`` moved nothing; the reason has what stood there before."""
    late_outcome: str = Field(default="", max_length=64)
    """What the meter answered, other than ``done``, after the command had timed out."""
    moves_by: int | None = _ms(nullable=True)
    """It is ``done``, its relay has not shown it yet, and is waited for until then."""
    reason: str = ""
    result_ts: int | None = _ms(nullable=True)
    """When the meter answered, or the bridge refused; None while the meter's answer would count."""


class BlockChange(SQLModel, table=True):
    """The ledger of blocks: who blocked or released which operations of a relay, or tried to.

    The broker tells a retained block again at each connect: what it says is the key.
    """

    __tablename__ = "block_change"
    __table_args__ = (UniqueConstraint("meter_id", "ts", "block_open", "block_close", "reason"),)

    key: int | None = Field(default=None, primary_key=True)
    meter_id: str = Field(max_length=36)
    ts: int = _ms()
    """When it was set, by the clock of who did."""
    block_open: bool
    """Opening is blocked since then."""
    block_close: bool
    open_ts: int | None = _ms(nullable=True)
    """When opening was blocked or released last, and the same of closing; both absent: at ``ts``."""
    close_ts: int | None = _ms(nullable=True)
    origin_category: str = Field(max_length=32)
    origin_identifier: str = Field(max_length=MAX_HEX)
    received_at: int = _ms()
    """When the bridge first heard of it."""
    reason: str = Field(default="", max_length=255)
    """Why a service refused it; empty when it was set."""


class Audit(SQLModel, table=True):
    """Who did what to whom, each row chained to the one before it; see `bridge.store.audit`.

    Triggers refuse whatever is not a new row at the end (migration 0006).
    """

    no: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """1, 2, 3, … without a hole."""
    ts: int = Field(sa_type=BigInteger, index=True)
    """When it was recorded."""
    event: str = Field(max_length=48)
    """A `bridge.store.audit.Kind`."""
    who: str = Field(max_length=255)
    """As far as it is known: origin category and identifier, or a user's name."""
    origin: str = Field(max_length=255)
    """From where, as far as it is known: service and address, or the topic that told it."""
    meter_id: str = Field(max_length=36, index=True)
    identity: str = Field(max_length=255)
    """Whom it concerns if it is no meter, or beside it: an identity at the broker, an enrolment code."""
    outcome: str = Field(max_length=32)
    detail: str
    """A JSON object, keys sorted."""
    previous: str = Field(max_length=64)
    """``hash`` of the row before; 64 zeros in the first."""
    hash: str = Field(max_length=64)
    """SHA-256 over all of the above, in hex."""


class DeadLetter(SQLModel, table=True):
    """A message that could not be taken as good; the same one again only counts up."""

    __tablename__ = "dead_letter"
    __table_args__ = (UniqueConstraint("topic", "sha256", "cause"),)

    key: int | None = Field(default=None, primary_key=True)
    topic: str = Field(max_length=255)
    """Cut to 255 characters."""
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Its first 64 KiB."""
    size: int
    """Bytes of the whole payload."""
    sha256: str = Field(max_length=64)
    """Of the whole payload, in hex."""
    cause: str = Field(max_length=255)
    count: int = 1
    first_seen: int = _ms()
    last_seen: int = Field(default=None, sa_type=BigInteger, nullable=False, index=True)
    confirmed: bool = False
    """A reading that its meter may forget since it is here: it is nowhere else."""


_STANDING = text("cleared_at IS NULL")


class Alarm(SQLModel, table=True):
    """One occurrence of an alarm, from when it was raised until it was cleared; kept for a while afterwards.

    At most one of a meter, kind and subject is in force: whoever raises it twice raises it once.
    """

    __table_args__ = (
        Index(
            "ix_alarm_in_force",
            *("meter", "kind", "subject"),
            unique=True,
            sqlite_where=_STANDING,
            postgresql_where=_STANDING,
        ),
        Index(None, "cleared_at"),
    )

    key: int | None = Field(default=None, primary_key=True)
    meter: int = 0
    """`Meter.key`; 0: it is the server's own."""
    kind: str = Field(max_length=32)
    """One of `broker.contract.alarms.KINDS`."""
    subject: str = Field(default="", max_length=64)
    """Which one, where there can be several of a kind."""
    detail: str = Field(max_length=255)
    """What was seen last, in one line."""
    count: int = Field(default=1, sa_type=BigInteger)
    """How often it was seen since it was raised, of what is an event."""
    since: int = _ms()
    last_seen: int = _ms()
    cleared_at: int | None = _ms(nullable=True)
    """NULL: it is in force."""
    acknowledged_at: int | None = _ms(nullable=True)
    acknowledged_by: str = Field(default="", max_length=255)
    notified_at: int | None = _ms(nullable=True)
    """When the message left that it was raised; all alarms of one message have the same time."""
    notified_over_at: int | None = _ms(nullable=True)
    """When the message left that it is over."""


class CreditAccount(SQLModel, table=True):
    """Credit of a meter, since somebody opened it; see `bridge.credit`.

    Money here and below is in thousandths of the currency's minor unit.
    """

    __tablename__ = "credit_account"

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    opened_at: int = _ms()
    """Intervals that begin before it are never booked."""
    closed_at: int | None = _ms(nullable=True)
    """Nor are those from then on."""
    prepaid: bool = True
    """False: there is a statement at the month's end, and no state."""
    lifeline: bool = False
    """Never to be cut."""
    balance: int = Field(default=0, sa_type=BigInteger)
    """The sum of the account's entries."""
    charged_until: int = _ms()
    """Local days that end before or at this time have their standing charge."""
    booked_until: int | None = _ms(nullable=True)
    """End of the newest booked interval."""
    exhausted_since: int | None = _ms(nullable=True)
    warned_at: int | None = _ms(nullable=True)
    cut_at: int | None = _ms(nullable=True)
    """When we opened the relay, until we have closed it."""
    restored_at: int | None = _ms(nullable=True)


class CreditEntry(SQLModel, table=True):
    """One side of a transaction of the ledger; all entries of a transaction together are zero."""

    __tablename__ = "credit_entry"
    __table_args__ = (UniqueConstraint("transaction_key", "account"), Index(None, "meter", "value_at"))

    key: int | None = Field(default=None, primary_key=True)
    transaction_key: str = Field(max_length=128)
    """What it is of: a reference of a payment, or meter, interval and version; so none is booked twice."""
    account: str = Field(max_length=16)
    """``meter``, ``cash``, ``correction``, ``standing``, or ``energy:T1`` …: the other side."""
    meter: int
    """Whose transaction it is."""
    amount: int = Field(sa_type=BigInteger)
    energy: int = Field(default=0, sa_type=BigInteger)
    """Thousandths of a Wh, of ``energy:…``."""
    kind: str = Field(max_length=16)
    """`bridge.credit.entries.Kind`."""
    at: int = _ms()
    """When it was booked."""
    value_at: int = _ms()
    """To what time it belongs; at most `at`, and that for what comes after the month's statement."""
    reference: str = Field(default="", max_length=64)
    reason: str = Field(default="", max_length=255)
    who: str = Field(default="", max_length=255)


class CreditInterval(SQLModel, table=True):
    """An interval of the load profile of which a version was booked, or waits for a person."""

    __tablename__ = "credit_interval"
    __table_args__ = (
        Index(
            "ix_credit_interval_waiting",
            *("meter", "start"),
            sqlite_where=text("status = 0"),
            postgresql_where=text("status = 0"),
        ),
        {"sqlite_with_rowid": False},
    )

    meter: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    start: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    version: int
    """The newest that was looked at."""
    status: int
    """`bridge.credit.booking.Status`: 0 waits."""
    tariff: int
    """1 to 8."""
    energy: int = Field(sa_type=BigInteger)
    """Booked: thousandths of a Wh."""
    amount: int = Field(sa_type=BigInteger)
    """What it has cost."""


class CreditAction(SQLModel, table=True):
    """What the service that cuts and restores has ordered: ``warn``, ``cut``, ``restore`` or ``forget``."""

    __tablename__ = "credit_action"
    __table_args__ = (Index(None, "meter", "at"),)

    key: int | None = Field(default=None, primary_key=True)
    meter: int
    kind: str = Field(max_length=8)
    at: int = _ms()
    command_id: str = Field(max_length=64, unique=True)
    """Made of what the order is for (`bridge.credit.orders`), so that none is given twice."""
    for_since: int = _ms()
    """The ``exhausted_since`` that it is for."""
    operations: int | None = None
    """Of the relay before the command."""
    outcome: str = Field(default="", max_length=64)
    """As that of the command; empty while there is none."""
    reason: str = Field(max_length=255)


class SclRevision(SQLModel, table=True):
    """One revision of the SCD; these rows are its history."""

    __tablename__ = "scl_revision"

    revision: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sha256: str = Field(max_length=64)
    """Of the SCD's bytes, in hex."""
    meters: int
    ieds: int
    ts: int = _ms()
    what: str = ""
    """What changed, in words."""
    why: str | None = Field(default=None, sa_type=Text)
    """What caused it: births, a setting, the topology file."""
    settings: str | None = Field(default=None, sa_type=Text)
    """JSON object of the settings that it was made with; of the newest revision only."""
    topology: str | None = Field(default=None, sa_type=Text)
    """Text of the topology file that it was made with; of the newest revision only."""


class Setting(SQLModel, table=True):
    """What holds for the whole store until an administrator changes it."""

    name: str = Field(primary_key=True, max_length=32)
    value: str = Field(sa_type=Text)
    changes: int = 0
    """How often it was changed, ever."""
