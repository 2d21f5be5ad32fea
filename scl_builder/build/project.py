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
from ipaddress import IPv4Address
from typing import Literal, get_args

from scl_builder.model.logical_devices import MAX_METERS, OPERATE_TIMEOUT, SINGLE_PHASE, Profile

ControlModel = Literal[
    "status-only",
    "direct-with-normal-security",
    "sbo-with-normal-security",
    "direct-with-enhanced-security",
    "sbo-with-enhanced-security",
]
"""CtlModelKind of IEC 61850-7-3, literal for literal."""

GATEWAY_INST = "GW"
"""LDevice inst of an IED's own logical device; its MMS domain is IED name + ``GW``."""

MAX_REPORT_INSTANCES = 99
"""An indexed report control block is numbered with two digits (IEC 61850-8-1)."""

_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]*")


def _check_name(what: str, name: str, *, limit: int) -> None:
    if len(name) > limit or not _NAME.fullmatch(name):
        raise ValueError(
            f"{what} {name[:80]!r}: letters, digits and '_' only, a letter first, at most {limit} characters"
        )


@dataclass(frozen=True)
class Meter:
    """One meter; no resident's name is among what describes it, for integrators pass the file around."""

    ld_name: str
    """MMS domain: ``SM_`` and 32 hex digits."""
    inst: str = ""
    """LDevice inst: short, the meter's for life, unique in the project; by default its ld_name."""
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

    def __post_init__(self) -> None:
        _check_name("logical device name", self.ld_name, limit=64)
        if not self.inst:
            object.__setattr__(self, "inst", self.ld_name)
        _check_name("logical device inst", self.inst, limit=64)
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
        _check_name("IED name", self.name, limit=64 - len(GATEWAY_INST))
        if self.name == "None":
            raise ValueError("IED name 'None': IEC 61850-6 keeps it for LNodes without an IED")
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
        if not 1 <= self.changes < 2**32:
            raise ValueError(f"changes {self.changes} of {self.name}: 1 to 4294967295")


@dataclass(frozen=True)
class HistoryItem:
    """One line of the SCD's history; ``when`` is ISO 8601."""

    revision: int
    when: str
    who: str
    what: str


@dataclass(frozen=True)
class Project:
    """All that goes into an SCD; the order of IEDs and meters does not matter."""

    name: str
    revision: int
    ieds: tuple[Ied, ...]
    history: tuple[HistoryItem, ...] = ()
    report_instances: int = 2
    control_model: ControlModel = "sbo-with-enhanced-security"
    tool_version: str = ""
    operate_timeout: int = OPERATE_TIMEOUT
    """ms; operTimeout of every control object with enhanced security."""

    def __post_init__(self) -> None:
        if self.control_model not in get_args(ControlModel):
            raise ValueError(
                f"control model {self.control_model!r}: one of {', '.join(get_args(ControlModel))}"
            )
        if not 1 <= self.report_instances <= MAX_REPORT_INSTANCES:
            raise ValueError(f"report instances {self.report_instances}: 1 to {MAX_REPORT_INSTANCES}")
        if not 0 < self.operate_timeout < 2**32:
            raise ValueError(f"operate timeout {self.operate_timeout}: 1 to 4294967295 ms")
        _check_unique("IED name", [ied.name for ied in self.ieds])
        _check_unique("logical device", [meter.ld_name for ied in self.ieds for meter in ied.meters])
        _check_unique("logical device inst", [meter.inst for ied in self.ieds for meter in ied.meters])
        _check_unique("revision in the history", [str(item.revision) for item in self.history])

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
