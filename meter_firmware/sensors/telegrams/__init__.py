"""Telegrams: what sensors on optical heads, P1 ports and M-Bus share."""
