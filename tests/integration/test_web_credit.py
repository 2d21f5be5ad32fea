"""Credit over HTTP: who may do what, a payment once, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.credit.accounts import Accounts, By
from bridge.credit.settings import CreditSettings
from bridge.store import database
from tests.support.chain import until
from tests.support.stores import meter_id
from tests.support.web import Web, beside_meters
from web.auth.accounts import Role

CREDIT = 'currency = "EUR"\nlow = 5\n[[version]]\nfrom = 2026-01-01\nprices.T1 = 0.35\n'


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder: Path = tmp_path_factory.mktemp("web")
    (folder / "credit.toml").write_text(CREDIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_CREDIT", str(folder / "credit.toml"))
        with beside_meters(folder, 2) as web:
            yield web


@pytest.fixture(scope="module")
def meters(web: Web) -> list[str]:
    """Two meters, of which the first one has an account."""
    found = web.wait_for_meters(2)
    prices = CreditSettings(credit=web.chain.folder / "credit.toml", tariffs=None).prices()
    assert prices is not None
    with database.opened(web.chain.url) as engine:
        since = datetime.now(UTC) - timedelta(hours=1)
        Accounts(engine, prices).open(found[0], by=By("anna", "test"), since=since)
    return found


def pay(web: Web, meter: str, role: Role = Role.OPERATOR, **payment: str) -> tuple[int, Any]:
    """Status and document."""
    with web.program(role) as client:
        answer = client.post(f"/meters/{meter}/credit/top-up", json=payment)
    return answer.status_code, answer.json()


def test_a_payment_is_booked_once(web: Web, meters: list[str]) -> None:
    one = {"amount": "20.00", "reference": "MPESA-1"}
    assert pay(web, meters[0], Role.OBSERVER, **one)[0] == 403
    assert pay(web, meters[0], **one) == (200, {"repeated": False, "balance": "20.00", "currency": "EUR"})
    assert pay(web, meters[0], **one) == (200, {"repeated": True, "balance": "20.00", "currency": "EUR"})
    status, document = pay(web, meters[0], amount="30.00", reference="MPESA-1")
    assert status == 409
    assert "reference MPESA-1 is that of a payment of 20.00 of this meter" in document["detail"]
    assert pay(web, meters[1], **one)[0] == 404, "it has no account"
    assert pay(web, meter_id(9), **one)[0] == 404
    for wrong in ("0", "-1", "1.001", "x", "1e3"):
        status, document = pay(web, meters[0], amount=wrong, reference="MPESA-2")
        assert (status, "amount" in document["detail"]) == (422, True)

    def audited() -> list[Any]:
        events = web.json("/audit", last=100)["audit"]
        return [row for row in events if row["event"] == "credit" and row["who"] == "operator-program"]

    (event,) = until(audited, why="the payment is in the audit")
    assert event["detail"] | {"amount": "20.00", "reference": "MPESA-1", "what": "top-up"} == event["detail"]
    assert event["meter_id"] == meters[0]


def test_observers_read_accounts(web: Web, meters: list[str]) -> None:
    pay(web, meters[0], amount="1.00", reference="MPESA-3")
    with web.program(Role.OBSERVER) as client:
        (account,) = client.get("/credit").json()["accounts"]
        shown = client.get(f"/meters/{meters[0]}/credit").json()
        assert client.get(f"/meters/{meters[1]}/credit").status_code == 404
        assert client.get("/credit", headers={"Accept": "application/xml"}).status_code == 200
    entries = shown.pop("entries")
    assert shown == account
    assert (account["meter_id"], account["state"], account["cut_at"]) == (meters[0], "good", None)
    assert (entries[0]["amount"], entries[0]["reference"]) == ("1.00", "MPESA-3")
    with web.nobody() as client:
        assert client.get("/api/v1/credit").status_code == 401
