"""What an SCD is made of: plain frozen values, checked when they are made.

Text that describes (names, addresses, vendors) may be anything; text that names (IED, logical device)
must be an IEC 61850-6 name. ``ValueError`` says which value is not.

>>> Ied("SMGW-1", "127.0.0.1", 102, ())
Traceback (most recent call last):
    ...
ValueError: IED name 'SMGW-1': letters, digits and '_' only, a letter first, at most 62 characters
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Literal, get_args

from scl_builder.build.text import digest
from scl_builder.model.billing_nodes import DEFAULTS, Bills
from scl_builder.model.deadbands import NO_BANDS, NOMINALS, Bands
from scl_builder.model.logical_devices import (
    MAX_METERS,
    MODEL_REVISION,
    OPERATE_TIMEOUT,
    SINGLE_PHASE,
    Profile,
    checked_meter_id,
)
from scl_builder.model.reference import MMS_NAME_LIMIT
from scl_builder.model.topology import Topology

ControlModel = Literal[
    "status-only",
    "direct-with-normal-security",
    "sbo-with-normal-security",
    "direct-with-enhanced-security",
    "sbo-with-enhanced-security",
]
"""CtlModelKind of IEC 61850-7-3, literal for literal and in its order."""
DEFAULT_CONTROL_MODEL: ControlModel = "sbo-with-enhanced-security"

GATEWAY_INST = "GW"
"""LDevice inst of an IED's own logical device; its MMS domain is IED name + ``GW``."""

MAX_REPORT_INSTANCES = 99
"""An indexed report control block is numbered with two digits (IEC 61850-8-1)."""

_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]*")


@lru_cache(maxsize=64)
def model_revision(
    control_model: ControlModel,
    bands: Bands = NO_BANDS,
    operate_timeout: int = OPERATE_TIMEOUT,
    bills: Bills = DEFAULTS,
) -> str:
    """configVersion of an IED, and configRev of its logical devices: all settings that are in the types.

    >>> model_revision("status-only").removeprefix(model_revision(DEFAULT_CONTROL_MODEL))
    '.ctl0'
    """
    marks = [MODEL_REVISION]
    if control_model != DEFAULT_CONTROL_MODEL:
        marks.append(f"ctl{get_args(ControlModel).index(control_model)}")
    told = [(f"{unit}.{name}", text) for unit in NOMINALS for name, text in bands.values(unit)]
    if operate_timeout != OPERATE_TIMEOUT:
        told.append(("operTimeout", str(operate_timeout)))
    if bills != DEFAULTS:
        told.append(("bills", f"{bills.period} {bills.minutes} {bills.tariffs} {bills.demand:d}"))
    return ".".join([*marks, digest(told)] if told else marks)


def _check_name(what: str, name: str, *, limit: int) -> None:
    if len(name) > limit or not _NAME.fullmatch(name):
        raise ValueError(
            f"{what} {name[:80]!r}: letters, digits and '_' only, a letter first, at most {limit} characters"
        )


def _check_ied_name(name: str, *, limit: int) -> None:
    _check_name("IED name", name, limit=limit)
    if name == "None":
        raise ValueError("IED name 'None': IEC 61850-6 keeps it for LNodes without an IED")


@dataclass(frozen=True)
class Meter:
    """One meter; no resident's name is among what describes it, for integrators pass the file around."""

    meter_id: str
    """Its UUID, which is in the file; empty for a device that is nobody's yet."""
    inst: str
    """LDevice inst: short, the meter's for life, unique in the project. IED name + inst is its MMS domain."""
    name: str = ""
    address: str = ""
    address_code: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    relay: bool = True
    """Whether it has a relay; without one its logical device has no CSWI and no XSWI."""
    profile: Profile = SINGLE_PHASE
    """What its logical device measures."""
    ld_name: str = ""
    """MMS domain of a deployment that keeps its names: ``SM_`` and 32 hex digits; else empty."""

    @property
    def is_spare(self) -> bool:
        """Whether no meter has the device yet."""
        return not self.meter_id

    def __post_init__(self) -> None:
        if self.meter_id:
            checked_meter_id(self.meter_id)
        _check_name("logical device inst", self.inst, limit=64)
        if self.ld_name:
            _check_name("logical device name", self.ld_name, limit=64)
        if self.inst == GATEWAY_INST:
            raise ValueError(f"logical device inst {GATEWAY_INST!r} is the gateway's own")


