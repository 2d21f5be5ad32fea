"""The operator's window: HTTP API and live page over the same registry, store and contract.

A reader of the retained topics (what is now) and of the store (what was), and an issuer of commands; it
keeps no second truth of its own.
"""
