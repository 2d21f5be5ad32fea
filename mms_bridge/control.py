"""Select and operate of CSWI1.Pos, carried to the meter as an MQTT command and back (IEC 61850-7-2, 20).

The library calls the check handler at select and at operate, then the handler that executes until
that one no longer answers WAITING. Enhanced security waits in the control handler, so that the
meter's answer becomes the command termination; normal security waits in the handler before it, so
that it becomes the response to Oper. Whatever is refused here is told to the ledger too.

A command is published once, with an expiry before our own limit: a meter that answers too late has
not acted. Selections and commands are kept per meter, not per generation: one owner at a time.
"""

from __future__ import annotations

import ctypes
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from broker.messages import (
    Command,
    Origin,
    OriginCategory,
    Outcome,
    Position,
    Refusal,
    Result,
    utc_now,
)
from broker.topics import meter_id_of
from mms_bridge.fleet import Fleet, Meter
from mms_bridge.native import (
    AddCause,
    CheckHandler,
    CheckResult,
    ControlHandler,
    ControlModel,
    HandlerResult,
    SelectHandler,
    WaitHandler,
    lib,
)
from mms_bridge.server import Server

log = logging.getLogger(__name__)

EXPIRY_SHARE = 0.8
"""Of the operate limit that a command is valid: the rest is for the answer's way back."""
END_SHARE = 0.9
"""Of the operate limit after which we give up: the termination is out before the client's own limit."""

ORIGIN_CATEGORIES = tuple(OriginCategory)  # the ordinals of OriginatorCategoryKind
NORMAL_SECURITY = (ControlModel.DIRECT_NORMAL, ControlModel.SBO_NORMAL)

CAUSES = {
    Outcome.REFUSED: AddCause.BLOCKED_BY_PROCESS,
    Outcome.EXPIRED: AddCause.TIME_LIMIT_OVER,
    Outcome.FAILED: AddCause.BLOCKED_BY_HEALTH,
}


GRACE = 0.5
"""Seconds after the deadline in which a command whose client has gone still keeps others out."""


@dataclass
class Pending:
    """An accepted operate, from the check to the termination."""

    owner: int
    """The library's control object that was operated: its handler alone may go on."""
    command: Command
    deadline: float
    """Loop time."""
    sent: bool = False
    result: Result | None = None
    positioned: bool = False

    def outcome(self, now: float) -> tuple[HandlerResult, AddCause | None]:
        """OK when the meter said done and its relay shows it; FAILED with the cause; or WAITING."""
        if self.result is not None and self.result.outcome is not Outcome.DONE:
            return HandlerResult.FAILED, CAUSES[self.result.outcome]
        if self.result is not None and self.positioned:
            return HandlerResult.OK, None
        if now >= self.deadline:
            return HandlerResult.FAILED, AddCause.TIME_LIMIT_OVER
        return HandlerResult.WAITING, None


