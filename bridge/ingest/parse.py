"""Payloads to values: a fast way for readings as our meters write them, pydantic for everything else.

The contract is `broker.contract.reading`. A reading in the usual form (timestamp of 24 characters,
quantities as
JSON numbers) is checked here by hand, in a third of the time; whatever is not in that form goes to
:class:`broker.contract.reading.Reading`, which alone decides what is wrong. So the fast way only ever
accepts what the model accepts, with the same values.

>>> row = b'{"epoch":1,"seq":2,"ts":"2026-11-23T12:00:00.250Z","power":21.3}'
>>> reading_row(row, 7, latest=2_000_000_000_000)
((7, 1, 2, 1795435200250, 21.3, None, None, True, ('power',)), '-')
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import from_json

from bridge.ingest.rows import OTHER, Row
from bridge.store.tables import at_ms
from broker.contract import messages
from broker.contract.errors import ContractError
from broker.contract.messages import MAX_SEQ, Message
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import KNOWN, MAY_BE_BAD, NO_INSTANCE, History, Reading, kept, other_numbers
from broker.contract.relay import Command

MAX_MESSAGE = Message.MAX_BYTES
MAX_HISTORY = History.MAX_BYTES

MAX_PAYLOAD = 64 * 1024
"""Bytes of a payload that is looked at closer, or kept, after it was found bad."""

FUTURE = "ts: is in the future"

EARLY = "ts: is in the future: it waits until its time has come"
DOUBTFUL = "ts: is in the future, or our clock is behind: NTP does not keep it"
"""Who is right is not known."""

M = TypeVar("M", bound=Message)

_LIMITS = {row.name: (row.lowest, row.highest) for row in QUANTITIES.values()}
_MOST_FORMS = 256
"""Orders of fields that are remembered: each make of meter has one or two."""

_TOKEN = re.compile(r"[0-9A-Za-z._:-]{1,64}").fullmatch
_loads = orjson.loads
_fromisoformat = datetime.fromisoformat


class RejectedError(ContractError):
    """A payload is not of the contract; ``str()`` is the cause, without anything of the payload."""


class RepeatedError(RejectedError):
    """The bridge's own words, for a broker that has lost them: nothing to store, and nothing to confirm."""


class FutureError(RejectedError):
    """Good, but later than our clock says that it is; ``ts`` in ms."""

    def __init__(self, ts: int) -> None:
        super().__init__(FUTURE)
        self.ts = ts


def reading_row(payload: bytes, meter: int | str, *, latest: int) -> tuple[Row, str]:
    """The row of a reading and who sent it (an instance).

    RejectedError when it is none, FutureError when it is after ``latest`` (ms).
    """
    found = (_usual(payload, meter) if len(payload) <= MAX_MESSAGE else None) or _unusual(payload, meter)
    if found[0][3] > latest:
        raise FutureError(found[0][3])
    return found


def _usual(payload: bytes, meter: int | str) -> tuple[Row, str] | None:
    """The same of a reading in the form that our meters write; None when it needs a closer look."""
    try:
        fields = _loads(payload)
        get = fields.get
        epoch, seq, ts, alarm = get("epoch"), get("seq"), get("ts"), get("alarm")
        known_time, instance = get("clock_synchronized"), get("instance")
        if (
            type(epoch) is type(seq) is int
            and 0 < epoch <= MAX_SEQ
            and 0 < seq <= MAX_SEQ
            and (alarm is None or alarm is True or alarm is False)
            and (known_time is None or known_time is True or known_time is False)
            and get("repeated") is None
            and (instance is None or (len(instance) <= 64 and instance.isascii() and instance.isalnum()))
            and (
                len(ts) == 24
                and ts[7] == "-"
                and ts[10] == "T"
                and ts[19] == "."
                and ts[23] == "Z"
                and "2020" <= ts < "2100"
            )
            and (values := _values(fields, form := _forms.get(keys := tuple(fields)) or _form(keys)))
            is not None
        ):
            other = None if form.is_known else _json(other_numbers(fields))
            ms = round(_fromisoformat(ts).timestamp() * 1000)
            row = (meter, epoch, seq, ms, *values, alarm, other, known_time is not False, form.names)
            return row, instance or NO_INSTANCE
    except (ValueError, TypeError, AttributeError):
        pass  # the model says what is wrong with it
    return None


class _Form(NamedTuple):
    """What follows from the names of a payload's fields, whatever their values are."""

    names: tuple[str, ...]
    """The quantities."""
    limits: tuple[tuple[str, float, float], ...]
    """Of each: name, lowest, highest."""
    is_known: bool
    """There are no other numbers."""


_forms: dict[tuple[str, ...], _Form] = {}


