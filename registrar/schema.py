"""Tables of the register (SQLite); times are seconds since 1970 UTC.

``certificate.held``: revoked only while its owner is blocked. ``certificate.ends``: when it is revoked
because another took its place. ``device``: which meter has which serial number, for ever. ``letter``:
retained messages that wait to be published. ``code``: enrolment codes, of which only a hash is kept.
``request``: who asked with one of its slots, and what became of it. ``granted``: the certificate for such a
request, until the meter was heard as itself. Events wait for the audit in the tables of `bridge.spool`.
"""

from bridge import spool

SCHEMA = f"""
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
"""
