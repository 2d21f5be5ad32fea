"""Past values: read access to the store, opened at its first use, because the bridge makes it.

Every function here blocks: call it in a thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from bridge.store.queries import Store


@dataclass
class Archive:
    """The store at ``url``; UnavailableError while there is none."""

    url: str
    _store: Store | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def store(self) -> Store:
        """The open store."""
        with self._lock:
            if self._store is None:
                self._store = Store.open(self.url)
            return self._store

    def close(self) -> None:
        """Close the connections."""
        if self._store is not None:
            self._store.close()
