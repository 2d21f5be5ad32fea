"""Faults: the real chain, hurt at random moments, and a ledger that must balance afterwards.

`plan` draws the faults from a seed, `site` is the chain as processes, `strikes` hurts and heals it,
`witness` sits in each meter process and writes down what was taken, `ledger` compares that with the
database, `run` puts them together, ``python -m tests.faults`` (``make soak``) is the long form and
`test_run` the short one.
"""
