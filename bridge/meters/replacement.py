"""A meter whose sensor was replaced: the registry takes births with the new serial number from now on.

>>> replace("sqlite:///meter61850.sqlite", meter_id, serial="PZEM-2", who="anna")  # doctest: +SKIP
'PZEM-1'
"""

from __future__ import annotations

from sqlmodel import Session, col, select

from bridge.store import audit, database
from bridge.store.audit import Event, Kind
from bridge.store.meter_names import UnknownMeterError
from bridge.store.tables import Meter
from broker.contract.errors import ConfigurationError


def replace(url: str, meter_id: str, *, serial: str, who: str) -> str:
    """Change the serial number, with its record in the audit, in one transaction; the one before.

    What else the old sensor was (vendor, model) is forgotten until the next birth, which also has the bridge
    make a new SCD. ConfigurationError if another meter has this serial number; UnknownMeterError.
    """
    with database.opened(url) as engine, Session(engine) as session:
        meter = session.exec(select(Meter).where(col(Meter.meter_id) == meter_id)).one_or_none()
        if meter is None:
            raise UnknownMeterError(f"no meter {meter_id}: meter61850 meters list shows them all")
        other = session.exec(
            select(Meter.meter_id).where(col(Meter.serial) == serial, col(Meter.meter_id) != meter_id)
        ).first()
        if other is not None:
            raise ConfigurationError(f"serial number {serial!r} belongs to another meter: {other}")
        before, meter.serial = meter.serial, serial
        if before != serial:
            meter.vendor = meter.model = meter.firmware = ""
        session.flush()
        detail = {"before": before, "name": meter.name}
        event = Event(Kind.METER_REPLACED, who=who, meter_id=meter_id, identity=serial, detail=detail)
        audit.append(session.connection(), [event], now=audit.now_ms())
        session.commit()
    return before
