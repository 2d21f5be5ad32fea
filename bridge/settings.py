"""Settings of the bridge: keyword arguments (the CLI), then the environment (``METER61850_…``).

>>> BridgeSettings(max_meters_per_ied=20).database_url
'sqlite:///meter61850.sqlite'
"""

from __future__ import annotations

import os
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bridge.alarms import targets
from bridge.alarms.targets import Target
from bridge.billing_settings import BillingSettings
from bridge.ingest.ied_names import PREFIX
from bridge.ingest.rate_limits import Limits, Rate
from bridge.scl.hosts import Hosts, parsed
from bridge.store.ld_names import LdNames
from broker.contract.alarms import Severity
from broker.contract.errors import ConfigurationError
from broker.contract.roles import Role
from broker.contract.specs import SPECS, heard_by
from broker.durations import duration_of
from broker.host_clock import kept
from broker.mqtt.settings import MqttSettings, Port, as_number
from scl_builder.build.project import MAX_REPORT_INSTANCES, ControlModel, Project
from scl_builder.model.deadbands import Bands
from scl_builder.model.logical_devices import MAX_METERS, OPERATE_TIMEOUT


def _duration(value: object) -> object:
    """``400d``, ``36h`` and ``10m`` as a timedelta; anything else as it is, for pydantic."""
    length = duration_of(value) if isinstance(value, str) else None
    return value if length is None else length


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class BridgeSettings(BaseSettings):
    """MQTT → database → SCL."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    billing: BillingSettings = Field(default_factory=BillingSettings)
    database_url: str = "sqlite:///meter61850.sqlite"
    """``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``."""
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "meter61850-bridge"
    """The broker keeps the session of this client id while the bridge is away: one bridge, one id. With a
    certificate the bridge adds a suffix that only the owner of its key can compute."""
    session_expiry: Annotated[int, Field(ge=60, lt=2**32)] = 7 * 86_400
    """Seconds for which the broker keeps it (MQTT 5)."""

    group: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,32}$")] | None = None
    """Bridges of one group share the meters' messages ($share/GROUP/…); they need one PostgreSQL."""
    instance: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_]{1,32}$")] = Field(
        default_factory=lambda: f"p{os.getpid()}"
    )
    """Name of this bridge in its group: part of the client id and of the service's name."""
    command_grace: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """Seconds after its expiry for which a command may still be answered; then it timed out."""
    dead_letters_per_cause: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Dead letters of one cause that are kept whole; further ones are only counted. Readings without another
    copy do not count here."""
    dead_letters_per_meter: Annotated[int, Field(ge=1)] = 200
    """Dead letters of one meter that are kept whole; of its readings an eighth of all bytes is kept."""
    dead_letter_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    """Bytes of payload that all dead letters together may take."""
    audit_head_file: Path | None = None
    """File for the end of the audit, outside of the database; default: beside a SQLite file."""
    metrics_port: Port | None = None
    """Port for /metrics and /healthz; default: they are not served."""
    metrics_address: str = "127.0.0.1"
    """Local address for them; 0.0.0.0 in a container."""

    clock_synchronized: bool | None = None
    """Whether this machine's clock is right; default: the kernel's answer whether NTP keeps it. While the
    clock may be wrong, all messages from the future wait; else only those at most 12 hours ahead. The MMS
    bridge (time quality) and the authority (a warning with a certificate) heed it, too."""

    keep: Annotated[Duration, Field(ge=timedelta(days=1))] | None = None
    """Delete readings older than this, such as 400d or 36h; roll-ups stay. Default: never."""
    interval_minutes: Annotated[Literal[5, 15, 30, 60], BeforeValidator(as_number)] = 15
    """Minutes of an interval of load profiles: 5, 15, 30 or 60. A change holds from the next UTC day."""
    pack_after: Annotated[Duration, Field(ge=timedelta(minutes=5))] = timedelta(minutes=10)
    """Time after the end of their hours at which readings are packed, to a tenth of their size: each hour at
    a reading every ten seconds, eight hours together at one every minute."""
    upkeep_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 300.0
    """Seconds between two rounds of upkeep: roll-ups, packing, retention."""

    batch_messages: Annotated[int, Field(ge=1, le=30_000)] = 5000
    """Approximate number of messages in one commit."""
    batch_seconds: Annotated[float, Field(ge=0, le=10)] = 0.03
    """Seconds for which a message may wait for others to be committed with it."""
    queue_bytes: Annotated[int, Field(ge=1024 * 1024)] = 64 * 1024 * 1024
    """Bytes of messages that may wait for the database; then the broker keeps the rest."""
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = 10_000
    """Unacknowledged messages that the broker may send (MQTT 5): two batches."""
    drain_seconds: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Seconds for which a stop may wait until all received messages are stored."""
    status_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds between two publications of our status."""
    repeat_after: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds after a connection until the bridge publishes what the broker has lost of the meters
    (bridge.ingest.repeats); in this time the online meters connect and publish it themselves."""

    meter_message_rate: Annotated[float, Field(gt=0)] = 25.0
    """Messages of one meter per second, sustained; the shortest interval makes 20. The rest waits."""
    meter_message_burst: Annotated[int, Field(ge=1)] = 100_000
    """Burst of messages of one meter: all that the broker queued while the bridge was away."""
    meter_reading_rate: Annotated[float, Field(gt=0)] = 25.0
    """Readings per second of one meter on ``history``, sustained."""
    meter_reading_burst: Annotated[int, Field(ge=1)] = 1_000_000
    """Burst of readings of one meter on ``history``: its outbox after an outage; 259,200 in 30 days."""
    meter_command_rate: Annotated[float, Field(gt=0)] = 2.0
    """Commands, results and blocks per second of one meter in the ledger, sustained."""
    meter_command_burst: Annotated[int, Field(ge=1)] = 1_000
    """Burst of these."""
    issuer_command_rate: Annotated[float, Field(gt=0)] = 20.0
    """Commands and blocks per second of one issuer (by origin) in the ledger, sustained."""
    issuer_command_burst: Annotated[int, Field(ge=1)] = 20_000
    """Burst of these."""
    new_meters_per_minute: Annotated[float, Field(gt=0)] = 1000.0
    """Unknown meters that the bridge registers per minute, sustained."""
    new_meter_burst: Annotated[int, Field(ge=1)] = 20_000
    """Burst of these: a new town."""

    alarm_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    """Seconds between two looks for alarms (docs/alarms.md)."""
    alarm_settle: Annotated[float, Field(ge=0, le=86_400)] = 90.0
    """Seconds after a connection to the broker until alarms are raised: meters take up to a minute to come
    back."""
    alarm_disk_mb: Annotated[int, Field(ge=0)] = 1000
    """Megabytes that must be free on the disk of the database, else it is an alarm."""
    alarm_dead_letters: Annotated[int, Field(ge=1)] = 10
    """Different dead letters within an hour that are an alarm."""
    notify: SecretStr = SecretStr("")
    """URLs that get a message for each alarm, with spaces between:
    ``smtp://USER:PASSWORD@HOST:587/?from=ADDRESS&to=ADDRESS,ADDRESS`` (smtps with TLS from the start),
    ``https://HOST/PATH`` (a webhook: JSON by POST), or one of apprise, such as ``ntfy://TOPIC``."""
    notify_after: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=7))] = timedelta(minutes=2)
    """Time for which an alarm must be in force before it is sent: what clears before is not."""
    notify_per_hour: Annotated[int, Field(ge=1, le=1000)] = 10
    """Messages in any hour; the last one is a summary, and so is one for many alarms at once."""
    notify_severity: Severity = Severity.WARNING
    """``alarm``: warnings are not sent."""

    project_name: Annotated[str, StringConstraints(min_length=1, max_length=255)] = "meter61850"
    """Name of the SCD."""
    max_meters_per_ied: Annotated[int, Field(ge=1, le=MAX_METERS)] = 50
    """Meters in one IED. Each is a member of the IED's group data sets, which hold 100."""
    fill_by_address_code: bool = False
    """Each IED has meters of one address code only. A meter keeps its IED for life, so set this first."""
    spare: Annotated[int, Field(ge=0, lt=MAX_METERS)] = 10
    """Spare logical devices of an IED: a meter that is born takes one, and the IED's configuration stays.
    When there is none left, the next birth makes a new configuration with so many more. 0: none."""
    ld_names: LdNames | None = None
    """``number``: a meter's logical device is SMGW001M17; ``meter_id``: SM_ and 32 hex digits. Default: as
    the database has it, ``number`` in a new one. Every SCADA imports the SCD again after a change."""
    mms_host: IPv4Address = IPv4Address("127.0.0.1")
    """Address of the MMS servers for SCADA; it is in the SCD."""
    mms_hosts: Annotated[Hosts | None, NoDecode, BeforeValidator(parsed)] = None
    """An address for each IED, such as 10.0.0.10-10.0.0.19: all have the same ports then. IED number n has
    the n-th address for life, so add new ones at the end."""
    mms_port: Port = 102
    """MMS port of the first IED; each further IED has the next port, or the same with ``mms_hosts``."""
    mms_tls_port: Port | None = None
    """Port of the first IED for MMS over TLS, 3782 in IEC 62351; the SCD has it beside the plain one."""
    topology: Path | None = None
    """TOML file of substations, feeders and phases (docs/topology.example.toml); changes are read at once."""
    report_instances: Annotated[int, Field(ge=1, le=MAX_REPORT_INSTANCES)] = 2
    """SCADA clients that can each enable every report control block."""
    report_clients: str = ""
    """Names of these clients, such as ``ControlCentre,Backup``: the SCD has an IED for each, and gives it the
    first, the second … instance of every report control block (ClientLN)."""
    control_model: ControlModel = "sbo-with-enhanced-security"
    """ctlModel of CSWI1.Pos."""
    mms_operate_limit: Annotated[float, Field(gt=0, le=60)] = OPERATE_TIMEOUT / 1000
    """Seconds for the meter's action and answer; operTimeout in the SCD, which the MMS bridge uses."""
    mms_deadband: str = "1"
    """Percent of the nominal value by which a measured value (mag) must move to be an event; 0: every change.
    Other values for some kinds: ``1,power=0.5,frequency=0`` (docs/scada.md has the kinds)."""
    mms_zero_deadband: str = "0"
    """Percent of the nominal value below which mag is 0, likewise."""
    mms_range: str = "voltage=10"
    """Percent around the nominal value outside of which range is high or low; kinds without a number have
    no range."""
    mms_nominal: str = ""
    """Other nominal values than those in docs/scada.md: ``voltage=120,current=5``."""

    @model_validator(mode="after")
    def _bands_are_of_the_table(self) -> Self:
        _ = self.bands
        return self

    @property
    def bands(self) -> Bands:
        """Deadbands and ranges of measured values; ValueError names what is none."""
        return Bands.of(
            deadband=self.mms_deadband,
            zero=self.mms_zero_deadband,
            ranges=self.mms_range,
            nominal=self.mms_nominal,
        )

    @property
    def targets(self) -> list[Target]:
        """Where notifications go; ConfigurationError names what is none."""
        return [targets.parse(url) for url in self.notify.get_secret_value().split()]

    @model_validator(mode="after")
    def _targets_are_known(self) -> Self:
        try:
            _ = self.targets
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def clients(self) -> tuple[str, ...]:
        """The names in ``report_clients``."""
        return tuple(filter(None, map(str.strip, self.report_clients.split(","))))

    @model_validator(mode="after")
    def _clients_are_ieds(self) -> Self:
        if ours := [name for name in self.clients if name.startswith(PREFIX)]:
            raise ValueError(
                f"report_clients: {ours[0]}: names that begin with {PREFIX} are those of our IEDs"
            )
        try:
            Project("", 1, (), report_instances=self.report_instances, clients=self.clients)
        except ValueError as error:
            raise ValueError(f"report_clients: {error}") from error
        return self

    @model_validator(mode="after")
    def _group_needs_postgresql(self) -> Self:
        if self.group is not None and not self.database_url.startswith("postgresql"):
            raise ValueError("group: several bridges need one PostgreSQL: set database_url to postgresql://…")
        return self

    @property
    def limits(self) -> Limits:
        """What one meter, or one issuer, may take of us."""
        return Limits(
            messages=Rate(self.meter_message_rate, self.meter_message_burst),
            readings=Rate(self.meter_reading_rate, self.meter_reading_burst),
            commands=Rate(self.meter_command_rate, self.meter_command_burst),
            issuer=Rate(self.issuer_command_rate, self.issuer_command_burst),
            new_meters=Rate(self.new_meters_per_minute / 60, self.new_meter_burst),
        )

    def clock_kept(self) -> bool:
        """Whether our clock is right."""
        return kept(self.clock_synchronized)

    @property
    def service(self) -> str:
        """Name of the service whose status we publish."""
        return "bridge" if self.group is None else f"bridge_{self.instance}"

    @property
    def mqtt_client_id(self) -> str:
        """Our client id: any client that uses it on the services listener disconnects us."""
        return self.mqtt.own(self.client_id if self.group is None else f"{self.client_id}-{self.instance}")

    @property
    def identified(self) -> tuple[str, ...]:
        """What we subscribe to once more on MQTT 5, with an identifier.

        By the subscription to everything, RETAIN says whether a message was there before us. Of a command we
        must know whether it was published retained, which is another option of the subscription.
        """
        return (self.mqtt.topics.filter("command"),) if self.group is None and self.mqtt.version == 5 else ()

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What we subscribe to.

        In a group each reading goes to one bridge, since its meter keeps it until one has stored it. All else
        each bridge hears for itself, and a second writing changes nothing but the count of what is bad: what
        is retained is not shared (MQTT 5.0, 4.8.2), and a command or a result on its way to a bridge that
        dies would be lost. The group names the kinds that it wants: of everything, each bridge would get the
        others' ``stored`` and ``notice`` too, as many messages as there are readings.
        """
        topics = self.mqtt.topics
        if self.group is None:
            return (topics.everything,)
        group = self.mqtt.own(self.group)  # any subscriber of this name would take a share
        return tuple(
            f"$share/{group}/{topics.filter(kind)}" if SPECS[kind].shared else topics.filter(kind)
            for kind in heard_by(Role.BRIDGE)
        )
