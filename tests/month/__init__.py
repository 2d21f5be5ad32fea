"""A simulated month of a street: what is stored of it against what was true (``python -m tests.month``)."""
