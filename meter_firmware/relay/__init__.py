"""The relay: its pin, the rules for commands, and their log."""
