"""Houses under attack: a deployment with all that runs in it, and what must be as it was after an attack.

>>> with street(tmp_path) as houses:  # doctest: +SKIP
...     with houses.unharmed():
...         attack(houses)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from paho.mqtt import client as mqtt
from paho.mqtt import subscribe
from sqlalchemy.exc import DBAPIError

from admin.chain.parts import enlist_simulated
from broker.contract.relay import Relay
from broker.contract.roles import Role
from broker.contract.status import Status
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from tests.faults.ledger import Ledger, OutboxState, audit, last_left, read_book, read_outbox
from tests.faults.site import Program, tail
from tests.faults.stored import Stored, read_stored, stored_upto
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.deployments import Site, deployed

LASTING, COUNT = 3, 5
"""Meters 1 to 3 run all the time, 4 (`late`) is restarted, of 5 (`thief`) the attacker has the identity."""
TOLD = ("birth", "status", "reading", "history", "relay", "result")
TOPICS = Topics()
SETTLE_SECONDS = 60.0
CODE = "7500"
"""Address code of them all."""


@dataclass(frozen=True)
class House:
    """What must not change in a house."""

    relay: Relay
    """As its retained topic tells: position, operation count, the command that caused it, when."""
    contact: tuple[bytes, int] | None
    """The simulated hardware's memory and when it was written (ns): each move of the contact writes it."""


@dataclass(frozen=True)
class State:
    """Before and after an attack."""

    houses: dict[str, House]
    sessions: dict[str, str]
    """Of the meters that run all the time: a new one tells that a connection was lost."""
    pids: dict[str, int]


