"""Stores every reading exactly once, keeps the ledger of commands and blocks, and publishes the SCD.

``mqtt`` receives, ``ingest`` parses and judges, ``store`` keeps, ``meters`` and ``scl`` follow from it;
``run`` wires it all.
"""
