"""The Debian packages in real Debian systems: ``python -m tests.debs`` (``make debs-test``)."""
