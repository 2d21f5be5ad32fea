"""A town of mixed devices: what each told is stored once, whatever is killed between device and store.

`town` is the town as processes, `teller` sits in the processes of simulated devices and writes down what
they told, `told` reads that, `plan` draws the kills from a seed, `ledger` compares what was told with the
database, `run` puts them together; ``python -m tests.devices`` is the long form.
"""
