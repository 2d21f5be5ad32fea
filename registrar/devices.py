"""Serial numbers: one meter_id has one serial number, until an administrator changes it.

>>> check(change.connection, meter_id, "PZEM-000017")  # doctest: +SKIP
"""

from __future__ import annotations

import sqlite3

from bridge.store.audit import Kind
from broker.contract.errors import ContractError
from registrar.identities import NotRegisteredError
from registrar.identity_store import IdentityStore
from registrar.refusals import RequestRefusedError, Why


def check(connection: sqlite3.Connection, meter_id: str, serial: str) -> None:
    """ContractError if the meter or the serial number is bound to another."""
    rows = connection.execute("SELECT * FROM device WHERE meter_id = ? OR serial = ?", (meter_id, serial))
    for row in rows:
        if row["meter_id"] != meter_id:
            raise RequestRefusedError(
                Why.OTHER_METER, text=f"serial number {serial!r} belongs to another meter"
            )
        if row["serial"] != serial:
            raise RequestRefusedError(Why.OTHER_SERIAL)


def bind(connection: sqlite3.Connection, meter_id: str, serial: str) -> None:
    """The meter is the device with this serial number from now on; ContractError if either is another's."""
    check(connection, meter_id, serial)
    connection.execute("INSERT OR IGNORE INTO device (meter_id, serial) VALUES (?, ?)", (meter_id, serial))


def replace(store: IdentityStore, meter_id: str, serial: str) -> None:
    """The meter becomes the device with this serial number, whatever it was; ContractError: another's."""
    with store.change() as change:
        row = change.connection.execute("SELECT meter_id FROM device WHERE serial = ?", (serial,)).fetchone()
        if row is not None and row["meter_id"] != meter_id:
            raise ContractError(f"serial number {serial!r} belongs to another meter: {row['meter_id']}")
        known = change.connection.execute("SELECT 1 FROM device WHERE meter_id = ?", (meter_id,)).fetchone()
        if known is not None:  # who was not enrolled with a code has no entry, and needs none
            change.connection.execute("UPDATE device SET serial = ? WHERE meter_id = ?", (serial, meter_id))


def serial_of(store: IdentityStore, meter_id: str) -> str | None:
    """The serial number that the meter is bound to; None for one that was not enrolled with a code."""
    return next((serial for serial, owner in listed(store) if owner == meter_id), None)


def listed(store: IdentityStore) -> list[tuple[str, str]]:
    """Serial number and meter_id of every device, by serial number."""
    with store.connection() as connection:
        rows = connection.execute("SELECT serial, meter_id FROM device ORDER BY serial")
        return [(str(row["serial"]), str(row["meter_id"])) for row in rows]


def forget(store: IdentityStore, serial: str, *, who: str) -> str:
    """Let the device with this serial number be enrolled as another meter; the meter that it was.

    NotRegisteredError if it is nobody's; ContractError while that meter has a credential: it may be the
    true one.
    """
    with store.change() as change:
        row = change.connection.execute("SELECT meter_id FROM device WHERE serial = ?", (serial,)).fetchone()
        if row is None:
            raise NotRegisteredError(f"no device {serial!r} is known: meter61850 devices list shows all")
        meter_id = str(row["meter_id"])
        if change.lives(meter_id):
            raise ContractError(
                f"device {serial!r} is meter {meter_id}, which has a credential: if that is not the true "
                f"one, meter61850 credentials revoke {meter_id} first"
            )
        change.connection.execute("DELETE FROM device WHERE serial = ?", (serial,))
        change.note(Kind.DEVICE_FORGOTTEN, who=who, meter_id=meter_id, serial=serial)
    return meter_id
