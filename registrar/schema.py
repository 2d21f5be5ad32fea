"""Tables of the identity store (SQLite); times are seconds since 1970 UTC.

``certificate.held``: revoked only while its owner is blocked. ``certificate.ends``: time of its revocation
after a replacement. ``device``: serial number of each meter. ``letter``: retained messages that wait to be
published. ``kept``: all retained messages, for a broker that has lost them. ``code``: enrolment codes, only
as a hash. ``request``: requests with the slots of a code, and their outcome. ``granted``: the certificate for
a request, until the meter has connected with its identity. ``unfinished``: identities whose rights changed,
with the generation, until Mosquitto is known to have it; ``ending``: the action for this
(`registrar.finishing`). ``parcel``: a certificate that is not in its folder yet. ``mark``: a started task,
until it is done. ``counter``: ``generation`` counts each change of the broker's files, by the triggers below.
Events wait for the audit in the tables of `bridge.store.spool`.
"""

from bridge.store import spool

_CHANGES = (
    ("INSERT", "identity", "NEW.name", ""),
    ("UPDATE OF scope, address_code, token, blocked", "identity", "NEW.name", ""),
    ("DELETE", "identity", "OLD.name", ""),
    ("INSERT", "certificate", "NEW.name",
     "WHEN (SELECT role FROM identity WHERE name = NEW.name) != 'meter'"),
    ("UPDATE OF revoked", "certificate", "NEW.name", "WHEN NEW.revoked IS NOT OLD.revoked"),
    ("INSERT", "code", "NEW.id", ""),
    ("UPDATE OF withdrawn", "code", "NEW.id", ""),
    ("UPDATE OF verdict, collected", "request", "NEW.meter_id", ""),
)  # fmt: skip
"""What is published, so that no change of it can be forgotten: event, table, whose, when."""


def _trigger(event: str, table: str, name: str, when: str) -> str:
    return f"""
CREATE TRIGGER IF NOT EXISTS {table}_{event.partition(" ")[0].lower()} AFTER {event} ON {table} {when} BEGIN
    INSERT INTO counter (name, value) VALUES ('generation', 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    INSERT INTO unfinished (name, generation, ending)
        SELECT {name}, value, '' FROM counter WHERE name = 'generation'
        ON CONFLICT (name) DO UPDATE SET generation = excluded.generation;
END;
"""


_TRIGGERS = "".join(_trigger(*change) for change in _CHANGES)

SCHEMA = (
    f"""
CREATE TABLE IF NOT EXISTS identity (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, scope TEXT NOT NULL, address_code TEXT NOT NULL,
    token TEXT NOT NULL, blocked TEXT NOT NULL, created INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS certificate (
    serial TEXT PRIMARY KEY, name TEXT NOT NULL, authority TEXT NOT NULL, fingerprint TEXT NOT NULL,
    not_after INTEGER NOT NULL, revoked INTEGER, held INTEGER NOT NULL, ends INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS certificate_name ON certificate (name);
CREATE TABLE IF NOT EXISTS device (meter_id TEXT PRIMARY KEY, serial TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS letter (topic TEXT PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS kept (topic TEXT PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS code (
    id TEXT PRIMARY KEY, count INTEGER NOT NULL, hash TEXT NOT NULL, automatic INTEGER NOT NULL,
    who TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, withdrawn INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS request (
    slot TEXT PRIMARY KEY, code TEXT NOT NULL, meter_id TEXT NOT NULL, ask TEXT NOT NULL,
    asked INTEGER NOT NULL, verdict TEXT NOT NULL,
    reason TEXT NOT NULL, who TEXT NOT NULL, decided INTEGER, collected INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS request_meter ON request (meter_id);
CREATE TABLE IF NOT EXISTS granted (slot TEXT PRIMARY KEY, certificate TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
{spool.SCHEMA}
CREATE TABLE IF NOT EXISTS unfinished (
    name TEXT PRIMARY KEY, generation INTEGER NOT NULL, ending TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS parcel (
    folder TEXT PRIMARY KEY, name TEXT NOT NULL, host TEXT NOT NULL, certificate TEXT NOT NULL
) STRICT;
"""
    + _TRIGGERS
)
