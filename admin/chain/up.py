"""``up``: start the chain, wait until MMS serves every meter, show the meters, compare at the end."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from admin.chain.devices import BROKER
from admin.chain.live import Line, live_table
from admin.chain.parts import Chain
from admin.chain.supervisor import HOST, Supervisor
from admin.chain.watch import ChainWatch
from admin.mms.meter_values import GOOD, Servers, Told, names_of, read_at, same, same_time, worst_quality
from admin.options import BrokerKind
from admin.output import stderr, stdout
from bridge.store.queries import MeterState, Store
from bridge.store.tables import moment
from broker.contract.errors import Meter61850Error
from broker.contract.quantities import QUANTITIES
from broker.daemon.mosquitto import find
from broker.daemon.mosquitto import version as mosquitto_version
from web.auth.accounts import Accounts, Role

ADMINISTRATOR = "admin"
POLL = 0.2
READY_SECONDS = 600.0
"""A loaded machine is slow, and a part that dies ends the wait: this bound is for one that hangs."""
REFRESH = 1.0
SETTLE_SECONDS = 30.0
ROOM = 4
"""Lines of a terminal that the table does not use for meters."""


class NotReadyError(Meter61850Error):
    """The chain runs, but not every meter could be read over MMS in time."""


@dataclass
class Up:
    """A running chain; made by :func:`admin.commands.up.up`, which also ends it."""

    chain: Chain
    kind: BrokerKind
    supervisor: Supervisor
    watch: ChainWatch
    servers: Servers = field(default_factory=Servers)
    began: float = field(default_factory=time.monotonic)
    ready_seconds: float = 0.0

    async def start(self) -> None:
        """Start the parts; the broker first, since the others would begin with a failed attempt."""
        for part in self.chain.parts(self.kind):
            await self.supervisor.start(part)
            if part.name == "broker":
                await self.supervisor.listening("broker", self.chain.mqtt_port)
            if part.name == BROKER and self.chain.devices is not None:
                await self.supervisor.listening(BROKER, self.chain.devices.port)
        await self.supervisor.listening("web", self.chain.web_port)

    async def wait_ready(self) -> None:
        """Return when each meter's values are read over MMS with good quality; NotReadyError otherwise.

        Values of a device that tells no time may be questionable. A meter that is blocked is not waited for.
        """
        waiting = set(self.chain.meter_ids())
        patience = READY_SECONDS + 0.1 * self.chain.total + 3 * self.chain.interval
        began = time.monotonic()
        last: dict[str, str] = {}
        columns = (TextColumn("meters readable over MMS"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
            task = bar.add_task("", total=len(waiting))
            while waiting:
                told = await self.read(waiting)
                last = {meter_id: worst_quality(values) for meter_id, values in told.items()}
                waiting -= {
                    meter_id for meter_id, quality in last.items() if self._is_ready(meter_id, quality)
                }
                waiting -= self.watch.blocked
                bar.update(task, completed=self.chain.total - len(waiting))
                if waiting and time.monotonic() > began + patience:
                    raise NotReadyError(self._lateness(waiting, last))
                await asyncio.sleep(POLL if waiting else 0)
        self.ready_seconds = time.monotonic() - self.began

    def _is_ready(self, meter_id: str, quality: str) -> bool:
        """Whether a meter's values are good; questionable of a device that tells no time."""
        devices = self.chain.devices
        adapted = devices is not None and meter_id in devices.adapted()
        return quality == GOOD or (adapted and not quality.startswith("invalid"))

    def _lateness(self, waiting: set[str], last: Mapping[str, str]) -> str:
        first = min(waiting)
        return (
            f"{len(waiting)} of {self.chain.total} meters cannot be read over MMS after "
            f"{time.monotonic() - self.began:.0f} s: {first} is {last.get(first, 'not served')}; "
            f"{self.supervisor.last_words(self._behind(first, served=first in last))}"
        )

    def _behind(self, meter_id: str, *, served: bool) -> str:
        """The part at which a meter that cannot be read has got stuck."""
        if served or meter_id not in self.watch.births:
            return "meters"
        published = any(
            device.meter_id == meter_id for cid in self.watch.cids.values() for device in cid.devices
        )
        return "mms" if published else "bridge"

    async def read(self, meter_ids: Iterable[str]) -> dict[str, dict[str, Told]]:
        """The values of those of the meters that are served now."""
        self.servers.follow(list(self.watch.cids.values()))
        births = {meter_id: self.watch.births.get(meter_id) for meter_id in meter_ids}
        wanted = {
            meter_id: names_of(birth.quantities, relay=birth.relay)
            for meter_id, birth in births.items()
            if birth
        }
        return await asyncio.to_thread(self.servers.read, wanted)

    def ready_line(self) -> str:
        """What a user needs to know to connect."""
        endpoints = ", ".join(f"{end['host']}:{end['port']} ({end['ied']})" for end in self.endpoints())
        return (
            f"READY in {self.ready_seconds:.1f} s: MQTT {HOST}:{self.chain.mqtt_port} "
            f"({self.kind} {self.broker_version()}), MMS {endpoints}, database {self.chain.database}, "
            f"web http://{HOST}:{self.chain.web_port}/"
        )

    def broker_version(self) -> str:
        """Of Mosquitto, or of amqtt."""
        binary: Path | None = find() if self.kind is BrokerKind.MOSQUITTO else None
        return mosquitto_version(binary) if binary else f"amqtt {version('amqtt')}"

    def endpoints(self) -> list[dict[str, Any]]:
        """The MMS servers."""
        return [
            {"ied": cid.ied, "host": cid.endpoint[0], "port": cid.endpoint[1], "meters": len(cid.meters)}
            for _, cid in sorted(self.watch.cids.items())
        ]

    async def show_table(self) -> None:
        """The live table, for ever; as many meters as the terminal has lines for."""
        console = stdout()
        meter_ids = self.chain.meter_ids()
        with Live(console=console, auto_refresh=False) as live:
            while True:
                shown = meter_ids[: max(1, console.height - ROOM)]
                told = await self.read(shown)
                lines = [Line(self.watch.name(meter_id), told.get(meter_id)) for meter_id in shown]
                table = live_table(lines, now=datetime.now(UTC), more=len(meter_ids) - len(shown))
                live.update(table, refresh=True)
                await asyncio.sleep(REFRESH)

    async def report(self) -> dict[str, Any]:
        """Stop the meters, wait until database and MMS have the same last readings, and return both."""
        ran = time.monotonic() - self.began - self.ready_seconds
        devices = ("devices", "adapter", "wired") if self.chain.devices else ()
        for name in (*devices, "meters"):
            await self.supervisor.stop(name)
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            meters = await self._compared()
            different = sum(not meter["same"] for meter in meters)
            if not different or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL)
        return {
            "version": version("meter61850"),
            "broker": {
                "kind": self.kind,
                "version": self.broker_version(),
                "host": HOST,
                "port": self.chain.mqtt_port,
            },
            "database": self.chain.database,
            "mms": self.endpoints(),
            "ready_seconds": round(self.ready_seconds, 2),
            "ran_seconds": round(ran, 2),
            "different": different,
            "meters": meters,
        }

    async def _compared(self) -> list[dict[str, Any]]:
        """One row for each meter: stored, read over MMS, and whether that is the same."""
        meter_ids = self.chain.meter_ids()
        states = await asyncio.to_thread(self._stored)
        told = await self.read(meter_ids)
        return [compared(meter_id, states.get(meter_id), told.get(meter_id)) for meter_id in meter_ids]

    def _stored(self) -> dict[str, MeterState]:
        with Store.open(self.chain.database) as store:
            return {state.meter.meter_id: state for state in store.meters()}


