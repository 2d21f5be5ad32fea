"""What was: the store's read side, opened when it is first asked for, since the bridge makes it.

Everything here blocks: call it in a thread.
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
