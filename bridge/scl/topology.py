"""The topology file that METER61850_TOPOLOGY names: read again when it changes, and never a broken one.

Until a valid file comes the last good one stays in force, also over a restart: the newest revision of the SCD
has it in the database.

>>> file = TopologyFile(Path("topology.toml"))  # doctest: +SKIP
>>> file.begin(kept=lambda: None)               # doctest: +SKIP
>>> file.look()                                 # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from broker.contract.errors import ConfigurationError
from broker.followed_files import Followed
from scl_builder.build.project import Ied
from scl_builder.build.single_line import unmet
from scl_builder.model.topology import Topology
from scl_builder.read.topology_file import TopologyError, read_topology

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
"""A line for each of 50,000 meters."""
_SHOWN = 10
"""Entries that a log line names."""


class Held(NamedTuple):
    """A valid file: its text, and what it says."""

    text: str
    topology: Topology | None


NOTHING = Held("", None)
"""No file."""


def held_by(text: str | None) -> Held:
    """What the database keeps of a valid file; one that an older version let pass is nothing."""
    try:
        return Held(text, read_topology(text)) if text else NOTHING
    except TopologyError as error:
        log.warning("the topology that the database keeps: %s", error)
        return NOTHING


class TopologyFile:
    """What the file said when it was right last; nothing without a file."""

    def __init__(self, file: Path | None) -> None:
        self.held = NOTHING
        """What is in force."""
        self.rejected = 0
        """How often it was wrong."""
        self.complaint = ""
        """What is wrong with the file as it is now; empty if nothing is."""
        self._file = file
        self._followed = Followed((file,), self._read) if file is not None else None
        self._begun = False

    def begin(self, *, kept: Callable[[], str | None]) -> None:
        """Read the file for the first time; if it is wrong, ``kept`` is in force, the last good text."""
        if self._followed is None or self._begun:
            return
        self._begun = True
        self.held = held_by(kept())
        try:
            self._followed.start()
        except ConfigurationError as error:
            self.rejected += 1
            self.complaint = str(error)
            stays = (
                "the last good file stays in force" if self.held.topology else "the SCD has no topology yet"
            )
            log.error("%s: %s", error, stays)

    def look(self) -> bool:
        """Read the file again if it was changed; whether another topology is in force now."""
        if self._followed is None or not self._begun:
            return False
        before = self.held.topology
        if (complaint := self._followed.look()) is not None:
            self.complaint = complaint
            self.rejected += bool(complaint)
        return self.held.topology != before

    def _read(self) -> None:
        assert self._file is not None
        try:
            with self._file.open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise TopologyError(
                    f"it has more than {MAX_BYTES} bytes: name meters by code:…, or divide it"
                )
            self._take(data.decode())
        except (OSError, ValueError) as error:  # a TopologyError and a UnicodeDecodeError are ValueErrors
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(f"{self._file} (METER61850_TOPOLOGY): {said}") from error

    def _take(self, text: str) -> None:
        self.held = Held(text, read_topology(text))


def tell_unmet(topology: Topology | None, ieds: Iterable[Ied]) -> None:
    """Log what no meter fits: a wrong name, or a meter that is still to come."""
    if topology is not None and (missing := unmet(topology, ieds)):
        shown = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
        log.warning("topology: no meter yet for %d of its entries: %s", len(missing), shown)
