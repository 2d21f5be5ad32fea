"""Two independent MMS clients behind one face: open61850 (pure Python) and libiec61850's own.

What one of them has no function for raises :class:`LacksError`, and stands in :data:`LACKS` with the names
that the client would have: a test checks that it really has none.

>>> with CLIENTS["open61850"](port) as client:  # doctest: +SKIP
...     client.read("SM_…/MMXN1.Vol", "MX")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from open61850.data import (
    BitStringData,
    BoolData,
    FloatData,
    IECData,
    IntData,
    OctetStringData,
    StructureData,
    TimestampData,
    UIntData,
    VisibleStringData,
)
from open61850.mms import MmsClient, ObjectName, control, decode_report, is_report, operate, rcb
from open61850.mms.control import ControlError, Origin
from open61850.mms.errors import MmsError

from tests.iec61850_client import Iec61850Client, RefusedError, iec61850

DOMAINS, VARIABLES, LISTS = 9, 0, 2  # object classes of GetNameList

LACKS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("open61850", "identify"): (("identify",), "no Identify service"),
    ("open61850", "values"): (("named_variable_list_read", "read_data_set"), "reads variables, not lists"),
    ("open61850", "create"): (("define", "create_data_set"), "no DefineNamedVariableList"),
    ("open61850", "delete"): (("delete",), "no DeleteNamedVariableList"),
    ("open61850", "files"): (("file",), "no file services"),
    ("open61850", "file"): (("file",), "no file services"),
}
"""(client, service) -> parts of names that no function of the client has, and why it is left out."""


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

    def files(self, folder: str) -> dict[str, int]:
        """Name -> size."""

    def file(self, name: str) -> bytes:
        """Content."""


# --- open61850 -------------------------------------------------------------------------------------


def _plain(value: object) -> Any:
    """open61850's data as plain Python."""
    match value:
        case StructureData():
            return [_plain(member) for member in value.members]
        case BitStringData():
            return _bits(value)
        case OctetStringData():
            return value.value.hex()
        case TimestampData():
            return round(value.value.timestamp() * 1000)
        case BoolData() | FloatData() | IntData() | UIntData() | VisibleStringData():
            return value.value
    return value


def _bits(value: BitStringData) -> str:
    from open61850.mms.report import bits_of  # noqa: PLC0415 - the package does not export it

    return "".join(str(int(bit)) for bit in bits_of(value))


def _block(reference: str) -> ObjectName:
    """``LD/LN.BR.name`` as an ObjectName."""
    domain, _, item = reference.partition("/")
    return ObjectName(item.replace(".", "$"), domain)


ORIGIN = Origin(3, b"open61850")


@dataclass
class Open61850:
    """open61850.mms.MmsClient."""

    client: MmsClient
    arrived: list[Told]

    def _lacks(self, service: str) -> LacksError:
        return LacksError(LACKS["open61850", service][1])

    def identify(self) -> list[str]:
        raise self._lacks("identify")

    def directory(self) -> dict[str, list[str]]:
        names = self.client.get_name_list
        return {domain: names(VARIABLES, domain) for domain in names(DOMAINS)}

    def read(self, reference: str, fc: str) -> Any:
        return _plain(self.client.read(f"{reference}[{fc}]"))

    def members(self, data_set: str) -> list[str]:
        names = self.client.get_data_set_members(data_set)
        return [
            f"{n.domain}/{node}.{'.'.join(path)}[{fc}]"
            for n in names
            for node, fc, *path in [n.item.split("$")]
        ]

    def values(self, data_set: str) -> list[Any]:
        raise self._lacks("values")

    def create(self, data_set: str, members: list[str]) -> None:
        raise self._lacks("create")

    def delete(self, data_set: str) -> None:
        raise self._lacks("delete")

    def enable(self, block: str, *, entry_id: str | None = None, interrogate: bool = False) -> None:
        settings = rcb.RcbSettings(
            trg_ops=None,
            opt_flds=None,
            intg_pd_ms=None,
            entry_id=None if entry_id is None else bytes.fromhex(entry_id),
            general_interrogation=interrogate,
        )
        rcb.enable(self.client, _block(block), settings)

    def reports(self) -> list[Told]:
        told = list(self.arrived)
        del self.arrived[: len(told)]
        return told

    def select(self, reference: str, *, close: bool) -> None:
        obj = control.control_object_name(reference)
        try:
            if control.read_ctl_model(self.client, obj) == control.CTL_MODEL_SBO_NORMAL:
                selected = _plain(self.client.read(ObjectName(f"{obj.item}$SBO", obj.domain)))
                if not selected:
                    raise CommandRefusedError("SBO is empty")
            else:
                self.client.write(ObjectName(f"{obj.item}$SBOw", obj.domain), self._oper(close))
        except MmsError as error:
            raise CommandRefusedError(str(error)) from error

    @staticmethod
    def _oper(close: bool) -> IECData:
        return control.oper_value(close, origin=ORIGIN, ctl_num=1)

    def operate(self, reference: str, *, close: bool, select: bool = True) -> None:
        model = None
        if not select:  # as a direct model: Oper, and its termination
            told = control.read_ctl_model(self.client, control.control_object_name(reference))
            model = told - 1
        try:
            operate(self.client, reference, close, origin=ORIGIN, ctl_num=1, ctl_model=model)
        except (ControlError, MmsError) as error:
            raise CommandRefusedError(str(error)) from error

    def cancel(self, reference: str, *, close: bool) -> None:
        obj = control.control_object_name(reference)
        value = control.cancel_value(close, origin=ORIGIN, ctl_num=1)
        try:
            self.client.write(ObjectName(f"{obj.item}$Cancel", obj.domain), value)
        except MmsError as error:
            raise CommandRefusedError(str(error)) from error

    def files(self, folder: str) -> dict[str, int]:
        raise self._lacks("files")

    def file(self, name: str) -> bytes:
        raise self._lacks("file")


