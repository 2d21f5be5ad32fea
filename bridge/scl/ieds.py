"""The registry as IEDs, for the SCL: every meter that was born and not withdrawn, in the IED it has for life.

What has not changed since the last look is the very same object, so that the builder, which remembers the
IEDs, knows it without comparing: one birth among ten thousand meters costs the reading of the table.

>>> Ieds(IPv4Address("10.0.0.5"), 102, 3782).read(session)        # doctest: +SKIP
(Ied(name='SMGW001', ip='10.0.0.5', port=102, meters=(Meter(ld_name='SM_…', inst='M1', …),), …),)
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import select
from sqlmodel import Session

from bridge.ingest.ied_names import ied_number
from bridge.ingest.registry import SHOWN
from bridge.store.tables import metadata
from broker.contract.topics import scl_name
from scl_builder.build.project import Ied
from scl_builder.build.project import Meter as SclMeter
from scl_builder.model.logical_devices import profile_of

_C = metadata.tables["meter"].c
_IS_SHOWN = _C.born_at.is_not(None) & _C.retired_at.is_(None)
_ROWS = (
    select(_C.ied, _C.key, _C.changes, _IS_SHOWN, _C.meter_id, _C.has_relay, _C.quantities)
    .add_columns(*(_C[name] for name in SHOWN))
    .where(_C.ied.is_not(None))
    .order_by(_C.key)
)


class Ieds:
    """Reads the IEDs; the first one listens on ``port`` (and ``tls_port``), the next on those that follow."""

    def __init__(self, host: IPv4Address, port: int, tls_port: int | None) -> None:
        self._host = str(host)
        self._port = port
        self._tls_port = tls_port
        self._meters: dict[int, tuple[tuple[Any, ...], SclMeter]] = {}
        self._ieds: dict[str, Ied] = {}

    def read(self, session: Session) -> tuple[Ied, ...]:
        """The IEDs that have a meter, by number."""
        meters: dict[str, list[SclMeter]] = {}
        changes: dict[str, int] = {}
        for ied, key, count, shown, *told in session.connection().execute(_ROWS):
            changes[ied] = changes.get(ied, 0) + count
            if shown:
                meters.setdefault(ied, []).append(self._meter(key, told))
        self._ieds = {
            name: self._ied(name, tuple(meters[name]), changes[name])
            for name in sorted(meters, key=ied_number)
        }
        return tuple(self._ieds.values())

    def _meter(self, key: int, told: Sequence[Any]) -> SclMeter:
        row = tuple(told)
        known = self._meters.get(key)
        if known is None or known[0] != row:
            meter_id, relay, quantities, *rest = row
            shown = dict(zip(SHOWN, rest, strict=True))
            profile = profile_of(quantities.split(","))
            meter = SclMeter(scl_name(meter_id), f"M{key}", relay=relay, profile=profile, **shown)
            known = self._meters[key] = (row, meter)
        return known[1]

    def _ied(self, name: str, meters: tuple[SclMeter, ...], changes: int) -> Ied:
        place = ied_number(name) - 1
        tls_port = None if self._tls_port is None else self._tls_port + place
        made = Ied(name, self._host, self._port + place, meters, changes=changes, tls_port=tls_port)
        known = self._ieds.get(name)
        return known if known == made and known is not None else made
