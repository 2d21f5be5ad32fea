"""Houses cut and restored for their credit: a real broker, bridge and database, and real simulated meters.

The time that must pass is not waited for: it is put back in the database.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select, update
from sqlmodel import col

from admin.switching.prepaid import Service
from bridge.credit.accounts import Accounts, By
from bridge.credit.alone import Alone
from bridge.credit.cutting import AGAIN, SETTLES, Decision
from bridge.credit.entries import Kind, Of, Side, post
from bridge.credit.settings import CreditSettings
from bridge.store.database import connect
from bridge.store.tables import CreditAccount, CreditAction, CreditInterval, Meter, at_ms
from broker.contract.messages import utc_now
from broker.mqtt.settings import MqttSettings
from tests.support.brokers import Broker, free_port, mosquitto
from tests.support.chain import Chain, until
from tests.support.project import ROOT

HOUSES = 6
HOUR = timedelta(hours=1)
FILE = """
currency = "EUR"
emergency = 0.004
warning = "1h"
[[version]]
from = 2020-01-01
prices.T1 = 0.35
"""
KILLED = """
import asyncio, os, signal, sys
from admin.switching import fan_out
from tests.integration.test_credit_cutting import service_of
async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "before":
    fan_out.publish_command = die
else:
    fan_out.FanOut._await_answers = die
asyncio.run(service_of(sys.argv[2], int(sys.argv[3]), sys.argv[4]).round(asyncio.Event()))
"""


def patient(url: str, *, reader: bool = False) -> Engine:
    """An engine that waits for the bridge's transactions as long as a loaded machine takes."""
    engine = connect(url, reader=reader)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=60000"))
    return engine


def service_of(url: str, port: int, credit: str) -> Service:
    """The service, as `credit run` makes it."""
    mqtt = MqttSettings(host="127.0.0.1", port=port)
    return Service(patient(url), patient(url, reader=True), mqtt, CreditSettings(credit=Path(credit)))


