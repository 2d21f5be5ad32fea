"""The whole chain on one machine, as ``up`` starts it: broker, bridge, MMS bridge, web, simulated meters.

>>> [part.name for part in Chain(meters=3).parts(BrokerKind.EMBEDDED)]  # doctest: +SKIP
['broker', 'bridge', 'mms', 'web', 'meters']
"""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from admin.chain.devices import Devices
from admin.chain.supervisor import HOST, Part
from admin.deployments import DIR, IDENTITY
from admin.options import BrokerKind, user_name
from bridge.store.audit import Kind
from bridge.store.database import check_file
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.roles import Role
from broker.daemon.ports import check_free
from broker.environment import check_whole
from broker.mqtt.settings import MqttSettings
from broker.no_deployment import UP_LOCK
from meter_firmware.settings import USUAL_SEED, SimulateSettings
from meter_firmware.simulate import meter_ids, simulated_profile
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment
from registrar.identities import Identity
from registrar.init_deployment import NewDeployment, new_deployment

METERS_PER_IED = 50
TLS_BEYOND = 3680
"""From an IED's plain MMS port to its port for TLS: 10102 and 13782."""
CREDIT = "METER61850_CREDIT"
DATABASE_FILE = "meter61850.sqlite"
"""Where all parts are one user's, the database needs no folder of its own."""


@dataclass(frozen=True)
class Chain:
    """What to start, and where."""

    meters: int = 10
    interval: float = 2.0
    data_dir: Path = Path("data")
    mqtt_port: int = 8882
    """Of our services; a new deployment's next two are for certificates and for passwords."""
    mms_port: int = 10102
    plain: bool = False
    """No identities, no TLS: on loopback, for a trial."""
    web_port: int = 8061
    devices: Devices | None = None
    """Other makers' devices beside the meters."""

    @property
    def total(self) -> int:
        """How many meters there are at the end."""
        return len(self.meter_ids())

    @property
    def database(self) -> str:
        """URL of the database: a SQLite file, unless the deployment's settings name another."""
        told = self._told("METER61850_DATABASE_URL") or f"sqlite:///{self.data_dir}/{DATABASE_FILE}"
        return told.replace(f"sqlite:///{self.deployment.folder}/", f"sqlite:///{self.data_dir}/")

    @property
    def users(self) -> Path:
        """The web's accounts."""
        return Path(self._told("METER61850_WEB_USERS") or self.data_dir / "web-users.json")

    def _told(self, setting: str) -> str:
        """The deployment's settings, if there is one; else empty."""
        deployment = self.deployment
        return deployment.environment.get(setting, "") if deployment.exists and not self.plain else ""

    @property
    def mms_ports(self) -> range:
        """One for each IED that the meters fill."""
        return range(self.mms_port, self.mms_port + math.ceil(self.total / METERS_PER_IED))

    @property
    def mms_tls_port(self) -> int:
        """Of the first IED, in a new deployment."""
        above = self.mms_port + TLS_BEYOND
        return above if above + len(self.mms_ports) <= 65535 else self.mms_port - TLS_BEYOND

    def check_ports(self) -> None:
        """PortTakenError names the first port that is in use, and the option to choose another."""
        for port in self.mqtt_ports():
            check_free(HOST, port, option="--mqtt-port")
        if self.devices is not None:
            check_free(HOST, self.devices.port, option="--devices-port")
        for port in self.mms_ports:
            check_free(HOST, port, option="--mms-port")
        check_free(HOST, self.web_port, option="--web-port")

    def usual_mqtt_port(self) -> int:
        """The first port; default if none is given."""
        if self.plain:
            return 1883
        return self.deployment.ports["services"] if self.deployment.exists else self.mqtt_port

    def mqtt_ports(self) -> list[int]:
        """On which the broker will listen."""
        if self.plain:
            return [self.mqtt_port]
        if self.deployment.exists:
            return list(self.deployment.ports.values())
        return list(range(self.mqtt_port, self.mqtt_port + 3))

    def mqtt(self, kind: BrokerKind) -> MqttSettings:
        """How the supervisor reaches the broker; the embedded one knows no MQTT 5."""
        version = 4 if kind is BrokerKind.EMBEDDED else 5
        identity = None if self.plain else self.deployment.identity_folder("admin")
        return MqttSettings(host=HOST, port=self.mqtt_port, version=version, identity=identity)

    @property
    def deployment(self) -> Deployment:
        """The identities of everyone in it; in the data folder."""
        return Deployment(self.data_dir.absolute())

    @property
    def simulation(self) -> SimulateSettings:
        """The simulated meters."""
        return SimulateSettings(n=self.meters, seed=USUAL_SEED, data_dir=self.data_dir / "meters")

    def meter_ids(self) -> list[str]:
        """Of the simulated meters and devices."""
        return [*meter_ids(self.simulation), *(self.devices.meter_ids() if self.devices else ())]

    def prepare(self) -> None:
        """Make the deployment if there is none, and identities for meters that have none.

        ConfigurationError if the folder has a deployment on other ports, or a plain chain would be beside it;
        or if its database is empty.
        """
        deployment = self.deployment
        check_file(self.database)
        if self.devices is not None:
            self.devices.write_config(port=self.mqtt_port)
        if self.plain:
            check_whole(deployment.folder)
            if deployment.exists:
                raise ConfigurationError(
                    f"{self.data_dir} is a deployment with identities, which needs Mosquitto (apt-get "
                    "install mosquitto) and no --plain or --broker embedded: or choose another folder with "
                    "--data-dir DIR"
                )
            return
        if not deployment.exists:
            first = self.mqtt_port
            make_deployment(
                deployment.folder,
                NewDeployment(
                    services_port=first,
                    port=first + 1,
                    password_port=first + 2,
                    mms_port=self.mms_port,
                    mms_tls_port=self.mms_tls_port,
                    database=DATABASE_FILE,
                ),
            )
        elif deployment.ports["services"] != self.mqtt_port:
            raise ConfigurationError(
                f"the deployment in {self.data_dir} uses port {deployment.ports['services']}: leave out "
                "--mqtt-port, or choose another folder with --data-dir DIR"
            )
        deployment.check()
        if self._credit(()) and deployment.identity_store.identity("credit") is None:
            deployment.enlist(
                Identity("credit", Role.CREDIT), deployment.identity_folder("credit"), host=HOST
            )
        enlist_simulated(deployment, self.simulation)
        if self.devices is not None:
            enlist_simulated(deployment, self.devices.wired)
            adapted = self.devices.adapted().items()
            enlist(deployment, {meter_id: ("", folder) for meter_id, folder in adapted})

    def environment(self, identity: str = "") -> dict[str, str]:
        """A child's environment: the deployment's settings and the child's identity, or that there is none.

        A child would take ``./data`` otherwise, which may be another deployment.
        """
        if self.plain:
            return {DIR: ""}
        folder = str(self.deployment.identity_folder(identity)) if identity else ""
        return self.deployment.environment | {DIR: str(self.deployment.folder), IDENTITY: folder}

    def _credit(self, mqtt: tuple[str, ...]) -> tuple[Part, ...]:
        """What cuts and restores, where there is credit; it may be killed at any time."""
        if not (os.environ.get(CREDIT) or self._told(CREDIT)):
            return ()
        place = mqtt if self.plain else ()  # its identity knows: not the services' listener
        words = ("credit", "run", *place, "--database", self.database)
        return (Part("credit", words, 0.05, self.environment("credit")),)

    def parts(self, kind: BrokerKind) -> tuple[Part, ...]:
        """The children in the order of their start; their seconds to stop add up to less than five."""
        mqtt = ("--mqtt", f"{HOST}:{self.mqtt_port}", "--mqtt-version", str(self.mqtt(kind).version))
        broker: tuple[str, ...] = ("--broker", kind, "--data-dir", str(self.data_dir))
        broker += ("--port", str(self.mqtt_port)) if self.plain else ()
        bridge = (
            *("--database", self.database, "--max-meters-per-ied", str(METERS_PER_IED)),
            *("--mms-host", HOST, "--mms-port", str(self.mms_port)),
        )
        web = ("--port", str(self.web_port), "--database", self.database, "--users", str(self.users))
        meters: tuple[str, ...] = (
            *("-n", str(self.meters), "--seed", str(USUAL_SEED), "--interval", str(self.interval)),
            *("--data-dir", str(self.data_dir / "meters")),
        )
        meters += mqtt if self.plain else ("--identities", str(self.deployment.folder / "identities"))
        registrar: tuple[Part, ...] = ()
        if not self.plain:
            folder = ("--dir", str(self.deployment.folder))
            told = self.environment("registrar") | {"METER61850_LOG_LEVEL": "info"}
            registrar = (Part("registrar", ("enrol", "run", *folder), 0.2, told),)
        devices: tuple[Part, ...] = ()
        if self.devices is not None:
            identities = None if self.plain else self.deployment.folder / "identities"
            devices = self.devices.parts(mqtt=mqtt, identities=identities)
        # fmt: off
        return (
            Part("broker", ("broker", "run", *broker), 0.9, self.environment()),
            Part("bridge", ("bridge", "run", *mqtt, *bridge), 1.3,
                 self.environment("bridge") | {"METER61850_DRAIN_SECONDS": "0.8"}),
            Part("mms", ("mms", "run", *mqtt), 0.9, self.environment("mms")),
            *registrar,
            Part("web", ("web", "run", *mqtt, *web), 0.5, self.environment("web")),
            *self._credit(mqtt),
            Part("meters", ("meter", "simulate", *meters), 1.1, self.environment()),
            *devices,
        )
        # fmt: on


