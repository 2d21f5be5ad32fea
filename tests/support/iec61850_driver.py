"""libiec61850's own client, as a process: a JSON object on a line of stdin, its answer on a line of stdout.

The library is the one of the wheel ``pyiec61850-ng``, by ``ctypes``; names and argument order are those
of its headers ``iec61850_client.h``, ``mms_client_connection.h`` and ``mms_value.h``. A process of its own,
because the test's process may have the bridge in it.

    {"do": "connect", "port": 10102}             -> {"ok": true}
    {"do": "read", "reference": "…", "fc": "MX"} -> {"ok": [231.5, "…", "…"]}
    {"do": "nonsense"}                           -> {"error": "no action nonsense"}
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from ctypes import byref, c_bool, c_int, create_string_buffer
from typing import Any

from scl_builder.model.cdc import FunctionalConstraint
from tests.support.iec61850_library import (
    FileHandler,
    ReportHandler,
    TerminationHandler,
    as_json,
    items,
    lib,
    names,
)

ATTEMPTS = 5

# elements of setRCBValues (RCB_ELEMENT_* of iec61850_client.h)
RPT_ENA, RESV, GI, PURGE_BUF, ENTRY_ID, RESV_TMS = 2, 4, 1024, 2048, 4096, 16384


class RefusedError(Exception):
    """The server, or the library itself, did not do it."""


def _checked(error: c_int) -> None:
    """RefusedError with the number of an IedClientError or MmsError."""
    if error.value:
        raise RefusedError(f"error {error.value}")


def _configuration(*, cert: str, key: str, ca: str) -> int:
    """For as long as the process: a connection keeps its address."""
    configuration: int = lib.TLSConfiguration_create()
    done = (
        lib.TLSConfiguration_setOwnKeyFromFile(configuration, key.encode(), None),
        lib.TLSConfiguration_setOwnCertificateFromFile(configuration, cert.encode()),
        lib.TLSConfiguration_addCACertificateFromFile(configuration, ca.encode()),
    )
    if not all(done):
        raise RefusedError(f"key, certificate, CA: {done}")
    lib.TLSConfiguration_setChainValidation(configuration, True)
    return configuration


class Client:
    """One connection, and what has arrived over it."""

    def __init__(self) -> None:
        self._connection = 0
        self._reports: list[dict[str, Any]] = []
        self._terminated = threading.Event()
        self._on_report = ReportHandler(self._take_report)
        self._on_termination = TerminationHandler(lambda *_: self._terminated.set())
        self._controls: dict[str, int] = {}

    # --- association, directory, read ------------------------------------------------------------

    def connect(self, *, port: int, tls: dict[str, str] | None = None) -> bool:
        """Once more when the library believes that it is still connecting, and so refuses every request.

        It starts its thread before it notes "connecting": now and then over a "connected" that came sooner.
        """
        for _ in range(ATTEMPTS):
            self._open(port, tls)
            try:
                return bool(self.identify())
            except RefusedError:
                self.close()
        raise RefusedError(f"not connected after {ATTEMPTS} attempts")

    def _open(self, port: int, tls: dict[str, str] | None) -> None:
        error = c_int(0)
        self._connection = (
            lib.IedConnection_create()
            if tls is None
            else lib.IedConnection_createWithTlsSupport(_configuration(**tls))
        )
        lib.IedConnection_setConnectTimeout(self._connection, 5000)
        lib.IedConnection_connect(self._connection, byref(error), b"127.0.0.1", port)
        _checked(error)

    def close(self) -> bool:
        for handle in self._controls.values():
            lib.ControlObjectClient_destroy(handle)
        self._controls.clear()
        if self._connection:
            lib.IedConnection_close(self._connection)
            lib.IedConnection_destroy(self._connection)
            self._connection = 0
        return True

    def _asked(self, function: str, *arguments: object) -> Any:
        """Call ``function(connection, &error, …)``; RefusedError if it fails."""
        error = c_int(0)
        result = getattr(lib, function)(self._connection, byref(error), *arguments)
        _checked(error)
        return result

    def identify(self) -> list[str]:
        error = c_int(0)
        told = lib.MmsConnection_identify(lib.IedConnection_getMmsConnection(self._connection), byref(error))
        _checked(error)
        return [text.decode() for text in (told[0].vendor, told[0].model, told[0].revision)]

    def devices(self) -> list[str]:
        return names(self._asked("IedConnection_getLogicalDeviceList"))

    def variables(self, *, device: str) -> list[str]:
        return names(self._asked("IedConnection_getLogicalDeviceVariables", device.encode()))

    def data_sets(self, *, device: str) -> list[str]:
        return names(self._asked("IedConnection_getLogicalDeviceDataSets", device.encode()))

    def read(self, *, reference: str, fc: str) -> Any:
        constraint = FunctionalConstraint[fc]
        value = self._asked("IedConnection_readObject", reference.encode(), constraint)
        told = as_json(value)
        lib.MmsValue_delete(value)
        return told

    # --- data sets -------------------------------------------------------------------------------

    def members(self, *, reference: str) -> list[str]:
        return names(
            self._asked("IedConnection_getDataSetDirectory", reference.encode(), byref(c_bool(False)))
        )

    def values(self, *, reference: str) -> Any:
        data_set = self._asked("IedConnection_readDataSetValues", reference.encode(), None)
        told = as_json(lib.ClientDataSet_getValues(data_set))
        lib.ClientDataSet_destroy(data_set)
        return told

    def create(self, *, reference: str, members: list[str]) -> bool:
        kept = [create_string_buffer(member.encode()) for member in members]
        head = lib.LinkedList_create()
        for member in kept:
            lib.LinkedList_add(head, ctypes.addressof(member))
        try:
            self._asked("IedConnection_createDataSet", reference.encode(), head)
        finally:
            lib.LinkedList_destroyStatic(head)
        return True

    def delete(self, *, reference: str) -> bool:
        return bool(self._asked("IedConnection_deleteDataSet", reference.encode()))

    # --- reports ---------------------------------------------------------------------------------

    def enable(self, *, block: str, entry_id: str | None = None, interrogate: bool = False,
               purge: bool = False) -> bool:  # fmt: skip
        rcb = self._asked("IedConnection_getRCBValues", block.encode(), None)
        buffered = ".BR." in block
        lib.IedConnection_installReportHandler(
            self._connection,
            block.encode(),
            lib.ClientReportControlBlock_getRptId(rcb),
            self._on_report,
            None,
        )
        # Ed. 2.1: a block is reserved before anything else of it is written
        if buffered:
            lib.ClientReportControlBlock_setResvTms(rcb, 5)
            self._set(rcb, RESV_TMS)
        else:
            lib.ClientReportControlBlock_setResv(rcb, True)
            self._set(rcb, RESV)
        if purge:
            lib.ClientReportControlBlock_setPurgeBuf(rcb, True)
            self._set(rcb, PURGE_BUF)
        if entry_id is not None:
            self._set_entry_id(rcb, bytes.fromhex(entry_id))
        lib.ClientReportControlBlock_setRptEna(rcb, True)
        self._set(rcb, RPT_ENA)
        if interrogate:
            lib.ClientReportControlBlock_setGI(rcb, True)
            self._set(rcb, GI)
        lib.ClientReportControlBlock_destroy(rcb)
        return True

    def _set(self, rcb: int, mask: int) -> None:
        self._asked("IedConnection_setRCBValues", rcb, mask, True)

    def _set_entry_id(self, rcb: int, octets: bytes) -> None:
        value = lib.MmsValue_newOctetString(len(octets), len(octets))
        lib.MmsValue_setOctetString(value, octets, len(octets))
        lib.ClientReportControlBlock_setEntryId(rcb, value)
        self._set(rcb, ENTRY_ID)

    def disable(self, *, block: str) -> bool:
        rcb = self._asked("IedConnection_getRCBValues", block.encode(), None)
        lib.ClientReportControlBlock_setRptEna(rcb, False)
        self._set(rcb, RPT_ENA)
        lib.ClientReportControlBlock_destroy(rcb)
        return True

    def reports(self) -> list[dict[str, Any]]:
        """Those that have arrived since they were last asked for."""
        told = list(self._reports)
        del self._reports[: len(told)]  # the library's thread appends meanwhile
        return told

    def _take_report(self, _parameter: int, report: int) -> None:
        values = lib.ClientReport_getDataSetValues(report)
        count = lib.MmsValue_getArraySize(values)
        reasons = [lib.ClientReport_getReasonForInclusion(report, index) for index in range(count)]
        self._reports.append(
            {
                "seq": lib.ClientReport_getSeqNum(report) if lib.ClientReport_hasSeqNum(report) else None,
                "entry_id": as_json(lib.ClientReport_getEntryId(report)),
                "overflow": bool(lib.ClientReport_hasBufOvfl(report) and lib.ClientReport_getBufOvfl(report)),
                "entries": {
                    str(index): as_json(lib.MmsValue_getElement(values, index))
                    for index, reason in enumerate(reasons)
                    if reason
                },
            }
        )

    # --- control ---------------------------------------------------------------------------------

    def _control(self, reference: str) -> int:
        if reference not in self._controls:
            handle = lib.ControlObjectClient_create(reference.encode(), self._connection)
            if not handle:
                raise RefusedError(f"no control object {reference}")
            lib.ControlObjectClient_setOrigin(handle, b"libiec61850", 3)
            lib.ControlObjectClient_setCommandTerminationHandler(handle, self._on_termination, None)
            self._controls[reference] = handle
        return self._controls[reference]

    def control_model(self, *, reference: str) -> int:
        return int(lib.ControlObjectClient_getControlModel(self._control(reference)))

    def select(self, *, reference: str, close: bool) -> dict[str, Any]:
        """As the ctlModel asks: SBO is read, SBOw is written."""
        handle = self._control(reference)
        value = lib.MmsValue_newBoolean(close)
        model = lib.ControlObjectClient_getControlModel(handle)
        if model == 4:
            done = lib.ControlObjectClient_selectWithValue(handle, value)
        else:
            done = lib.ControlObjectClient_select(handle)
        lib.MmsValue_delete(value)
        return self._outcome(handle, bool(done))

    def operate(self, *, reference: str, close: bool) -> dict[str, Any]:
        handle = self._control(reference)
        value = lib.MmsValue_newBoolean(close)
        self._terminated.clear()
        done = bool(lib.ControlObjectClient_operate(handle, value, 0))
        lib.MmsValue_delete(value)
        outcome = self._outcome(handle, done)
        if done and lib.ControlObjectClient_getControlModel(handle) in (3, 4):
            outcome["terminated"] = self._terminated.wait(60.0)
            outcome["add_cause"] = lib.ControlObjectClient_getLastApplError(handle).addCause
        return outcome

    def cancel(self, *, reference: str) -> dict[str, Any]:
        handle = self._control(reference)
        return self._outcome(handle, bool(lib.ControlObjectClient_cancel(handle)))

    @staticmethod
    def _outcome(handle: int, done: bool) -> dict[str, Any]:
        return {"done": done, "add_cause": lib.ControlObjectClient_getLastApplError(handle).addCause}

    # --- files -----------------------------------------------------------------------------------

    def files(self, *, folder: str) -> dict[str, int]:
        head = self._asked("IedConnection_getFileDirectory", folder.encode())
        return {
            lib.FileDirectoryEntry_getFileName(entry).decode(): lib.FileDirectoryEntry_getFileSize(entry)
            for entry in items(head)
        }

    def file(self, *, name: str) -> str:
        """Its content as hex."""
        content = bytearray()

        def take(_parameter: int, octets: Any, count: int) -> bool:
            content.extend(octets[:count])
            return True

        self._asked("IedConnection_getFile", name.encode(), FileHandler(take), None)
        return content.hex()

    def delete_file(self, *, name: str) -> bool:
        self._asked("IedConnection_deleteFile", name.encode())
        return True


def main() -> None:
    """Answer until stdin ends."""
    client = Client()
    for line in sys.stdin:
        action = json.loads(line)
        name = action.pop("do")
        try:
            answer = {"ok": getattr(client, name)(**action)}
        except RefusedError as refused:
            answer = {"error": str(refused)}
        except AttributeError:
            answer = {"error": f"no action {name}"}
        print(json.dumps(answer), flush=True)  # noqa: T201 - this is the answer


if __name__ == "__main__":
    main()
