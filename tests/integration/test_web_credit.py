"""Credit over HTTP: who may do what, a payment once, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from bridge.credit.accounts import Accounts, By
from bridge.credit.settings import CreditSettings
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, Kept, meter_id, row
from web.auth.accounts import Role

pytest_plugins = ("tests.support.databases",)
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations-store.md"
CREDIT = 'currency = "EUR"\nlow = 5\n[[version]]\nfrom = 2026-01-01\nprices.T1 = 0.35\n'
ONE = {"amount": "20.00", "reference": "MPESA-1"}
ACCOUNTS = "/api/v1/credit"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "credit.toml"
    file.write_text(CREDIT)
    monkeypatch.setenv("METER61850_CREDIT", str(file))
    return file


@pytest.fixture
def web(tmp_path: Path, file: Path) -> Iterator[Inside]:
    with inside(tmp_path) as web:
        fill(web.kept, file)
        yield web


def fill(kept: Kept, file: Path) -> None:
    """Two meters, of which the first one has an account."""
    kept.put(*(row(number, 1, ts=DAY0, energy=1.0) for number in (1, 2)))
    prices = CreditSettings(credit=file, tariffs=None).prices()
    assert prices is not None
    since = datetime.now(UTC) - timedelta(hours=1)
    Accounts(kept.engine, prices).open(meter_id(1), by=By("anna", "test"), since=since)


def path(number: int, what: str = "") -> str:
    return f"/api/v1/meters/{meter_id(number)}/credit{what}"


async def pay(web: Inside, number: int, **payment: str) -> tuple[int, Any]:
    """Status and document."""
    answer = await web.client.post(path(number, "/top-up"), json=payment)
    return answer.status_code, answer.json()


async def test_a_payment_is_booked_once(web: Inside) -> None:
    assert await pay(web, 1, **ONE) == (200, {"repeated": False, "balance": "20.00", "currency": "EUR"})
    assert await pay(web, 1, **ONE) == (200, {"repeated": True, "balance": "20.00", "currency": "EUR"})
    status, document = await pay(web, 1, amount="30.00", reference="MPESA-1")
    assert status == 409
    assert "reference MPESA-1 is that of a payment of 20.00 of this meter" in document["detail"]
    assert (await pay(web, 2, **ONE))[0] == 404, "it has no account"
    assert (await pay(web, 9, **ONE))[0] == 404
    for wrong in ("0", "-1", "1.001", "x", "1e3"):
        status, document = await pay(web, 1, amount=wrong, reference="MPESA-2")
        assert (status, "amount" in document["detail"]) == (422, True)
    (event,) = [row for row in web.kept.store.audit(event="credit") if "top-up" in row.detail]
    assert (event.who, event.origin[:4], event.meter_id) == ("anna", "web ", meter_id(1))
    assert '"amount":"20.00"' in event.detail
    assert '"reference":"MPESA-1"' in event.detail


async def test_observers_read_and_do_not_pay(web: Inside) -> None:
    await pay(web, 1, **ONE)
    token = web.parts.accounts.add_token("eve", Role.OBSERVER)
    web.client.headers["Authorization"] = f"Bearer {token}"
    assert (await pay(web, 1, amount="1.00", reference="MPESA-3"))[0] == 403
    (account,) = (await web.client.get(ACCOUNTS)).json()["accounts"]
    shown = (await web.client.get(path(1))).json()
    entries = shown.pop("entries")
    assert shown == account
    assert (account["meter_id"], account["state"], account["balance"]) == (meter_id(1), "good", "20.00")
    assert [(entry["amount"], entry["reference"]) for entry in entries] == [("20.00", "MPESA-1")]
    assert (await web.client.get(path(2))).status_code == 404
    assert (await web.client.get(ACCOUNTS, headers={"Accept": "application/xml"})).status_code == 200
    del web.client.headers["Authorization"]
    assert (await web.client.get(ACCOUNTS)).status_code == 401


async def test_without_a_file_there_is_no_credit(tmp_path: Path) -> None:
    with inside(tmp_path) as web:
        web.kept.put(row(1, 1, ts=DAY0, energy=1.0))
        for answer in (await web.client.get(ACCOUNTS), await web.client.get(path(1))):
            assert answer.status_code == 404
            assert "METER61850_CREDIT" in answer.json()["detail"]


async def test_the_documented_rights_are_enough(tmp_path: Path, postgres_url: str, file: Path) -> None:
    """And without them a payment is refused."""
    found = re.search(r"^```sql\n(.*?)^```$", OPERATIONS.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    role = make_url(postgres_url).database or ""
    role = f"{role}_credit"
    rights = found[1].replace("meter61850_web", role).strip().splitlines()
    with inside(tmp_path, url=postgres_url) as web:
        fill(web.kept, file)
        engine = web.kept.engine
        url = make_url(postgres_url).set(username=role).render_as_string(hide_password=False)
        with engine.begin() as connection:
            connection.exec_driver_sql("\n".join(line for line in rights if "credit_" not in line))
        with inside(tmp_path, url=url) as its:
            status, document = await pay(its, 1, **ONE)
            assert (status, "GRANT" in document["detail"]) == (503, True)
            with engine.begin() as connection:
                connection.exec_driver_sql("\n".join(line for line in rights if "credit_" in line))
            assert (await pay(its, 1, **ONE))[0] == 200
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