def make_deployment(folder: Path, plan: NewDeployment) -> Deployment:
    """A new deployment; the first event of its audit is its creation."""
    deployment = new_deployment(folder, plan)
    AuditQueue(deployment).note(
        Kind.RIGHTS_CHANGED, who=user_name(), outcome="founded", hosts=list(plan.hosts), bind=plan.bind
    )
    return deployment


def enlist_simulated(deployment: Deployment, settings: SimulateSettings) -> None:
    """An identity for each simulated meter that has none, below ``identities/``."""
    profiles = [
        simulated_profile(settings, number) for number in range(settings.first, settings.first + settings.n)
    ]
    enlist(
        deployment,
        {
            profile.meter_id: (profile.identity.address_code, deployment.identity_folder(profile.meter_id))
            for profile in profiles
        },
    )


def enlist(deployment: Deployment, meters: Mapping[str, tuple[str, Path]]) -> None:
    """An identity for each meter that has none: meter_id → address code and folder.

    They run on this machine, where the broker's name need not lead to it, as inside a container.
    """
    bind = deployment.environment["METER61850_BROKER_BIND"]
    host = HOST if bind in ("0.0.0.0", HOST) else ""
    known = {identity.name for identity in deployment.identity_store.identities(Role.METER)}
    authority = deployment.authority()
    for meter_id, (code, folder) in meters.items():
        if meter_id not in known:
            identity = Identity(meter_id, Role.METER, address_code=code)
            deployment.enlist(identity, folder, host=host, authority=authority)
    deployment.publish()


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold ``data_dir`` for ourselves: two chains would be the same meters twice; UnavailableError."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / UP_LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                f"another `up` uses {data_dir}: stop it, or choose another folder with --data-dir DIR"
            ) from error
        yield
