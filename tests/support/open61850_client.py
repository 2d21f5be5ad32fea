"""open61850 (pure Python) as a :class:`tests.support.scada.Client`.

>>> with open61850(port) as client:  # doctest: +SKIP
...     client.read("SMGW001M17/MMXN1.Vol", "MX")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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

from tests.support.scada import LACKS, CommandRefusedError, LacksError, Told

DOMAINS, VARIABLES, LISTS = 9, 0, 2  # object classes of GetNameList


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

    with MmsClient.connect("127.0.0.1", port, timeout=60.0, on_information_report=take) as client:
        yield Open61850(client, arrived)
