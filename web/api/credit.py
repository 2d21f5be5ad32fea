"""Credit of meters: balances, ledger, and payments of a payment system, each booked once by its reference.

Money is exact decimal text in units of the currency; docs/credit.md has the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.exc import ProgrammingError
from starlette.responses import Response

from bridge.credit import documents
from bridge.credit.accounts import Accounts, By, ConflictingPaymentError, NoAccountError
from bridge.credit.prices import Prices
from bridge.store import database
from bridge.store.tables import at_ms
from broker.contract.messages import LATEST, format_ts
from web.api.common import MeterPath, also, problems, registered
from web.audit import Event, audit
from web.auth.guard import Observer, Operator
from web.parts import Parts, parts_of
from web.serving.answers import XML, answer, format_of
from web.serving.problem import ProblemError

router = APIRouter(tags=["credit"])

NO_CREDIT = "no meter has credit here: METER61850_CREDIT names the file of prices (docs/credit.md)"
NO_RIGHT = "the web's role of the database may not book payments: docs/operations-store.md has the GRANTs"
Money = Annotated[str, Field(examples=["12.34567"], description="In units of the currency, exact.")]
State = Literal["good", "low", "emergency", "exhausted", "cut", "restored"]


class Account(BaseModel):
    """An account as it is now."""

    meter_id: str
    name: str
    state: State
    balance: Money
    currency: str
    days_left: float | None
    """At the cost of the last seven days; null: unknown."""
    prepaid: bool
    lifeline: bool
    """It is never cut."""
    waiting: int
    """Intervals that are estimated or missing, and cost nothing until a person decides."""
    booked_until: AwareDatetime | None
    exhausted_since: AwareDatetime | None
    warned_at: AwareDatetime | None
    cut_at: AwareDatetime | None


class AccountsPage(BaseModel):
    """The open accounts."""

    accounts: list[Account]


class EntryRow(BaseModel):
    """A transaction, as it changes the balance."""

    at: AwareDatetime
    kind: str
    amount: Money
    value_at: AwareDatetime
    """To what time it belongs."""
    reference: str
    reason: str
    who: str


class AccountPage(Account):
    """An account, and its newest entries, the newest first."""

    entries: list[EntryRow]


class TopUp(BaseModel):
    """A payment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"amount": "20.00", "reference": "MPESA-81B2"}]}
    )

    amount: Annotated[str, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,4})?$", description="Such as 20.00.")]
    reference: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    """Of the payment system; a payment has one of its own."""
    reason: Annotated[str, Field(max_length=255, pattern=r"^[^\x00-\x1f]*$")] = ""


class ToppedUp(BaseModel):
    """What became of a payment."""

    repeated: bool
    """It was booked before, and nothing was booked now."""
    balance: Money
    currency: str


@router.get("/credit", response_model=AccountsPage, responses={**problems(404, 406, 503), **also(XML)})
def accounts(request: Request, _caller: Observer) -> Response:
    """The open accounts with balance, state, and the days for which they last."""
    with _accounts(parts_of(request)) as (found, prices):
        rows = [_plain(documents.standing(prices.credit, one)) for one in found.standings()]
    return answer(request, {"accounts": rows}, root="page")


@router.get(
    "/meters/{meter_id}/credit",
    response_model=AccountPage,
    responses={**problems(404, 406, 503), **also(XML)},
)
def account(
    request: Request,
    _caller: Observer,
    meter_id: MeterPath,
    last: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The account of a meter, and the newest entries of its ledger."""
    parts = parts_of(request)
    registered(parts.archive, meter_id)
    with _accounts(parts) as (found, prices):
        row = documents.standing(prices.credit, found.standing(meter_id))
        entries = found.entries(meter_id, start=0, end=at_ms(LATEST), last=last)
        shown = [_plain(documents.entry(prices.credit, one)) for one in entries]
    return answer(request, {**_plain(row), "entries": shown}, root="account")


@router.post(
    "/meters/{meter_id}/credit/top-up",
    response_model=ToppedUp,
    responses=problems(404, 406, 408, 409, 413, 503),
)
def top_up(request: Request, caller: Operator, meter_id: MeterPath, payment: TopUp) -> Response:
    """Book a payment, once for each reference: after 503, or without an answer, send it again.

    409: the reference was used for another amount or meter, and nothing was booked.
    """
    format_of(request)
    parts = parts_of(request)
    registered(parts.archive, meter_id)
    by = By(caller.name, f"web {caller.address}")
    with _accounts(parts, writes=True) as (found, prices):
        decimals, amount = prices.credit.file.decimals, Decimal(payment.amount)
        if not amount or amount != round(amount, decimals):
            raise ProblemError(422, f"body.amount: more than 0, with {decimals} decimals at most")
        paid = prices.credit.thousandths(amount)
        try:
            done = found.top_up(meter_id, paid, reference=payment.reference, by=by, reason=payment.reason)
        except ConflictingPaymentError as error:
            audit(Event("credit-top-up", caller.name, caller.address, meter_id, "refused", str(error)))
            raise ProblemError(409, str(error)) from error
        return answer(request, documents.payment(prices.credit, done), root="topped-up")


@contextmanager
def _accounts(parts: Parts, *, writes: bool = False) -> Iterator[tuple[Accounts, Prices]]:
    """Those of the store; 404 without credit or an account. It blocks."""
    prices = parts.settings.credit.prices()
    if prices is None:
        raise ProblemError(404, NO_CREDIT)
    _ = parts.archive.store  # 503 while there is none
    engine = database.connect(parts.settings.database_url, reader=not writes)
    try:
        yield Accounts(engine, prices), prices
    except NoAccountError as error:
        raise ProblemError(404, str(error)) from error
    except ProgrammingError as error:
        raise ProblemError(503, NO_RIGHT) from error
    finally:
        engine.dispose()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Times as the contract writes them."""
    return {name: format_ts(value) if isinstance(value, datetime) else value for name, value in row.items()}
