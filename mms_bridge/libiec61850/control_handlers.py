"""Control services of the library (iec61850_server.h): its handlers, and what it knows of a control.

A control object is named by ``action``: a number that is the same from select to termination, and good for
nothing but the functions here.

>>> ControlHandlers(check, operate, selection, counters).install(server, control, 1)  # doctest: +SKIP
"""

from __future__ import annotations

import ctypes
import logging
from collections import Counter
from collections.abc import Callable

from mms_bridge.libiec61850.bindings import (
    AddCause,
    CheckHandler,
    CheckResult,
    ControlHandler,
    HandlerResult,
    SelectHandler,
    SelectReason,
    WaitHandler,
    lib,
)
from mms_bridge.libiec61850.ied_model import ControlObject
from mms_bridge.libiec61850.mms_server import Server

log = logging.getLogger(__name__)

Check = Callable[[int, int, bool | None, bool], CheckResult]
"""(action, parameter, ctlVal or None where a select names none, Test): whether it may go on."""
Operate = Callable[[int, int], HandlerResult]
"""(action, parameter): called until it no longer answers WAITING."""
Selection = Callable[[int, int, SelectReason], None]
"""(action, parameter, reason): a selection has begun or ended."""


class ControlHandlers:
    """One set of handlers for the control objects of all servers; it must outlive every server."""

    def __init__(self, check: Check, operate: Operate, selection: Selection, counters: Counter[str]) -> None:
        self._check = check
        self._operate = operate
        self._selection = selection
        self._counters = counters
        self._on_check = CheckHandler(self._checked)
        self._on_wait = WaitHandler(lambda *asked: self._operated(*asked[:2]))
        self._on_operate = ControlHandler(lambda *asked: self._operated(*asked[:2]))
        self._on_done_waiting = ControlHandler(lambda *_: HandlerResult.OK)
        self._on_select = SelectHandler(self._selected)

    def install(self, server: Server, control: ControlObject, parameter: int) -> None:
        """Give the handlers to a control object of ``server``; each is called with ``parameter``."""
        arguments = server.handle, control.handle
        operate = self._on_done_waiting if control.normal else self._on_operate
        lib.IedServer_setPerformCheckHandler(*arguments, self._on_check, parameter)
        lib.IedServer_setControlHandler(*arguments, operate, parameter)
        lib.IedServer_setSelectStateChangedHandler(*arguments, self._on_select, parameter)
        if control.normal:
            lib.IedServer_setWaitForExecutionHandler(*arguments, self._on_wait, parameter)

    # into C no exception may pass; refusing is the safe side

    def _checked(self, action: int, parameter: int, value: int | None, test: bool, _interlock: bool) -> int:
        try:
            wanted = None if value is None else bool(lib.MmsValue_getBoolean(value))  # SBO names no value
            return self._check(action, parameter, wanted, test)
        except Exception:
            self._counters["errors"] += 1
            log.exception("control check failed, refused")
            return CheckResult.OBJECT_ACCESS_DENIED

    def _operated(self, action: int, parameter: int) -> int:
        try:
            return self._operate(action, parameter)
        except Exception:
            self._counters["errors"] += 1
            log.exception("operate failed")
            return HandlerResult.FAILED

    def _selected(self, action: int, parameter: int, selected: bool, reason: int) -> None:
        try:
            self._selection(action, parameter, SelectReason.SELECTED if selected else SelectReason(reason))
        except Exception:
            self._counters["errors"] += 1
            log.exception("selection is not kept")


def is_select(action: int) -> bool:
    """Whether the check is for a select; else it is for an operate."""
    return bool(lib.ControlAction_isSelect(action))


def set_add_cause(action: int, cause: AddCause) -> None:
    """The AddCause that the client gets with a refusal or a negative termination."""
    lib.ControlAction_setAddCause(action, cause)


def category(action: int) -> int:
    """origin.orCat: an ordinal of OriginatorCategoryKind."""
    return int(lib.ControlAction_getOrCat(action))


def identifier(action: int) -> bytes:
    """origin.orIdent, as the client sent it."""
    size = ctypes.c_int(0)
    pointer = lib.ControlAction_getOrIdent(action, ctypes.byref(size))
    return bytes(pointer[: size.value]) if pointer else b""


def peer(action: int) -> str:
    """Address and port of the client."""
    connection = lib.ControlAction_getClientConnection(action)
    address = lib.ClientConnection_getPeerAddress(connection) if connection else None
    return address.decode() if address else "unknown"
