"""The operator's page and the HTTP API, over the same registry, store and contract.

It reads the retained topics (present state) and the store (past values), and issues commands. It stores no
state of its own.
"""
