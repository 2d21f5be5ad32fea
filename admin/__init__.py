"""The command line ``meter61850`` for the whole chain; the only package that may import all others.

Each command is a module in :mod:`admin.commands`, imported when it is called, so that a Raspberry Pi with
only the ``[firmware]`` extra can run a meter.
"""
