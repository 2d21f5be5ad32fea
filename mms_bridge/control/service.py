"""Select, operate and cancel, carried to MQTT and back (IEC 61850-7-2, 20): CSWI1.Pos, XSWI1.BlkOpn, BlkCls.

The library calls the check handler at select and at operate, then the handler that executes until
that one no longer answers WAITING. Enhanced security waits in the control handler, so that the
meter's answer becomes the command termination; normal security waits in the handler before it, so
that it becomes the response to Oper. Whatever is refused here is told to the ledger too, and so is a
selection that ends without an operate.

A command is published once, with an expiry before our own limit: a meter that answers too late has
not acted. Selections and commands are kept per meter, not per server: one owner at a time.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable

from broker.contract.block import Block
from broker.contract.commands import (
    Circumstances,
    Objection,
    against_blocking,
    against_switching,
    mms_end,
    mms_validity,
    new_command,
)
from broker.contract.fleet import Fleet, MeterState
from broker.contract.messages import utc_now
from broker.contract.notice import MeterNotice
from broker.contract.relay import Command, Origin, Position
from broker.contract.result import Refusal, Result
from mms_bridge.access.associations import Associations
from mms_bridge.control.accepted import Accepted
from mms_bridge.control.checks import ADD_CAUSES
from mms_bridge.control.operation import ASKED_AGAIN, GRACE, Blocking, Operation, Switching, runs
from mms_bridge.control.origin import origin_of
from mms_bridge.control.sbo import Selections
from mms_bridge.control.targets import BLOCK_CLOSE, BLOCK_OPEN, POSITION, Target, Targets, target_of
from mms_bridge.libiec61850.bindings import AddCause, CheckResult, HandlerResult, SelectReason
from mms_bridge.libiec61850.control_handlers import ControlHandlers, is_select, peer, set_add_cause
from mms_bridge.libiec61850.mms_server import Server

log = logging.getLogger(__name__)


class Control:
    """The control path of all IEDs; ``publish`` takes commands and blocks with their meter, and refusals."""

    def __init__(
        self,
        fleet: Fleet,
        publish: Callable[[tuple[str, Command | Block] | Refusal], None],
        associations: Associations,
        *,
        limit: float,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._fleet = fleet
        self._publish = publish
        self._limit = limit
        self._clock = clock
        self._wake = wake
        self._associations = associations
        self._pending: dict[tuple[str, bool], Operation] = {}  # by meter and whether it is a switching
        self._denied: dict[int, tuple[AddCause, float, str]] = {}  # what a control object's handler tells
        self._selections = Selections(clock)
        self._targets = Targets()
        self._accepted = Accepted()
        self._handlers = ControlHandlers(self._check, self._operate, self._select_changed, self.counters)

    @property
    def busy(self) -> bool:
        """Whether a client waits for an answer now, or a stSeld is to be written."""
        return bool(self._pending or self._denied or self._selections.changing)

    @property
    def waiting(self) -> set[str]:
        """The meters whose clients wait, or whose selection has changed."""
        meters = {meter_id for meter_id, _ in self._pending} | {denied[2] for denied in self._denied.values()}
        return (meters | self._selections.waiting) - {
            Target().meter_id
        }  # a device that is no meter may have something to operate, too

    def asked_in(self) -> float:
        """Seconds until the library asks again how an operate goes, or a selection ends; else infinite."""
        now, asked = self._clock(), (pending.asked + ASKED_AGAIN for pending in self._pending.values())
        return min((at - now for at in (*asked, *self._selections.ends) if at > now), default=math.inf)

    def equip(self, server: Server) -> None:
        """Install the handlers on every controllable object of one generation, as its owners are now."""
        for (domain, node, name), control in server.controls.items():
            target = target_of(server.owners[domain], node, name, normal=control.normal, limit=control.limit)
            target = target._replace(select_limit=control.select_limit, place=(domain, node, name))
            self._accepted.equip(server, target.place)
            self._handlers.install(server, control, self._targets.number(target))

    def take_result(self, meter_id: str, result: Result) -> None:
        """The meter's answer; one that nobody waits for is the ledger's business alone."""
        pending = self._pending.get((meter_id, True))
        if isinstance(pending, Switching) and pending.command.command_id == result.command_id:
            pending.result = pending.result or result  # a broker may deliver twice, the second is refused
            self._wake()

    def take_notice(self, meter_id: str, notice: MeterNotice) -> None:
        """The bridge has put a block into the ledger."""
        pending = self._pending.get((meter_id, False))
        if isinstance(pending, Blocking) and notice.records(pending.block):
            pending.recorded = True
            self._wake()

    def told(self, meter_id: str) -> None:
        """A meter's state has changed: who waits for that is to be asked at once."""
        if not self._pending.keys().isdisjoint(((meter_id, True), (meter_id, False))):
            self._wake()

    def wants(self, meter_id: str, message: Command | Block) -> bool:
        """Whether what has waited for the broker is still to be published: in time, or known to hold."""
        if isinstance(message, Command):
            return message.expires_at > utc_now()
        pending, now = self._pending.get((meter_id, False)), self._clock()
        waited_for = isinstance(pending, Blocking) and pending.block == message and runs(pending, now)
        return waited_for or message == self._fleet.meter(meter_id).block

    def expire(self) -> None:
        """Forget operates whose client has gone: nobody asks the handler for their end any more."""
        self._selections.ticked()
        for key, pending in list(self._pending.items()):
            if not runs(pending, self._clock(), ticked=True):
                del self._pending[key]
                if isinstance(pending, Switching) and not pending.sent:
                    self._refuse(pending.meter, pending.command, "operate: its client has gone")
        for action, (_, until, _) in list(self._denied.items()):
            if self._clock() >= until:
                del self._denied[action]

    def stop(self) -> None:
        """The process ends: so do the selections, while the broker can still be told."""
        for meter_id, command in self._selections.abandon():
            self._refuse(
                self._fleet.meter(meter_id), command, "select: selected, but the MMS bridge was stopped"
            )

    # --- called by the library -----------------------------------------------------------------

    def _check(self, action: int, parameter: int, wanted: bool | None, test: bool) -> CheckResult:
        try:
            return self._judge(action, parameter, wanted, test)
        finally:
            self._accepted.hold(self._targets[parameter].place)

    def _judge(self, action: int, parameter: int, wanted: bool | None, test: bool) -> CheckResult:
        target = self._targets[parameter]
        self._denied.pop(action, None)
        selecting = is_select(action)
        if not target.meter_id and target.source:  # a spare device: it is off
            return self._deny(action, target, AddCause.BLOCKED_BY_MODE, selecting=selecting)
        if target.source == POSITION:
            objection = self._switching(action, target, wanted, selecting=selecting, test=test)
        elif target.source in (BLOCK_OPEN, BLOCK_CLOSE) and wanted is not None:
            objection = self._blocking(action, target, wanted, test=test)
        else:
            return self._deny(action, target, AddCause.NOT_SUPPORTED, selecting=selecting)
        if objection is None:
            return CheckResult.ACCEPTED
        return self._deny(action, target, ADD_CAUSES[objection.why], selecting=selecting)

    def _deny(self, action: int, target: Target, cause: AddCause, *, selecting: bool) -> CheckResult:
        self.counters["refused"] += 1
        set_add_cause(action, cause)
        if selecting or not target.normal:
            return CheckResult.OBJECT_ACCESS_DENIED
        # with normal security the library tells an AddCause only when the handler that waits refuses
        self._denied[action] = cause, self._clock() + GRACE, target.meter_id
        self._wake()
        return CheckResult.ACCEPTED

    def _switching(
        self, action: int, target: Target, wanted: bool | None, *, selecting: bool, test: bool
    ) -> Objection | None:
        meter = self._fleet.meter(target.meter_id)
        position = None if wanted is None else Position.CLOSED if wanted else Position.OPEN
        taken = self._selections.taken(meter.meter_id, by_other_than=0 if selecting else action)
        given = self._given(action, (meter.meter_id, True), test=test, taken=taken)
        objection = against_switching(meter, position, given)
        command = None
        if position is not None:
            seconds = mms_validity(self._seconds(target))
            command = new_command(position, self._origin(action), seconds=seconds)
        if not selecting:
            self._selections.operate(meter.meter_id, action)
        if objection is not None:
            self._tell(action, meter, objection, command, what="select" if selecting else "operate")
        elif selecting:
            self._selections.offer(action, command)
        elif command is not None:
            self._begin(
                Switching(action, self._end(target), meter, self._fleet, command, self._publish),
                switching=True,
            )
        return objection

    def _given(self, action: int, key: tuple[str, bool], *, test: bool, taken: bool = False) -> Circumstances:
        return Circumstances(
            authorized=self._associations.may_control(peer(action)),
            broker_up=self._fleet.broker_up,
            test=test,
            running=self._running(key),
            taken=taken,
        )

    def _origin(self, action: int) -> Origin:
        return origin_of(action, self._associations.who(peer(action)))

    def _begin(self, operation: Operation, *, switching: bool) -> None:
        """The handler that the library calls next sends it, once."""
        self._pending[operation.meter.meter_id, switching] = operation
        self._wake()

    def _seconds(self, target: Target) -> float:
        """That an operate may take: what the file says, so that it does not lie."""
        return target.limit or self._limit

    def _end(self, target: Target) -> float:
        return self._clock() + mms_end(self._seconds(target))

    def _tell(
        self, action: int, meter: MeterState, objection: Objection, command: Command | None, *, what: str
    ) -> None:
        """Log it, and put it into the ledger when it says what was wanted."""
        who = self._associations.who(peer(action))
        log.info("%s of %s by %s refused: %s", what, meter.meter_id, who, objection.reason)
        if command is not None:
            self._refuse(meter, command, f"{what}: {objection.reason}")

    def _refuse(self, meter: MeterState, command: Command, reason: str) -> None:
        refusal = Refusal(meter_id=meter.meter_id, command=command, reason=reason, ts=command.issued_at)
        self._publish(refusal)

    def _blocking(self, action: int, target: Target, wanted: bool, *, test: bool) -> Objection | None:
        meter = self._fleet.meter(target.meter_id)
        given = self._given(action, (meter.meter_id, False), test=test)
        objection = against_blocking(meter, given)
        opening = wanted if target.source == BLOCK_OPEN else None
        closing = wanted if target.source == BLOCK_CLOSE else None
        block = Block.changed(meter.block, opening=opening, closing=closing, origin=self._origin(action))
        if objection is not None:
            reason = f"operate: {objection.reason}"
            self._publish(Refusal(meter_id=meter.meter_id, block=block, reason=reason, ts=utc_now()))
        else:
            self._begin(
                Blocking(action, self._end(target), meter, self._fleet, block, self._publish), switching=False
            )
        return objection

    def _running(self, key: tuple[str, bool]) -> bool:
        """Whether an operate is under way: until its client was told, or cannot be told any more."""
        pending = self._pending.get(key)
        return pending is not None and runs(pending, self._clock())

    def _operate(self, action: int, parameter: int) -> HandlerResult:
        target = self._targets[parameter]
        denied = self._denied.pop(action, None)
        key = target.meter_id, target.source == POSITION
        pending = self._pending.get(key)
        if denied is not None or pending is None or pending.owner != action:
            # never accepted, or given up: it must not be sent
            set_add_cause(action, AddCause.UNKNOWN if denied is None else denied[0])
            return HandlerResult.FAILED
        if not pending.sent:
            pending.sent, pending.asked = True, self._clock()
            self.counters["sent"] += 1
            pending.send()
            if not target.normal:  # the library has just sent the positive response
                self._accepted.take(target.place, action)
            return HandlerResult.WAITING
        pending.asked = self._clock()
        result, cause = pending.outcome(pending.asked)
        if result is not HandlerResult.WAITING:
            del self._pending[key]
            self.counters["done" if cause is None else "failed"] += 1
        if cause is not None:
            set_add_cause(action, cause)
        elif target.normal and result is HandlerResult.OK:
            self._accepted.take(target.place, action)
        return result

    def _select_changed(self, action: int, parameter: int, reason: SelectReason) -> None:
        meter_id, seconds = self._targets[parameter].meter_id, self._targets[parameter].select_limit
        self._wake()
        if in_vain := self._selections.changed(meter_id, action, reason=reason, seconds=seconds):
            command, why = in_vain
            self._refuse(self._fleet.meter(meter_id), command, f"select: {why}")
