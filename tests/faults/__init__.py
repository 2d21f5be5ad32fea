"""Faults: the real chain, hurt at random moments, and a ledger that must balance afterwards.

`plan` draws the faults from a seed, `site` is the chain as processes, `strikes` hurts and heals it,
`wrong_clock` sets clocks, `copies` copies memory cards, `witness` sits in each meter process and writes down
what was taken, `ledger` (for copied cards by the rules of `cards`) compares that with the database, `run`
puts them together, ``python -m tests.faults`` (``make soak``) is the long form and `test_run` the short one.
"""