class Control:
    """The control path of all IEDs; ``send`` and ``refuse`` hand over to the MQTT side."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        limit: float,
        clock: Callable[[], float],
        send: Callable[[str, Command], None],
        refuse: Callable[[Refusal], None],
        wake: Callable[[], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._fleet = fleet
        self._limit = limit
        self._clock = clock
        self._send = send
        self._refuse = refuse
        self._wake = wake
        self._pending: dict[str, Pending] = {}
        self._selected: set[str] = set()
        self._meter_ids: list[str] = [""]  # the handlers' parameter is an index, NULL is none
        self._parameters: dict[str, int] = {}
        # the library keeps the functions' addresses: these must live as long as any server
        self._on_check = CheckHandler(self._check)
        self._on_wait = WaitHandler(self._wait)
        self._on_operate = ControlHandler(self._operate)
        self._on_done_waiting = ControlHandler(lambda *_: HandlerResult.OK)
        self._on_select = SelectHandler(self._select_changed)

    @property
    def busy(self) -> bool:
        """Whether a client waits for a meter's answer now."""
        return bool(self._pending)

    def equip(self, server: Server) -> None:
        """Install the handlers on every controllable object of one generation."""
        for (domain, _node, _name), control in server.controls.items():
            parameter = self._parameter(meter_id_of(domain))
            arguments = server.handle, control.handle
            normal = control.model in NORMAL_SECURITY
            operate = self._on_done_waiting if normal else self._on_operate
            lib.IedServer_setPerformCheckHandler(*arguments, self._on_check, parameter)
            lib.IedServer_setControlHandler(*arguments, operate, parameter)
            lib.IedServer_setSelectStateChangedHandler(*arguments, self._on_select, parameter)
            if normal:
                lib.IedServer_setWaitForExecutionHandler(*arguments, self._on_wait, parameter)

    def _parameter(self, meter_id: str) -> int:
        if meter_id not in self._parameters:
            self._parameters[meter_id] = len(self._meter_ids)
            self._meter_ids.append(meter_id)
        return self._parameters[meter_id]

    def take_result(self, meter_id: str, result: Result) -> None:
        """The meter's answer; one that nobody waits for is the ledger's business alone."""
        pending = self._pending.get(meter_id)
        if pending is not None and pending.command.command_id == result.command_id:
            pending.result = result

    def take_position(self, meter_id: str, position: Position) -> None:
        """The relay as the meter tells it."""
        pending = self._pending.get(meter_id)
        if pending is not None:
            pending.positioned = pending.command.position is position

    def expire(self) -> None:
        """Forget commands whose client has gone: nobody asks the handler for their end any more."""
        for meter_id in [m for m in self._pending if not self._running(m)]:
            del self._pending[meter_id]

    # --- called by the library -----------------------------------------------------------------

    def _check(self, action: int, parameter: int, value: int | None, test: bool, _interlock: bool) -> int:
        try:
            return self._checked(action, self._meter_ids[parameter], value, test=test)
        except Exception:  # into C no exception may pass; refusing is the safe side
            self.counters["errors"] += 1
            log.exception("control check failed, refused")
            return CheckResult.OBJECT_ACCESS_DENIED

    def _checked(self, action: int, meter_id: str, value: int | None, *, test: bool) -> CheckResult:
        selecting = bool(lib.ControlAction_isSelect(action))
        position = None if value is None else _position(value)  # select of SBO names no value
        objections = self._objections(self._fleet.meter(meter_id), position, test=test, selecting=selecting)
        found = next(((cause, reason) for stands, cause, reason in objections if stands), None)
        if found is None:
            if not selecting and position is not None:
                self._arm(action, meter_id, position)
            return CheckResult.ACCEPTED
        cause, reason = found
        lib.ControlAction_setAddCause(action, cause)
        self.counters["refused"] += 1
        origin = _origin(action)
        what = "select" if selecting else "operate"
        log.info("%s of %s by %s refused: %s", what, meter_id, origin.identifier, reason)
        if position is not None:
            command = self._command(position, origin)
            text = f"{what}: {reason}"
            self._refuse(Refusal(meter_id=meter_id, command=command, reason=text, ts=command.issued_at))
        return CheckResult.OBJECT_ACCESS_DENIED

    def _objections(
        self, meter: Meter, position: Position | None, *, test: bool, selecting: bool
    ) -> Iterator[tuple[bool, AddCause, str]]:
        """Whether each thing stands against it, its AddCause and its reason; the first one counts."""
        yield test, AddCause.BLOCKED_BY_MODE, "a test command never moves a relay"
        yield not self._fleet.broker_up, AddCause.BLOCKED_BY_HEALTH, "the broker is away"
        yield not meter.online, AddCause.BLOCKED_BY_HEALTH, "the meter is offline"
        yield meter.relay is None, AddCause.INVALID_POSITION, "the relay's position is not known"
        local = meter.relay is not None and meter.relay.local
        yield local, AddCause.BLOCKED_BY_SWITCHING_HIERARCHY, "the relay is switched locally"
        reached = position is not None and meter.position is position
        yield reached, AddCause.POSITION_REACHED, f"the relay is {position} already"
        running = self._running(meter.meter_id)
        yield running, AddCause.COMMAND_ALREADY_IN_EXECUTION, "a command is under way"
        taken = selecting and meter.meter_id in self._selected
        yield taken, AddCause.OBJECT_ALREADY_SELECTED, "another client has selected it"

    def _arm(self, action: int, meter_id: str, position: Position) -> None:
        """Accept one operate: the handler that the library calls next sends it, once."""
        command = self._command(position, _origin(action))
        self._pending[meter_id] = Pending(action, command, self._clock() + self._limit * END_SHARE)
        self._wake()

    def _running(self, meter_id: str) -> bool:
        """Whether an operate is under way: until its client was told, or cannot be told any more."""
        pending = self._pending.get(meter_id)
        return pending is not None and self._clock() < pending.deadline + GRACE

    def _wait(self, action: int, parameter: int, value: int, _test: bool, _synchro: bool) -> int:
        return self._operate(action, parameter, value, _test)

    def _operate(self, action: int, parameter: int, _value: int, _test: bool) -> int:
        try:
            return self._executed(action, self._meter_ids[parameter])
        except Exception:  # as above
            self.counters["errors"] += 1
            log.exception("operate failed")
            return HandlerResult.FAILED

    def _executed(self, action: int, meter_id: str) -> HandlerResult:
        pending = self._pending.get(meter_id)
        if pending is None or pending.owner != action:
            return HandlerResult.FAILED  # never accepted, or given up: it must not be sent
        if not pending.sent:
            pending.sent = True
            self.counters["sent"] += 1
            self._send(meter_id, pending.command)
            return HandlerResult.WAITING
        result, cause = pending.outcome(self._clock())
        if result is not HandlerResult.WAITING:
            del self._pending[meter_id]
            self.counters["done" if cause is None else "failed"] += 1
        if cause is not None:
            lib.ControlAction_setAddCause(action, cause)
        return result

    def _select_changed(self, _action: int, parameter: int, selected: bool, _reason: int) -> None:
        if selected:
            self._selected.add(self._meter_ids[parameter])
        else:
            self._selected.discard(self._meter_ids[parameter])

    def _command(self, position: Position, origin: Origin) -> Command:
        now = utc_now()
        expires = now + timedelta(seconds=self._limit * EXPIRY_SHARE)
        return Command(
            command_id=uuid.uuid4().hex, position=position, issued_at=now, expires_at=expires, origin=origin
        )


def _position(value: int) -> Position:
    """ctlVal of a DPC: on is closed."""
    return Position.CLOSED if lib.MmsValue_getBoolean(value) else Position.OPEN


def _origin(action: int) -> Origin:
    """origin.orCat and orIdent of the client; its address where it gave no orIdent."""
    size = ctypes.c_int(0)
    octets = lib.ControlAction_getOrIdent(action, ctypes.byref(size))
    identifier = bytes(octets[: size.value]).decode("utf-8", "replace").strip("\0 ") if octets else ""
    if not identifier:
        connection = lib.ControlAction_getClientConnection(action)
        peer = lib.ClientConnection_getPeerAddress(connection) if connection else None
        identifier = peer.decode() if peer else "unknown"
    category = ORIGIN_CATEGORIES[lib.ControlAction_getOrCat(action)]
    return Origin(category=category, identifier=identifier[:64])
