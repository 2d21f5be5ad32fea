"""The database: tables, packs, roll-ups, the audit, queries and backups."""