@dataclass
class Town:
    """The chain, and its database."""

    chain: Chain
    engine: Engine
    reader: Engine
    credit: Path
    meters: list[str]

    def service(self) -> Service:
        """One that has begun anew."""
        return service_of(self.chain.url, self.chain.broker.port, str(self.credit))

    async def rounds(self, count: int = 3, service: Service | None = None) -> None:
        """Several looks by one service."""
        looking = service or self.service()
        for _ in range(count):
            await looking.round(asyncio.Event())
        looking._alone.close()

    async def decided(self, meter_id: str) -> Decision:
        """What would be done to it now."""
        (found,) = [one for one in await self.service().would_do() if one.meter_id == meter_id]
        return found

    def next_house(self) -> str:
        """A meter that no test has had."""
        return self.meters.pop()

    def exhausted(self, meter_id: str, **changes: Any) -> None:
        """Its account is exhausted since five hours and was warned two hours ago."""
        now, key = at_ms(utc_now()), self.key(meter_id)
        hour = 3_600_000
        account = {"meter": key, "opened_at": now - 9 * hour, "prepaid": True, "lifeline": False}
        account |= {"balance": 0, "charged_until": now}
        told = {"booked_until": now, "exhausted_since": now - 5 * hour, "warned_at": now - 2 * hour} | changes
        with self.engine.begin() as connection:
            connection.execute(insert(CreditAccount).values(**account))
            of = Of(key, f"use:{meter_id}", Kind.USE, now, now)
            post(connection, of, [Side("energy:T1", 500, 10)])
            mine = col(CreditAccount.meter) == key
            connection.execute(update(CreditAccount).where(mine).values(**told))

    def key(self, meter_id: str) -> int:
        """Of its row."""
        with self.reader.connect() as connection:
            found = connection.scalar(select(col(Meter.key)).where(col(Meter.meter_id) == meter_id))
        assert found is not None
        return found

    def account(self, meter_id: str) -> Any:
        """Its row."""
        with self.reader.connect() as connection:
            mine = select(CreditAccount).where(col(CreditAccount.meter) == self.key(meter_id))
            return connection.execute(mine).one()

    def actions(self, meter_id: str) -> list[tuple[str, str]]:
        """Kind and outcome of each order for it."""
        with self.reader.connect() as connection:
            mine = col(CreditAction.meter) == self.key(meter_id)
            columns = select(col(CreditAction.kind), col(CreditAction.outcome)).where(mine)
            return [
                (row.kind, row.outcome) for row in connection.execute(columns.order_by(col(CreditAction.key)))
            ]

    def let_pass(self, meter_id: str, length: timedelta) -> None:
        """As if its orders were so much older."""
        with self.engine.begin() as connection:
            mine = col(CreditAction.meter) == self.key(meter_id)
            older = {"at": col(CreditAction.at) - length // timedelta(milliseconds=1)}
            connection.execute(update(CreditAction).where(mine).values(older))

    def commands(self, meter_id: str) -> list[tuple[Any, ...]]:
        """Of the bridge's ledger."""
        query = "SELECT position, outcome, origin_category, origin_identifier FROM command WHERE meter_id = ?"
        return self.chain.rows(f"{query} ORDER BY key", meter_id)

    def relay(self, meter_id: str) -> str:
        """As the bridge has it."""
        return str(self.chain.rows("SELECT relay FROM meter WHERE meter_id = ?", meter_id)[0][0])

    def top_up(self, meter_id: str) -> None:
        """By a person."""
        prices = CreditSettings(credit=self.credit).prices()
        assert prices is not None
        by = By("anna", "test")
        Accounts(self.engine, prices).top_up(meter_id, 100_000, reference=f"R-{meter_id}", by=by)

    def killed(self, where: str) -> None:
        """A service that dies by SIGKILL in its first round: ``before`` or ``after`` it sends."""
        place = (self.chain.url, str(self.chain.broker.port), str(self.credit))
        done = subprocess.run(
            [sys.executable, "-c", KILLED, where, *place], cwd=ROOT, timeout=120, check=False
        )
        assert done.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """All houses have power, and no account."""
    folder = tmp_path_factory.mktemp("town")
    with ExitStack() as stack:
        broker: Broker = stack.enter_context(mosquitto(folder))
        chain = Chain(broker, folder, free_port())
        stack.callback(chain.stop)
        chain.start_bridge()
        chain.simulate(HOUSES, interval=0.5)
        meters = chain.wait_for_meters(HOUSES)
        credit = folder / "credit.toml"
        credit.write_text(FILE)
        engine, reader = patient(chain.url), patient(chain.url, reader=True)
        stack.callback(engine.dispose)
        until(lambda: chain.rows("SELECT 1 FROM meter WHERE relay = 'closed'")[HOUSES - 1 :], why="power")
        yield Town(chain, engine, reader, credit, meters)


async def test_exhausted_warned_cut_topped_up_restored(town: Town) -> None:
    house = town.next_house()
    town.exhausted(house, warned_at=None)
    await town.rounds()
    assert town.actions(house) == [("warn", "done")]
    assert town.account(house).warned_at is not None
    assert "has not lasted" in (await town.decided(house)).held
    warned = at_ms(utc_now() - 2 * HOUR)
    with town.engine.begin() as connection:
        mine = col(CreditAccount.meter) == town.key(house)
        connection.execute(update(CreditAccount).where(mine).values(warned_at=warned))
    await town.rounds()
    assert town.actions(house) == [("warn", "done"), ("cut", "done")]
    assert town.account(house).cut_at is not None
    until(lambda: town.relay(house) == "open", why="no power")
    until(
        lambda: town.commands(house) == [("open", "done", "automatic-remote", "credit")], why="in the ledger"
    )
    (issued,) = town.chain.rows(
        "SELECT origin FROM audit WHERE event = 'command-issued' AND meter_id = ?", house
    )
    assert "the credit is exhausted since" in issued[0]
    town.top_up(house)
    await town.rounds()
    assert town.actions(house)[2:] == [("restore", "done")]
    assert (town.account(house).cut_at, town.account(house).exhausted_since) == (None, None)
    until(lambda: town.relay(house) == "closed", why="power again")
    assert len(town.commands(house)) == 2


async def test_killed_before_it_is_sent_it_is_not_cut_until_the_meter_shows_that_nothing_came(
    town: Town,
) -> None:
    house = town.next_house()
    town.exhausted(house)
    await asyncio.to_thread(town.killed, "before")
    assert town.actions(house) == [("cut", "")]
    await town.rounds()
    assert town.actions(house) == [("cut", "")]
    assert "is not known: it waits for the meter" in (await town.decided(house)).held
    assert (town.commands(house), town.relay(house)) == ([], "closed")
    town.let_pass(house, SETTLES)
    await town.rounds()
    assert [kind for kind, _ in town.actions(house)] == ["cut"]
    assert "again after 10 min" in (await town.decided(house)).held
    town.let_pass(house, AGAIN)
    await town.rounds()
    assert town.actions(house)[1:] == [("cut", "done")]
    until(lambda: town.relay(house) == "open", why="no power")
    until(lambda: len(town.commands(house)) == 1, why="one command")


async def test_killed_after_it_is_sent_it_is_not_cut_twice(town: Town) -> None:
    house = town.next_house()
    town.exhausted(house)
    await asyncio.to_thread(town.killed, "after")
    assert town.actions(house) == [("cut", "")]
    until(lambda: town.relay(house) == "open", why="no power")
    await town.rounds()
    assert town.actions(house) == [("cut", "done")]
    assert town.account(house).cut_at is not None
    assert len(town.commands(house)) == 1
    town.chain.cli("relay", "close", house, "--wait", "--mqtt", town.chain.mqtt)
    await town.rounds()
    assert town.actions(house) == [("cut", "done")], "a person has closed it: not a second cut for this"
    town.top_up(house)
    await town.rounds()
    assert town.actions(house)[1:] == [("forget", "done")]
    assert town.account(house).cut_at is None


async def test_a_blocked_meter_is_not_cut(town: Town) -> None:
    house = town.next_house()
    town.exhausted(house)
    town.chain.cli("relay", "block", house, "--opening", "--mqtt", town.chain.mqtt)
    await town.rounds()
    assert (await town.decided(house)).held == "opening is blocked"
    assert (town.actions(house), town.commands(house), town.relay(house)) == ([], [], "closed")


async def test_missing_data_never_cuts(town: Town) -> None:
    """Silence first, then an interval that waits for a person."""
    house = town.next_house()
    town.exhausted(house, booked_until=at_ms(utc_now() - 3 * HOUR))
    await town.rounds()
    assert "silence never cuts" in (await town.decided(house)).held
    waiting = {"meter": town.key(house), "start": at_ms(utc_now() - HOUR), "version": 1, "status": 0}
    with town.engine.begin() as connection:
        mine = col(CreditAccount.meter) == town.key(house)
        connection.execute(update(CreditAccount).where(mine).values(booked_until=at_ms(utc_now())))
        connection.execute(insert(CreditInterval).values(**waiting, tariff=1, energy=0, amount=0))
    await town.rounds()
    assert "waits for a person" in (await town.decided(house)).held
    assert (town.actions(house), town.commands(house), town.relay(house)) == ([], [], "closed")


async def test_a_second_service_waits(town: Town) -> None:
    """Also when the first has looked already: an order is noted once, and only by the one with the lock."""
    house = town.next_house()
    town.exhausted(house)
    first = Alone(town.engine)
    assert first.have()
    await town.rounds()
    assert town.actions(house) == []
    first.close()
    await town.rounds()
    assert town.actions(house) == [("cut", "done")]
