"""The client of the PyPI package ``iec61850`` (in Rust) as a :class:`tests.support.scada.Client`.

>>> with rust(port) as client:  # doctest: +SKIP
...     client.read("SMGW001M17/MMXN1.Vol", "MX")
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from iec61850 import (
    FC,
    ClientReport,
    ControlModel,
    ControlObjectClient,
    ControlOutcome,
    DataSetMember,
    IedConnection,
    IedError,
    OriginValue,
    RcbHandle,
    RcbWriteMask,
    TlsConfig,
)

from tests.support.iec61850_client import RefusedError
from tests.support.scada import LACKS, CommandRefusedError, LacksError, Told

T = TypeVar("T")
NAME = "iec61850-rust"
MODELS = tuple(ControlModel)
"""By ctlModel."""
ASK_MS = 60_000


def _plain(value: Any, spec: Mapping[str, Any]) -> Any:
    """A value by its MMS type: structures as lists, bit strings as text, times in ms."""
    match spec["kind"]:
        case "structure":
            return [_plain(one, kind["type"]) for one, kind in zip(value, spec["components"], strict=True)]
        case "bit_string":
            return "".join(f"{octet:08b}" for octet in value)[: abs(spec["bits"])]
        case "utc_time":
            return int.from_bytes(value[:4]) * 1000 + round(int.from_bytes(value[4:7]) * 1000 / 2**24)
    return value.hex() if isinstance(value, bytes) else value


@dataclass
class Rust:
    """iec61850.IedConnection, asked in one thread."""

    runner: asyncio.Runner
    connection: IedConnection
    arrived: list[tuple[list[str], ClientReport]] = field(default_factory=list)
    controls: dict[str, ControlObjectClient] = field(default_factory=dict)
    specs: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def ask(self, question: Awaitable[T]) -> T:
        """The answer; IedError."""

        async def asked() -> T:
            return await question

        return self.runner.run(asked())

    def identify(self) -> list[str]:
        raise LacksError(LACKS[NAME, "identify"][1])

    def directory(self) -> dict[str, list[str]]:
        model = self.ask(self.connection.get_device_model())
        return {device["name"]: device["variables"] for device in model["logical_devices"]}

    def _spec(self, reference: str, fc: str) -> Mapping[str, Any]:
        key = f"{reference}[{fc}]"
        if key not in self.specs:
            self.specs[key] = self.ask(self.connection.get_variable_specification(reference, FC(fc)))
        return self.specs[key]

    def read(self, reference: str, fc: str) -> Any:
        return _plain(self.ask(self.connection.read(reference, FC(fc))), self._spec(reference, fc))

    def members(self, data_set: str) -> list[str]:
        found = self.ask(self.connection.get_data_set_directory(data_set)).members
        return [f"{member.object_ref}[{member.fc.value}]" for member in found]

    def values(self, data_set: str) -> list[Any]:
        found = self.ask(self.connection.get_data_set_values(data_set))
        return [
            _plain(value, self._spec(*_split(member)))
            for value, member in zip(found, self.members(data_set), strict=True)
        ]

    def _of_association(self, question: Awaitable[T]) -> T:
        """LacksError: nothing is asked, because a data set's name must have a logical device."""
        try:
            return self.ask(question)
        except ValueError as error:
            raise LacksError(str(error)) from error

    def create(self, data_set: str, members: list[str]) -> None:
        wanted = [DataSetMember(reference, FC(fc)) for reference, fc in map(_split, members)]
        self._of_association(self.connection.create_data_set(data_set, wanted))

    def delete(self, data_set: str) -> None:
        self._of_association(self.connection.delete_data_set(data_set))

    def enable(self, block: str, *, entry_id: str | None = None, interrogate: bool = False) -> None:
        handle = self.ask(self.connection.get_rcb_values(block))
        handle.resv, handle.resv_tms, handle.rpt_ena = True, 60, True
        self._listen(block, handle)
        try:
            self._set(handle, "resv_tms" if handle.is_buffered else "resv")
            if entry_id is not None:  # not with the handle: iec61850 0.14.0 names it EntryId there
                name = f"{block.replace('.BR.', '.')}.EntryID"
                self.ask(self.connection.write_octet_string(name, FC.BR, bytes.fromhex(entry_id)))
            self._set(handle, "rpt_ena")
        except IedError as error:
            raise RefusedError(str(error)) from error
        if interrogate:
            self.ask(self.connection.trigger_gi(block))

    def _set(self, handle: RcbHandle, *attributes: str) -> None:
        self.ask(self.connection.set_rcb_values(handle, RcbWriteMask.fields(*attributes)))

    def _listen(self, block: str, handle: RcbHandle) -> None:
        """Keep its reports, with the members of its data set."""
        members = self.members((handle.dataset or "").replace("$", "."))
        self.ask(
            self.connection.install_report_handler(
                block, lambda report: self.arrived.append((members, report)), rpt_id=handle.rpt_id
            )
        )

    def reports(self) -> list[Told]:
        self.ask(self.connection.poll_reports(10))
        arrived = list(self.arrived)
        del self.arrived[: len(arrived)]
        return [self._told(members, report) for members, report in arrived]

    def _told(self, members: list[str], report: ClientReport) -> Told:
        entries = {
            index: _plain(entry.value, self._spec(*_split(members[index])))
            for index, entry in enumerate(report.entries)
            if entry.value is not None  # not included
        }
        entry_id = report.entry_id.hex() if report.entry_id else None
        return Told(entries, entry_id, bool(report.buffer_overflow), report.sequence_number)

    def _control(self, reference: str) -> ControlObjectClient:
        if reference not in self.controls:
            model = MODELS[self.read(f"{reference}.ctlModel", "CF")]
            self.controls[reference] = self.connection.create_control_object(reference, model)
            self.controls[reference].set_origin(OriginValue(3, NAME.encode()))
        return self.controls[reference]

    @staticmethod
    def _done(what: str, outcome: ControlOutcome) -> None:
        if not outcome.success:
            raise CommandRefusedError(f"{what}: {outcome}")

    def select(self, reference: str, *, close: bool) -> None:
        control = self._control(reference)
        if control.ctl_model is ControlModel.SBO_NORMAL:
            if not self.ask(control.select()):
                raise CommandRefusedError("SBO is empty")
        else:
            self._done("select", self.ask(control.select_with_value(close)))

    def operate(self, reference: str, *, close: bool, select: bool = True) -> None:
        control = self._control(reference)
        if select and "sbo" in control.ctl_model.value:
            self.select(reference, close=close)
        self._done("operate", self.ask(control.operate(close)))

    def cancel(self, reference: str, *, close: bool) -> None:
        self._done("cancel", self.ask(self._control(reference).cancel(close)))


def _split(member: str) -> tuple[str, str]:
    """``LD/LN.DO[FC]``."""
    reference, _, fc = member.rstrip("]").partition("[")
    return reference, fc


def _tls(files: dict[str, str]) -> TlsConfig:
    return TlsConfig(
        ca_pem=Path(files["ca"]).read_bytes(),
        client_cert_pem=Path(files["cert"]).read_bytes(),
        client_key_pem=Path(files["key"]).read_bytes(),
    )


@contextmanager
def rust(port: int, tls: dict[str, str] | None = None) -> Iterator[Rust]:
    """An association, over TLS with the files cert, key and ca."""
    address, config = f"127.0.0.1:{port}", _tls(tls) if tls else None

    async def associated() -> IedConnection:
        if config is None:
            return await IedConnection.connect(address, timeout_ms=ASK_MS, request_timeout_ms=ASK_MS)
        return await IedConnection.connect_tls(
            address, config, "127.0.0.1", timeout_ms=ASK_MS, request_timeout_ms=ASK_MS
        )

    with asyncio.Runner() as runner:
        client = Rust(runner, runner.run(associated()))
        try:
            yield client
        finally:
            client.ask(client.connection.disconnect())
