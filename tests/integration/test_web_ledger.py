"""Commands that the web finds in the ledger: of others, and of its own time before a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import Session

from bridge.store.tables import Command
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id
from web.commands import command_id

KEY = "an-idempotency-key"
OURS = command_id("anna", KEY)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Inside]:
    """The application; no command yet."""
    with inside(tmp_path) as web:
        yield web


def write(web: Inside, **told: Any) -> None:
    """A row of the ledger, as the bridge writes it."""
    with Session(web.kept.engine) as session:
        session.add(Command(meter_id=meter_id(1), received_at=DAY0, **told))
        session.commit()


def end(web: Inside, outcome: str) -> None:
    """The meter answers."""
    with web.kept.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE command SET outcome = '{outcome}', result_ts = {DAY0 + 100}")


def refused(web: Inside, *, result_ts: int | None) -> None:
    """The command of our key was refused: by the meter, which has a ``result_ts``, or by us."""
    issued = {"position": "open", "issued_at": DAY0, "expires_at": DAY0 + 5000}
    write(web, command_id=OURS, outcome="refused", reason="too often", result_ts=result_ts, **issued)


async def repeated(web: Inside) -> httpx.Response:
    """The answer to the same order again."""
    path, order = f"/api/v1/meters/{meter_id(1)}/relay", {"position": "open"}
    return await web.client.post(path, json=order, headers={"Idempotency-Key": KEY})


async def test_nothing_is_made_up_for_a_result_whose_command_nobody_saw(web: Inside) -> None:
    write(web, command_id="unseen", outcome="done", result_ts=DAY0)
    answer = await web.client.get("/api/v1/commands/unseen")
    assert answer.json() == {
        "command_id": "unseen",
        "meter_id": meter_id(1),
        "state": "done",
        "reason": "",
        "final": True,
        **dict.fromkeys(("position", "issued_at", "expires_at", "origin")),
    }


async def test_what_the_ledger_knows_is_told(web: Inside) -> None:
    issuer = {"origin_category": "maintenance", "origin_identifier": "cli root"}
    write(web, command_id="seen", position="open", issued_at=DAY0, expires_at=DAY0 + 5000, **issuer)
    told = (await web.client.get("/api/v1/commands/seen")).json()
    assert (told["position"], told["origin"]) == ("open", "maintenance cli root")
    assert (told["issued_at"], told["expires_at"]) == ("2026-11-23T00:00:00.000Z", "2026-11-23T00:00:05.000Z")
    assert (told["state"], told["final"]) == ("sent", False)


async def test_who_waits_for_a_command_of_others_is_told_its_end(web: Inside) -> None:
    write(web, command_id="others", position="open", issued_at=DAY0, expires_at=DAY0 + 5000)
    waiting = asyncio.create_task(web.client.get("/api/v1/commands/others?wait=10"))
    await asyncio.wait([waiting], timeout=0.5)
    assert not waiting.done(), "it has not ended yet"
    end(web, "done")
    assert (await waiting).json()["state"] == "done"


async def test_waiting_for_a_command_of_others_has_an_end(web: Inside) -> None:
    write(web, command_id="others", position="open", issued_at=DAY0, expires_at=DAY0 + 5000)
    assert (await web.client.get("/api/v1/commands/others?wait=0.3")).json()["final"] is False


async def test_a_repeated_key_finds_what_the_meter_refused_as_sent(web: Inside) -> None:
    refused(web, result_ts=DAY0)
    answer = await repeated(web)
    assert answer.status_code == 202
    assert (answer.json()["command_id"], answer.json()["state"]) == (OURS, "refused")


async def test_a_repeated_key_finds_what_we_refused_as_not_sent(web: Inside) -> None:
    refused(web, result_ts=None)
    answer = await repeated(web)
    assert answer.status_code == 404  # and 409 where the meter is known
    assert answer.json()["command"]["command_id"] == OURS
