"""The command line ``meter61850`` over the whole chain; the only package that sees all the others.

Each command is a module in :mod:`admin.commands` that is imported when it is called, so that a
Raspberry Pi with the ``[firmware]`` extra alone can run a meter.
"""