@dataclass(frozen=True)
class Street:
    """The running deployment; ``otto`` may command, ``anna`` may look, ``far`` may command other meters."""

    site: Site
    folder: Path
    programs: dict[str, Program]
    mms_port: int

    @property
    def ids(self) -> list[str]:
        """The good meters'."""
        return meter_ids(_settings(1, LASTING + 1))

    @property
    def late(self) -> str:
        """The meter in its own process."""
        return self.ids[LASTING]

    @property
    def thief(self) -> str:
        """The meter whose identity the attacker has."""
        return meter_ids(_settings(COUNT, 1))[0]

    @property
    def url(self) -> str:
        """The database."""
        return self.site.deployment.environment["METER61850_DATABASE_URL"]

    def at(self, door: str, name: str) -> MqttSettings:
        """``name``'s connection, at another door of the broker."""
        return self.site.settings(name).model_copy(update={"port": self.site.deployment.ports[door]})

    @property
    def mms_tls_port(self) -> int:
        """For SCADA with a certificate."""
        return int(self.site.deployment.environment["METER61850_MMS_TLS_PORT"])

    def state(self) -> State:
        """What an attack must leave as it is."""
        told = self._told("status", self.ids[:LASTING])
        sessions = {meter: Status.model_validate_json(payload).session for meter, payload in told.items()}
        relays = self._told("relay", self.ids)
        houses = {
            meter: House(Relay.model_validate_json(relays[meter]), self._contact(meter)) for meter in self.ids
        }
        return State(houses, sessions, self._pids())

    @contextmanager
    def unharmed(self, *, sessions: bool = True) -> Iterator[State]:
        """Whatever happens in the block: relays, processes and readings of the good meters are untouched.

        ``sessions`` False: connections may be lost, but come back.
        """
        before = self.state()
        yield before
        self._flow()
        after = self.state()
        assert after.pids == before.pids
        assert after.houses == before.houses
        assert not sessions or after.sessions == before.sessions
        ledger = self.ledger()
        assert ledger.balanced, str(ledger)

    def ledger(self) -> Ledger:
        """Sensors stand still, the outboxes run empty; then taken = stored, for every good meter."""
        for path in self._books():
            path.with_suffix(".quiet").unlink(missing_ok=True)
        quiet = {path.parent / "quiet" for path in self._books()}
        for mark in quiet:
            mark.touch()
        try:
            until(self._quiet, seconds=SETTLE_SECONDS, why="outboxes empty")
            books = [read_book(path) for path in self._books()]
            outboxes = {book.meter_id: self._outbox(book.meter_id) for book in books}
            return audit(books, outboxes, self._stored())
        finally:
            for mark in quiet:
                mark.unlink()

    def logs(self) -> str:
        """The last lines of all."""
        logs = [*(program.log for program in self.programs.values()), self.site.log]
        return "\n".join(f"--- {log.name}\n{tail(log)}" for log in logs)

    def stored_upto(self) -> dict[str, int]:
        """Meter id → its last stored seq; empty while there is no database yet."""
        with suppress(DBAPIError):
            return stored_upto(self.url)
        return {}

    def _flow(self) -> None:
        """Until each good meter has readings stored that it took from now on."""
        mark = {
            path.stem: max((name.seq for name in read_book(path).took), default=0) for path in self._books()
        }
        until(
            lambda: all(self.stored_upto().get(meter, 0) > seq for meter, seq in mark.items()),
            seconds=SETTLE_SECONDS,
            why="readings flow again",
        )

    def _quiet(self) -> bool:
        return all(path.with_suffix(".quiet").exists() and not last_left(path) for path in self._books())

    def _stored(self) -> Stored:
        """What is there of the good meters; commands of attackers become dead letters by design."""
        stored = read_stored(self.url)
        told = {TOPICS.meter(meter, kind) for meter in self.ids for kind in TOLD}
        rows = [row for row in stored.rows if row[0].meter_id in self.ids]
        dead = [row for row in stored.dead if row[0] in told]
        return replace(stored, rows=rows, dead=dead)

    def _books(self) -> list[Path]:
        programs = ["meters"] * LASTING + ["late"]
        return [
            self.folder / "witness" / program / f"{meter}.jsonl"
            for program, meter in zip(programs, self.ids, strict=True)
        ]

    def _data(self, meter: str) -> Path:
        return self.folder / "meters" / meter

    def _outbox(self, meter: str) -> OutboxState:
        """Of a copy: the running meter, whose sensor stands still, keeps its file locked."""
        with tempfile.TemporaryDirectory() as copy:
            for path in self._data(meter).glob("meter.sqlite*"):
                shutil.copy(path, copy)
            return read_outbox(Path(copy) / "meter.sqlite")

    def _contact(self, meter: str) -> tuple[bytes, int] | None:
        path = self._data(meter) / "hardware.json"
        return (path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None

    def retained(self, topics: list[str]) -> list[mqtt.MQTTMessage]:
        """What the broker keeps on these topics, of which each must have something."""
        admin = self.site.settings("admin")
        told = subscribe.simple(  # type: ignore[no-untyped-call]
            topics, qos=1, msg_count=len(topics), hostname=admin.host, port=admin.port, tls=admin.tls()
        )
        return told if isinstance(told, list) else [told]

    def _told(self, kind: str, meters: list[str]) -> dict[str, bytes]:
        """By meter id."""
        found = self.retained([TOPICS.meter(meter, kind) for meter in meters])
        return {message.topic.split("/")[-2]: bytes(message.payload) for message in found}

    def _pids(self) -> dict[str, int]:
        """Of all that must live through everything; AssertionError names what has ended."""
        assert self.site.process is not None
        for program in self.programs.values():
            assert not program.failure(), program.failure()
        (mosquitto,) = psutil.Process(self.site.process.pid).children()
        services = {name: self.programs[name].pid for name in ("bridge", "mms", "meters")}
        return services | {"guardian": self.site.process.pid, "mosquitto": mosquitto.pid}


def _settings(first: int, n: int, data_dir: Path | None = None) -> SimulateSettings:
    told = {"n": n, "first": first, "interval": 0.25}
    return SimulateSettings.model_validate(told if data_dir is None else told | {"data_dir": data_dir})


def _program(site: Site, name: str, identity: str, *command: str) -> Program:
    folder = str(site.deployment.identity_folder(identity)) if identity else ""
    environment = {
        **site.deployment.environment,
        "METER61850_MQTT_IDENTITY": folder,
        "METER61850_LD_NAMES": "meter_id",  # as an old deployment has them
        "METER61850_SIMULATE_OUTBOX": '{"resend_after": 2}',
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return Program(name, [sys.executable, "-m", *command], site.folder.parent, environment)


def _meters(site: Site, name: str, first: int, n: int) -> Program:
    folder = site.folder.parent
    witness = folder / "witness" / name
    witness.mkdir(parents=True)
    options = (
        "-n",
        str(n),
        "--first",
        str(first),
        "--interval",
        "0.25",
        "--data-dir",
        str(folder / "meters"),
    )
    identities = ("--identities", str(site.folder / "identities"))
    command = ("tests.faults.witness", str(witness), "meter", "simulate", *options, *identities)
    return _program(site, name, "", *command)


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    """Everything runs and every good meter's readings are stored; ended at the end."""
    with deployed(folder, started=False) as site:
        enlist_simulated(site.deployment, _settings(1, COUNT, folder / "meters"))
        site.add("anna", Role.OPERATOR)
        site.add("otto", Role.ISSUER)
        site.add("far", Role.ISSUER, "9999")
        site.deployment.publish()
        site.start()
        mms_port = free_port()
        programs = {
            "bridge": _program(
                site, "bridge", "bridge", "admin", "bridge", "run", "--mms-port", str(mms_port)
            ),
            "mms": _program(site, "mms", "mms", "admin", "mms", "run"),
            "meters": _meters(site, "meters", 1, LASTING),
            "late": _meters(site, "late", LASTING + 1, 1),
        }
        made = Street(site, folder, programs, mms_port)
        try:
            for program in programs.values():
                program.start()
            until(lambda: sorted(made.stored_upto()) == sorted(made.ids), why="every meter stored")
            yield made
        except BaseException:
            print(made.logs())  # noqa: T201 - pytest shows it with the failure
            raise
        finally:
            for program in reversed(programs.values()):
                program.stop()