def _form(fields: tuple[str, ...]) -> _Form:
    """Of these fields; it is remembered, unless there are names among them that anybody may make up."""
    names = tuple(name for name in fields if name in _LIMITS)
    form = _Form(names, tuple((name, *_LIMITS[name]) for name in names), KNOWN.issuperset(fields))
    if form.is_known:
        if len(_forms) >= _MOST_FORMS:
            _forms.clear()
        _forms[fields] = form
    return form


def _values(fields: dict[str, Any], form: _Form) -> list[float | None] | None:
    """The values of the quantities; None when one is not a number within its limits."""
    values: list[float | None] = []
    for name, low, high in form.limits:
        value = fields[name]
        if type(value) is int:
            value = float(value)
        if value is not None and (type(value) is not float or not low <= value <= high):
            return None
        values.append(value)
    return values


def _unusual(payload: bytes, meter: int | str) -> tuple[Row, str]:
    """The same of any reading that the model takes; RejectedError for others."""
    reading = message(Reading, payload)
    if reading.repeated:
        raise RepeatedError("repeated by the bridge")
    fields = from_json(messages.whole(payload))
    names = _form(tuple(fields)).names
    values = (getattr(reading, name) for name in names)
    bad = (name for name in fields.keys() & MAY_BE_BAD if getattr(reading, name) is None)
    refused = {name: kept(fields[name]) for name in bad if fields[name] is not None}
    told = (reading.alarm, _json(reading.other | refused), reading.clock_synchronized is not False)
    row = (meter, reading.epoch, reading.seq, at_ms(reading.ts), *values, *told, names)
    return row, reading.instance or NO_INSTANCE


def _json(numbers: dict[str, float | str]) -> str | None:
    return orjson.dumps(numbers, option=orjson.OPT_SORT_KEYS).decode() if numbers else None


def refused(row: Row) -> list[str]:
    """The quantities that are absent in a row because they were bad; what was told stands in `OTHER`."""
    return sorted(MAY_BE_BAD & _loads(row[OTHER]).keys()) if row[OTHER] is not None else []


def message(model: type[M], payload: bytes, *, limit: int | None = None) -> M:
    """The ``model`` in ``payload``; RejectedError when it is none, or too large (``limit``)."""
    if limit is not None and len(payload) > limit:
        raise RejectedError(f"is larger than {limit} bytes")
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise RejectedError(_cause(error)) from None


def not_future(ts: datetime, *, latest: int) -> int:
    """``ts`` in ms since 1970; FutureError when it is later than ``latest``."""
    if (ms := at_ms(ts)) > latest:
        raise FutureError(ms)
    return ms


def history_items(payload: bytes) -> list[bytes]:
    """The readings of a history, each as JSON, unchecked; RejectedError when it is no list of readings."""
    if len(payload) > MAX_HISTORY:
        raise RejectedError(f"is larger than {MAX_HISTORY} bytes")
    try:
        items = _loads(payload)["readings"]
    except (ValueError, TypeError, KeyError):
        items = None
    if not isinstance(items, list) or not 0 < len(items) <= 1000:
        message(History, payload)
        raise RejectedError("readings: is no list")
    try:
        return [orjson.dumps(item) for item in items]
    except TypeError:  # it reads deeper than it writes
        raise RejectedError("readings: are nested too deeply") from None


def identity(payload: bytes) -> tuple[int, int, str] | None:
    """epoch, seq and instance of a reading that was rejected, when at least its name is good."""
    fields = _lenient(payload)
    epoch, seq = fields.get("epoch"), fields.get("seq")
    if type(epoch) is int and type(seq) is int and 0 < epoch <= MAX_SEQ and 0 < seq <= MAX_SEQ:
        instance = fields.get("instance")
        return epoch, seq, instance if type(instance) is str and _TOKEN(instance) else NO_INSTANCE
    return None


def command_id(payload: bytes) -> str:
    """The command_id of a command that was rejected; empty when that is not good either."""
    return (Command.claimed_id(payload) or "") if len(payload) <= MAX_PAYLOAD else ""


def _lenient(payload: bytes) -> dict[str, Any]:
    """The JSON object in ``payload``, unchecked; empty when there is none or it is too large."""
    if len(payload) > MAX_PAYLOAD:
        return {}
    try:
        fields = _loads(payload)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _cause(error: ValidationError) -> str:
    """The first fault, in words that do not change with the value: they name a cause, and are counted."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join("[]" if isinstance(part, int) else part for part in first["loc"])
    match first["type"]:
        case "json_invalid":
            return "is not JSON"
        case messages.LATE:
            what = "is after 2099: the sender's clock is wrong"
        case "value_error" if where:  # of a Timestamp
            what = "is before 2020: the sender's clock was never set"
        case "value_error":
            what = first["msg"].removeprefix("Value error, ")
        case _:
            what = first["msg"]
    return f"{where}: {what}"[:255] if where else what[:255]