def first_login(users: Path) -> str:
    """Make an administrator with a random password if there is no account yet; what to print of it, or ''.

    The password is kept nowhere: tell it at once, whatever becomes of the start.
    """
    accounts = Accounts(users)
    if accounts.all():
        return ""
    password = secrets.token_urlsafe(12)
    accounts.add(ADMINISTRATOR, Role.ADMINISTRATOR, password=password)
    return (
        f"log in as {ADMINISTRATOR} with {password} (shown only now; to set another: "
        f"meter61850 web user add {ADMINISTRATOR} --role {Role.ADMINISTRATOR} --users {users})"
    )


def compared(meter_id: str, state: MeterState | None, told: Mapping[str, Told] | None) -> dict[str, Any]:
    """The last reading in the database, beside that over MMS."""
    row: dict[str, Any] = {"meter_id": meter_id, "name": None, "ied": None, "database": None, "mms": None}
    if state is not None:
        row |= {"name": state.meter.name, "ied": state.meter.ied}
        if state.latest is not None:
            latest = state.latest
            row["database"] = {
                "ts": moment(latest.ts),
                "epoch": latest.epoch,
                "seq": latest.seq,
                **{name: value for name in QUANTITIES if (value := getattr(latest, name)) is not None},
                "relay": state.meter.relay,
            }
    if told is not None:
        row["mms"] = {
            "ts": read_at(told),
            **{name: one.value for name, one in told.items()},
            "quality": worst_quality(told),
        }
    stored = row["database"]
    row["same"] = bool(
        stored
        and told
        and all(same(name, stored.get(name), one) for name, one in told.items())
        and all(same_time(stored["ts"], told[name]) for name in told.keys() & QUANTITIES.keys())
    )
    return row
