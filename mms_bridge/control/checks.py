"""The AddCause for each objection of ours, and for each answer of a meter (IEC 61850-7-2; 7-4, Annex A).

>>> AddCause(ADD_CAUSES[Why.REACHED]).name
'POSITION_REACHED'
"""

from __future__ import annotations

from broker.contract.commands import Why
from broker.contract.result import Cause, Outcome, Result
from mms_bridge.libiec61850.bindings import AddCause

ADD_CAUSES = {
    Why.NOT_ALLOWED: AddCause.NO_ACCESS_AUTHORITY,
    Why.LATE: AddCause.TIME_LIMIT_OVER,
    Why.NO_METER: AddCause.BLOCKED_BY_MODE,
    Why.NO_RELAY: AddCause.NOT_SUPPORTED,  # served by a generation from before
    Why.TEST: AddCause.BLOCKED_BY_MODE,
    Why.WITHDRAWN: AddCause.BLOCKED_BY_MODE,
    Why.KEPT_OUT: AddCause.BLOCKED_BY_MODE,
    Why.BROKER_AWAY: AddCause.BLOCKED_BY_HEALTH,
    Why.OFFLINE: AddCause.BLOCKED_BY_HEALTH,
    Why.POSITION_UNKNOWN: AddCause.INVALID_POSITION,
    Why.LOCAL: AddCause.BLOCKED_BY_SWITCHING_HIERARCHY,
    Why.BLOCKED: AddCause.BLOCKED_BY_INTERLOCKING,
    Why.UNDER_WAY: AddCause.COMMAND_ALREADY_IN_EXECUTION,
    Why.REACHED: AddCause.POSITION_REACHED,
    Why.SELECTED: AddCause.OBJECT_ALREADY_SELECTED,
}
_BY_CAUSE = {
    Cause.BLOCKED: AddCause.BLOCKED_BY_INTERLOCKING,
    Cause.LOCAL: AddCause.BLOCKED_BY_SWITCHING_HIERARCHY,
    Cause.POSITION_REACHED: AddCause.POSITION_REACHED,
}
_BY_OUTCOME = {
    Outcome.REFUSED: AddCause.BLOCKED_BY_PROCESS,
    Outcome.EXPIRED: AddCause.TIME_LIMIT_OVER,
    Outcome.FAILED: AddCause.BLOCKED_BY_HEALTH,
}


def add_cause(result: Result) -> AddCause:
    """What a meter's negative answer is in MMS; blocked-by-process for an outcome that we do not know."""
    for cause, found in _BY_CAUSE.items():
        if result.cause == cause:
            return found
    for outcome, found in _BY_OUTCOME.items():
        if result.outcome == outcome:
            return found
    return AddCause.BLOCKED_BY_PROCESS
