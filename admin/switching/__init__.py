"""Relay commands from the CLI, to one meter or to many."""
