"""Which meter is which device: one meter_id, one serial number, for ever.

>>> check(change.connection, meter_id, "PZEM-000017")  # doctest: +SKIP
"""

from __future__ import annotations

import sqlite3

from broker.errors import ContractError
from registrar.register import Register


def check(connection: sqlite3.Connection, meter_id: str, serial: str) -> None:
    """ContractError if the meter or the serial number is bound to another."""
    rows = connection.execute("SELECT * FROM device WHERE meter_id = ? OR serial = ?", (meter_id, serial))
    for row in rows:
        if row["meter_id"] != meter_id:
            raise ContractError(f"serial number {serial!r} is another meter's")
        if row["serial"] != serial:
            raise ContractError("meter_id belongs to another hardware serial")


def bind(connection: sqlite3.Connection, meter_id: str, serial: str) -> None:
    """The meter is the device with this serial number from now on; ContractError if either is another's."""
    check(connection, meter_id, serial)
    connection.execute("INSERT OR IGNORE INTO device VALUES (?, ?)", (meter_id, serial))


def replace(register: Register, meter_id: str, serial: str) -> None:
    """The meter becomes the device with this serial number, whatever it was; ContractError: another's."""
    with register.change() as change:
        row = change.connection.execute("SELECT meter_id FROM device WHERE serial = ?", (serial,)).fetchone()
        if row is not None and row["meter_id"] != meter_id:
            raise ContractError(f"serial number {serial!r} is another meter's: {row['meter_id']}")
        known = change.connection.execute("SELECT 1 FROM device WHERE meter_id = ?", (meter_id,)).fetchone()
        if known is not None:  # who was not enrolled with a code has no entry, and needs none
            change.connection.execute("UPDATE device SET serial = ? WHERE meter_id = ?", (serial, meter_id))
