"""Accounts: opened, topped up and closed by people and payment systems; and what their balances mean.

>>> accounts = Accounts(engine, prices)  # doctest: +SKIP
>>> accounts.top_up(meter_id, 500_000, reference="MPESA-81", by=By("anna", "cli"))  # doctest: +SKIP
Payment(repeated=False, balance=500000)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Engine, Row, literal, select, update
from sqlmodel import Session, col
from sqlmodel import select as select_rows

from bridge.credit.booking import WORK, locked
from bridge.credit.entries import CASH, CORRECTION, METER, Kind, Of, Side, post, settle
from bridge.credit.prices import Prices
from bridge.credit.standing import Standing
from bridge.credit.standings import standings
from bridge.store import audit
from bridge.store.audit import Event
from bridge.store.tables import DAY_MS, CreditAccount, CreditEntry, Due, LoadProfile, Meter, at_ms
from bridge.store.upsert import insert_into
from broker.contract.errors import ConfigurationError, Meter61850Error

LARGEST = 10**15
"""Thousandths of a minor unit that one booking may move."""
LONGEST_REFERENCE = 64
LONGEST_REASON = 255


class NoAccountError(Meter61850Error, LookupError):
    """The meter has no account."""


class ConflictingPaymentError(Meter61850Error, PermissionError):
    """The reference of a payment was used for another one; nothing was booked."""


@dataclass(frozen=True)
class By:
    """Who does it, and from where: for ledger and audit."""

    who: str
    origin: str


class Payment(NamedTuple):
    """What became of it."""

    repeated: bool
    """It was booked before, and nothing was booked now."""
    balance: int


class Accounts:
    """Those of a database that may be written."""

    def __init__(self, engine: Engine, prices: Prices) -> None:
        self._engine = engine
        self._prices = prices

    # --- people ------------------------------------------------------------------------------------

    def open(
        self, meter_id: str, *, by: By, prepaid: bool = True, lifeline: bool = False, since: datetime
    ) -> None:
        """Open the account of a meter from ``since`` on, or change what it is.

        ConfigurationError if there are no prices at that time.
        """
        if since < self._prices.begin:
            raise ConfigurationError(f"no prices hold on {since:%Y-%m-%d}: {self._prices.credit.source}")
        flags = {"prepaid": prepaid, "lifeline": lifeline}
        with self._writing(meter_id) as (connection, meter):
            account = locked(connection, meter)
            if account is None or account.closed_at is not None:
                begin = at_ms(since)
                if account is not None:
                    begin = max(begin, account.closed_at)
                new = {**flags, "opened_at": begin, "closed_at": None, "charged_until": begin}
                new |= {"exhausted_since": None, "warned_at": None}  # a warning of then is none of now
                statement = insert_into(connection.dialect.name, CreditAccount).values(
                    meter=meter, balance=0, **new
                )
                connection.execute(statement.on_conflict_do_update(index_elements=["meter"], set_=new))
                _note_days(connection, meter, begin)
            else:
                mine = col(CreditAccount.meter) == meter
                over = {"warned_at": None} if lifeline else {}
                connection.execute(update(CreditAccount).where(mine).values(**flags, **over))
            settle(connection, meter, self._prices.credit.limits, now=audit.now_ms())
            note(connection, meter_id, by, {"what": "open", **flags, "since": since.isoformat()})

    def close(self, meter_id: str, *, by: By, reason: str) -> int:
        """Close it: intervals that begin later are not booked. The balance stays, and is returned."""
        now = audit.now_ms()
        with self._writing(meter_id) as (connection, meter):
            account = _open(connection, meter, meter_id)
            mine = col(CreditAccount.meter) == meter
            connection.execute(update(CreditAccount).where(mine).values(closed_at=now))
            note(connection, meter_id, by, {"what": "close", "reason": reason})
            return int(account.balance)

    def top_up(self, meter_id: str, amount: int, *, reference: str, by: By, reason: str = "") -> Payment:
        """Add a payment, once for each reference of the payment system.

        ConflictingPaymentError if the reference was used for another amount or meter.
        """
        if not 0 < amount <= LARGEST:
            raise ConfigurationError("a payment is more than 0, and not that large")
        _check_reference(reference)
        key, now = f"top-up:{reference}", audit.now_ms()
        with self._writing(meter_id) as (connection, meter):
            if locked(connection, meter) is None or not _is_known(connection, key):
                _open(connection, meter, meter_id)  # one that is known may come again after it was closed
            of = Of(meter, key, Kind.TOP_UP, now, now, reference, reason[:LONGEST_REASON], by.who)
            if not post(connection, of, [Side(CASH, -amount)]):
                self._check_same(connection, of, amount)
                return Payment(True, _balance(connection, meter))
            settle(connection, meter, self._prices.credit.limits, now=now)
            said = {"amount": self._prices.credit.text(amount), "reference": reference}
            note(connection, meter_id, by, {"what": "top-up", **said})
            return Payment(False, _balance(connection, meter))

    def adjust(self, meter_id: str, amount: int, *, reason: str, by: By) -> int:
        """Add to the balance, or take from it; the new balance. ConfigurationError without a reason."""
        if not amount or abs(amount) > LARGEST:
            raise ConfigurationError("an adjustment is not 0, and not that large")
        if not reason.strip():
            raise ConfigurationError("why? give a reason")
        now = audit.now_ms()
        with self._writing(meter_id) as (connection, meter):
            _open(connection, meter, meter_id)
            said = reason[:LONGEST_REASON]
            of = Of(meter, f"adjust:{uuid4()}", Kind.ADJUSTMENT, now, now, reason=said, who=by.who)
            post(connection, of, [Side(CORRECTION, -amount)])
            settle(connection, meter, self._prices.credit.limits, now=now)
            text = self._prices.credit.text(amount)
            note(connection, meter_id, by, {"what": "adjust", "amount": text, "reason": reason})
            return _balance(connection, meter)

    # --- what there is -----------------------------------------------------------------------------

    def standings(self, *, closed: bool = False, forecast: bool = True) -> list[Standing]:
        """All accounts that are open, by the keys of their meters; ``closed``: the others, too."""
        with self._engine.connect() as connection:
            limits = self._prices.credit.limits
            found = standings(connection, limits, now=audit.now_ms(), closed=closed, forecast=forecast)
            return list(found)

    def standing(self, meter_id: str) -> Standing:
        """Of one meter, also if its account is closed; NoAccountError without an account."""
        with self._engine.connect() as connection:
            meter = key_of(connection, meter_id)
            limits = self._prices.credit.limits
            found = standings(connection, limits, now=audit.now_ms(), closed=True, forecast=True, meter=meter)
            if (one := next(iter(found), None)) is None:
                raise _no_account(meter_id)
            return one

    def entries(self, meter_id: str, *, start: int, end: int, last: int | None = None) -> list[CreditEntry]:
        """Those on the meter's side that were booked in a time (ms), the newest first."""
        with Session(self._engine) as session:
            meter = key_of(session.connection(), meter_id)
            wanted = select_rows(CreditEntry).where(
                *(col(CreditEntry.meter) == meter, col(CreditEntry.account) == METER),
                *(col(CreditEntry.at) >= start, col(CreditEntry.at) < end),
            )
            return list(session.exec(wanted.order_by(col(CreditEntry.key).desc()).limit(last)))

    # -----------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, meter_id: str) -> Iterator[tuple[Connection, int]]:
        with self._engine.begin() as connection:
            yield connection, key_of(connection, meter_id)

    def _check_same(self, connection: Connection, of: Of, amount: int) -> None:
        """ConflictingPaymentError unless the payment of this reference is this one."""
        wanted = select(col(CreditEntry.amount), col(CreditEntry.meter)).where(
            col(CreditEntry.transaction_key) == of.transaction_key, col(CreditEntry.account) == METER
        )
        known, meter = connection.execute(wanted).one()
        if (known, meter) != (amount, of.meter):
            whose = "of this meter" if meter == of.meter else "of another meter"
            raise ConflictingPaymentError(
                f"reference {of.reference} is that of a payment of {self._prices.credit.text(known)} "
                f"{whose}: nothing was booked; each payment has its own reference"
            )