@dataclass(frozen=True)
class Ied:
    """One virtual substation: an MMS server at ``ip``:``port`` and the meters behind it."""

    name: str
    ip: str
    port: int
    meters: tuple[Meter, ...]
    subnet: str = "255.255.255.0"
    changes: int = 1
    """How often a meter has joined or left, ever: confRev of the group data sets counts with it."""
    tls_port: int | None = None
    """Where the same server is reached over TLS, if it is."""

    def __post_init__(self) -> None:
        _check_ied_name(self.name, limit=64 - len(GATEWAY_INST))
        IPv4Address(self.ip)
        IPv4Address(self.subnet)
        for port in (self.port, self.tls_port):
            if port is not None and not 1 <= port <= 65535:
                raise ValueError(f"MMS port {port} of {self.name}: 1 to 65535")
        if self.port == self.tls_port:
            raise ValueError(f"MMS port {self.port} of {self.name}: plain and over TLS, it cannot be both")
        if len(self.meters) > MAX_METERS:
            raise ValueError(
                f"{self.name} has {len(self.meters)} meters: at most {MAX_METERS}, the members of a data set"
            )
        if too_long := [domain for domain in map(self.domain, self.meters) if len(domain) > MMS_NAME_LIMIT]:
            raise ValueError(f"logical device name {too_long[0]!r}: at most {MMS_NAME_LIMIT} characters")
        if not 1 <= self.changes < 2**32:
            raise ValueError(f"changes {self.changes} of {self.name}: 1 to 4294967295")

    @property
    def owned(self) -> tuple[Meter, ...]:
        """Without the spare devices."""
        return tuple(meter for meter in self.meters if not meter.is_spare)

    def domain(self, meter: Meter) -> str:
        """MMS domain of one of its meters."""
        return meter.ld_name or self.name + meter.inst


@dataclass(frozen=True)
class HistoryItem:
    """One line of the SCD's history: what changed, and what caused it; ``when`` is ISO 8601."""

    revision: int
    when: str
    who: str
    what: str
    why: str = ""


@dataclass(frozen=True)
class Project:
    """All that goes into an SCD; the order of IEDs and meters does not matter."""

    name: str
    revision: int
    ieds: tuple[Ied, ...]
    history: tuple[HistoryItem, ...] = ()
    report_instances: int = 2
    control_model: ControlModel = DEFAULT_CONTROL_MODEL
    tool_version: str = ""
    operate_timeout: int = OPERATE_TIMEOUT
    """ms; operTimeout of every control object with enhanced security."""
    topology: Topology | None = None
    """Where the meters are; those that it does not name are in the substation of their IED."""
    bands: Bands = NO_BANDS
    """Deadbands and ranges of measured values; by default every change is an event."""
    bills: Bills = DEFAULTS
    """What of billing is in the types and in the meters' devices."""
    clients: tuple[str, ...] = ()
    """Clients of the report control blocks, by the name of its IED: the first has instance 01 of each."""

    def __post_init__(self) -> None:
        if self.control_model not in get_args(ControlModel):
            raise ValueError(
                f"control model {self.control_model!r}: one of {', '.join(get_args(ControlModel))}"
            )
        if not 1 <= self.report_instances <= MAX_REPORT_INSTANCES:
            raise ValueError(f"report instances {self.report_instances}: 1 to {MAX_REPORT_INSTANCES}")
        if not 0 < self.operate_timeout < 2**32:
            raise ValueError(f"operate timeout {self.operate_timeout}: 1 to 4294967295 ms")
        for client in self.clients:
            _check_ied_name(client, limit=64)
        if len(self.clients) > self.report_instances:
            raise ValueError(
                f"{len(self.clients)} clients, and {self.report_instances} report instances: one for each"
            )
        _check_unique("IED name", [*self.clients, *(ied.name for ied in self.ieds)])
        _check_unique("logical device", [ied.domain(meter) for ied in self.ieds for meter in ied.meters])
        meter_ids = [meter.meter_id for ied in self.ieds for meter in ied.meters if meter.meter_id]
        _check_unique("meter_id", meter_ids)
        _check_unique("logical device inst", [meter.inst for ied in self.ieds for meter in ied.meters])
        _check_unique("revision in the history", [str(item.revision) for item in self.history])

    @property
    def model_revision(self) -> str:
        """configVersion of its IEDs, and what configRev of their logical devices begins with."""
        return model_revision(self.control_model, self.bands, self.operate_timeout, self.bills)

    def ied(self, name: str) -> Ied:
        """The IED called ``name``; ValueError if there is none."""
        for ied in self.ieds:
            if ied.name == name:
                return ied
        raise ValueError(f"no IED {name!r} in project {self.name!r}")


def _check_unique(what: str, names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} occurs twice")
        seen.add(name)
