"""Opens the database for a reading command; if there is none yet, the error explains how to make one."""

from __future__ import annotations

from pathlib import Path

from bridge.store.queries import Store
from broker.contract.errors import UnavailableError


def open_store(url: str) -> Store:
    """The store at ``url``; UnavailableError when the file of a SQLite URL is not there."""
    file = url.removeprefix("sqlite:///")
    if file != url and not Path(file).is_file():
        raise UnavailableError(
            f"no database {file}: start the bridge (meter61850 up), or name another with --database"
        )
    return Store.open(url)
