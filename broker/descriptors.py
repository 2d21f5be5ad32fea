"""File descriptors: each connection takes one, and systems allow a program 1,024 unless it asks for more.

>>> raise_limit()
"""

from __future__ import annotations

import resource


def raise_limit() -> None:
    """As many as this process, and those that it starts, may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
