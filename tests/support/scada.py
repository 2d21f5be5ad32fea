"""What a SCADA does over MMS, as the tests ask it of independent clients (``clients.py``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

LACKS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("open61850", "identify"): (("identify",), "no Identify service"),
    ("open61850", "values"): (("named_variable_list_read", "read_data_set"), "reads variables, not lists"),
    ("open61850", "create"): (("define", "create_data_set"), "no DefineNamedVariableList"),
    ("open61850", "delete"): (("delete",), "no DeleteNamedVariableList"),
    ("iec61850-rust", "identify"): (("identify",), "no Identify service"),
    ("iec61850-rust", "create"): ((), "takes no name of the association"),
    ("iec61850-rust", "delete"): ((), "takes no name of the association"),
}
"""(client, service) -> parts of names that no function of the client has, and why it is left out; without
parts it has a function, which refuses."""


class LacksError(Exception):
    """The client has no function for this service."""


class CommandRefusedError(Exception):
    """The command was refused or ended negatively."""


@dataclass(frozen=True)
class Told:
    """A report: member index -> value."""

    entries: dict[int, Any]
    entry_id: str | None = None
    overflow: bool = False
    seq: int | None = None


class Client(Protocol):
    """What a SCADA does."""

    def identify(self) -> list[str]:
        """Vendor, model, revision."""

    def directory(self) -> dict[str, list[str]]:
        """Logical device -> names of its variables."""

    def read(self, reference: str, fc: str) -> Any:
        """A value as plain Python: structures as lists, bit strings as text, times in ms."""

    def members(self, data_set: str) -> list[str]:
        """Members of ``LD/LN.name`` as ``LD/LN.DO[FC]``."""

    def values(self, data_set: str) -> list[Any]:
        """Values of all members, in one request."""

    def create(self, data_set: str, members: list[str]) -> None:
        """A dynamic data set; ``@name`` is of the association."""

    def delete(self, data_set: str) -> None:
        """Delete it."""

    def enable(self, block: str, *, entry_id: str | None = None, interrogate: bool = False) -> None:
        """Reserve and enable a block; for a buffered one go on after ``entry_id``."""

    def reports(self) -> list[Told]:
        """Those that have arrived since they were last asked for."""

    def select(self, reference: str, *, close: bool) -> None:
        """Select as the ctlModel asks; CommandRefusedError."""

    def operate(self, reference: str, *, close: bool, select: bool = True) -> None:
        """Select if the ctlModel asks and ``select``, operate, await the termination; CommandRefusedError."""

    def cancel(self, reference: str, *, close: bool) -> None:
        """Give a selection up; CommandRefusedError."""
