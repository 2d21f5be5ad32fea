"""The registry as IEDs, for the SCL: every meter that was born and not withdrawn, in the IED it has for life.

What has not changed since the last look is the very same object, so that the builder, which remembers the
IEDs, knows it without comparing: one birth among ten thousand meters costs the reading of the table.

>>> Ieds(IPv4Address("10.0.0.5"), 102, 3782).read(session)        # doctest: +SKIP
(Ied(name='SMGW001', ip='10.0.0.5', port=102, meters=(Meter(meter_id='3f25…', inst='M1', …),), …),)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import literal, select
from sqlmodel import Session

from bridge.ingest.ied_names import ied_number
from bridge.ingest.places import CHANGES, Use
from bridge.ingest.registry import SHOWN
from bridge.scl.hosts import Hosts
from bridge.store.ld_names import LdNames, inst_of, recorded
from bridge.store.tables import metadata
from broker.contract.topics import scl_name
from scl_builder.build.project import Ied
from scl_builder.build.project import Meter as SclMeter
from scl_builder.model.logical_devices import profile_of

log = logging.getLogger(__name__)

_C = metadata.tables["meter"].c
_IS_SHOWN = _C.born_at.is_not(None) & _C.retired_at.is_(None)
_ROWS = (
    select(_C.ied, _C.number, _C.changes, _IS_SHOWN, _C.meter_id, _C.has_relay, _C.quantities)
    .add_columns(*(_C[name] for name in SHOWN))
    .where(_C.ied.is_not(None))
    .order_by(_C.number)
)
_S = metadata.tables["spare"].c
_SPARES = select(_S.ied, _S.number, _S.use, literal(""), _S.has_relay, _S.quantities).order_by(_S.number)


class Ieds:
    """Reads the IEDs; the first one listens on ``port`` (and ``tls_port``), the next on those that follow.

    With ``hosts`` each has an address of its own, and the same ports.
    """

    def __init__(
        self, host: IPv4Address, port: int, tls_port: int | None, *, hosts: Hosts | None = None
    ) -> None:
        self.without_address = 0
        """IEDs for which ``hosts`` has no address: they are not in the SCD."""
        self.complaint = ""
        """Which ones they are; empty if there is none."""
        self._hosts = hosts
        self._host = str(host)
        self._port = port
        self._tls_port = tls_port
        self._meters: dict[int, tuple[tuple[Any, ...], SclMeter]] = {}
        self._ieds: dict[str, Ied] = {}
        self.names = LdNames.NUMBER
        """How the devices were named at the last look."""

    def read(self, session: Session) -> tuple[Ied, ...]:
        """The IEDs that have a meter, by number."""
        connection = session.connection()
        self.names, renamed = recorded(connection)
        meters: dict[str, list[SclMeter]] = {}
        changes: dict[str, int] = {}
        for ied, number, count, shown, *told in connection.execute(_ROWS):
            changes[ied] = changes.get(ied, 0) + count
            if shown:
                meters.setdefault(ied, []).append(self._meter(number, told))
        for ied, number, use, *told in connection.execute(_SPARES):
            changes[ied] = changes.get(ied, 0) + CHANGES[use]
            if use == Use.FREE and self.names is LdNames.NUMBER and ied in meters:
                meters[ied].append(self._meter(number, told))
        self._ieds = {
            name: self._ied(name, tuple(meters[name]), changes[name] + renamed)
            for name in self._addressed(sorted(meters, key=ied_number))
        }
        return tuple(self._ieds.values())

    def _meter(self, number: int, told: Sequence[Any]) -> SclMeter:
        row = (self.names, *told)
        known = self._meters.get(number)
        if known is None or known[0] != row:
            meter_id, relay, quantities, *rest = told
            shown = dict(zip(SHOWN, rest, strict=False))  # of a spare device there is none
            shown |= {"relay": relay, "profile": profile_of(quantities.split(","))}
            ld_name = scl_name(meter_id) if self.names is LdNames.METER_ID else ""
            meter = SclMeter(meter_id, inst_of(number), ld_name=ld_name, **shown)
            known = self._meters[number] = (row, meter)
        return known[1]

    def _addressed(self, names: list[str]) -> list[str]:
        """Those of ``names`` that have an address; how many have none is logged when it changes."""
        if self._hosts is None:
            return names
        given = len(self._hosts.addresses)
        served = [name for name in names if ied_number(name) <= given]
        missing = len(names) - len(served)
        self.complaint = ""
        if missing:
            self.complaint = (
                f"METER61850_MMS_HOSTS has {given} addresses, and there are {len(names)} IEDs: "
                f"{names[len(served)]} and those after it are not in the SCD and not served; add an address "
                "for each at the end"
            )
        if missing not in (0, self.without_address):
            log.error("%s (METER61850_MMS_HOSTS=%s)", self.complaint, self._hosts)
        self.without_address = missing
        return served

    def _ied(self, name: str, meters: tuple[SclMeter, ...], changes: int) -> Ied:
        place = ied_number(name) - 1
        host, beyond = self._host, place
        if self._hosts is not None:
            host, beyond = str(self._hosts.addresses[place]), 0
        tls_port = None if self._tls_port is None else self._tls_port + beyond
        made = Ied(name, host, self._port + beyond, meters, changes=changes, tls_port=tls_port)
        known = self._ieds.get(name)
        return known if known == made and known is not None else made