def _check_reference(reference: str) -> None:
    if not 0 < len(reference) <= LONGEST_REFERENCE or not reference.isprintable() or reference.isspace():
        raise ConfigurationError(f"the reference of a payment has 1 to {LONGEST_REFERENCE} characters")


def _is_known(connection: Connection, key: str) -> bool:
    mine = col(CreditEntry.transaction_key) == key
    return connection.execute(select(col(CreditEntry.key)).where(mine).limit(1)).first() is not None


def key_of(connection: Connection, meter_id: str) -> int:
    """Of a meter; NoAccountError if there is none."""
    key = connection.scalar(select(col(Meter.key)).where(col(Meter.meter_id) == meter_id))
    if key is None:
        raise _no_account(meter_id)
    return key


def _open(connection: Connection, meter: int, meter_id: str) -> Row[Any]:
    """The account, which is open; nobody else books on it meanwhile."""
    account = locked(connection, meter)
    if account is None or account.closed_at is not None:
        raise _no_account(meter_id)
    return account


def _no_account(meter_id: str) -> NoAccountError:
    return NoAccountError(f"{meter_id} has no open account: meter61850 credit open {meter_id}")


def _balance(connection: Connection, meter: int) -> int:
    return int(
        connection.execute(
            select(col(CreditAccount.balance)).where(col(CreditAccount.meter) == meter)
        ).scalar_one()
    )


def _note_days(connection: Connection, meter: int, begin: int) -> None:
    """Have the days looked at that have intervals since then."""
    days = select(literal(WORK), col(LoadProfile.start), literal(meter)).where(
        col(LoadProfile.meter) == meter, col(LoadProfile.start) > begin - DAY_MS
    )
    noted = insert_into(connection.dialect.name, Due).from_select(["work", "start", "meter"], days)
    connection.execute(noted.on_conflict_do_nothing())


def note(connection: Connection, meter_id: str, by: By, detail: dict[str, Any]) -> None:
    """Into the audit, as the last thing in the transaction."""
    event = Event(
        audit.Kind.CREDIT, who=by.who, origin=by.origin, meter_id=meter_id, outcome="done", detail=detail
    )
    audit.append(connection, [event], now=audit.now_ms())