@contextmanager
def open61850(port: int) -> Iterator[Open61850]:
    """An association of open61850."""
    arrived: list[Told] = []

    def take(message: Any) -> None:
        if is_report(message):
            report = decode_report(message)
            entries = {entry.index: _plain(entry.value) for entry in report.entries}
            entry_id = report.entry_id.hex() if report.entry_id else None
            arrived.append(Told(entries, entry_id, bool(report.buf_ovfl), report.seq_num))

    with MmsClient.connect("127.0.0.1", port, timeout=5.0, on_information_report=take) as client:
        yield Open61850(client, arrived)


# --- libiec61850 -----------------------------------------------------------------------------------


@dataclass
class LibIec61850:
    """The client of the library that also serves, in a process of its own."""

    client: Iec61850Client
    ask: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        self.ask = self.client.ask

    def identify(self) -> list[str]:
        return list(self.ask("identify"))

    def directory(self) -> dict[str, list[str]]:
        return {device: self.ask("variables", device=device) for device in self.ask("devices")}

    def read(self, reference: str, fc: str) -> Any:
        return self.ask("read", reference=reference, fc=fc)

    def members(self, data_set: str) -> list[str]:
        return list(self.ask("members", reference=data_set))

    def values(self, data_set: str) -> list[Any]:
        return list(self.ask("values", reference=data_set))

    def create(self, data_set: str, members: list[str]) -> None:
        self.ask("create", reference=data_set, members=members)

    def delete(self, data_set: str) -> None:
        if not self.ask("delete", reference=data_set):
            raise RefusedError(f"{data_set} was not deleted")

    def enable(self, block: str, *, entry_id: str | None = None, interrogate: bool = False) -> None:
        self.ask("enable", block=block, entry_id=entry_id, interrogate=interrogate)

    def reports(self) -> list[Told]:
        return [
            Told({int(k): v for k, v in r["entries"].items()}, r["entry_id"], r["overflow"], r["seq"])
            for r in self.ask("reports")
        ]

    def _commanded(self, action: str, **parameters: object) -> None:
        outcome = self.ask(action, **parameters)
        if not outcome["done"] or outcome.get("terminated") is False or outcome["add_cause"]:
            raise CommandRefusedError(f"{action}: {outcome}")

    def select(self, reference: str, *, close: bool) -> None:
        self._commanded("select", reference=reference, close=close)

    def operate(self, reference: str, *, close: bool, select: bool = True) -> None:
        if select and self.ask("control_model", reference=reference) in (2, 4):
            self.select(reference, close=close)
        self._commanded("operate", reference=reference, close=close)

    def cancel(self, reference: str, *, close: bool) -> None:
        del close  # the library repeats what was selected
        self._commanded("cancel", reference=reference)

    def files(self, folder: str) -> dict[str, int]:
        return dict(self.ask("files", folder=folder))

    def file(self, name: str) -> bytes:
        return bytes.fromhex(self.ask("file", name=name))


@contextmanager
def libiec61850(port: int) -> Iterator[LibIec61850]:
    """An association of libiec61850's client."""
    with iec61850() as client:
        client.ask("connect", port=port)
        try:
            yield LibIec61850(client)
        finally:
            client.ask("close")


CLIENTS: dict[str, Callable[[int], AbstractContextManager[Client]]] = {
    "open61850": open61850,
    "libiec61850": libiec61850,
}


def collect(client: Client, count: int, *, seconds: float = 5.0) -> list[Told]:
    """The next reports, as soon as there are so many, or when none has come for ``seconds``."""
    told: list[Told] = []
    latest = time.monotonic()
    while len(told) < count and time.monotonic() - latest < seconds:
        if new := client.reports():
            told += new
            latest = time.monotonic()
        time.sleep(0.01)
    return told
